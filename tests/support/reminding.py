"""Actors that remind themselves; workers import this module."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from gristmill import Actor, Command, Context, Durable, Event, Reminders, Request, handles


class Remind(Request[bool]):
    """Set a reminder, and maybe fail behind it."""

    name: str
    seconds: float
    what: str = "noted"
    fails: bool = False


class Forget(Request[bool]):
    """Cancel a reminder."""

    name: str


class DueIn(Request[float]):
    """In how many seconds? -1 for never."""

    name: str


class Notes(Request[list[str]]):
    """What has been noted?"""


class Now(Command):
    """It is time."""

    what: str


class Noted(Event):
    """Something was noted."""

    what: str


class Keeper(Actor):
    """Notes what it is reminded of."""

    facets = (Durable(), Reminders())

    def __init__(self, file: str = "") -> None:
        self.file = file
        self.notes: list[str] = []

    def apply(self, event: Noted) -> None:
        self.notes.append(event.what)

    def snapshot(self) -> list[str]:
        return self.notes

    def restore(self, state: list[str]) -> None:
        self.notes = state

    @handles
    def remind(self, msg: Remind, ctx: Context) -> bool:
        ctx.facets.reminders.set(msg.name, msg.seconds, Now(msg.what))
        if msg.fails:
            raise RuntimeError("as told")
        return True

    @handles
    def forget(self, msg: Forget, ctx: Context) -> bool:
        return ctx.facets.reminders.cancel(msg.name)

    @handles
    def due_in(self, msg: DueIn, ctx: Context) -> float:
        seconds = ctx.facets.reminders.due_in(msg.name)
        return -1.0 if seconds is None else seconds

    @handles
    def now(self, msg: Now, ctx: Context) -> None:
        """Note it; ``crash`` crashes, ``die`` takes the worker along at its first try."""
        if msg.what == "crash":
            with Path(self.file).open("a") as tries:
                tries.write("x")
            raise RuntimeError("as told")
        ctx.persist(Noted(msg.what))
        if msg.what == "die" and not Path(self.file).exists():
            Path(self.file).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    @handles
    def get_notes(self, msg: Notes) -> list[str]:
        return self.notes
