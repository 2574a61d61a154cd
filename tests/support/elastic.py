"""Actors of an elastic pool; workers import this module."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gristmill import Actor, Command, Context, Durable, Request, handles
from support.actors import append_line


class Wait(Request[str]):
    """Answer after a while; says who has answered."""

    seconds: float


class WaitAndNote(Command):
    """Write a line after a while."""

    seconds: float
    number: int


class WhoHas(Request[str]):
    """Which member are you?"""


class Waiting(Actor):
    """Waits for something outside, as an actor that talks to a server does."""

    def __init__(self, log: str = "") -> None:
        self.log = log

    @handles
    async def wait(self, msg: Wait, ctx: Context) -> str:
        await ctx.sleep(msg.seconds)
        return ctx.name

    @handles
    async def note(self, msg: WaitAndNote, ctx: Context) -> None:
        await ctx.sleep(msg.seconds)
        append_line(self.log, f"{msg.number} {ctx.name}")

    @handles
    def who(self, msg: WhoHas, ctx: Context) -> str:
        return ctx.name


class NoteBehind(Command):
    """Write a line when the file is there."""

    gate: str
    number: int


class Gated(Actor):
    """Works on nothing before a file is there; says what it has begun."""

    def __init__(self, log: str) -> None:
        self.log = log

    @handles
    async def note(self, msg: NoteBehind, ctx: Context) -> None:
        append_line(self.log, f"begun {msg.number} {ctx.name}")
        while not Path(msg.gate).exists():
            await ctx.sleep(0.002)
        append_line(self.log, f"done {msg.number} {ctx.name}")


class Counted(msgspec.Struct, frozen=True, tag=True):
    """A number was counted."""

    number: int


class Count(Command):
    """Remember a number for ever, after a while."""

    seconds: float
    number: int


class GetCounted(Request[list[int]]):
    """Which numbers have you counted, in all your lives?"""


class Counting(Actor):
    """Counts durably: a message that it has handled it knows again."""

    facets = (Durable(),)

    def __init__(self, log: str = "") -> None:
        self.log = log
        self.numbers: list[int] = []

    def apply(self, event: Counted) -> None:
        self.numbers.append(event.number)

    @handles
    async def count(self, msg: Count, ctx: Context) -> None:
        await ctx.sleep(msg.seconds)
        ctx.persist(Counted(msg.number))
        append_line(self.log, f"{msg.number} {ctx.name}")

    @handles
    def counted(self, msg: GetCounted) -> list[int]:
        return self.numbers


class Spread(Command):
    """Tell a pool to note the numbers from ``first`` up to ``last``."""

    pool: str
    first: int
    last: int
    delivery: str = "at_most_once"
    seconds: float = 0.0
    durably: bool = False


class SpreadGated(Command):
    """Tell a pool, at least once, to note the numbers up to ``last`` when the file is there."""

    pool: str
    last: int
    gate: str


class AskAround(Request[list[str]]):
    """Ask a pool so often, one after the other or all at once; who has answered?"""

    pool: str
    times: int
    seconds: float
    at_once: bool = False


class Sender(Actor):
    """Sends to pools from inside a worker."""

    def __init__(self, pool: str = "") -> None:
        self.pool = pool

    def on_start(self, ctx: Context) -> None:
        if self.pool:
            to = ctx.lookup_pool(self.pool)
            assert to is not None
            to.tell(WaitAndNote(0.0, 1))
            to.tell(WaitAndNote(0.0, 2), delivery="at_least_once")

    @handles
    def spread(self, msg: Spread, ctx: Context) -> None:
        to = ctx.lookup_pool(msg.pool)
        assert to is not None
        kind = Count if msg.durably else WaitAndNote
        for number in range(msg.first, msg.last):
            to.tell(kind(msg.seconds, number), delivery=msg.delivery)

    @handles
    def spread_gated(self, msg: SpreadGated, ctx: Context) -> None:
        to = ctx.lookup_pool(msg.pool) or ctx.lookup(msg.pool)
        assert to is not None
        for number in range(msg.last):
            to.tell(NoteBehind(msg.gate, number), delivery="at_least_once")

    @handles
    async def ask(self, msg: AskAround, ctx: Context) -> list[str]:
        to = ctx.lookup_pool(msg.pool)
        assert to is not None
        if msg.at_once:
            requests = [ctx.request(to, Wait(msg.seconds)) for _ in range(msg.times)]
            return [await request.result(timeout=30.0) for request in requests]
        return [await ctx.ask(to, Wait(msg.seconds), timeout=30.0) for _ in range(msg.times)]


class SureSender(Sender):
    """Sends for each message once, whatever dies."""

    facets = (Durable(),)
