"""An elastic pool whose actors await a slow server: how soon it grows, and what that brings.

The external is a server in a process of its own that answers after 50 ms. While an actor awaits it
the actor is occupied, its worker is not. The load is a fixed number of askers, each of which asks
again as soon as it was answered. The floor is the same load on a pool of fixed size.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

from gristmill import Actor, Context, Node, Request, handles
from gristmill.node.pool import Pool
from gristmill.node.status import PoolStatus
from gristmill.placement.elasticity import Elasticity
from harness import Bench, Result, arguments

SMALL, LARGE = 5, 50
ASKERS = 200
DELAY = 0.05
"""Seconds that the external takes."""
LIMIT = 120.0
"""Seconds after which a size that was not reached is a failure."""
SERVER = f"""
import asyncio

async def serve(reader, writer):
    while await reader.readline():
        await asyncio.sleep({DELAY})
        writer.write(b"done\\n")
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


class Call(Request[bool]):
    """Call the external."""


class Caller(Actor):
    """Talks to the external, one call at a time."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def on_start(self, ctx: Context) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    @handles
    async def call(self, msg: Call) -> bool:
        """Call, and wait for the answer."""
        self._writer.write(b"call\n")
        return await self._reader.readline() == b"done\n"


class Load:
    """Askers that ask a pool for as long as ``asking``."""

    def __init__(self, pool: Pool[Caller]) -> None:
        self._pool = pool
        self.asking = True
        self.sent = self.answered = 0

    async def ask(self) -> None:
        """Be one of the askers."""
        while self.asking:
            self.sent += 1
            answered = await self._pool.ask_async(Call(), timeout=60.0)
            self.answered += answered

    async def rates(self, slices: int, seconds: float) -> list[float]:
        """Give the answers a second in each of some slices of time."""
        found = []
        for _ in range(slices):
            before, begun = self.answered, time.perf_counter()
            await asyncio.sleep(seconds)
            found.append((self.answered - before) / (time.perf_counter() - begun))
        return found


@contextlib.contextmanager
def external() -> Iterator[int]:
    """Run the server; give its port."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


async def under_load(
    pool: Pool[Caller], measure: Callable[[Load], Awaitable[list[float]]]
) -> tuple[Load, list[float]]:
    """Have a pool asked while something is measured, and wait for all answers."""
    load = Load(pool)
    askers = [asyncio.create_task(load.ask()) for _ in range(ASKERS)]
    try:
        measured = await measure(load)
    finally:
        load.asking = False
        await asyncio.gather(*askers)
    return load, measured


def status(node: Node, name: str) -> PoolStatus:
    return next(pool for pool in node.status().pools if pool.name == name)


async def until_size(node: Node, name: str, size: int) -> float:
    """Wait until a pool has a size; give the seconds that took."""
    begun = time.perf_counter()
    while True:
        pool = await asyncio.to_thread(status, node, name)
        passed = time.perf_counter() - begun
        if (pool.size, pool.starting, pool.leaving) == (size, 0, 0):
            return passed
        if passed > LIMIT:
            sys.exit(f"{name} has {pool.size} members after {passed:.0f} s, not {size}")
        await asyncio.sleep(0.05)


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = arguments(__doc__ or "")
    rule = Elasticity(SMALL, LARGE, cooldown=1.0 if options.quick else 5.0)
    slices, seconds = (3, 1.0) if options.quick else (10, 1.0)
    up: list[float] = []

    async def grow_and_measure(load: Load) -> list[float]:
        up.append(await until_size(node, "elastic", LARGE))
        return await load.rates(slices, seconds)

    with external() as port, Node(workers=2) as node:
        fixed = node.pool(Caller, SMALL, args=(port,), name="fixed")
        elastic = node.pool(Caller, SMALL, args=(port,), name="elastic", elastic=rule)
        first, base = asyncio.run(under_load(fixed, lambda load: load.rates(slices, seconds)))
        second, grown = asyncio.run(under_load(elastic, grow_and_measure))
        down = asyncio.run(until_size(node, "elastic", SMALL))
        lost = first.sent + second.sent - first.answered - second.answered
        letters = len(node.dead_letters())
    if lost or letters:
        sys.exit(f"{lost} requests were lost, and {letters} are dead letters")
    bench = Bench.of(
        "elastic",
        [
            Result.of(f"seconds_from_{SMALL}_to_{LARGE}", "s", up),
            Result.of("calls_a_second_grown", "1/s", grown, base),
            Result.of(f"seconds_back_to_{SMALL}", "s", [down]),
        ],
    )
    bench.show(
        [
            f"{ASKERS} askers; a call awaits {DELAY * 1e3:g} ms; cooldown {rule.cooldown:g} s",
            f"floor: {SMALL} actors; {first.sent + second.sent:,} requests, none lost",
        ]
    )
    if options.json:
        bench.write(options.json)


if __name__ == "__main__":
    main()
