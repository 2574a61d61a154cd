"""``Spread``: many requests to several like actors, each to whoever is free; replies in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

from gristmill.messages import Request
from gristmill.node.client.reading import Bell
from gristmill.node.client.requests import OPEN, RequestRun
from gristmill.node.client.streams import Asking, Part, abandon, flush, part_size, send_part
from gristmill.placement.balancing import Loads
from gristmill.placement.pacing import Lane, PacedLane
from gristmill.ref import Address

R = TypeVar("R")


def lanes(members: Sequence[Address], window: int | None, ahead: int) -> list[Lane[Part]]:
    """Make a lane for each member; without a window none gets more than keeps it busy."""
    size = part_size((ahead if window is None else window) // len(members))
    lane = PacedLane[Part] if window is None else Lane[Part]
    return [lane(member, size) for member in members]


class Spread(Generic[R]):
    """Sends each request to the actor with the fewest open ones that has room for it.

    Args:
        post: sends the requests.
        lanes: the ways to the actors.
        loads: how many requests are open to them; kept up to date.
        window: open requests, at most; None: as many as the lanes have room for.
        ahead: requests that were sent and whose replies were not given yet, at most.
        timeout: seconds that each request may take.
    """

    def __init__(
        self,
        post: Asking,
        lanes: Sequence[Lane[Part]],
        loads: Loads,
        *,
        window: int | None,
        ahead: int,
        timeout: float | None,
    ) -> None:
        self._lanes = lanes
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
            self._post.reading.until(bell, run.deadline)
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

    def _free_lane(self, room: int) -> Lane[Part] | None:
        """Give the one with the least to do of those that may get a part, and a whole one."""
        free = [lane for lane in self._lanes if lane.has_room]
        free = [lane for lane in free if lane.size <= room or lane.idle]
        return min(free, key=lambda lane: self._loads.of(lane.to)) if free else None

    def _send_to(self, lane: Lane[Part], batch: list[Request[R]]) -> None:
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

    def _open(self, lane: Lane[Part], more: int) -> None:
        self._loads.add(lane.to, more)
        if self._window is not None:
            self._window -= more
