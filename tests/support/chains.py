"""Actors that ask each other in chains, and wait long enough to be cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gristmill import DEFERRED, Actor, Command, Context, Durable, Ref, Request, handles
from support.actors import append_line

LONG = 60.0


class Through(Request[str]):
    """Ask the first one of these, in some way, to ask the rest; give what came of it."""

    refs: list[Ref[Any]]
    how: str = "ask"


class Begin(Command):
    """Ask the first one to go through the rest, and note what came of it."""

    refs: list[Ref[Any]]


class BeginAt(Command):
    """Say that it is held, and ask when the file is there."""

    gate: str
    ref: Ref[Any]


class Outcome(Request[str]):
    """What came of it?"""


class Wait(Request[str]):
    """Write ``begun`` into the file, await for long, write ``ended`` or ``cancelled``."""

    path: str


class WaitBelow(Request[str]):
    """Have another one wait."""

    path: str
    ref: Ref[Any]


class WaitStubbornly(Request[str]):
    """Wait, and answer all the same when cancelled."""

    path: str


class PersistAndNap(Request[str]):
    """Persist, then await a moment."""

    path: str


class Persisted(Command):
    """It was persisted."""


class Count(Request[int]):
    """How often?"""


class Link(Actor):
    """One of a chain."""

    def __init__(self) -> None:
        self.outcome = ""
        self.kept: Any = None
        self.count = 0

    @handles
    async def through(self, msg: Through, ctx: Context) -> Any:
        if not msg.refs:
            return "the end"
        first, rest = msg.refs[0], Through(msg.refs[1:])
        match msg.how:
            case "request":
                return await ctx.request(first, rest).result(5.0)
            case "tell":
                first.tell(Begin([]))
                return "told"
            case "defer":
                reply = ctx.defer_reply()
                reply("answered before")
                await ctx.ask(first, Outcome(), timeout=5.0)
                return DEFERRED
        return await ctx.ask(first, rest, timeout=5.0)

    @handles
    async def begin(self, msg: Begin, ctx: Context) -> None:
        if msg.refs:
            try:
                self.outcome = await ctx.ask(msg.refs[0], Through(msg.refs[1:]), timeout=5.0)
            except Exception as error:
                self.outcome = f"{type(error).__name__}: {error}"

    @handles
    async def begin_at(self, msg: BeginAt, ctx: Context) -> None:
        Path(f"{msg.gate}.held").touch()
        while not Path(msg.gate).exists():
            await ctx.sleep(0.001)
        await self.begin(Begin([msg.ref]), ctx)

    @handles
    def tell_outcome(self, msg: Outcome) -> str:
        return self.outcome

    @handles
    async def wait(self, msg: Wait, ctx: Context) -> str:
        append_line(msg.path, "begun")
        try:
            await ctx.sleep(LONG)
        except asyncio.CancelledError:
            append_line(msg.path, "cancelled")
            raise
        append_line(msg.path, "ended")
        return "waited"

    @handles
    async def wait_below(self, msg: WaitBelow, ctx: Context) -> str:
        return await ctx.ask(msg.ref, Wait(msg.path), timeout=None)

    @handles
    async def wait_stubbornly(self, msg: WaitStubbornly, ctx: Context) -> str:
        append_line(msg.path, "begun")
        try:
            await ctx.sleep(LONG)
        except asyncio.CancelledError:
            append_line(msg.path, "cancelled")
        return "all the same"

    @handles
    def how_often(self, msg: Count) -> int:
        return self.count


class DurableLink(Link):
    """Remembers."""

    facets = (Durable(),)

    @handles
    async def persist_and_nap(self, msg: PersistAndNap, ctx: Context) -> str:
        ctx.persist(Persisted())
        append_line(msg.path, "begun")
        while not Path(f"{msg.path}.go").exists():
            await ctx.sleep(0.001)
        return "done"

    def apply(self, event: Persisted) -> None:
        self.count += 1
