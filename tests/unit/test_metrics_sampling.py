"""Only some messages are stamped: what is said of all of them, and that it costs little."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.metrics import Meter, Sampling, TimeClass, TypeStats, split
from gristmill.metrics.classes import COUNT
from gristmill.metrics.sampling import ALLOWED, SPARSEST

SECOND = 10**9
COMPUTE, DISPATCH, SER = (c.value for c in (TimeClass.COMPUTE, TimeClass.DISPATCH, TimeClass.SER))


def test_at_first_every_message_is_stamped() -> None:
    assert Sampling(Random(1)).n == 1


@pytest.mark.parametrize(("stamps", "n"), [(100_000, 1), (100_001, 2), (900_000, 16)])
def test_stamps_take_a_hundredth_of_the_time_at_most(stamps: int, n: int) -> None:
    sampling = Sampling(Random(1))
    sampling.adapt(stamps, stamps // 5, probe_ns=100, wall_ns=SECOND)
    assert sampling.n == n
    assert stamps * 100 / SECOND / n <= ALLOWED


def test_the_cost_of_all_is_known_from_those_that_are_stamped() -> None:
    sampling = Sampling(Random(1))
    sampling.adapt(900_000, 180_000, 100, SECOND)
    stamped = 180_000 // sampling.n
    for _ in range(stamped):
        sampling.gap(probes=5)
    sampling.adapt(900_000 + 5 * stamped, 360_000, 100, SECOND)
    assert sampling.n == 16  # the same messages as in the second before


def test_it_does_not_waver() -> None:
    sampling = Sampling(Random(1))
    stamps = messages = 0
    for each, n in [(900_000, 16), (700_000, 16), (450_000, 16), (400_000, 4), (0, 1)]:
        stamped = each // 5 // sampling.n if sampling.n > 1 else 0
        for _ in range(stamped):
            sampling.gap(probes=5)
        stamps += 5 * stamped if sampling.n > 1 else each
        messages += each // 5
        sampling.adapt(stamps, messages, 100, SECOND)
        assert sampling.n == n


def test_some_are_stamped_however_short_they_are() -> None:
    sampling = Sampling(Random(1))
    sampling.adapt(10**12, 10**11, 10**6, SECOND)
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
