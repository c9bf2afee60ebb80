import re
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

from harness.backends.base import EndpointOptions
from harness.backends.failures import LONGEST, LOST_REGION, Failures, retry_after
from harness.errors import (
    EndpointBadAnswer,
    EndpointDenied,
    EndpointError,
    EndpointInsecure,
    EndpointRefused,
    EndpointTimeout,
    EndpointUnavailable,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FAILURES = Failures("grpc://h:1/m", "m", EndpointOptions(), "canary")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 5 ", 5),
        ("9" * 400, float("inf")),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ("Sat, 31 Jan 2026 13:00:00 +0100", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        (["1", "2"], None),
    ],
)
def test_what_retry_after_asks_for(said: object, seconds: float | None) -> None:
    assert retry_after(said, NOW) == seconds


@given(st.text())
def test_whatever_a_server_writes_there_is_no_error(said: str) -> None:
    assert (retry_after(said, NOW) or 0) >= 0


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        ("StatusCode.UNAVAILABLE", "failed to connect", EndpointUnavailable),
        ("StatusCode.UNAVAILABLE", "SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED", EndpointInsecure),
        ("StatusCode.UNAVAILABLE", "Socket closed", EndpointUnavailable),
        ("StatusCode.INVALID_ARGUMENT", "SSL_ERROR_SSL", EndpointRefused),
        ("StatusCode.DEADLINE_EXCEEDED", "Deadline Exceeded", EndpointTimeout),
        ("StatusCode.UNAUTHENTICATED", "", EndpointDenied),
        ("StatusCode.NOT_FOUND", "no such model", EndpointRefused),
        ("StatusCode.NOT_FOUND", f"{LOST_REGION}: 'x'", EndpointUnavailable),
        ("408", "", EndpointTimeout),
        ("429", "", EndpointUnavailable),
        ("403", "", EndpointDenied),
        ("500", "out of memory", EndpointRefused),
        ("", "", EndpointRefused),
    ],
)
def test_a_status_is_an_error_of_one_class(status: str, said: str, kind: type[EndpointError]) -> None:
    found = FAILURES.classify(InferenceServerException(said, status))
    assert type(found) is kind
    assert str(found).startswith("grpc://h:1/m: expected ")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError(104, "reset"), EndpointUnavailable),
        (TimeoutError("timed out"), EndpointTimeout),
        (ssl.SSLCertVerificationError(1, "self signed"), EndpointInsecure),
        (ssl.SSLEOFError(8, "EOF"), EndpointUnavailable),
        (ssl.SSLError("The handshake operation timed out"), EndpointTimeout),
        (KeyError("outputs"), EndpointBadAnswer),
        (EndpointRefused("as it is"), EndpointRefused),
    ],
)
def test_an_error_on_the_way_is_an_error_of_one_class(error: Exception, kind: type[EndpointError]) -> None:
    assert type(FAILURES.classify(error)) is kind


def test_only_a_refusal_that_passes_says_when_to_ask_again() -> None:
    assert FAILURES.classify(InferenceServerException("", "503"), 7.0).retry_after_s == 7.0
    assert FAILURES.classify(InferenceServerException("", "400"), 7.0).retry_after_s is None


@given(st.text(), st.text())
def test_a_servers_words_are_one_short_printable_line_without_the_token(before: str, after: str) -> None:
    said = FAILURES.brief(f"{before}canary{after}")
    assert "canary" not in said.replace("***", "")
    assert len(said) <= LONGEST + 3
    assert said.isprintable()


def test_a_page_in_place_of_an_error_does_not_fill_the_records() -> None:
    page = "<html>\x1b[31m" + "word " * 100_000 + "canary"
    message = str(FAILURES.classify(InferenceServerException(page, "503")))
    assert len(message) < 600
    assert not re.search(r"[\x00-\x1f]", message)
