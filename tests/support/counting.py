"""Actors that count what they handle where it outlives them; workers import this module."""

from __future__ import annotations

import mmap
import os
import signal
from pathlib import Path
from typing import Any

from gristmill import Actor, Command, Context, Durable, Ref, Reject, Request, handles

HANGS = 60.0


class Effects:
    """How many messages an actor has handled in all its incarnations, in a mapped file."""

    def __init__(self, path: str | Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(descriptor, 8)
        self._cells = memoryview(mmap.mmap(descriptor, 8)).cast("q")
        os.close(descriptor)

    def add(self) -> None:
        """Count one."""
        self._cells[0] += 1

    @property
    def count(self) -> int:
        """How many so far."""
        return self._cells[0]


class Bump(Command):
    """Count this."""


class BumpLate(Command):
    """Count this after a moment in which nothing is computed."""


class BumpAsk(Request[int]):
    """Count this, and answer."""

    number: int


class Refused(Command):
    """To be refused."""


class Relay(Command):
    """Count this, and tell another actor to count so many."""

    to: Ref[Any]
    count: int
    delivery: str = "at_most_once"


class Hang(Request[int]):
    """Never answer, with or without holding the worker; make the file first."""

    begun: str
    holding: bool


class Counter(Actor):
    """Counts."""

    def __init__(self, path: str) -> None:
        self.effects = Effects(path)

    @handles
    def bump(self, msg: Bump) -> None:
        self.effects.add()

    @handles
    async def late(self, msg: BumpLate, ctx: Context) -> None:
        await ctx.sleep(0.001)
        self.effects.add()

    @handles
    def ask(self, msg: BumpAsk) -> int:
        self.effects.add()
        return msg.number

    @handles
    def refuse(self, msg: Refused) -> None:
        raise Reject("not this one")

    @handles
    async def hang(self, msg: Hang, ctx: Context) -> int:
        Path(msg.begun).touch()
        while msg.holding:
            signal.pause()
        await ctx.sleep(HANGS)
        return 0

    @handles
    def relay(self, msg: Relay) -> None:
        for _ in range(msg.count):
            msg.to.tell(Bump(), delivery=msg.delivery)
        self.effects.add()


class DurableCounter(Counter):
    """Counts, and filters duplicates."""

    facets = (Durable(),)
