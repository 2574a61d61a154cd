"""An actor that looks names up; workers import this module."""

from __future__ import annotations

from typing import Any

from gristmill import Actor, Context, Ref, Request, handles


class Knows(Request[bool]):
    """Is there an actor, a pool or a group of keyed actors of this name?"""

    name: str


class Directory(Actor):
    """Says what it finds."""

    @handles
    def knows(self, msg: Knows, ctx: Context) -> bool:
        found = (ctx.lookup(msg.name), ctx.lookup_pool(msg.name), ctx.lookup_keyed(msg.name))
        return any(each is not None for each in found)


class Named(Actor):
    """Has a name, and is not asked anything."""


class StartAndAsk(Request[bool]):
    """Start a child of this name; does the directory know it?"""

    name: str


class Parent(Actor):
    """Starts children and asks for them."""

    def __init__(self, directory: Ref[Any]) -> None:
        self._directory = directory

    @handles
    async def start_and_ask(self, msg: StartAndAsk, ctx: Context) -> bool:
        await ctx.spawn(Named, name=msg.name)
        known: bool = await ctx.ask(self._directory, Knows(msg.name))
        return known
