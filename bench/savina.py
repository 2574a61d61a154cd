"""Four actor benchmarks after the Savina suite, with actors on two workers and checked answers.

Ping-pong: two actors on different workers hand a token to and fro. Thread ring: a token goes round
100 actors, each on another worker than the next. Fork-join: a client tells 60 actors in turns, each
of which does a little arithmetic. Big: each of 40 actors pings random others, one ping at a time.
The floors are raw pyzmq between two processes: a lone round trip for the tokens (two messages),
one-way messages for fork-join, and as many open echoes as there are actors for big.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

from gristmill import DEFERRED, Actor, Command, Context, Node, Ref, Request, handles
from gristmill.behaviours.context import Deferred
from harness import Bench, Pairs, RawPair, arguments, two_cores

BODY = bytes(20)
"""About what a token is on the wire."""
RING, FORKS, BIG = 100, 60, 40


class Done(Command):
    """An actor has finished its part."""

    count: int


class Collect(Request[int]):
    """What do that many actors' counts add up to? Answered when all are done."""

    actors: int


class Collector(Actor):
    """Waits for the parts of a benchmark."""

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._wanted = 0
        self._answer: Callable[[int], None] | None = None

    @handles
    def done(self, msg: Done) -> None:
        """Take a part in."""
        self._counts.append(msg.count)
        self._settle()

    @handles
    def collect(self, msg: Collect, ctx: Context) -> int | Deferred:
        """Answer when all parts are there."""
        self._wanted, self._answer = msg.actors, ctx.defer_reply()
        self._settle()
        return DEFERRED

    def _settle(self) -> None:
        if self._answer is not None and len(self._counts) == self._wanted:
            self._answer(sum(self._counts))
            self._counts, self._answer = [], None


class Join(Command):
    """Learn who is next in the ring."""

    next: Ref[Any]
    collector: Ref[Any]


class Token(Command):
    """Goes round until nothing is left of it."""

    left: int
    hops: int


class Member(Actor):
    """Stands in a ring."""

    @handles
    def join(self, msg: Join) -> None:
        """Learn the neighbour."""
        self._next, self._collector = msg.next, msg.collector

    @handles
    def token(self, msg: Token) -> None:
        """Pass it on."""
        if msg.left:
            self._next.tell(Token(msg.left - 1, msg.hops + 1))
        else:
            self._collector.tell(Done(msg.hops))


class Part(Command):
    """Do a little arithmetic."""

    number: int


class Handled(Request[int]):
    """How many parts were handled since the last time?"""


class Fork(Actor):
    """Handles parts."""

    def __init__(self) -> None:
        self._handled = 0

    @handles
    def part(self, msg: Part) -> None:
        """Do a little arithmetic."""
        self._sine = math.sin(msg.number) ** 2
        self._handled += 1

    @handles
    def handled(self, msg: Handled) -> int:
        """Give the count and begin anew."""
        handled, self._handled = self._handled, 0
        return handled


class Meet(Command):
    """Learn who the others are."""

    others: list[Ref[Any]]
    collector: Ref[Any]


class Go(Command):
    """Ping that many times."""

    pings: int


class BigPing(Command):
    """Answer the sender."""

    number: int
    sender: Ref[Any]


class BigPong(Command):
    """The answer."""

    number: int


class Big(Actor):
    """Pings others, and answers their pings."""

    @handles
    def meet(self, msg: Meet) -> None:
        """Learn who the others are."""
        self._others, self._collector = msg.others, msg.collector

    @handles
    def go(self, msg: Go, ctx: Context) -> None:
        """Begin."""
        self._left = msg.pings
        self._sum = 0
        self._ping(ctx)

    @handles
    def ping(self, msg: BigPing) -> None:
        """Answer."""
        msg.sender.tell(BigPong(msg.number))

    @handles
    def pong(self, msg: BigPong, ctx: Context) -> None:
        """Add up, and ping the next one."""
        self._sum += msg.number
        self._left -= 1
        if self._left:
            self._ping(ctx)
        else:
            self._collector.tell(Done(self._sum))

    def _ping(self, ctx: Context) -> None:
        ctx.random.choice(self._others).tell(BigPing(self._left, ctx.ref))


