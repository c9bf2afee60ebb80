"""Answers from ONNX Runtime in this process: one session, safe to ask from several threads."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import ValidationError

from harness.backends.base import EndpointOptions, ModelInfo, Optimisation, Provider, Tensors
from harness.card import CARD_KEY, Card
from harness.errors import CardError, EndpointBadAnswer, EndpointRefused, EndpointUnavailable, problem

KSERVE = {
    "tensor(float)": "FP32",
    "tensor(float16)": "FP16",
    "tensor(double)": "FP64",
    "tensor(uint8)": "UINT8",
    "tensor(int8)": "INT8",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(bool)": "BOOL",
}


LEVELS: dict[Optimisation, ort.GraphOptimizationLevel] = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class OrtBackend:
    """An ONNX file in process.

    Args:
        endpoint: as the suite writes it.
        path: the file.
        options: ``threads`` intra-op threads; all cores where 0.

    Raises:
        EndpointUnavailable: there is no such file.
        EndpointRefused: ONNX Runtime can't load it.
    """

    def __init__(self, endpoint: str, path: Path, options: EndpointOptions) -> None:
        self.endpoint, self.path, self.options = endpoint, path, options
        if not path.is_file():
            raise EndpointUnavailable(problem(endpoint, "an ONNX file", "none", "Export it, or correct the path"))
        self._session = open_session(path, options.threads, options.optimisation, options.provider)

    def info(self) -> ModelInfo:
        """Return what the file says of itself. Raises CardError where its card can't be read."""
        try:
            text = self._session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
            card = Card.model_validate_json(text) if text else None
            inputs = {item.name: _described(item) for item in self._session.get_inputs()}
            outputs = {item.name: _described(item) for item in self._session.get_outputs()}
        except (ValidationError, UnicodeDecodeError) as error:
            raise CardError(problem(f"card of {self.path}", "a valid card", str(error), "Export it again")) from error
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ModelInfo(
            card=card,
            weights_sha256=digest,
            platform=f"onnxruntime {ort.__version__} {self._session.get_providers()[0]}",
            inputs=inputs,
            outputs=outputs,
        )

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Answer one batch; raises EndpointRefused on inputs that the graph does not take."""
        try:
            values = self._session.run(None, dict(inputs))
        except Exception as error:
            said = str(error).partition("\n")[0]
            raise EndpointRefused(
                problem(self.endpoint, "inputs as the graph declares them", said, "Check the card")
            ) from error
        answers = dict(zip((item.name for item in self._session.get_outputs()), values, strict=True))
        if any(value is None for value in answers.values()):
            raise EndpointBadAnswer(problem(self.endpoint, "every output", "one missing", "Check the graph"))
        return answers

    def close(self) -> None:
        """Do nothing: the session goes with the object."""


def open_session(
    path: Path, threads: int = 0, optimisation: Optimisation = "all", provider: Provider = "auto"
) -> ort.InferenceSession:
    """Open a session that says nothing, and does not keep idle threads spinning on cores that decoding needs.

    Raises:
        EndpointRefused: the file is no model that ONNX Runtime can run, or there is no such provider here.
    """
    providers = usable_providers()
    if provider == "cuda" and len(providers) == 1:
        raise EndpointRefused(problem(f"{path}: provider cuda", "a CUDA device", "none", "Use provider: auto"))
    if provider == "cpu":
        providers = providers[-1:]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = (
        threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads
    )
    options.graph_optimization_level = LEVELS[optimisation]
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise EndpointRefused(problem(str(path), "an ONNX model", said, "Export it again")) from error


def usable_providers() -> list[str]:
    """Return the providers that can load here: CUDA only where the driver shows a device; asking else is loud."""
    cuda = "CUDAExecutionProvider" in ort.get_available_providers() and Path("/proc/driver/nvidia/version").exists()
    return ["CUDAExecutionProvider", "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]


def _described(item: ort.NodeArg) -> tuple[str, tuple[int, ...]]:
    return KSERVE.get(item.type, item.type), tuple(dim if isinstance(dim, int) else -1 for dim in item.shape)
