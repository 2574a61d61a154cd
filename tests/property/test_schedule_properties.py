"""The schedule of a simulation: lanes keep their order, and time never goes back."""

from __future__ import annotations

import math
from functools import partial
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.testing.schedule import Occurrence, Schedule

Step = tuple[str, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["soon", "after", "free", "take", "drop", "cancel"]), st.integers(0, 3)
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), steps)
def test_lanes_keep_their_order_and_time_never_goes_back(seed: int, plan: list[Step]) -> None:
    schedule = Schedule(Random(seed), 10.0)
    happened: list[tuple[object, int]] = []
    alive: dict[int, Occurrence] = {}
    lanes: dict[int, list[int]] = {}

    def take() -> None:
        before, due = schedule.now, schedule.next_due
        schedule.take_next()()
        assert schedule.now == max(before, due)
        lane, number = happened[-1]
        del alive[number]
        if isinstance(lane, int):
            assert lanes[lane].pop(0) == number

    for number, (what, choice) in enumerate(plan):
        if what == "soon":
            act = partial(happened.append, (choice, number))
            alive[number] = schedule.soon(act, choice)
            lanes.setdefault(choice, []).append(number)
        elif what in ("after", "free"):
            act = partial(happened.append, (None, number))
            alive[number] = schedule.after(choice, act) if what == "after" else schedule.soon(act)
        elif what == "take" and schedule.next_due < math.inf:
            take()
        elif what == "drop":
            waiting = lanes.get(choice, [])
            keep = len(waiting) // 2
            assert schedule.waiting(choice) == len(waiting)
            assert schedule.drop(choice, keep) == len(waiting) - keep
            for late in waiting[keep:]:
                del alive[late]
            del waiting[keep:]
        elif what == "cancel" and alive:
            free = [n for n, one in alive.items() if one.lane is None]
            if free:
                assert alive[free[0]].cancel()
                assert not alive.pop(free[0]).cancel()
    while schedule.next_due < math.inf:
        take()
    assert not alive
    assert schedule.lanes() == []


def test_the_same_seed_gives_the_same_order() -> None:
    def order(seed: int) -> list[int]:
        schedule = Schedule(Random(seed), 0.0)
        happened: list[int] = []
        for number in range(50):
            schedule.soon(partial(happened.append, number))
        for number in range(50, 60):
            schedule.after(0.001, partial(happened.append, number))
        while schedule.next_due < math.inf:
            schedule.take_next()()
        return happened

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) == 5
    assert sorted(order(1)) == [*range(60)]
