"""How much an actor that is one of several gets at a time. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from gristmill.ref import Address

_AIM: Final = 0.002
"""Seconds that a part should take: one that takes less is followed by a larger one."""
_FASTEST: Final = 4.0
"""How much larger, at most."""
_SLOW: Final = 0.01
"""Seconds: a part that takes longer is followed by a smaller one."""
_EACH: Final = 2
"""Requests that are open for each of those who share a lane: one in hand, and the next."""
_LONG: Final = 0.05
"""Seconds: behind a part that takes longer no other waits; sending one meanwhile saves 2 ms."""


class Sent(Protocol):
    """Requests that were sent together."""

    @property
    def size(self) -> int:
        """How many."""

    @property
    def complete(self) -> bool:
        """Whether every one has its outcome."""


S = TypeVar("S", bound=Sent)


class Lane(Generic[S]):
    """One of the actors, and the parts that are under way to it.

    Args:
        to: the actor.
        size: requests in one part.
    """

    def __init__(self, to: Address, size: int) -> None:
        self.to = to
        self.size = size
        """Requests in the next part."""
        self._sent: list[tuple[S, float]] = []

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._sent

    @property
    def has_room(self) -> bool:
        """Whether it may get another part now."""
        return True

    def send(self, part: S, now: float) -> None:
        """Take note of a part that is under way since ``now``, in seconds."""
        self._sent.append((part, now))

    def collect(self, now: float) -> int:
        """Let go of the parts that are complete; give how many requests those were."""
        complete = [sent for sent in self._sent if sent[0].complete]  # in whatever order
        if not complete:
            return 0
        self._sent = [sent for sent in self._sent if not sent[0].complete]
        requests = sum(part.size for part, _ in complete)
        self._took(len(complete), requests, complete[0][1], now)
        return requests

    def _took(self, parts: int, requests: int, sent: float, now: float) -> None:
        """So many parts were handled between ``sent``, or the end of the part before, and now."""

    def leave(self) -> int:
        """Let go of all parts; give how many requests those were."""
        requests = sum(part.size for part, _ in self._sent)
        self._sent.clear()
        return requests


class PacedLane(Lane[S]):
    """One that gets no more at a time than keeps its actor busy until the next arrives.

    How long a request takes is not known before. So it begins with one; if they take long it stays
    at that, and if they are short there are as many in a part as take 2 ms.

    Args:
        to: the actor.
        most: requests in one part, at most.
    """

    def __init__(self, to: Address, most: int) -> None:
        super().__init__(to, 1)
        self._most = most
        self._long = True
        self._free_at = 0.0
        """When its last part was complete."""

    @property
    def has_room(self) -> bool:
        """Whether it may get another part now."""
        return not self._sent or (len(self._sent) == 1 and not self._long)

    def _took(self, parts: int, requests: int, sent: float, now: float) -> None:
        seconds = (now - max(sent, self._free_at)) / parts
        self._free_at = now
        self._long = seconds > _LONG
        if seconds > _SLOW:
            self.size = max(1, self.size // 2)
        elif seconds < _AIM and requests >= parts * self.size:
            growth = min(_AIM / seconds, _FASTEST) if seconds else _FASTEST
            self.size = min(round(self.size * growth), self._most)


class SharedLane(Lane[S]):
    """The way to actors that come and go: each request finds its own when it is sent.

    Args:
        to: stands for all of them.
        actors: gives how many there are now.
    """

    def __init__(self, to: Address, actors: Callable[[], int]) -> None:
        super().__init__(to, 1)
        self._actors = actors

    @property
    def has_room(self) -> bool:
        """Whether one of them may get another request now."""
        return not self._sent or len(self._sent) < _EACH * self._actors()
