"""What the compute-heavy examples share: the same work in one process and on a node, side by side.

Both get the same input, call the same kernels and are checked the same way, every time. One process
means one worker that does everything in one call, so both run under the same conditions.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from gristmill import Node
from gristmill.metrics import Report, windows
from harness.report import Bench, Pairs, Result, arguments, two_cores


class Job(Protocol):
    """The work, on a node whose actors have been started."""

    def run(self) -> Any:  # noqa: ANN401 - what check() takes
        """Do it on all workers."""

    def check(self, outcome: Any) -> None:  # noqa: ANN401 - what run() gives
        """Hold the outcome against what is known.

        Raises:
            WrongOutcomeError: it is wrong.
        """


class Example(Protocol):
    """One example, small with ``quick``."""

    name: str

    def __init__(self, *, quick: bool) -> None: ...

    def start(self, node: Node, workers: int) -> Job:
        """Start the actors."""

    @property
    def alone(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """An importable function that does all of it in one process, and its arguments."""


class WrongOutcomeError(Exception):
    """An example has computed something wrong."""


def require(condition: bool, what: str) -> None:
    """Raise a :class:`WrongOutcomeError` unless the condition holds."""
    if not condition:
        raise WrongOutcomeError(what)


class Compared:
    """An example on a node and in one process.

    Args:
        example: what to do.
        node: with ``workers`` workers.
    """

    def __init__(self, example: Example, node: Node, workers: int) -> None:
        self._job = example.start(node, workers)
        self._node = node
        self._alone = example.alone
        self._executor = node.executor()

    def ours(self) -> float:
        """Do it on all workers; give the ms."""
        began = time.perf_counter()
        outcome = self._job.run()
        spent = time.perf_counter() - began
        self._job.check(outcome)
        return spent * 1e3

    def one_process(self) -> float:
        """Do it in one worker; give the ms."""
        function, arguments_ = self._alone
        began = time.perf_counter()
        outcome = self._executor.submit(function, *arguments_).result()
        spent = time.perf_counter() - began
        self._job.check(outcome)
        return spent * 1e3

    def report(self) -> Report:
        """Do it on all workers once; give the granularity report of that."""
        before = self._node.granularity()
        self.ours()
        return windows([before, self._node.granularity()])[1]


def main(make: type[Example], description: str) -> None:
    """Measure an example, print its granularity report, and write what was asked for."""
    options = arguments(description)
    example = make(quick=options.quick)
    workers, rounds = len(two_cores()), 3 if options.quick else 7
    with Node(workers=workers, pin_cpus=True) as node:
        compared = Compared(example, node, workers)
        pair = Pairs(f"{example.name}_time", "ms", compared.ours, compared.one_process)
        try:
            pair.warm_up()
            for _ in range(rounds):
                pair.round()
            report = compared.report()
        except WrongOutcomeError as error:
            sys.exit(f"{example.name}: {error}")
    time_ = pair.result()
    results = [time_, Result.of(f"{example.name}_speedup", "x", pair.quotients())]
    if report.totals.ratio is not None:
        results.append(Result.of(f"{example.name}_ratio", "x", [report.totals.ratio]))
    report.print()
    bench = Bench.of(example.name, results)
    bench.show(
        [
            f"{rounds} rounds on {workers} pinned workers, each outcome checked",
            "floor: the same in one call of one worker; speedup: floor through ours",
            "ratio: compute/coordinate of one run, from the report above",
        ]
    )
    if options.json:
        bench.write(options.json)
