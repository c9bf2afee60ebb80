"""Starts a real Triton on this machine."""

from harness.serving.foreground import serve
from harness.serving.locate import find_tritonserver
from harness.serving.server import TritonServer

__all__ = ["TritonServer", "find_tritonserver", "serve"]
