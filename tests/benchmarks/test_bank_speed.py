"""What a bank of 64 fingerprints costs beside one, and a search of 289 shifts beside none, at 256 px, by turns.

Weights and patterns are seeded, for they cost nothing; the measured ratios are in `extra_info`.
"""

import io
import warnings
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from harness.fingerprints.bank import Bank

SIDE, BATCH, MANY, REACH, THREADS = 256, 4, 64, 8, 2
MOST = 1.3
MOST_ALIGNED = 2.0
"""A search multiplies 34 times as much as a dot product does: 0.4 GMAC for 64 fingerprints, beside the DnCNN's 4.9; in
small products, that run at a fraction of its speed."""

Ask = Callable[[], object]
Ratio = Callable[..., float]


def bank(count: int, reach: int = 0) -> Bank:
    patterns = np.random.default_rng(0).normal(size=(count, 3, SIDE, SIDE)).astype(np.float32)
    centre = np.zeros(count, np.float32)
    return Bank(tuple(f"pattern{index}" for index in range(count)), patterns, centre, centre + np.float32(0.01), reach)


def asking(count: int, reach: int = 0) -> Ask:
    """Return what asks a bank over a DnCNN for a batch of images, in ONNX Runtime."""
    torch = pytest.importorskip("torch", reason="exporting needs the extra `export`")
    from export.fingerprints import DifBank
    from export.residual_filters import DnCNN

    torch.manual_seed(0)
    residual = DnCNN().eval().folded()
    images = np.random.default_rng(0).integers(0, 256, (BATCH, SIDE, SIDE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old exporter takes a fraction of the new one's time
        torch.onnx.export(
            DifBank(residual, bank(count, reach)).eval(),
            (torch.from_numpy(images),),
            buffer,
            input_names=["image"],
            opset_version=18,
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": images})


def test_a_bank_costs_as_one_fingerprint(ratio: Ratio) -> None:
    assert ratio(asking(MANY), asking(1)) >= 1 / MOST


def test_a_search_of_shifts_costs_less_than_the_filter(ratio: Ratio) -> None:
    assert ratio(asking(MANY, REACH), asking(MANY)) >= 1 / MOST_ALIGNED
