"""What the accounting costs: the same messages with it and almost without it, in turns.

A worker handles messages of 50, 150 and 1,000 us. Accounted, every message is stamped, or one in
so many where they are short, as always; unaccounted, none is. A figure is the CPU time of the
worker a message, which others on the machine hardly change; the floor is the unaccounted one, so
ours / floor is the slowdown: 1 % is allowed from 150 us on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from gristmill import Actor, Context, Node, Ref, Request, handles
from gristmill.metrics import Sampling
from harness import Bench, Pairs, arguments
from harness.compute import calibrated, python_kernel

GRAINS_US = (50, 150, 1000)
_WINDOW = 64


class Work(Request[int]):
    """Compute."""

    size: int


class Account(Request[int]):
    """Account for messages of a size from now on, or not; answered by the CPU ns taken so far."""

    size: int
    on: bool


class Never(Sampling):
    """Lets no message be stamped after the one in hand."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.n = 2

    def gap(self, cost_ns: int, messages: int = 1) -> int:
        """Let all go by."""
        return 1 << 60


class Worker(Actor):
    """Computes, and can leave its worker's meter alone."""

    def __init__(self) -> None:
        self._samplings: dict[int, Sampling] = {}
        """By size: what was found in one round holds in the next."""

    @handles
    def work(self, msg: Work) -> int:
        """Compute."""
        return python_kernel(1, msg.size)

    @handles
    def account(self, msg: Account, ctx: Context) -> int:
        """Switch: from the next message on."""
        stamping = ctx._host._core.stamping  # type: ignore[attr-defined]  # noqa: SLF001 - nobody else may
        if msg.on:
            sampling = self._samplings.setdefault(msg.size, Sampling(ctx.random))
            stamping.sampling, found = sampling, sampling.n
            stamping.adapt()  # what others have cost meanwhile is not its to judge by
            sampling.n = found
            stamping.unstamped = 0
        else:
            stamping.sampling = Never(ctx.random)
        return time.process_time_ns()


def measured(ref: Ref[Worker], size: int, messages: int, *, on: bool) -> Callable[[], float]:
    """Give what measures CPU us a message once."""

    def measure() -> float:
        began = ref.ask(Account(size, on))
        list(ref.ask_many([Work(size)] * messages, window=_WINDOW))
        return (ref.ask(Account(size, True)) - began) / messages / 1e3

    return measure


def _pin(core: int) -> None:
    """Keep every thread of this process on one core."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = arguments(__doc__ or "")
    rounds, seconds = (7, 0.05) if options.quick else (21, 0.7)
    sizes = {grain: calibrated("python", grain / 1e6) for grain in GRAINS_US}
    with Node(workers=1, pin_cpus=True) as node:
        _pin(max(os.sched_getaffinity(0)))
        ref = node.spawn(Worker)
        pairs = []
        for grain, size in sizes.items():
            messages = round(seconds / grain * 1e6)
            ours = measured(ref, size, messages, on=True)
            pairs.append(
                Pairs(f"cpu_{grain}us", "us", ours, measured(ref, size, messages, on=False))
            )
        for pair in pairs:
            pair.warm_up()
        for _ in range(rounds):
            for pair in pairs:
                pair.round()
        said = node.granularity().checks.probe_pct or 0.0
    bench = Bench.of("accounting", [pair.result() for pair in pairs])
    bench.show(
        [
            f"{rounds} pairs of {seconds:g} s; floor: the same with no message stamped",
            f"the report itself says that accounting took {said:.2f} % of wall time",
        ]
    )
    if options.json:
        bench.write(options.json)


if __name__ == "__main__":
    main()
