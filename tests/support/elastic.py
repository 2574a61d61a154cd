"""Actors of an elastic pool; workers import this module."""

from __future__ import annotations

from gristmill import Actor, Command, Context, Request, handles
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
