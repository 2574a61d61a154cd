"""Which messages a worker stamps: by all that a stamped one costs, not by its stamps alone."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import cast

from gristmill.metrics import Meter, TimeClass
from gristmill.metrics.meter import INTERRUPTION
from gristmill.metrics.sampling import ALLOWED
from gristmill.worker import counters
from gristmill.worker.core import WorkerCore
from gristmill.worker.stamping import Stamping

PROBE_NS, PROBED_NS = 100, 2_000
PROBE = TimeClass.PROBE.value


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
