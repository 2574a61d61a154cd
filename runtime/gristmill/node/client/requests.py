"""The open requests of a client, and who waits for them.

A request's number on the wire says which entry of the client's table it belongs to, and its place
there: requests that were sent as a run share one entry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gristmill.death import POISON_LIMIT
from gristmill.errors import ActorDied, AskTimeoutError
from gristmill.messages import Request, reply_type
from gristmill.ref import Address
from gristmill.transport.arrays import ArrayGoneError
from gristmill.transport.codec import Codec
from gristmill.transport.envelope import ASK, ErrorReply, to_exception
from gristmill.transport.outbound import LONGEST_RUN, Head

PLACE_BITS: Final = 10
"""Bits of a request's number that say its place in its run."""
PLACES: Final = (1 << PLACE_BITS) - 1
MOST_TOGETHER: Final = LONGEST_RUN
"""Requests in one entry: so few that the numbers of two entries never follow each other."""

Again = tuple[Head, int, bytes]
"""What to send once more: the head of its run, its number, its body."""


class RequestKind(msgspec.Struct, frozen=True, eq=False):
    """What is the same for all requests of a type."""

    name: str
    decode: Callable[[bytes], Any]
    """Decodes the reply."""
    idempotent: bool
    """Whether it may be sent again when its callee's worker dies."""

    @classmethod
    def of(cls, codec: Codec, request: type[Request[Any]]) -> RequestKind:
        """Look a request type up."""
        decoder = codec.decoder(reply_type(request))
        return cls(request.__qualname__, decoder.decode, request.__idempotent__)

    def reply(self, to: Address, body: bytes) -> tuple[Any, Exception | None]:
        """Decode a reply; give it, or the error in its place."""
        try:
            return self.decode(body), None
        except msgspec.MsgspecError as error:
            text = f"{to.label} answered {self.name} with something else: {error}"
            return None, to_exception(ErrorReply("ReplyTypeError", text))
        except ArrayGoneError as error:
            return None, ActorDied(f"{to.label} answered {self.name}, but {error}")

    def timed_out(self, to: Address, timeout: float | None) -> AskTimeoutError:
        """Say that there was no outcome within ``timeout`` seconds."""
        return AskTimeoutError(
            f"{to.label} is alive and did not answer {self.name} in {timeout:g} s"
        )


