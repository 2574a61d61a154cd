"""Actors with messages that kill their worker; workers import this module."""

from __future__ import annotations

import os
import signal
from typing import Any

from gristmill import Actor, Command, Context, Durable, Ref, Request, handles
from support.actors import Die, Note, Notes, Pid, append_line


class Weigh(Request[int], idempotent=True):
    """Give the number back, unless it is 13."""

    number: int


class WeighLater(Request[int], idempotent=True):
    """The same, behind an await."""

    number: int


class WeighFor(Request[str]):
    """Ask somebody else to weigh, and say what came of it."""

    to: Ref[Any]
    number: int


class NoteLater(Command):
    """Remember a number, behind an await."""

    number: int


def die_of(number: int) -> None:
    """End the worker if the number is 13."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)


class Scale(Actor):
    """Writes what it was asked, and dies of 13."""

    def __init__(self, log: str) -> None:
        self.log = log

    @handles
    def weigh(self, msg: Weigh) -> int:
        append_line(self.log, f"weigh {msg.number}")
        die_of(msg.number)
        return msg.number

    @handles
    async def weigh_later(self, msg: WeighLater, ctx: Context) -> int:
        append_line(self.log, f"weigh {msg.number}")
        await ctx.sleep(0.001)
        die_of(msg.number)
        return msg.number

    @handles
    async def weigh_for(self, msg: WeighFor, ctx: Context) -> str:
        try:
            return str(await ctx.ask(msg.to, Weigh(msg.number), timeout=None))
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    @handles
    def note(self, msg: Note) -> None:
        append_line(self.log, f"note {msg.number}")
        die_of(msg.number)

    @handles
    async def note_later(self, msg: NoteLater, ctx: Context) -> None:
        append_line(self.log, f"note {msg.number}")
        await ctx.sleep(0.001)
        die_of(msg.number)

    @handles
    def die(self, msg: Die) -> int:
        die_of(13)
        return 0

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()


class Book(Scale):
    """Durable: writes each number down once."""

    facets = (Durable(),)

    def __init__(self, log: str) -> None:
        super().__init__(log)
        self.numbers: list[int] = []

    def apply(self, event: Note) -> None:
        self.numbers.append(event.number)

    @handles
    def note(self, msg: Note, ctx: Context) -> None:
        append_line(self.log, f"note {msg.number}")
        die_of(msg.number)
        ctx.persist(msg)

    @handles
    def notes(self, msg: Notes) -> list[int]:
        return self.numbers