class Savina:
    """The actors of all four, on one node of two workers."""

    def __init__(self, node: Node) -> None:
        self._collector = node.spawn(Collector)
        self._pair = self._ring(node, 2)
        self._many = self._ring(node, RING)
        self._forks = [node.spawn(Fork) for _ in range(FORKS)]
        self._bigs = [node.spawn(Big, placement=f"w{1 + i % 2}") for i in range(BIG)]
        for big in self._bigs:
            others = [other for other in self._bigs if other != big]
            big.tell(Meet(others, self._collector))

    def _ring(self, node: Node, size: int) -> Ref[Member]:
        members = [node.spawn(Member, placement=f"w{1 + i % 2}") for i in range(size)]
        for member, following in zip(members, members[1:] + members[:1], strict=True):
            member.tell(Join(following, self._collector))
        return members[0]

    def ping_pong(self, messages: int) -> float:
        """Give messages a second."""
        return self._token(self._pair, messages)

    def thread_ring(self, messages: int) -> float:
        """Give messages a second."""
        return self._token(self._many, messages)

    def _token(self, first: Ref[Member], messages: int) -> float:
        begin = time.perf_counter()
        first.tell(Token(messages - 1, 1))
        hops = self._collector.ask(Collect(1), timeout=60.0)
        seconds = time.perf_counter() - begin
        _check(hops, messages)
        return messages / seconds

    def fork_join(self, messages: int) -> float:
        """Give messages a second."""
        begin = time.perf_counter()
        for number in range(messages):
            self._forks[number % FORKS].tell(Part(number))
        handled = sum(fork.ask(Handled(), timeout=60.0) for fork in self._forks)
        seconds = time.perf_counter() - begin
        _check(handled, messages)
        return messages / seconds

    def big(self, pings: int) -> float:
        """Give messages a second; each ping and its answer are two."""
        begin = time.perf_counter()
        for actor in self._bigs:
            actor.tell(Go(pings))
        total = self._collector.ask(Collect(BIG), timeout=60.0)
        seconds = time.perf_counter() - begin
        _check(total, BIG * pings * (pings + 1) // 2)
        return 2 * BIG * pings / seconds


def _check(found: int, expected: int) -> None:
    if found != expected:
        sys.exit(f"the actors counted {found:,} where {expected:,} is right")


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = arguments(__doc__ or "")
    rounds, scale = (3, 1) if options.quick else (15, 2)
    hops, parts, pings = 2_000 * scale, 30_000 * scale, 250 * scale
    cores = two_cores()
    with Node(workers=2) as node, RawPair(*cores, BODY) as raw:
        savina = Savina(node)

        def token() -> float:
            return 2e6 / raw.latency(1_000)

        pairs = [
            Pairs("ping_pong", "1/s", lambda: savina.ping_pong(hops), token),
            Pairs("thread_ring", "1/s", lambda: savina.thread_ring(hops), token),
            Pairs("fork_join", "1/s", lambda: savina.fork_join(parts), lambda: raw.one_way(parts)),
            Pairs("big", "1/s", lambda: savina.big(pings), lambda: 2 * raw.pipelined(parts, BIG)),
        ]
        for pair in pairs:
            pair.warm_up()
        for _ in range(rounds):
            for pair in pairs:
                pair.round()
    bench = Bench.of("savina", [pair.result() for pair in pairs])
    bench.show(
        [
            f"{rounds} rounds; 2 workers, not pinned; accounting is on; messages a second",
            f"ring of {RING}, {FORKS} forks, {BIG} big actors with {pings} pings each",
            "floor: raw pyzmq PUSH/PULL between two pinned processes",
        ]
    )
    if options.json:
        bench.write(options.json)


if __name__ == "__main__":
    main()
