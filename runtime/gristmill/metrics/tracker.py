"""The same account for the user's own code, by hand and without a node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from gristmill.errors import UsageError
from gristmill.metrics import ratios
from gristmill.metrics.ratios import Verdict
from gristmill.metrics.units import duration, multiple

Phase = Literal["compute", "coordinate"]


class TrackerSummary(msgspec.Struct, frozen=True):
    """What a tracker measured. Times in ns; ratio and efficiency None where undefined."""

    name: str
    compute_ns: int
    coordinate_ns: int
    computes: int
    """How many compute phases the times come from."""
    ratio: float | None
    """Compute over coordination."""
    efficiency: float | None
    """Compute over compute and coordination."""
    verdict: Verdict

    def __str__(self) -> str:
        return (
            f"{self.name}: compute {duration(self.compute_ns)} in {self.computes:,} phases, "
            f"coordinate {duration(self.coordinate_ns)}, "
            f"compute/coordinate = {multiple(self.ratio)} ({self.verdict})"
        )


class CoordinationComputeTracker:
    """Adds up the time between its start and end calls, as compute or as coordination.

    For one thread; phases don't overlap. Time outside any phase counts as neither::

        tracker = CoordinationComputeTracker("resize")
        with tracker.coordinate():
            job = queue.get()
        with tracker.compute():
            resize(job)
        print(tracker.finalize())

    Args:
        name: what is tracked; it begins the summary's line.
        clock: gives monotonic time in ns.
    """

    def __init__(self, name: str, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self.name = name
        self._clock = clock
        self._running: Phase | None = None
        self._began = 0
        self._times: dict[Phase, int] = {"compute": 0, "coordinate": 0}
        self._computes = 0
        self._summary: TrackerSummary | None = None

    def start_compute(self) -> None:
        """Begin to compute.

        Raises:
            UsageError: a phase is running, or the tracker is finalized.
        """
        self._start("compute")

    def end_compute(self) -> None:
        """End what :meth:`start_compute` began.

        Raises:
            UsageError: no compute phase is running.
        """
        self._end("compute")
        self._computes += 1

    def start_coordinate(self) -> None:
        """Begin to coordinate.

        Raises:
            UsageError: a phase is running, or the tracker is finalized.
        """
        self._start("coordinate")

    def end_coordinate(self) -> None:
        """End what :meth:`start_coordinate` began.

        Raises:
            UsageError: no coordinate phase is running.
        """
        self._end("coordinate")

    @contextmanager
    def compute(self) -> Iterator[None]:
        """Count the block as compute, also if it raises."""
        self.start_compute()
        try:
            yield
        finally:
            self.end_compute()

    @contextmanager
    def coordinate(self) -> Iterator[None]:
        """Count the block as coordination, also if it raises."""
        self.start_coordinate()
        try:
            yield
        finally:
            self.end_coordinate()

    def finalize(self) -> TrackerSummary:
        """Close the tracker and give its summary; the same one when called again.

        Raises:
            UsageError: a phase is still running.
        """
        if self._running is not None:
            raise UsageError(
                f"tracker {self.name!r}: {self._running} is still running; "
                f"call end_{self._running}() before finalize()"
            )
        if self._summary is None:
            self._summary = self._summarize()
        return self._summary

    def _summarize(self) -> TrackerSummary:
        compute, coordinate = self._times["compute"], self._times["coordinate"]
        return TrackerSummary(
            name=self.name,
            compute_ns=compute,
            coordinate_ns=coordinate,
            computes=self._computes,
            ratio=ratios.quotient(compute, coordinate),
            efficiency=ratios.quotient(compute, compute + coordinate),
            verdict=ratios.verdict(compute, coordinate),
        )

    def _start(self, phase: Phase) -> None:
        if self._summary is not None:
            raise UsageError(
                f"tracker {self.name!r} is finalized; make a new one to go on measuring"
            )
        if self._running is not None:
            raise UsageError(
                f"tracker {self.name!r}: can't start {phase} while {self._running} is running; "
                f"phases don't nest, call end_{self._running}() first"
            )
        self._running = phase
        self._began = self._clock()

    def _end(self, phase: Phase) -> None:
        now = self._clock()
        if self._running != phase:
            running = f"{self._running} is" if self._running else "nothing is"
            raise UsageError(
                f"tracker {self.name!r}: end_{phase}() without start_{phase}(); {running} running"
            )
        self._times[phase] += now - self._began
        self._running = None
