"""Every error the harness raises on purpose; each class knows the exit code it ends the command with."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    GATE_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    INVALID = 4
    INTERRUPTED = 130


NOT_FINITE = "answer:not_finite"
"""The failure of an image that a model answers with NaN or infinity; final, for it would again."""


def problem(what: str, expected: str, got: str, do: str) -> str:
    """Return a message in the project's grammar: ``what: expected X, got Y. Do Z.``."""
    advice = do.rstrip(".")
    return f"{what}: expected {expected}, got {got}. {advice}{'' if advice.endswith('?') else '.'}"


class HarnessError(Exception):
    """Base of all deliberate errors; printed without a traceback."""

    exit_code: ExitCode = ExitCode.USAGE


class DamagedWarning(UserWarning):
    """Something on disk that can't be read and counts as not there."""


class SuiteError(HarnessError):
    """A suite file, or an override of it, that can't be read or does not make sense."""


class DataError(HarnessError):
    """A dataset that is missing, empty or not laid out as the suite says."""


class CardError(HarnessError):
    """A model whose card is missing or contradicts the model."""


class CheckpointError(HarnessError):
    """A checkpoint that is malformed, incomplete or asks for code to be executed."""


class DivergedError(HarnessError):
    """A training whose answers are no numbers any more."""

    exit_code = ExitCode.INVALID


class ParityError(HarnessError):
    """An exported model that does not answer as its source does."""


class StoreError(HarnessError):
    """A run folder that can't be read or written."""


class RunInvalid(HarnessError):
    """A finished run whose figures must not be trusted."""

    exit_code = ExitCode.INVALID


class ImageError(HarnessError):
    """One image that can't be used; costs one record, never the run.

    Attributes:
        reason: a short stable word (``truncated``, ``too_large``, ...), kept in the record.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EndpointError(HarnessError):
    """An endpoint that did not give a usable answer.

    Attributes:
        reason: a short stable word kept in the record.
        retryable: whether the same request may succeed later.
    """

    exit_code = ExitCode.UNAVAILABLE
    reason = "endpoint"
    retryable = False

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EndpointUnavailable(EndpointError):
    """Nothing answers there, or the server says that it is overloaded or not ready."""

    reason = "unavailable"
    retryable = True


class EndpointDenied(EndpointUnavailable):
    """The server lets nobody in without a token, or not with this one."""

    reason = "denied"
    retryable = False


class EndpointInsecure(EndpointUnavailable):
    """No TLS connection that can be trusted."""

    reason = "tls"
    retryable = False


class EndpointTimeout(EndpointError):
    """No answer within the time that the suite allows."""

    reason = "timeout"
    retryable = True


class EndpointRefused(EndpointError):
    """The server understood the request and refused it (unknown model, bad shape)."""

    reason = "refused"


class EndpointBadAnswer(EndpointError):
    """An answer of the wrong shape or type."""

    reason = "bad_answer"
