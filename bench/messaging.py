"""Messages between a client and one worker, against a raw pyzmq PUSH/PULL pair.

Both processes of each pair are pinned to two cores; rounds of ours and of the floor alternate, and
ratios are medians over the rounds. The runtime's accounting is on, as always.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from statistics import median

import msgspec

from gristmill import Actor, Command, Node, Ref, Request, handles
from harness import Bench, Pairs, RawPair, add_transport, named, options, two_cores

WINDOW = 1024
_BULK = 16 * 1024


class Add(Request[int]):
    """Add two numbers."""

    a: int
    b: int


class Measure(Request[int]):
    """Tell how many bytes this holds."""

    body: bytes


class Note(Command):
    """Count this."""

    a: int
    b: int


class Noted(Request[int]):
    """Tell how many notes were handled since the last time."""


class Counter(Actor):
    """Does as little as a handler can."""

    def __init__(self) -> None:
        self._notes = 0

    @handles
    def add(self, msg: Add) -> int:
        """Answer."""
        return msg.a + msg.b

    @handles
    def measure(self, msg: Measure) -> int:
        """Answer."""
        return len(msg.body)

    @handles
    def note(self, msg: Note) -> None:
        """Count."""
        self._notes += 1

    @handles
    def noted(self, msg: Noted) -> int:
        """Give the count and begin anew."""
        notes, self._notes = self._notes, 0
        return notes


def ask_pipelined(ref: Ref[Counter], count: int) -> float:
    begin = time.perf_counter()
    total = sum(ref.ask_many((Add(i, 1) for i in range(count)), window=WINDOW))
    seconds = time.perf_counter() - begin
    _check(total, count * (count + 1) // 2)
    return count / seconds


def ask_latency(ref: Ref[Counter], request: Request[int], count: int) -> float:
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        ref.ask(request)
        times.append(time.perf_counter() - begin)
    return median(times) * 1e6


def tell(ref: Ref[Counter], count: int) -> float:
    begin = time.perf_counter()
    for i in range(count):
        ref.tell(Note(i, 1))
    handled = ref.ask(Noted(), timeout=60.0)
    seconds = time.perf_counter() - begin
    _check(handled, count)
    return count / seconds


def _check(found: int, expected: int) -> None:
    if found != expected:
        sys.exit(f"the worker answered {found:,} where {expected:,} is right")


def _pin(core: int) -> None:
    """Keep every thread of this process, sockets' threads included, on one core."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = options(__doc__ or "")
    add_transport(parser)
    asked = parser.parse_args()
    rounds, scale = (5, 1) if asked.quick else (25, 2)
    worker_core, client_core = two_cores()
    asks, lone, tells = 20_000 * scale, 1_000 * scale, 40_000 * scale
    body = msgspec.msgpack.encode(Add(1000, 1))
    with (
        Node(workers=1, pin_cpus=True, transport=asked.transport) as node,
        RawPair(client_core, worker_core, body) as raw,
    ):
        _pin(client_core)
        ref = node.spawn(Counter, name="counter")
        pairs = [
            Pairs(
                "ask_pipelined",
                "1/s",
                lambda: ask_pipelined(ref, asks),
                lambda: raw.pipelined(asks, WINDOW),
            ),
            Pairs(
                "ask_latency_p50",
                "us",
                lambda: ask_latency(ref, Add(1000, 1), lone),
                lambda: raw.latency(lone),
            ),
            Pairs(
                "ask_latency_16kb_p50",
                "us",
                lambda: ask_latency(ref, Measure(bytes(_BULK)), lone // 4),
                lambda: raw.bulk(_BULK, lone // 4) * 1e3,
            ),
            Pairs("tell", "1/s", lambda: tell(ref, tells), lambda: raw.one_way(tells)),
        ]
        for pair in pairs:
            pair.warm_up()
        for _ in range(rounds):
            for pair in pairs:
                pair.round()
        accounted = node.granularity()
    bench = Bench.of(named("messaging", asked.transport), [pair.result() for pair in pairs])
    bench.show(
        [
            f"{rounds} rounds; floor: raw pyzmq PUSH/PULL, one message a frame, {len(body)} bytes",
            f"asks: window {WINDOW}; a tell counts when it was handled; journal off",
            f"accounting on in every figure: {accounted.totals.messages:,} messages accounted for",
        ]
    )
    if asked.json:
        bench.write(asked.json)


if __name__ == "__main__":
    main()
