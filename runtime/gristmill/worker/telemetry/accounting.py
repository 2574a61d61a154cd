"""What a worker publishes of its times: on a page that outlives it, and as reports."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from gristmill.metrics import CounterPage, Meter, WorkerSnapshot, attributed, histogram, split
from gristmill.transport.control import ControlMessage, Metrics
from gristmill.worker.core import WorkerCore
from gristmill.worker.telemetry import counters
from gristmill.worker.telemetry.lone_turns import LoneTurns


def account(
    core: WorkerCore,
    meter: Meter,
    *,
    name: str,
    cpu_ns: int,
    probe_ns: int,
    lone_turns: LoneTurns | None = None,
) -> Metrics:
    """Account for a worker's time up to now.

    Args:
        core: the worker's.
        meter: the worker's.
        name: the worker's.
        cpu_ns: the CPU time that it has taken.
        probe_ns: what a reading of the clock costs.
        lone_turns: what turns of one message have cost; None where nobody sleeps between them.
    """
    classes = meter.read()
    snapshot = WorkerSnapshot(
        id=name,
        pid=os.getpid(),
        kind="worker",
        wall_ns=meter.clock() - meter.start,
        cpu_ns=cpu_ns,
        classes=classes,
        transitions=meter.transitions,
        probe_ns=meter.probes * probe_ns,
        stood_still_ns=meter.stood_still,
        messages=core.counters[counters.HANDLED],
        types=tuple(stats.snapshot() for stats in core.stamping.stats.values()),
        sent=core.sending.sent.snapshot(),
        sample_n=core.stamping.sampling.n,
        lone_hist=histogram.sparse(lone_turns.hist) if lone_turns is not None else {},
    )
    return Metrics(attributed(snapshot))


class Accounting:
    """The accounting of a worker process.

    Args:
        name: the worker's.
        page: where its counters and times are.
        meter: its meter.
        core: its core.
        control: sends a message to the supervisor process.
    """

    _EVERY_NS = 20_000_000
    """Between two writings of the page while the worker computes."""

    def __init__(
        self,
        name: str,
        page: CounterPage,
        meter: Meter,
        core: WorkerCore,
        control: Callable[[ControlMessage], None],
    ) -> None:
        self._name = name
        self._page = page
        self._meter = meter
        self._core = core
        self._control = control
        self.lone_turns = LoneTurns(meter, core.counters)
        self._cpu_start = 0
        self._written_at = 0
        self._reported = 0
        """How many messages had been handled at the last report."""

    def begin(self) -> None:
        """The worker begins to serve."""
        self._cpu_start = time.process_time_ns()

    def _cpu_ns(self) -> int:
        return time.process_time_ns() - self._cpu_start

    def write_if_due(self) -> None:
        """Write the page, unless that was done just now."""
        if self._meter.last - self._written_at > self._EVERY_NS:
            self.write()

    def write(self) -> None:
        """Publish times where they outlive this process, as the counters always are."""
        meter = self._meter
        self._written_at = meter.last
        self._page.write(
            (
                *split(meter.classes, meter.shares),
                meter.current,
                meter.last,
                meter.start,
                meter.transitions,
                meter.probes * meter.probe_ns,
                meter.stood_still,
                self._cpu_ns(),
                self._core.counters[counters.HANDLED],
            )
        )

    def report(self) -> None:
        """Send the accounting so far to the supervisor process."""
        meter = self._meter
        cpu_ns, probe_ns = self._cpu_ns(), meter.probe_ns
        told = account(
            self._core,
            meter,
            name=self._name,
            cpu_ns=cpu_ns,
            probe_ns=probe_ns,
            lone_turns=self.lone_turns,
        )
        self._control(told)

    def report_if_changed(self) -> bool:
        """Do that if a message has been handled since the last time; give whether one was."""
        handled = self._core.counters[counters.HANDLED]
        if handled != self._reported:
            self._reported = handled
            self.report()
            return True
        return False
