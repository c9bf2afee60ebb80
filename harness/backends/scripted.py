"""A model that answers by script: deterministic scores, delays and faults. For tests and demonstrations."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, ValidationError

from harness.backends.base import EndpointOptions, ModelInfo, Tensors
from harness.card import Card
from harness.errors import (
    EndpointRefused,
    EndpointTimeout,
    EndpointUnavailable,
    SuiteError,
    problem,
)
from harness.frozen import Frozen
from harness.spec.source import parse_source, read_source


class Fault(Frozen):
    """What goes wrong, and when: on requests ``first``, ``first + every``, ... counted from 0, ``times`` in all."""

    kind: Literal["unavailable", "timeout", "refused", "nan", "shape"]
    first: NonNegativeInt = 0
    every: PositiveInt = 1
    times: PositiveInt | None = None

    def strikes(self, request: int) -> bool:
        """Whether it happens on this request."""
        turn, rest = divmod(request - self.first, self.every)
        return request >= self.first and rest == 0 and (self.times is None or turn < self.times)


class Script(Frozen):
    """How the model answers.

    Attributes:
        card: what it says it is.
        rule: ``brightness``: mean pixel in [0, 1]; ``hash``: a number in [0, 1) drawn from each input's bytes.
        delay_s: before every answer.
        faults: what goes wrong.
    """

    card: Card
    rule: Literal["brightness", "hash"] = "brightness"
    delay_s: NonNegativeFloat = 0.0
    faults: tuple[Fault, ...] = ()


class ScriptedBackend:
    """Answers by a script.

    Args:
        endpoint: as the suite writes it.
        script: how.
        options: kept for the policy.
        sleep: waits.
    """

    def __init__(
        self, endpoint: str, script: Script, options: EndpointOptions, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.endpoint, self.script, self.options = endpoint, script, options
        self._sleep = sleep
        self._count = itertools.count()
        self._lock = threading.Lock()

    @property
    def requests(self) -> int:
        """How many requests came so far."""
        with self._lock:
            seen = next(self._count)
            self._count = itertools.count(seen)
            return seen

    def info(self) -> ModelInfo:
        """Return the script's card; its digest stands for the weights."""
        digest = hashlib.sha256(self.script.model_dump_json(exclude={"faults", "delay_s"}).encode()).hexdigest()
        return ModelInfo(card=self.script.card, weights_sha256=digest, platform="scripted")

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Answer, wait or fail as the script says."""
        with self._lock:
            request = next(self._count)
        if self.script.delay_s:
            self._sleep(self.script.delay_s)
        fault = next((item.kind for item in self.script.faults if item.strikes(request)), None)
        what = problem(self.endpoint, "an answer", f"scripted {fault}", "Change the script")
        match fault:
            case "unavailable":
                raise EndpointUnavailable(what)
            case "timeout":
                raise EndpointTimeout(what)
            case "refused":
                raise EndpointRefused(what)
        values = inputs[self.script.card.input]
        scores = np.array([self._score(value) for value in values], np.float32)
        answer = np.repeat(scores[:, None], self.script.card.outputs, axis=1)
        if fault == "nan":
            answer[0] = np.nan
        return {self.script.card.output: answer[:-1] if fault == "shape" else answer}

    def close(self) -> None:
        """Do nothing."""

    def _score(self, value: NDArray[Any]) -> float:
        if self.script.rule == "brightness":
            return float(value.mean()) / (255.0 if value.dtype == np.uint8 else 1.0)
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest()
        return int.from_bytes(digest[:4], "little") / 2**32


def read_script(where: str) -> Script:
    """Read a script from a YAML file, or from inline JSON.

    Raises:
        SuiteError: it can't be read or is none.
    """
    try:
        inline = where.lstrip().startswith("{")
        said = parse_source(where, Path("script"), {}) if inline else read_source(Path(where), {})
        return Script.model_validate(said.data)
    except (SuiteError, ValidationError) as error:
        raise SuiteError(
            problem(f"scripted:{where[:60]}", "a script", str(error), "See harness/backends/scripted.py")
        ) from error
