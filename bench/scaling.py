"""Compute of 1 ms a message on 1 to N workers, beside bare processes that do the same calls.

Strong scaling: the same number of messages for any number of workers. Weak scaling: as many for
each worker. Efficiency is the rate of n workers through n times the rate of one. The floor is the
same calls in n processes with nothing between them, so it shows what the machine itself loses when
more of its cores are busy. Every answer is checked.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack

from gristmill import Actor, Node, Request, handles
from gristmill.config import available_cores
from gristmill.node.pool import Pool
from harness import Bench, Result, options
from harness.compute import KERNELS, SEEDS, calibrated, digest, expected
from harness.processes import HERE, Program

GRAIN = 1e-3


class Work(Request[int]):
    """Compute."""

    kernel: str
    size: int
    seed: int


class Worker(Actor):
    """Computes."""

    @handles
    def work(self, msg: Work) -> int:
        """Answer with the kernel's answer."""
        return KERNELS[msg.kernel](msg.seed, msg.size)


class Scale:
    """One kernel on pools of one to N workers, and on as many bare processes.

    Args:
        kernel: its name.
        pools: the pools, by their number of workers.
        floor: the bare processes, as many as the largest pool has workers.
    """

    def __init__(
        self, kernel: str, size: int, pools: dict[int, Pool[Worker]], floor: list[Program]
    ) -> None:
        self._kernel = kernel
        self._size = size
        self._pools = pools
        self._floor = floor
        self._rates: dict[tuple[str, int], list[tuple[float, float]]] = {}

    def round(self, calls: int) -> None:
        """Measure every number of workers once.

        Args:
            calls: what one worker gets, or in strong scaling all of them together.
        """
        for workers in self._pools:
            for mode, each in (("strong", calls // workers), ("weak", calls)):
                seconds = self._ours(workers, each * workers), self._bare(workers, each)
                rates = each * workers / seconds[0], each * workers / seconds[1]
                self._rates.setdefault((mode, workers), []).append(rates)

    def _ours(self, workers: int, calls: int) -> float:
        messages = (Work(self._kernel, self._size, i % SEEDS) for i in range(calls))
        begin = time.perf_counter()
        answers = digest(self._pools[workers].ask_many(messages))
        seconds = time.perf_counter() - begin
        self._check(answers, calls)
        return seconds

    def _bare(self, workers: int, each: int) -> float:
        chosen = self._floor[:workers]
        begin = time.perf_counter()
        for process in chosen:
            process.tell(str(each))
        answers = [int(process.line()) for process in chosen]
        seconds = time.perf_counter() - begin
        for answer in answers:
            self._check(answer, each)
        return seconds

    def _check(self, answer: int, calls: int) -> None:
        right = expected(self._kernel, self._size, calls)
        if answer != right:
            sys.exit(f"{self._kernel}: the answers fold to {answer} where {right} is right")

    def results(self) -> list[Result]:
        """Give the rate of each number of workers, then the efficiencies."""
        rates = [
            Result.of(f"{self._kernel}_rate_{workers}", "1/s", *zip(*pairs, strict=True))
            for (mode, workers), pairs in self._rates.items()
            if mode == "weak"
        ]
        efficiencies = [
            Result.of(f"{self._kernel}_{mode}_{n}", "efficiency", *self._efficiencies(mode, n))
            for mode, n in self._rates
            if n > 1
        ]
        return rates + efficiencies

    def _efficiencies(self, mode: str, workers: int) -> list[list[float]]:
        """Give ours and the floor's, a value a round."""
        single, several = self._rates[mode, 1], self._rates[mode, workers]
        return [
            [n[side] / (workers * one[side]) for one, n in zip(single, several, strict=True)]
            for side in (0, 1)
        ]


def _counts(text: str) -> list[int]:
    try:
        counts = sorted({int(part) for part in text.split(",")} | {1})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write numbers of workers, such as 1,2,4")
    return counts


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = options(__doc__ or "")
    parser.add_argument(
        "--workers", type=_counts, metavar="1,2,4", help="numbers of workers; all cores by default"
    )
    asked = parser.parse_args()
    cores = available_cores()
    counts: list[int] = asked.workers or _counts(f"{','.join(map(str, range(1, cores + 1)))}")
    rounds, calls = (3, 200) if asked.quick else (9, 300)
    results = []
    with ExitStack() as stack:
        nodes = {n: stack.enter_context(Node(workers=n)) for n in counts}
        pools = {n: node.pool(Worker, n) for n, node in nodes.items()}
        for kernel in KERNELS:
            size = calibrated(kernel, GRAIN)
            script = HERE / "compute.py"
            with ExitStack() as bare:
                floor = [
                    bare.enter_context(Program(script, kernel, str(size)))
                    for _ in range(max(counts))
                ]
                scale = Scale(kernel, size, pools, floor)
                for _ in range(rounds):
                    scale.round(calls)
            results += scale.results()
    bench = Bench.of("scaling", results)
    bench.show(
        [
            f"{rounds} rounds; {calls} messages of {GRAIN * 1e3:g} ms (weak: for each worker)",
            f"floor: bare processes that call the same kernels; {cores} cores may be used",
            "the client runs on the same cores; accounting is on",
        ]
    )
    if asked.json:
        bench.write(asked.json)


if __name__ == "__main__":
    main()
