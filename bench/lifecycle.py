"""What a node costs before it does anything: start, import, memory and CPU at rest, actors.

Starts are fresh Python processes measured from outside, from the process's start to the first reply
of a node of two workers; their floor is a bare interpreter that imports pyzmq and numpy. Imports
are measured without the interpreter's start. Memory is the proportional set size (PSS), in which a
page that several processes share counts once. Workers load numpy always, a client with its first
array.
"""

from __future__ import annotations

import os
import sys
import time

from gristmill import Actor, Node, Request, handles
from harness import Bench, Result, arguments
from harness.processes import (
    BARE,
    HERE,
    IMPORT_FLOOR,
    IMPORT_NODE,
    Program,
    code_seconds,
    compile_modules,
    cpu_seconds,
    descendants,
    pss_bytes,
)

_NODE = HERE / "first_reply.py"
_IMPORTS = {
    "import": ("import gristmill", "import zmq, msgspec, msgpack"),
    "import_node": (IMPORT_NODE, IMPORT_FLOOR),
}
_MB = 1e6


class Count(Request[int]):
    """How many times were you asked?"""


class Idle(Actor):
    """Has one number as its state."""

    def __init__(self) -> None:
        self._asked = 0

    @handles
    def count(self, msg: Count) -> int:
        """Answer."""
        self._asked += 1
        return self._asked


def starts(rounds: int) -> list[Result]:
    ours, floors = [], []
    for _ in range(rounds):
        with Program(_NODE) as node, Program("-c", BARE) as bare:
            ours.append(node.ready_after)
            floors.append(bare.ready_after)
    return [Result.of("start_two_workers", "s", ours, floors)]


def imports(rounds: int) -> list[Result]:
    results = []
    for name, (ours, floor) in _IMPORTS.items():
        pairs = [(code_seconds(ours), code_seconds(floor)) for _ in range(rounds)]
        results.append(Result.of(name, "s", *zip(*pairs, strict=True)))
    return results


def at_rest(rounds: int, seconds: float) -> list[Result]:
    """Measure a node that has given one reply: memory with and without its client, and CPU."""
    memory, with_client, bare, cpu = [], [], [], []
    for _ in range(rounds):
        with Program(_NODE) as node, Program("-c", BARE) as floor:
            others = descendants(node.pid)
            memory.append(pss_bytes(others) / _MB)
            with_client.append(memory[-1] + pss_bytes([node.pid]) / _MB)
            bare.append(pss_bytes([floor.pid]) / _MB)
            everyone = [*others, node.pid]
            time.sleep(2.5)  # what starting has left to do, reports included, is not rest
            before, begin = cpu_seconds(everyone), time.perf_counter()
            time.sleep(seconds)
            taken = cpu_seconds(everyone) - before
            cpu.append(100 * taken / (time.perf_counter() - begin))
    return [
        Result.of("idle_memory_pss", "MB", memory, bare),
        Result.of("idle_memory_pss_with_client", "MB", with_client, bare),
        Result.of("idle_cpu", "%", cpu),
    ]


def spawning(rounds: int) -> list[Result]:
    """Start 1,000 actors at once, and one after another; all have run their constructor."""
    at_once, singly = [], []
    for _ in range(rounds):
        with Node(workers=2) as node:
            node.spawn(Idle).ask(Count())
            begin = time.perf_counter()
            refs = node.spawn_many(Idle, [()] * 1000)
            at_once.append(1e3 * (time.perf_counter() - begin))
            begin = time.perf_counter()
            refs += [node.spawn(Idle) for _ in range(1000)]
            singly.append(1e3 * (time.perf_counter() - begin))
            if [ref.ask(Count()) for ref in refs] != [1] * 2000:
                sys.exit("not every actor answered its first request with 1")
    return [
        Result.of("spawn_1000_actors", "ms", at_once),
        Result.of("spawn_1000_actors_singly", "ms", singly),
    ]


def actor_memory(actors: int) -> list[Result]:
    """Measure by how much the node's processes grow with each actor of a large number."""
    with Node(workers=2) as node:
        node.spawn_many(Idle, [()] * 100)
        processes = descendants(os.getpid())
        before = pss_bytes(processes)
        node.spawn_many(Idle, [()] * actors)
        each = (pss_bytes(processes) - before) / actors
    return [Result.of("actor_memory", "bytes", [each])]


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = arguments(__doc__ or "")
    rounds, actors = (3, 20_000) if options.quick else (9, 100_000)
    compile_modules()
    results = [
        *starts(rounds),
        *imports(rounds),
        *at_rest(1 if options.quick else 3, 2.0 if options.quick else 5.0),
        *spawning(1 if options.quick else 3),
        *actor_memory(actors),
    ]
    bench = Bench.of("lifecycle", results)
    bench.show(
        [
            f"{rounds} fresh processes each; accounting is on, as always",
            "memory: supervisor process, fork server and 2 workers; floor: a bare interpreter",
            "with pyzmq and numpy; idle CPU: all of them and the client",
            f"actor memory: growth of the node's PSS for each of {actors:,} actors",
        ]
    )
    if options.json:
        bench.write(options.json)


if __name__ == "__main__":
    main()
