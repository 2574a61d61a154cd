"""Actors whose starts can be made to fail, and one that administers its children."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gristmill import Actor, Command, Context, Ignore, Ref, Request, handles
from gristmill.behaviours.children import Child
from support.actors import append_line


class Born(Request[str]):
    """Answered by the text that it was started with."""


class Break(Command):
    """Raise."""


class Fragile(Actor):
    """Can't start while the file says ``fail``, and chooses not to while it says ``ignore``."""

    def __init__(self, switch: str, text: str = "") -> None:
        path = Path(switch)
        how = path.read_text() if path.exists() else ""
        append_line(f"{switch}.starts", f"{text} {how}")
        if how == "fail":
            raise ValueError("no start")
        if how == "ignore":
            raise Ignore("not wanted")
        self.text = text

    @handles
    def born(self, msg: Born) -> str:
        return self.text

    @handles
    def break_(self, msg: Break) -> None:
        raise ValueError("on request")


class Have(Request[Ref[Any]]):
    """Start a child of this name."""

    name: str


class EndByRef(Request[None]):
    """Stop a child."""

    child: Ref[Any]


class End(Request[None]):
    """Stop a child."""

    id: str


class Which(Request[list[tuple[str, str, bool]]]):
    """List the children: id, state, whether there is a ref."""


class Count(Request[tuple[int, int, int, int]]):
    """Count the children."""


class Parent(Actor):
    """Does with its children what it is asked."""

    def __init__(self, switch: str) -> None:
        self.switch = switch

    @handles
    async def have(self, msg: Have, ctx: Context) -> Ref[Any]:
        return await ctx.spawn(Fragile, (self.switch, msg.name), name=msg.name)

    @handles
    async def end_by_ref(self, msg: EndByRef, ctx: Context) -> None:
        await ctx.terminate_child(msg.child)

    @handles
    async def end(self, msg: End, ctx: Context) -> None:
        await ctx.terminate_child(msg.id)

    @handles
    async def which(self, msg: Which, ctx: Context) -> list[tuple[str, str, bool]]:
        return [_told(child) for child in await ctx.which_children()]

    @handles
    async def count(self, msg: Count, ctx: Context) -> tuple[int, int, int, int]:
        found = await ctx.count_children()
        return found.specs, found.active, found.supervisors, found.actors


def _told(child: Child) -> tuple[str, str, bool]:
    return child.id, child.state.value, child.ref is not None
