"""Many requests, of which the replies are given in order: in runs where they can be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from typing import NamedTuple, Protocol, TypeVar

from gristmill.errors import UsageError
from gristmill.messages import Request
from gristmill.node.client.account import SEND, ClientAccount
from gristmill.node.client.grouping import Group, group
from gristmill.node.client.reading import Reading
from gristmill.node.client.requests import MOST_TOGETHER, OPEN, RequestRun
from gristmill.ref import Address

R = TypeVar("R")

_PARTS = 4
"""The parts that a window of requests is sent in."""


class Asking(Protocol):
    """What streams need of the post."""

    @property
    def reading(self) -> Reading:
        """Brings what comes."""

    @property
    def account(self) -> ClientAccount:
        """Counts what sending takes."""

    @property
    def now(self) -> Callable[[], float]:
        """Gives monotonic time in seconds."""

    def deadline(self, timeout: float | None) -> float | None:
        """Give when a timeout is over; None for never."""

    def send_run(
        self, requests: Group, deadline: float | None, notify: Callable[[], None] | None = None
    ) -> RequestRun:
        """Send requests of one type to one actor."""

    @property
    def flush(self) -> Callable[[], bool]:
        """Sends what waits."""

    def abandon(self, number: int) -> None:
        """Drop the replies of an entry's requests when they come."""


class Part(NamedTuple):
    """Requests of a stream that are sent together."""

    runs: list[RequestRun]
    places: Iterable[tuple[RequestRun, int]]
    """Where the reply to each request is going to be."""
    size: int

    @property
    def complete(self) -> bool:
        """Whether every request has its outcome."""
        return all(run.complete for run in self.runs)


def send_part(
    post: Asking,
    choose: Callable[[Request[R]], Address],
    requests: list[Request[R]],
    timeout: float | None,
    notify: Callable[[], None] | None = None,
) -> Part:
    """Send requests where ``choose`` says; a flush lets them leave.

    Args:
        post: sends them.
        choose: says whom a request is for.
        requests: one at least.
        timeout: seconds that each may take.
        notify: called when a run of them is complete, or has the outcome that is waited for.
    """
    deadline = post.deadline(timeout)
    groups = [part for whole in group(choose, requests) for part in _parts(whole)]
    runs = [post.send_run(each, deadline, notify) for each in groups]
    if len(runs) == 1:
        return Part(runs, zip(repeat(runs[0]), groups[0].positions), len(requests))
    places = {
        position: (run, place)
        for run, each in zip(runs, groups, strict=True)
        for place, position in enumerate(each.positions)
    }
    return Part(runs, [places[at] for at in range(len(requests))], len(requests))


def _parts(whole: Group) -> list[Group]:
    """Give what may travel as a run; each by itself of what has its place chosen as it is sent."""
    if whole.to.home >= 0:
        return [whole]
    each = zip(whole.requests, whole.positions, strict=True)
    return [Group(whole.to, whole.kind, [request], [at]) for request, at in each]


def part_size(window: int) -> int:
    """Give how many requests of a window are sent together: the next part is on its way by then."""
    return min(max(1, window // _PARTS), MOST_TOGETHER)


def check_window(window: int) -> None:
    """Refuse a window that is none.

    Raises:
        UsageError: it is less than one request.
    """
    if window < 1:
        raise UsageError(f"window is {window}; it is how many requests may be open: 1 or more")


def in_turn(
    post: Asking,
    choose: Callable[[Request[R]], Address],
    requests: Iterable[Request[R]],
    window: int,
    timeout: float | None,
) -> Iterator[R]:
    """Send each request where ``choose`` says, ``window`` open at once; replies in order.

    The window is sent in parts, so that the next part is on its way while this one is read.
    """
    check_window(window)
    share = part_size(window)
    parts: deque[Part] = deque()
    source = iter(requests)
    room, ends = window, False
    try:
        while True:
            while room >= share and not ends:
                batch = list(islice(source, share))
                ends = len(batch) < share
                if batch:
                    room -= len(batch)
                    parts.append(send_part(post, choose, batch, timeout))
                    flush(post)
            if not parts:
                return
            for run, place in parts[0].places:
                value = run.values[place]
                if value is OPEN:
                    _await_reply(post.reading, run, place, timeout)
                    value = run.values[place]
                yield value
            room += parts.popleft().size
    finally:
        abandon(post, parts)


def _await_reply(reading: Reading, run: RequestRun, place: int, timeout: float | None) -> None:
    run.expect(place)
    if not run.done:
        reading.until(run, run.deadline)
    if not run.done:
        raise run.kind.timed_out(run.to, timeout)
    run.raise_error(place)


def flush(post: Asking) -> None:
    """Send what waits."""
    begun = post.account.clock()
    post.flush()
    post.account.add(SEND, begun)


def abandon(post: Asking, parts: Iterable[Part]) -> None:
    """Drop the replies that nobody waits for any more."""
    for part in parts:
        for run in part.runs:
            post.abandon(run.number)
