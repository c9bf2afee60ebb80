"""What went wrong with a request to a KServe v2 server, as an error of ours that says what to do. Never asks again."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from traceback import format_exception

from tritonclient.utils import InferenceServerException

from harness.backends.base import EndpointOptions
from harness.errors import (
    EndpointBadAnswer,
    EndpointDenied,
    EndpointError,
    EndpointInsecure,
    EndpointRefused,
    EndpointTimeout,
    EndpointUnavailable,
    problem,
)

AWAY = {"429", "502", "503", "504", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"}
LATE = {"408", "499", "DEADLINE_EXCEEDED"}
DENIED = {"401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"}
INSECURE = re.compile("SSL_ERROR_SSL|Hostname Verification Check failed")
"""What gRPC says where TLS fails for good; its status is the same as where nothing listens."""

CUT_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""Errors of TLS that only say that the connection ended."""

ENDED = ("closed", "Incomplete response")
"""What the HTTP client says where a connection ends before an answer does."""

LOST_REGION = "Unable to find shared memory region"
"""What a server says that was started anew since a region was registered."""

PASSING = (LOST_REGION, "no available versions")
"""What a server says for a while where its status says that the request is wrong; the latter of an unloaded model."""

START = "Start it (harness serve), correct the address, or give it time (options.retries)"
LONGEST = 300
"""Characters of a server's own words that a message repeats."""


@dataclass(frozen=True)
class Failures:
    """Tells what failed requests to one endpoint mean.

    Attributes:
        endpoint: its address.
        model: what is asked there.
        options: as the suite gives them.
        secret: what no message may repeat, whatever a server says.
    """

    endpoint: str
    model: str
    options: EndpointOptions
    secret: str = field(default="", repr=False)

    def classify(self, error: Exception, retry_after_s: float | None = None) -> EndpointError:
        """Return an error of tritonclient, gRPC or a socket as one of ours.

        Args:
            error: what was raised.
            retry_after_s: seconds that the server asked to wait.
        """
        if isinstance(error, EndpointError):
            return error
        if isinstance(error, InferenceServerException):
            return self._answered(str(error.status() or ""), self.brief(error.message()), retry_after_s)
        said = self.brief(error) or type(error).__name__
        if isinstance(error, TimeoutError) or "timed out" in said:
            return self._late()
        if isinstance(error, ssl.SSLError) and not isinstance(error, CUT_OFF):
            return self._insecure(said)
        if isinstance(error, OSError) or any(word in said for word in ENDED):
            return EndpointUnavailable(problem(self.endpoint, "a connection", said, START))
        got = f"{type(error).__name__}: {said}"
        return EndpointBadAnswer(problem(self.endpoint, "a KServe v2 answer", got, "Check the server"))

    def cause(self, error: Exception) -> Exception | None:
        """Return what a traceback may show as the cause of one of ours; None where it would show the secret."""
        return None if self.secret and self.secret in "".join(format_exception(error)) else error

    def brief(self, said: object) -> str:
        """Return a server's words as one printable line of at most :data:`LONGEST` characters, without the secret."""
        text = str(said or "")
        if self.secret:
            text = text.replace(self.secret, "***")
        line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split()).rstrip(".")
        return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."

    def _answered(self, status: str, said: str, retry_after_s: float | None) -> EndpointError:
        """Return what a status of HTTP or gRPC means."""
        code = status.removeprefix("StatusCode.")
        got = f"{code} ({said})"
        if code == "UNAVAILABLE" and INSECURE.search(said):
            return self._insecure(said)
        if code in LATE or "Deadline" in said:
            return self._late()
        if code in AWAY or any(word in said for word in PASSING):
            return EndpointUnavailable(problem(self.endpoint, "an answer", got, START), retry_after_s=retry_after_s)
        if code in DENIED:
            return self._denied(got)
        if code.startswith("3"):
            got, do = f"a redirect ({code})", "Name the address that answers itself; redirects are not followed"
            return EndpointRefused(problem(self.endpoint, "an answer", got, do))
        what = f"model {self.model} to take the request"
        return EndpointRefused(
            problem(self.endpoint, what, said or code, "Check name and shapes, and the server's log")
        )

    def _late(self) -> EndpointTimeout:
        got = f"none within {self.options.timeout_s:g} s"
        return EndpointTimeout(
            problem(self.endpoint, "an answer", got, "Raise options.timeout_s, or lower options.batch")
        )

    def _denied(self, got: str) -> EndpointDenied:
        auth = self.options.auth
        if auth is None:
            do = "Name the environment variable that holds a token: options.auth.bearer_env"
        else:
            do = f"Put a token that is valid into {auth.bearer_env} and run the same command again"
        return EndpointDenied(problem(self.endpoint, "to be let in", got, do))

    def _insecure(self, got: str) -> EndpointInsecure:
        given = f" (now {self.options.tls.ca})" if self.options.tls and self.options.tls.ca else ""
        do = f"Give the file of its certificate's CA as options.tls.ca{given}, or correct scheme and host name"
        return EndpointInsecure(problem(self.endpoint, "a TLS connection that can be trusted", got, do))


def retry_after(value: object, now: datetime) -> float | None:
    """Return the seconds that a header ``Retry-After`` asks to wait, at least 0; None where it says none.

    Args:
        value: whole seconds, or a date of HTTP.
        now: the time, with its zone.
    """
    if not isinstance(value, str):
        return None
    if re.fullmatch("[0-9]+", value.strip()):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())
