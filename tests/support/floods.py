"""Actors that fill each other's mailboxes; workers import this module."""

from __future__ import annotations

from typing import Any

from gristmill import Actor, Command, Context, Mailbox, Ref, Request, handles
from gristmill.errors import MailboxFullError


class Drop(Command):
    """One of many."""


class Flood(Command):
    """Tell another actor so many drops, waiting for room or not, after a rest."""

    to: Ref[Any]
    count: int
    waiting: bool = False
    rest: float = 0.0


class Drops(Request[int]):
    """How many have come?"""


class FloodSelf(Request[int]):
    """Tell yourself so many drops; how many fitted?"""

    count: int


class Basin(Actor):
    """Floods others, and counts what comes."""

    mailbox = Mailbox(capacity=4)

    def __init__(self) -> None:
        self.drops = 0

    @handles
    def drop(self, msg: Drop) -> None:
        self.drops += 1

    @handles
    def how_many(self, msg: Drops) -> int:
        return self.drops

    @handles
    async def flood(self, msg: Flood, ctx: Context) -> None:
        await ctx.sleep(msg.rest)
        for _ in range(msg.count):
            if msg.waiting:
                await ctx.tell(msg.to, Drop())
            else:
                msg.to.tell(Drop())

    @handles
    def flood_self(self, msg: FloodSelf, ctx: Context) -> int:
        for number in range(msg.count):
            try:
                ctx.ref.tell(Drop())
            except MailboxFullError:
                return number
        return msg.count
