"""Only some messages are stamped: what is said of all of them, and that it costs little."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.metrics import Meter, Sampling, TimeClass, TypeStats, split
from gristmill.metrics.classes import COUNT
from gristmill.metrics.sampling import ALLOWED, SPARSEST

SECOND, MS = 10**9, 10**6
INTERRUPTION_NS = 7_000
COMPUTE, DISPATCH, SER = (c.value for c in (TimeClass.COMPUTE, TimeClass.DISPATCH, TimeClass.SER))


def test_at_first_every_message_is_stamped() -> None:
    assert Sampling(Random(1)).n == 1


class Seconds:
    """Seconds with so many messages each, of which a sampling says how many are stamped."""

    def __init__(self) -> None:
        self.sampling = Sampling(Random(1))
        self.cost = self.messages = 0

    def pass_by(self, messages: int, others: int = 0, batch: int = 1) -> float:
        """Have messages of 500 ns a call, and other ns; give the share of time that takes."""
        n = self.sampling.n
        calls = messages // batch // n
        for _ in range(calls):
            self.sampling.gap(500, batch)
        self.cost += 500 * calls + others
        self.messages += messages
        self.sampling.adapt(self.cost, self.messages, INTERRUPTION_NS, wall_ns=SECOND)
        interruptions = INTERRUPTION_NS * calls if n > 1 else 0
        return (500 * calls + others + interruptions) / SECOND


@pytest.mark.parametrize(
    ("messages", "others", "n"),
    [(20_000, 0, 1), (20_001, 0, 16), (19_000, MS, 16), (180_000, 0, 256), (0, 9 * MS, 1)],
)
def test_accounting_takes_a_hundredth_of_the_time_at_most(
    messages: int, others: int, n: int
) -> None:
    seconds = Seconds()
    seconds.pass_by(messages, others)
    assert seconds.sampling.n == n
    assert seconds.pass_by(messages, others) <= ALLOWED


def test_the_cost_of_all_is_known_from_those_that_are_stamped() -> None:
    seconds = Seconds()
    for _ in range(3):
        seconds.pass_by(180_000)
        assert seconds.sampling.n == 256


def test_a_call_is_one_interruption_however_many_messages_it_takes() -> None:
    seconds = Seconds()
    for _ in range(3):
        seconds.pass_by(64 * 21_000, batch=64)
        assert seconds.sampling.n == 16


def test_messages_are_left_a_part_whatever_the_rest_costs() -> None:
    seconds = Seconds()
    seconds.pass_by(20_000, others=100 * MS)
    assert seconds.sampling.n == 64


def test_it_does_not_waver() -> None:
    seconds = Seconds()
    for messages, n in [(180_000, 256), (140_000, 256), (90_000, 256), (80_000, 64), (0, 1)]:
        seconds.pass_by(messages)
        assert seconds.sampling.n == n


def test_some_are_stamped_however_short_they_are() -> None:
    sampling = Sampling(Random(1))
    sampling.gap(500)
    sampling.adapt(500, 10**11, INTERRUPTION_NS, SECOND)
    assert sampling.n == SPARSEST


@given(st.sampled_from([2, 4, 16, 64]), st.integers(0, 2**32))
def test_one_in_n_is_stamped(n: int, seed: int) -> None:
    sampling = Sampling(Random(seed))
    sampling.n = n
    gaps = [sampling.gap(5) for _ in range(2000)]
    assert min(gaps) >= 0
    assert sum(gaps) / len(gaps) == pytest.approx(n - 1, rel=0.1)


@given(
    st.lists(st.integers(0, 2**60), min_size=COUNT + 1, max_size=COUNT + 1),
    st.lists(st.integers(0, 2**50), min_size=COUNT, max_size=COUNT),
)
def test_no_time_is_lost_in_the_split(classes: list[int], shares: list[int]) -> None:
    times = split(classes, shares)
    assert len(times) == COUNT
    assert sum(times) == sum(classes)
    assert all(after >= before for after, before in zip(times, classes, strict=False))


def test_what_is_not_stamped_is_split_like_what_is() -> None:
    classes, shares = [0] * (COUNT + 1), [0] * COUNT
    classes[-1] = 1000
    shares[COMPUTE], shares[SER] = 30, 10
    times = split(classes, shares)
    assert (times[COMPUTE], times[SER]) == (750, 250)


def test_while_the_meter_pauses_nothing_is_stamped() -> None:
    clock = iter([0, 10, 25, 30])
    meter = Meter(lambda: next(clock))
    meter.pause()  # at 10
    assert meter.switch(COMPUTE) == COMPUTE
    assert meter.switch(DISPATCH) == DISPATCH
    meter.resume(DISPATCH)  # at 25
    assert meter.classes[COUNT] == 15
    meter.switch(SER)  # at 30
    assert meter.classes[DISPATCH] == 5
    assert meter.transitions == 3


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50), st.integers(0, 500))
def test_a_type_is_described_as_if_all_were_stamped(times: list[int], others: int) -> None:
    stats = TypeStats("Actor", "Message")
    for ns in times:
        stats.record(ns, 2, 3, 4, 100, 5)
    stats.messages += others
    snapshot = stats.snapshot()
    all_ = len(times) + others
    assert snapshot.messages == all_
    assert snapshot.compute_ns == sum(times) * all_ // len(times)
    assert snapshot.bytes_in == 100 * all_
    assert sum(snapshot.compute_hist.values()) == all_
    assert set(snapshot.wait_hist) == {5}
