"""How much an actor of a pool gets at once: what it takes decides."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gristmill.placement.pacing import Lane, PacedLane
from gristmill.ref import Address

MOST = 64


@dataclass
class Sent:
    """Requests that are under way."""

    size: int
    complete: bool = False


class Timed:
    """A lane, and a clock that its actor moves on."""

    def __init__(self) -> None:
        self.lane = PacedLane[Sent](Address(1, 1, "m:A"), MOST)
        self.now = 100.0
        self.waiting: list[Sent] = []

    @property
    def under_way(self) -> int:
        """How many requests have been sent and not handled."""
        return sum(part.size for part in self.waiting)

    def fill(self) -> int:
        """Send parts until there is no room; give how many requests are under way."""
        while self.lane.has_room:
            part = Sent(self.lane.size)
            self.lane.send(part, self.now)
            self.waiting.append(part)
        return self.under_way

    def handle(self, seconds: float) -> int:
        """Handle the oldest part; give how many requests the lane has let go of."""
        part = self.waiting.pop(0)
        self.now += seconds * part.size
        part.complete = True
        return self.lane.collect(self.now)


def sizes(seconds: float, parts: int = 20) -> list[int]:
    """Give the sizes of the parts of an actor that takes so long for each request."""
    timed, found = Timed(), []
    for _ in range(parts):
        timed.fill()
        found.append(timed.waiting[0].size)
        timed.handle(seconds)
    return found


def test_parts_are_let_go_of_in_any_order() -> None:
    lane = Lane[Sent](Address(1, 1, "m:A"), 3)
    parts = [Sent(size) for size in (1, 2, 3)]
    for part in parts:
        assert lane.has_room
        lane.send(part, 0.0)
    parts[1].complete = True
    assert lane.collect(1.0) == 2
    assert lane.collect(1.0) == 0
    parts[0].complete = parts[2].complete = True
    assert lane.collect(2.0) == 4
    assert lane.idle
    assert lane.size == 3


def test_long_requests_go_one_by_one() -> None:
    assert set(sizes(0.5)) == {1}


def test_short_requests_soon_go_in_runs() -> None:
    assert sizes(1e-6)[:8] == [1, 4, 4, 16, 16, 64, 64, 64]
    assert sizes(1e-6)[-1] == MOST


def test_requests_of_a_millisecond_go_in_twos() -> None:
    assert sizes(1e-3)[1:] == [2] * 19


def test_none_waits_behind_a_long_one() -> None:
    timed = Timed()
    assert timed.fill() == 1
    timed.handle(0.001)
    assert timed.fill() > 1
    for _ in range(4):
        timed.fill()
        timed.handle(0.5)
    assert timed.fill() == 1


def test_who_gets_slower_gets_less() -> None:
    timed = Timed()
    for _ in range(10):
        timed.fill()
        timed.handle(1e-5)
    assert timed.lane.size == MOST
    for _ in range(10):
        timed.fill()
        timed.handle(0.02)
    assert timed.lane.size == 1


@given(st.lists(st.sampled_from([0.0, 1e-6, 1e-4, 1e-3, 5e-3, 0.05]), max_size=60))
def test_what_is_let_go_of_is_what_was_sent(seconds: list[float]) -> None:
    timed = Timed()
    for each in seconds:
        under_way = timed.fill()
        assert timed.handle(each) == under_way - timed.under_way
        assert 1 <= timed.lane.size <= MOST
    assert timed.lane.leave() == timed.under_way
    assert timed.lane.idle
