"""Throughput of an int8 ResNet-50 over the float one, in ONNX Runtime on this processor, batch 8."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.backends.ort import open_session
from harness.environment import FLAGS, fingerprint


@pytest.mark.slow
def test_int8_over_float(ratio: Callable[..., float], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="exporting needs the extra `export`")
    from export.catalog import build
    from export.onnx import write_onnx
    from export.parity import probe_inputs

    float_, small = (build(f"resnet50.{kind}", {"weights": "seeded:0"}) for kind in ("tv_float", "tv_int8"))
    batch = np.resize(probe_inputs(float_.card, 4), (8, 3, 224, 224))
    write_onnx(float_.module, torch.from_numpy(batch[:2]), tmp_path / "float.onnx", float_.card)
    assert small.write is not None
    small.write(tmp_path / "int8.onnx")
    sessions = [open_session(tmp_path / name) for name in ("int8.onnx", "float.onnx")]
    found = ratio(*(lambda session=session: session.run(None, {"image": batch}) for session in sessions), rounds=8)
    has_vnni = any(flag in fingerprint()["processor"] for flag in FLAGS if "vnni" in flag)
    assert found > (1.5 if has_vnni else 0.5)