class Waiter(msgspec.Struct, eq=False):
    """One open request."""

    to: Address
    kind: RequestKind
    deadline: float | None
    """Monotonic seconds after which nobody waits, as its callee knows it; None for never."""
    number: int
    """Its entry in the table."""
    done: bool = False
    value: Any = None
    error: BaseException | None = None
    event: threading.Event | None = None
    """Wakes the thread that waits while another one reads."""
    notify: Callable[[], None] | None = None
    """Called once, by whoever brings the outcome."""
    body: bytes | None = None
    """What to send again when the callee's worker dies: only of an idempotent request."""
    deaths: int = 0
    """Deaths of the callee's worker that it may be the cause of."""

    def answer(self, place: int, bodies: list[bytes]) -> bool:
        """Take in the encoded reply; give whether that was all."""
        del place
        self.settle(*self.kind.reply(self.to, bodies[0]))
        return True

    def fail(self, place: int, error: BaseException) -> bool:
        """Take in an error in place of the reply; give whether that was all."""
        del place
        self.settle(None, error)
        return True

    def settle(self, value: Any, error: BaseException | None) -> None:  # noqa: ANN401 - a reply
        """Set the outcome; the first one counts."""
        if self.done:
            return
        self.value, self.error = value, error
        self.done = True
        if self.event is not None:
            self.event.set()
        if self.notify is not None:
            self.notify()

    def again(
        self, blamed: Callable[[int], bool], quarantined: Callable[[], BaseException]
    ) -> list[Again]:
        """Give what to send to the callee's next incarnation; nothing if it must not be.

        Args:
            blamed: tells of a request's number whether the callee's worker may have died of it.
            quarantined: makes the error of one that was blamed too often.
        """
        if self.body is None:
            return []
        number = self.number << PLACE_BITS
        self.deaths += blamed(number)
        if self.deaths >= POISON_LIMIT:
            self.settle(None, quarantined())
            return []
        head = (ASK, self.to.key, 0, self.deadline or 0.0)
        return [(head, number, self.body)]

    def open_requests(self) -> list[int]:
        """Give its number on the wire, if it has no outcome."""
        return [] if self.done else [self.number << PLACE_BITS]

    def result(self) -> Any:  # noqa: ANN401 - a reply
        """Give the reply or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value

    def timed_out(self, timeout: float | None) -> AskTimeoutError:
        """Say that there was no outcome within ``timeout`` seconds."""
        return self.kind.timed_out(self.to, timeout)


class _Open:
    """Stands for a reply that has not come."""


OPEN: Final = _Open()


class RequestRun:
    """Open requests of one type to one actor that were sent together. One thread waits for them.

    Args:
        to: whom they are for.
        kind: their type.
        deadline: monotonic seconds after which nobody waits; None for never.
        count: how many.
        notify: called when all have an outcome, and when the one that is waited for has.
    """

    __slots__ = ("_awaited", "_bodies", "_deaths", "_errors", "_left", "_notify",
                 "_sent_again", "closed", "deadline", "done", "event", "kind", "number", "to",
                 "values")  # fmt: skip

    def __init__(
        self,
        to: Address,
        kind: RequestKind,
        deadline: float | None,
        count: int,
        notify: Callable[[], None] | None = None,
    ) -> None:
        self.to = to
        self.kind = kind
        self.deadline = deadline
        self.number = 0
        """The entry in the table."""
        self.values: list[Any] = [OPEN] * count
        """The replies by place; ``OPEN`` where there is none."""
        self.done = False
        """Whether there is an outcome at the place that is waited for."""
        self.closed = False
        """Whether its callee's worker has died: what was not sent shares the fate of the rest."""
        self.event: threading.Event | None = None
        self._left = count
        self._errors: dict[int, BaseException] = {}
        self._awaited = 0
        self._bodies: list[bytes] | None = None
        self._deaths: dict[int, int] = {}
        """By place, the deaths of the callee's worker that a request may be the cause of."""
        self._sent_again = False
        self._notify = notify

    @property
    def complete(self) -> bool:
        """Whether all have an outcome."""
        return not self._left

    @property
    def head(self) -> Head:
        """What their envelopes have in common."""
        return (ASK, self.to.key, 0, self.deadline or 0.0)

    def keep(self, bodies: list[bytes]) -> None:
        """Keep what to send again when the callee's worker dies."""
        self._bodies = bodies

    def expect(self, place: int) -> None:
        """Wait for the outcome at ``place`` from now on."""
        self.done = False
        self._awaited = place
        self.done = self._has(place)

    def raise_error(self, place: int) -> None:
        """Raise the error at ``place``, if there is one."""
        error = self._errors.get(place)
        if error is not None:
            raise error

    def answer(self, place: int, bodies: list[bytes]) -> bool:
        """Take in encoded replies from ``place`` on; give whether no request is open any more."""
        end = place + len(bodies)
        if self._sent_again or end > len(self.values):
            self._answer_each(place, bodies)
        else:
            try:
                self.values[place:end] = list(map(self.kind.decode, bodies))
                self._left -= len(bodies)
            except (msgspec.MsgspecError, ArrayGoneError):
                self._answer_each(place, bodies)
        self._tell()
        return not self._left

    def _answer_each(self, first: int, bodies: list[bytes]) -> None:
        for place, body in enumerate(bodies, first):
            if place < len(self.values) and not self._has(place):
                value, error = self.kind.reply(self.to, body)
                if error is not None:
                    self._errors[place] = error
                else:
                    self.values[place] = value
                self._left -= 1

    def fail(self, place: int, error: BaseException) -> bool:
        """Take in an error in place of a reply; give whether no request is open any more."""
        if place < len(self.values) and not self._has(place):
            self._errors[place] = error
            self._left -= 1
        self._tell()
        return not self._left

    def settle(self, _value: None, error: BaseException) -> None:
        """End all that is still open with an error."""
        for place in self._open_places():
            self._errors[place] = error
        self._left = 0
        self._tell()

    def again(
        self, blamed: Callable[[int], bool], quarantined: Callable[[], BaseException]
    ) -> list[Again]:
        """Give what to send to the callee's next incarnation, as :meth:`Waiter.again` does."""
        if self._bodies is None:
            return []
        self._sent_again = True
        first, again = self.number << PLACE_BITS, []
        for place in self._open_places():
            deaths = self._deaths[place] = self._deaths.get(place, 0) + blamed(first + place)
            if deaths >= POISON_LIMIT:
                self._errors[place] = quarantined()
                self._left -= 1
            else:
                again.append((self.head, first + place, self._bodies[place]))
        self._tell()
        return again

    def open_requests(self) -> list[int]:
        """Give the numbers on the wire of those that have no outcome."""
        return [(self.number << PLACE_BITS) + place for place in self._open_places()]

    def _open_places(self) -> list[int]:
        return [place for place in range(len(self.values)) if not self._has(place)]

    def _has(self, place: int) -> bool:
        return self.values[place] is not OPEN or place in self._errors

    def _tell(self) -> None:
        news = not self.done and self._has(self._awaited)
        if news:
            self.done = True
            if self.event is not None:
                self.event.set()
        if self._notify is not None and (news or not self._left):
            self._notify()


OpenRequests = dict[int, Waiter | RequestRun]
"""The requests that have no outcome yet, by entry. One operation of a dict needs no lock."""
