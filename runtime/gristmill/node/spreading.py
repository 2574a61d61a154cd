"""``Spread``: many requests to several like actors, each to whoever is free; replies in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from gristmill.messages import Request
from gristmill.node.reading import Bell
from gristmill.node.requests import MOST_TOGETHER, OPEN, RequestRun
from gristmill.node.streams import Asking, Part, abandon, flush, send_part
from gristmill.placement.balancing import Loads
from gristmill.ref import Address

R = TypeVar("R")

_AIM = 0.002
"""Seconds that a part should take: one that takes less is followed by a larger one."""
_FASTEST = 4.0
"""How much larger, at most."""
_LONG = 0.01
"""Seconds: a part that takes longer is followed by a smaller one, and none waits behind another."""
_PARTS = 4
"""The parts that the share of an actor is sent in."""


class _Sent(NamedTuple):
    part: Part
    at: float


class Lane:
    """One of the actors, and what is under way to it.

    Args:
        to: the actor.
        size: requests in one part.
    """

    def __init__(self, to: Address, size: int) -> None:
        self.to = to
        self.size = size
        """Requests in the next part."""
        self._sent: deque[_Sent] = deque()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._sent

    @property
    def has_room(self) -> bool:
        """Whether it may get another part now."""
        return True

    def send(self, part: Part, now: float) -> None:
        """Take note of a part that is under way."""
        self._sent.append(_Sent(part, now))

    def collect(self, now: float) -> int:
        """Let go of the parts that are complete; give how many requests those were."""
        complete = []
        while self._sent and self._sent[0].part.complete:
            complete.append(self._sent.popleft())
        if not complete:
            return 0
        requests = sum(sent.part.size for sent in complete)
        self._took(len(complete), requests, complete[0].at, now)
        return requests

    def _took(self, parts: int, requests: int, sent: float, now: float) -> None:
        """So many parts have been handled since the first of them was sent, or the one before."""

    def leave(self) -> int:
        """Let go of all parts; give how many requests those were."""
        requests = sum(sent.part.size for sent in self._sent)
        self._sent.clear()
        return requests


class PacedLane(Lane):
    """One that gets no more at a time than keeps its actor busy until the next arrives.

    How long a request takes is not known before. So it begins with one; if they take long it stays
    at that, and if they are short there are as many in a part as take :data:`_AIM`.

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
        if self._long:
            self.size = max(1, self.size // 2)
        elif seconds < _AIM and requests >= parts * self.size:
            growth = min(_AIM / seconds, _FASTEST) if seconds else _FASTEST
            self.size = min(round(self.size * growth), self._most)


class Spread(Generic[R]):
    """Sends each request to the actor with the fewest open ones that has room for it.

    Args:
        post: sends the requests.
        members: the actors.
        loads: how many requests are open to them; kept up to date.
        window: open requests, at most; None: no more than keep the actors busy.
        ahead: requests that were sent and whose replies were not given yet, at most.
        timeout: seconds that each request may take.
    """

    def __init__(
        self,
        post: Asking,
        members: Sequence[Address],
        loads: Loads,
        *,
        window: int | None,
        ahead: int,
        timeout: float | None,
    ) -> None:
        share = (ahead if window is None else window) // (_PARTS * len(members))
        size = min(max(1, share), MOST_TOGETHER)
        lane = PacedLane if window is None else Lane
        self._lanes = [lane(member, size) for member in members]
        self._post = post
        self._loads = loads
        self._timeout = timeout
        self._window = window
        """Requests that may still be opened; None: as many as there is room for."""
        self._ahead = ahead
        """Requests that may still be sent before replies are given."""
        self._source: Iterator[Request[R]] | None = None
        """What is to be sent; None when that was all."""
        self._parts: deque[Part] = deque()
        """What has not been given yet, in order."""
        self._bell = Bell()

    def replies(self, requests: Iterable[Request[R]]) -> Iterator[R]:
        """Send requests and give their replies in order.

        Raises:
            GristmillError: what became of a request in place of its reply.
        """
        self._source = iter(requests)
        try:
            while True:
                self._send()
                if not self._parts:
                    return
                for run, place in self._parts[0].places:
                    value = run.values[place]
                    if value is OPEN:
                        self._wait(run, place)
                        value = run.values[place]
                    yield value
                self._ahead += self._parts.popleft().size
        finally:
            abandon(self._post, self._parts)
            for lane in self._lanes:
                self._loads.add(lane.to, -lane.leave())

    def _wait(self, run: RequestRun, place: int) -> None:
        """Wait for an outcome, and send what there is room for meanwhile."""
        bell = self._bell
        while True:
            bell.done = False  # whatever comes from now on rings it
            run.expect(place)
            self._send()
            if run.done:
                break
            bell.deadline = run.deadline
            self._post.reading.until(bell)
            if not bell.done:
                raise run.kind.timed_out(run.to, self._timeout)
        run.raise_error(place)

    def _send(self) -> None:
        """Send what there is room for."""
        self._collect()
        sent = False
        while self._source is not None and (room := self._room()):
            lane = self._free_lane(room)
            if lane is None:
                break
            size = min(lane.size, room)
            batch = list(islice(self._source, size))
            if len(batch) < size:
                self._source = None
            if batch:
                self._send_to(lane, batch)
                sent = True
        if sent:
            flush(self._post)

    def _room(self) -> int:
        return self._ahead if self._window is None else min(self._window, self._ahead)

    def _free_lane(self, room: int) -> Lane | None:
        """Give the one with the least to do of those that may get a part, and a whole one."""
        free = [lane for lane in self._lanes if lane.has_room]
        free = [lane for lane in free if lane.size <= room or lane.idle]
        return min(free, key=lambda lane: self._loads.of(lane.to)) if free else None

    def _send_to(self, lane: Lane, batch: list[Request[R]]) -> None:
        part = send_part(self._post, lambda _: lane.to, batch, self._timeout, self._bell.ring)
        lane.send(part, self._post.now())
        self._parts.append(part)
        self._open(lane, part.size)
        self._ahead -= part.size

    def _collect(self) -> None:
        now = self._post.now()
        for lane in self._lanes:
            requests = lane.collect(now)
            if requests:
                self._open(lane, -requests)

    def _open(self, lane: Lane, more: int) -> None:
        self._loads.add(lane.to, more)
        if self._window is not None:
            self._window -= more
