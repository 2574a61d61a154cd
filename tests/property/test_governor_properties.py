"""The governor's law, against workers with known costs in virtual time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.metrics import Governor
from gristmill.metrics.governor import MAX_BATCH, WINDOW, Limit
from support.regimes import Regime, Worker

US = 1e3
MS = 1_000_000
WAIT = 2 * MS


def test_a_backlog_reaches_the_target_with_the_batch_of_the_model() -> None:
    # 4.3 of the batch model: 20 us of compute, 25 us a call, 0.9 us a message: 23 messages
    worker = Worker(Governor(WAIT))
    regime = Regime(c=20 * US, o_f=25 * US, o_v=0.9 * US, backlog=True)
    worker.run(regime, 5_000)
    settled = worker.run(regime, 5_000)
    governor = worker.governor
    assert governor.limit is Limit.TARGET
    assert 22 <= governor.size <= 30
    assert 10.0 <= settled.ratio <= 13.5
    assert governor.predicted == pytest.approx(settled.ratio, rel=0.1)
    assert governor.ratio == pytest.approx(settled.ratio, rel=0.1)


def test_a_slow_open_stream_waits_for_batches_and_stays_within_the_bound() -> None:
    worker = Worker(Governor(WAIT))
    regime = Regime(c=100 * US, o_f=50 * US, o_v=2 * US, every=200 * US)
    alone = Worker(Governor(0)).run(regime, 3_000)
    worker.run(regime, 3_000)
    settled = worker.run(regime, 3_000)
    assert alone.ratio < 2.5
    assert settled.ratio >= 10.0
    assert worker.governor.snapshot().waits
    assert max(settled.delays) <= WAIT * 1.1


def test_who_asks_one_thing_after_another_is_not_kept_waiting() -> None:
    regime = Regime(c=20 * US, o_f=25 * US, o_v=1 * US, senders=1)
    alone = Worker(Governor(0)).run(regime, 20_000)
    governed = Worker(Governor(WAIT)).run(regime, 20_000)
    assert governed.rate >= 0.95 * alone.rate


def test_more_askers_than_one_are_taken_as_they_come() -> None:
    regime = Regime(c=20 * US, o_f=25 * US, o_v=1 * US, senders=8)
    worker = Worker(Governor(WAIT))
    alone = Worker(Governor(0)).run(regime, 20_000)
    governed = worker.run(regime, 20_000)
    assert governed.rate >= 0.95 * alone.rate
    assert worker.governor.limit is Limit.FILL


def test_a_target_out_of_reach_is_said_and_batches_save_what_they_can() -> None:
    worker = Worker(Governor(WAIT))
    regime = Regime(c=5 * US, o_f=25 * US, o_v=3 * US, backlog=True)
    worker.run(regime, 20_000)
    settled = worker.run(regime, 5_000)
    assert worker.governor.limit is Limit.PAYLOAD
    assert settled.rate >= 0.85 * 1e9 / ((5 + 3) * US)


def test_fixed_compute_is_saved_too() -> None:
    worker = Worker(Governor(50 * MS))
    regime = Regime(c=5 * US, c_f=500 * US, o_f=25 * US, o_v=0.2 * US, backlog=True)
    worker.run(regime, 50_000)
    settled = worker.run(regime, 20_000)
    assert worker.governor.limit is Limit.SAVED
    assert settled.rate >= 0.85 * 1e9 / (5.2 * US)


def test_a_latency_bound_is_kept_when_messages_grow() -> None:
    worker = Worker(Governor(WAIT))
    worker.run(Regime(c=20 * US, o_f=25 * US, o_v=1 * US, backlog=True), 5_000)
    before = worker.governor.size
    slow = Regime(c=400 * US, o_f=500 * US, o_v=1 * US, backlog=True)
    worker.run(slow, WINDOW)  # at once
    assert worker.governor.size * slow.c <= WAIT
    worker.run(slow, 4 * WINDOW)
    assert worker.governor.limit is Limit.LATENCY
    assert worker.governor.size <= 5 < before
    assert worker.governor.size * slow.c <= WAIT


def test_messages_that_are_large_enough_come_alone() -> None:
    worker = Worker(Governor(WAIT))
    worker.run(Regime(c=1_000 * US, o_f=25 * US, o_v=2 * US, backlog=True), 1_000)
    assert worker.governor.size == 1
    assert worker.governor.limit is Limit.TARGET


regimes = st.builds(
    Regime,
    c=st.floats(1 * US, 2_000 * US),
    o_f=st.floats(1 * US, 200 * US),
    o_v=st.floats(0.1 * US, 20 * US),
    c_f=st.one_of(st.just(0.0), st.floats(1 * US, 1_000 * US)),
    senders=st.integers(1, 50),
)
streams = st.builds(
    Regime,
    c=st.floats(1 * US, 500 * US),
    o_f=st.floats(1 * US, 200 * US),
    o_v=st.floats(0.1 * US, 20 * US),
    every=st.floats(50 * US, 20_000 * US),
)


@settings(deadline=None, max_examples=30)
@given(regime=st.one_of(regimes, streams), target=st.sampled_from([10.0, 100.0]))
def test_whatever_comes_the_law_holds(regime: Regime, target: float) -> None:
    governor = Governor(WAIT, target)
    worker = Worker(governor)
    while governor.messages < 1_000:
        before, seen = governor.size, governor.messages
        worker.run(regime, 1)
        if governor.messages == seen or not seen:
            continue  # no decision, or the first one, before which nothing is known
        assert 1 <= governor.size <= min(2 * before, MAX_BATCH)
        assert 0 <= governor.hold_ns <= WAIT
        assert governor.messages - seen >= WINDOW
        assert governor.size == 1 or regime.c_f + governor.size * regime.c <= WAIT * 1.05
    snapshot = governor.snapshot()
    assert snapshot.ratio is not None
    assert snapshot.ratio > 0
    assert snapshot.predicted_ratio is not None


@settings(deadline=None, max_examples=30)
@given(regime=regimes)
def test_a_backlog_settles_where_the_model_says_it_can(regime: Regime) -> None:
    regime.backlog, regime.c_f = True, 0.0
    wait = 1_000 * MS  # no bound
    worker = Worker(Governor(wait))
    worker.run(regime, 8_000)
    settled = worker.run(regime, 3_000)
    margin = regime.c - 10 * regime.o_v
    needed = math.ceil(10 * regime.o_f / margin) if margin > 0 else math.inf
    if needed <= 1_000:
        assert settled.ratio >= 9.5
    best = regime.c / regime.o_v
    assert settled.ratio >= 0.9 * min(10.0, best) or needed > 1_000


@settings(deadline=None, max_examples=30)
@given(first=st.one_of(regimes, streams), second=regimes, messages=st.integers(WINDOW, 40 * WINDOW))
def test_a_change_of_regime_is_followed(first: Regime, second: Regime, messages: int) -> None:
    second.backlog = True
    wait = 1_000 * MS  # no bound: beyond one nothing is tried out
    fresh, changed = Worker(Governor(wait)), Worker(Governor(wait))
    changed.run(first, messages)
    for worker in (fresh, changed):
        worker.run(second, 8_000)
    one, other = (worker.run(second, 2_000) for worker in (fresh, changed))
    assert other.rate >= 0.8 * one.rate
