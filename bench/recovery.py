"""From the SIGKILL of a worker to the next answer of an actor on it, its state restored.

One worker is killed again and again. The clock starts with the signal and stops when an ask is
answered by the next incarnation; asks that fail meanwhile are sent again at once, as a client of an
idempotent request would. The floor is one fork, exec and exit of ``/bin/true``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from statistics import median, quantiles

from gristmill import Actor, Command, Context, Durable, Node, Ref, Request, handles
from gristmill.errors import ActorError
from harness import Bench, Result, arguments

EVENTS = 1000
"""What the durable actor has to replay."""


class Count(Command):
    """Count this."""


class Counted(Command):
    """Something was counted."""


class Total(Request[tuple[int, int]]):
    """Which process are you in, and how much have you counted?"""


class Volatile(Actor):
    """Loses its count with its worker."""

    def __init__(self) -> None:
        self._total = 0

    @handles
    def total(self, msg: Total) -> tuple[int, int]:
        """Answer."""
        return os.getpid(), self._total


class Ledger(Volatile):
    """Keeps its count."""

    facets = (Durable(),)

    def apply(self, event: Counted) -> None:
        """Count."""
        self._total += 1

    @handles
    def count(self, msg: Count, ctx: Context) -> None:
        """Count durably."""
        ctx.persist(Counted())


def restart(ref: Ref[Volatile] | Ref[Ledger], expected: int) -> float:
    """Kill the worker of an actor; give the ms until it answers again."""
    pid, _ = ref.ask(Total())
    begun = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while True:
        with contextlib.suppress(ActorError):
            successor, total = ref.ask(Total())
            if successor != pid:
                break
    milliseconds = (time.perf_counter() - begun) * 1e3
    if total != expected:
        sys.exit(f"the actor has counted {total:,} where {expected:,} is right")
    return milliseconds


def floor() -> float:
    begun = time.perf_counter()
    subprocess.run(["/bin/true"], check=True)
    return (time.perf_counter() - begun) * 1e3


def result(name: str, times: list[float], floors: list[float]) -> list[Result]:
    late = quantiles(times, n=100)[-1]
    base = median(floors)
    low, high = min(times), max(times)
    return [
        Result(name, "ms", median(times), low, high, base, median(times) / base),
        Result(f"{name}_p99", "ms", late, low, high, None, None),
    ]


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = arguments(__doc__ or "")
    kills = 30 if options.quick else 300
    with (
        tempfile.TemporaryDirectory() as journal,
        Node(workers=2, journal=journal, max_restarts=10 * kills) as node,
    ):
        volatile = node.spawn(Volatile, name="volatile", placement="w1")
        durable = node.spawn(Ledger, name="ledger", placement="w2")
        for _ in range(EVENTS):
            durable.tell(Count())
        restart(volatile, 0), restart(durable, EVENTS)
        floors = [floor() for _ in range(kills)]
        volatile_times = [restart(volatile, 0) for _ in range(kills)]
        durable_times = [restart(durable, EVENTS) for _ in range(kills)]
    bench = Bench.of(
        "recovery",
        [
            *result("restart_after_sigkill", volatile_times, floors),
            *result("restart_after_sigkill_durable", durable_times, floors),
        ],
    )
    bench.show(
        [
            f"{kills} kills of each; from the signal to the next answer",
            f"the durable actor replays {EVENTS:,} events; floor: fork, exec and exit of /bin/true",
        ]
    )
    if options.json:
        bench.write(options.json)


if __name__ == "__main__":
    main()
