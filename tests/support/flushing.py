"""Actors whose messages leave before their handlers have finished; workers import this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gristmill import Actor, Command, Context, Durable, Ref, Reject, Request, handles
from support.actors import wait_at


class Touch(Command):
    """Make a file."""

    path: str


class Touched(Request[int]):
    """How many files were made?"""


class TellAndWait(Request[bool]):
    """Tell somebody to make a file, and hold the core until it is there; was it?"""

    to: Ref[Any]
    path: str


class TellAndRefuse(Request[None]):
    """Tell somebody to make a file, and refuse."""

    to: Ref[Any]
    path: str


class Toucher(Actor):
    """Makes files."""

    def __init__(self) -> None:
        self.files = 0

    @handles
    def touch(self, msg: Touch) -> None:
        Path(msg.path).touch()
        self.files += 1

    @handles
    def touched(self, msg: Touched) -> int:
        return self.files


class Hasty(Actor):
    """Tells, and goes on."""

    @handles
    def tell_and_wait(self, msg: TellAndWait, ctx: Context) -> bool:
        msg.to.tell(Touch(msg.path))
        ctx.flush()
        wait_at(msg.path)
        return Path(msg.path).exists()


class Careful(Actor):
    """Is durable: what it tells waits for its commit."""

    facets = (Durable(),)

    @handles
    def tell_and_refuse(self, msg: TellAndRefuse, ctx: Context) -> None:
        msg.to.tell(Touch(msg.path))
        ctx.flush()
        raise Reject("after all", code="no")
