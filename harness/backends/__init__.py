"""Where answers come from: ONNX Runtime in process, KServe v2 servers, scripts; and the policy around them."""

from harness.backends.base import Backend, EndpointOptions, ModelInfo
from harness.backends.opening import open_backend

__all__ = ["Backend", "EndpointOptions", "ModelInfo", "open_backend"]
