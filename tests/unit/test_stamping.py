"""Which messages a worker stamps: by all that a stamped one costs, not by its stamps alone."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import cast

from gristmill.metrics import Meter
from gristmill.worker import counters
from gristmill.worker.core import WorkerCore
from gristmill.worker.stamping import Stamping

PROBE_NS = 100


def test_recording_and_interrupting_count_as_cost() -> None:
    now = 0
    meter = Meter(lambda: now, probe_ns=PROBE_NS)
    counted = [0] * len(counters.NAMES)
    core = SimpleNamespace(shell=SimpleNamespace(random=Random(1)), counters=counted)
    stamping = Stamping(cast("WorkerCore", core), meter)
    for _ in range(500):
        meter.transitions += 5
        stamping.count_call(1, 5)
    counted[counters.HANDLED] = 500
    now = 50_000_000
    stamping.adapt()
    # 500 x 5 stamps are half of a hundredth; with 24 more for each call it is 2.9 hundredths
    assert stamping.sampling.n == 4
    assert meter.probes == 500 * (5 + 8)
