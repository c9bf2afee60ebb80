"""One model at several addresses: each request goes where the fewest are under way. Waits for none, reads no answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import NDArray

from harness.backends.base import Backend, EndpointOptions, ModelInfo, Tensors
from harness.errors import CardError, EndpointError, EndpointTimeout, EndpointUnavailable, problem

if TYPE_CHECKING:
    from harness.backends.triton import Cancel, TritonBackend

LONGEST_REST_S = 60.0
"""An address that does not answer is tried again at least so often."""

Addresses = str | tuple[str, ...]
"""Where a model answers: one address, or those of a fleet."""


@dataclass(eq=False, slots=True)
class _Member:
    """One address.

    Attributes:
        backend: what asks it.
        flying: requests under way there.
        turn: when it was last chosen, in choices.
        met: whether it said who it is since it was last away.
        rest_s: seconds of its latest rest; 0 of one that answers.
        until: when that rest ends.
    """

    backend: Backend
    flying: int = 0
    turn: int = 0
    met: bool = False
    rest_s: float = 0.0
    until: float = 0.0


class FleetBackend:
    """A backend over several that serve one model.

    A request goes to the member with the fewest under way, of those alike to the one that has waited longest. Where
    that one fails in a way that may pass, the next is asked at once, and the failed one rests: ``backoff_s`` first,
    doubled each time up to :data:`LONGEST_REST_S`. After a rest it gets one request, and others once that is answered.
    Members that rest are asked where no other answers.

    Args:
        members: a backend an address; each tries once and bounds its own requests.
        options: of the fleet; ``concurrency`` is that of all members together.
        tries: members that one request may be sent to; all where None.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        members: Sequence[Backend],
        options: EndpointOptions,
        tries: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.members, self.options = tuple(members), options
        self.endpoint = ", ".join(member.endpoint for member in members)
        self._all = [_Member(member) for member in members]
        self._tries, self._clock = tries or len(self.members), clock
        self._turn = 0
        self._known: tuple[str, ModelInfo] | None = None
        self._lock = threading.Lock()

    @property
    def under_way(self) -> tuple[int, ...]:
        """Requests under way at each member."""
        with self._lock:
            return tuple(member.flying for member in self._all)

    @property
    def away(self) -> tuple[str, ...]:
        """Addresses that did not answer when they were last asked."""
        with self._lock:
            return tuple(member.backend.endpoint for member in self._all if member.rest_s)

    def info(self) -> ModelInfo:
        """Ask every member who it is; one that is away is asked again before it is given a request.

        Raises:
            CardError: two members are not the same model.
            EndpointError: a member refuses, or none answers.
        """
        asked: list[_Member] = []
        failed: list[EndpointError] = []
        while len(asked) < len(self._all):
            asked.append(member := self._take(asked))
            try:
                with self._asking(member):
                    self._meet(member)
            except EndpointError as error:
                if not error.retryable:
                    raise
                failed.append(error)
        if self._known is None or len(failed) == len(asked):
            raise _none_answers(failed)
        return self._known[1]

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Answer one batch at the first member that can; raises EndpointError, which names all that were asked.

        Raises:
            CardError: a member has come back as another model.
        """
        failed: dict[_Member, EndpointError] = {}
        while len(failed) < self._tries:
            member = self._take(failed)
            try:
                with self._asking(member):
                    if self._known is not None and not member.met:
                        self._meet_again(member)
                    return member.backend.infer(inputs)
            except EndpointError as error:
                if not error.retryable:
                    raise
                failed[member] = error
        raise _none_answers(list(failed.values()))

    def begin(self, inputs: Tensors, done: Callable[[dict[str, NDArray[Any]] | EndpointError], None]) -> Cancel:
        """Send one batch to one member over gRPC and return at once, as TritonBackend does."""
        member = self._take(())

        def came(answer: dict[str, NDArray[Any]] | EndpointError) -> None:
            self._ended(member, answer if isinstance(answer, EndpointError) else None)
            done(answer)

        return cast("TritonBackend", member.backend).begin(inputs, came)

    def statistics(self) -> dict[str, tuple[int, int]] | None:
        """Return Triton's counters, all members' together; None where one does not tell."""
        counters = [
            cast("TritonBackend", item).statistics() if hasattr(item, "statistics") else None for item in self.members
        ]
        told = [item for item in counters if item is not None]
        if len(told) < len(counters):
            return None
        stages = {stage for item in told for stage in item}
        return {
            stage: (sum(item.get(stage, (0, 0))[0] for item in told), sum(item.get(stage, (0, 0))[1] for item in told))
            for stage in stages
        }

    def close(self) -> None:
        """Close every member."""
        for member in self.members:
            member.close()

    def _take(self, asked: Collection[_Member]) -> _Member:
        """Choose a member that was not asked yet, and count a request there."""
        with self._lock:
            now, left = self._clock(), [member for member in self._all if member not in asked]
            ready = [member for member in left if member.until <= now and not (member.rest_s and member.flying)]
            if ready:
                member = min(ready, key=lambda item: (item.flying, item.turn))
            else:
                member = min(left, key=lambda item: (item.until, item.turn))
            self._turn += 1
            member.turn = self._turn
            member.flying += 1
            return member

    @contextmanager
    def _asking(self, member: _Member) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._ended(member, error)
            raise
        self._ended(member, None)

    def _ended(self, member: _Member, error: BaseException | None) -> None:
        """Note what came of a request. Failures of those sent before a rest began do not prolong it."""
        with self._lock:
            member.flying -= 1
            now = self._clock()
            if error is None or (isinstance(error, EndpointError) and not error.retryable):
                member.rest_s = member.until = 0.0
            elif isinstance(error, EndpointError) and member.until <= now:
                member.met = False
                member.rest_s = min(LONGEST_REST_S, 2 * member.rest_s or self.options.backoff_s)
                member.until = now + max(member.rest_s, min(error.retry_after_s or 0.0, LONGEST_REST_S))

    def _meet(self, member: _Member) -> None:
        """Ask a member who it is; the first to say so is what the others are held against."""
        info, endpoint = member.backend.info(), member.backend.endpoint
        with self._lock:
            first, known = self._known = self._known or (endpoint, info)
        mine, others = _facts(info), _facts(known)
        for fact in sorted(mine.keys() | others.keys()):
            if mine.get(fact) != others.get(fact):
                expected, got = (f"{facts.get(fact)!r:.80}" for facts in (others, mine))
                do = "Deploy one model at all addresses, or list it as a model of its own"
                raise CardError(problem(f"{endpoint}: {fact}", f"{expected} as at {first}", got, do))
        member.met = True

    def _meet_again(self, member: _Member) -> None:
        """Ask a member that was away; one that does not even say who it is, whatever the reason, is not back yet."""
        try:
            self._meet(member)
        except EndpointError as error:
            raise EndpointUnavailable(str(error), retry_after_s=error.retry_after_s) from error


def model_of(address: str) -> str:
    """Return an address without its host: ``grpc:x/1`` of ``grpc://a:8001/x/1``; the scheme where there is no host."""
    scheme, _, rest = address.partition(":")
    return f"{scheme}:{rest[2:].partition('/')[2].rstrip('/')}" if rest.startswith("//") else scheme


def away_of(backend: Backend) -> tuple[str, ...]:
    """Return the addresses that are away of the fleet that a backend is, or stands around; none where there is none."""
    inner: Any = backend
    while inner is not None and not isinstance(inner, FleetBackend):
        inner = getattr(inner, "inner", None)
    return inner.away if inner is not None else ()


def _facts(info: ModelInfo) -> dict[str, object]:
    """Return what a member says of itself, its card's entries one by one."""
    said = info.model_dump(mode="json")
    card = said.pop("card") or {}
    return {**{f"card {key}": value for key, value in card.items()}, **said}


def _none_answers(failed: Sequence[EndpointError]) -> EndpointError:
    """Return one error of several: that of a member where only one was asked."""
    if len(failed) == 1:
        return failed[0]
    late = all(isinstance(error, EndpointTimeout) for error in failed)
    said = " | ".join(str(error).rstrip(".") for error in failed)
    wait = min(error.retry_after_s or 0.0 for error in failed)
    text = problem("fleet", f"an answer of one of {len(failed)} endpoints", said, "Start one, or correct the list")
    return (EndpointTimeout if late else EndpointUnavailable)(text, retry_after_s=wait or None)
