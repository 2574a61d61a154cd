"""Which messages a worker stamps: by all that a stamped one costs, not by its stamps alone."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import cast

import pytest

from gristmill.messages import Request
from gristmill.metrics import Meter, TimeClass
from gristmill.metrics.meter import INTERRUPTION
from gristmill.metrics.sampling import ALLOWED
from gristmill.worker.actors.cell import Cell, Entry
from gristmill.worker.core import WorkerCore
from gristmill.worker.telemetry import counters
from gristmill.worker.telemetry.stamp import Stamp
from gristmill.worker.telemetry.stamping import Stamping

PROBE_NS, PROBED_NS = 100, 2_000
CLASSES = (TimeClass.COMPUTE, TimeClass.OTHER, TimeClass.PROBE, TimeClass.SEND, TimeClass.SER)
COMPUTE, OTHER, PROBE, SEND, SER = (time_class.value for time_class in CLASSES)


class Ping(Request[None]):
    """Anything."""


def test_what_a_stamped_call_costs_counts_as_measured() -> None:
    now = 0
    meter = Meter(lambda: now, probe_ns=PROBE_NS)
    counted = [0] * len(counters.NAMES)
    core = SimpleNamespace(shell=SimpleNamespace(random=Random(1)), counters=counted)
    stamping = Stamping(cast("WorkerCore", core), meter)
    stamped = 0
    for number in range(1, 20_001):
        now += 100_000
        counted[counters.HANDLED] = number
        if stamping.unstamped:
            stamping.pass_by(1)
            continue
        stamped += 1
        if meter.paused:
            meter.resume(PROBE)
        stamping.begin_call()
        meter.enter(PROBE)
        now += PROBED_NS
        stamping.end_call(1)
    # 2 us and a few stamps are two hundredths of 100 us; with an interruption each it is five
    assert stamping.sampling.n == 8
    cost = meter.classes[PROBE] + meter.probes * PROBE_NS
    assert cost >= stamped * PROBED_NS + meter.interruptions * INTERRUPTION * PROBE_NS
    assert cost < ALLOWED * now


def test_a_stamped_message_has_its_steps_and_what_they_cost_is_probe() -> None:
    now = 0

    def later(ns: int = 10) -> int:
        nonlocal now
        now += ns
        return now

    meter = Meter(later, probe_ns=PROBE_NS)  # each look at the clock takes 10 ns
    counted = [0] * len(counters.NAMES)
    core = SimpleNamespace(shell=SimpleNamespace(random=Random(1)), counters=counted)
    stamping = Stamping(cast("WorkerCore", core), meter)
    cell = cast("Cell", SimpleNamespace(stats={}, type_name="Actor", own=lambda _: {}))
    entry = cast("Entry", SimpleNamespace(body=b"12345", arrived=0))
    stamp = Stamp(meter, stamping)
    stamp.dispatching()
    later(100)
    stamp.decoding()
    later(200)
    stamp.computing()
    later(3_000)
    told = meter.enter(SER)  # what the handler tells is no part of its reply
    later(70)
    meter.enter(told)
    stamp.returned(asked=True)
    later(400)
    previous = meter.enter(SEND)  # a reply that leaves at once
    later(5_000)
    meter.enter(previous)
    stamp.answered(77)
    later(50)
    stamp.record(cell, entry, Ping)
    (stats,) = stamping.stats.values()
    snapshot = stats.snapshot()
    assert snapshot.compute_ns == 3_000 + 2 * 10
    assert snapshot.coord_ns.deser == 200 + 10
    assert snapshot.coord_ns.dispatch == 100 + 50 + 2 * 10
    assert snapshot.coord_ns.ser == 400 + 2 * 10
    assert snapshot.bytes_out == 77
    assert meter.classes[SEND] == 5_000 + 10
    assert meter.classes[PROBE] == (6 + 2 + 1) * 10  # steps, CPU time, and the end of the call


def test_a_thread_that_stands_still_while_cpu_time_is_read_accounts_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0

    def later(ns: int = 10) -> int:
        nonlocal now
        now += ns
        return now

    monkeypatch.setattr("gristmill.worker.telemetry.stamp.thread_time_ns", lambda: later(4_000_000))
    meter = Meter(later, probe_ns=PROBE_NS)
    core = SimpleNamespace(shell=SimpleNamespace(random=Random(1)), counters=[0])
    stamping = Stamping(cast("WorkerCore", core), meter)
    cell = cast("Cell", SimpleNamespace(stats={}, type_name="Actor", own=lambda _: {}))
    entry = cast("Entry", SimpleNamespace(body=b"12345", arrived=0))
    stamp = Stamp(meter, stamping)
    stamp.dispatching()
    stamp.decoding()
    stamp.computing()
    later(1_000_000)
    stamp.returned(asked=False)
    stamp.record(cell, entry, Ping)
    assert meter.classes[PROBE] <= 100
    assert meter.classes[OTHER] == pytest.approx(8_000_000, abs=100)
    assert meter.classes[COMPUTE] == pytest.approx(1_000_000, abs=100)
    assert next(iter(stamping.stats.values())).snapshot().compute_ns <= 1_000_100
