"""What a gradient costs in ONNX Runtime beside torch: forward and backward of ResNet-50, by turns on the same threads.

The floor says that a search loses nothing by asking a served graph; the measured ratio is in `extra_info`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

BATCH, THREADS, FLOOR = 8, 2, 0.75


@pytest.mark.slow
def test_gradient_of_resnet50_against_torch(tmp_path: Path, ratio: Callable[..., float]) -> None:
    torch = pytest.importorskip("torch", reason="exporting needs the extra `export`")
    import onnx
    import onnxruntime as ort

    from export.catalog import build
    from export.gradient import gradient_graph
    from export.gradient_check import kl_loss
    from export.onnx import write_onnx

    built = build("resnet50.tv_float", {"weights": "seeded:0"})
    network, path = built.module.eval().requires_grad_(False), tmp_path / "model.onnx"
    side = built.card.preprocess.crop
    write_onnx(network, torch.zeros(2, 3, side, side), path, built.card)
    onnx.save(gradient_graph(onnx.load(path), built.card), path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    feed = {
        "image": random.random((BATCH, 3, side, side), dtype=np.float32),
        "target": random.normal(size=(BATCH, 1000)).astype(np.float32),
        "mode": np.zeros((BATCH, 1), np.int32),
        "temperature": np.ones((BATCH, 1), np.float32),
    }
    image, loss = torch.from_numpy(feed["image"]), kl_loss(torch.from_numpy(feed["target"]), 1.0)

    def eager() -> None:
        taken = image.clone().requires_grad_()
        torch.autograd.grad(loss(network(taken)), taken)

    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        assert ratio(lambda: session.run(None, feed), eager) >= FLOOR
    finally:
        torch.set_num_threads(before)
