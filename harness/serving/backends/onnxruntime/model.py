"""Triton's `onnxruntime` backend in Python: loads a standard entry (config.pbtxt, VERSION/model.onnx) as it is.

Runs inside Triton's Python stub, not in the harness, and imports nothing of it. Tensors cross by DLPack: the stub was
built before NumPy 2 and its own NumPy conversion sends zeros.
"""

import json
import os
import sys
from pathlib import Path

# The stub ignores PYTHONPATH; the server's starter says where the packages are.
sys.path[:0] = [item for item in os.environ.get("DISCERN_SITE_PACKAGES", "").split(os.pathsep) if item not in sys.path]

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

TRITON_TYPES = {
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
    "tensor(double)": "TYPE_FP64",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(bool)": "TYPE_BOOL",
}


class TritonPythonModel:
    """One instance of a model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        """Fill in what the entry's configuration leaves to the graph: tensors and batching."""
        config = auto_complete_model_config.as_dict()
        if config["input"] and config["output"]:
            return auto_complete_model_config
        session = open_session(Path(config_folder(config)), config)
        batched = all(not isinstance(item.shape[0], int) for item in session.get_inputs() if item.shape)
        if batched and config["max_batch_size"] == 0:
            auto_complete_model_config.set_max_batch_size(8)
        skip = 1 if batched else 0
        for item in session.get_inputs():
            auto_complete_model_config.add_input(described(item, skip))
        for item in session.get_outputs():
            auto_complete_model_config.add_output(described(item, skip))
        return auto_complete_model_config

    def initialize(self, args):
        """Open the session of the version that is loaded."""
        config = json.loads(args["model_config"])
        self.batched = config["max_batch_size"] > 0
        folder = Path(args["model_repository"]) / args["model_version"]
        self.session = open_session(folder, config)
        self.inputs = {item.name: len(item.shape) for item in self.session.get_inputs()}
        self.outputs = [item.name for item in self.session.get_outputs()]

    def execute(self, requests):
        """Answer requests: those of one shape together; a failure is answered to its own request alone."""
        responses = [None] * len(requests)
        groups = {}
        for place, request in enumerate(requests):
            try:
                arrays = [
                    ranked(array(pb_utils.get_input_tensor_by_name(request, name)), rank)
                    for name, rank in self.inputs.items()
                ]
            except Exception as error:
                responses[place] = failed(error)
                continue
            key = tuple((item.dtype.str, item.shape[1:] if self.batched else (place,)) for item in arrays)
            groups.setdefault(key, []).append((place, arrays))
        for members in groups.values():
            self.answer(members, requests, responses)
        return responses

    def answer(self, members, requests, responses):
        """Run one group as one batch and hand each request its rows."""
        try:
            columns = zip(*(arrays for _, arrays in members), strict=True)
            joined = [items[0] if len(items) == 1 else np.concatenate(items) for items in columns]
            values = self.session.run(self.outputs, dict(zip(self.inputs, joined, strict=True)))
        except Exception as error:
            if len(members) == 1:
                responses[members[0][0]] = failed(error)
            else:
                for member in members:
                    self.answer([member], requests, responses)
            return
        start = 0
        for place, arrays in members:
            rows = slice(start, start + len(arrays[0])) if self.batched else slice(None)
            start += len(arrays[0]) if self.batched else 0
            wanted = set(requests[place].requested_output_names())
            tensors = [
                pb_utils.Tensor.from_dlpack(
                    name, np.ascontiguousarray(ranked(value[rows], max(value.ndim, 1 + self.batched)))
                )
                for name, value in zip(self.outputs, values, strict=True)
                if name in wanted
            ]
            responses[place] = pb_utils.InferenceResponse(output_tensors=tensors)

    def finalize(self):
        """Let the session go."""
        self.session = None


def array(tensor):
    """Return a request's tensor as an array, without a copy."""
    if tensor is None:
        raise ValueError("an input is missing")
    return np.from_dlpack(tensor)


def ranked(value, rank):
    """Return the array with so many dimensions: ones are added or taken away at its end."""
    missing = rank - value.ndim
    if missing > 0:
        return value.reshape(value.shape + (1,) * missing)
    return value.reshape(value.shape[:rank]) if missing < 0 and set(value.shape[rank:]) == {1} else value


def failed(error):
    """Return an error response."""
    message = str(error).partition("\n")[0]
    return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(f"onnxruntime: {message}"))


def open_session(folder, config):
    """Open ``folder/model.onnx`` with the thread counts that Triton's backend takes as parameters."""
    said = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    options = ort.SessionOptions()
    options.log_severity_level = 4
    threads = said.get("intra_op_thread_count") or os.environ.get("DISCERN_SERVER_THREADS") or "0"
    options.intra_op_num_threads = int(threads)
    options.inter_op_num_threads = int(said.get("inter_op_thread_count", "0"))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    kinds = {item.get("kind", "KIND_AUTO") for item in config.get("instance_group", ())} or {"KIND_AUTO"}
    cuda = "CUDAExecutionProvider" in ort.get_available_providers() and Path("/proc/driver/nvidia/version").exists()
    providers = ["CUDAExecutionProvider"] if cuda and kinds & {"KIND_GPU", "KIND_AUTO"} else []
    name = config.get("default_model_filename") or "model.onnx"
    return ort.InferenceSession(str(folder / name), options, providers=[*providers, "CPUExecutionProvider"])


def config_folder(config):
    """Return the newest version's folder while the configuration is being completed, before a version is chosen."""
    root = Path(os.environ["DISCERN_REPOSITORY"]) / config["name"]
    return max((item for item in root.iterdir() if item.name.isdigit()), key=lambda item: int(item.name))


def described(item, skip):
    """Return an ONNX value as Triton describes one, which knows no scalars: one number a row is a row of one."""
    dims = [dim if isinstance(dim, int) else -1 for dim in item.shape[skip:]] or [1]
    return {"name": item.name, "data_type": TRITON_TYPES[item.type], "dims": dims}
