"""Actors whose worker is replaced while they are busy; workers import this module."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill import (
    Actor,
    Command,
    Context,
    Durable,
    Event,
    Ref,
    Request,
    handles,
)
from gristmill.behaviours.context import DEFERRED, Deferred
from gristmill.deferred import Reply
from support.actors import append_line


class Where(Request[int]):
    """The process that answers."""


class Count(Command):
    """Number ``n`` of a sender's messages."""

    sender: str
    n: int


class Pump(Request[int]):
    """Tell an actor so many numbered messages, in portions; give how many."""

    target: Ref[Any]
    sender: str
    count: int
    delivery: str = "at_most_once"


class PassOn(Command):
    """Tell another actor a number, and publish it."""

    target: Ref[Any]
    n: int


class Passed(Event):
    """A number was passed on."""

    n: int


class Chained(Request[int]):
    """Ask the first of these to ask the next; the last one gives its process."""

    path: list[Ref[Any]]


class Nap(Request[str]):
    """Wait in the handler."""

    seconds: float


class Total(Request[float]):
    """The sum of an array."""

    array: npt.NDArray[np.float64]


class Grow(Request[int]):
    """Take so many MiB of memory and keep them; gives the process."""

    mib: int


class Later(Request[int]):
    """Answered when ``Answer`` comes."""


class Answer(Command):
    """Answer those who wait."""


class Seen(Request[list[str]]):
    """What a ledger has counted."""


class Counted(Event):
    """A durable count."""

    sender: str
    n: int


class Mover(Actor):
    """Answers from wherever it is, and writes down what it has counted."""

    def __init__(self, log: str = "") -> None:
        self._log = log
        self._waiting: list[Reply[int]] = []
        self._memory = np.ones(0)

    @handles
    def where(self, msg: Where) -> int:
        return os.getpid()

    @handles
    def count(self, msg: Count) -> None:
        append_line(self._log, f"{msg.sender} {msg.n}")

    @handles
    async def pump(self, msg: Pump, ctx: Context) -> int:
        for n in range(1, msg.count + 1):
            await ctx.tell(msg.target, Count(msg.sender, n), delivery=msg.delivery)
            if n % 10 == 0:
                await asyncio.sleep(0.001)
        return msg.count

    @handles
    def pass_on(self, msg: PassOn, ctx: Context) -> None:
        msg.target.tell(Count("passed", msg.n))
        ctx.publish("passed", Passed(msg.n))

    @handles
    async def chained(self, msg: Chained, ctx: Context) -> int:
        if not msg.path:
            return os.getpid()
        await asyncio.sleep(0.002)
        return await ctx.ask(msg.path[0], Chained(msg.path[1:]), timeout=10.0)

    @handles
    async def nap(self, msg: Nap) -> str:
        await asyncio.sleep(msg.seconds)
        return "rested"

    @handles
    def total(self, msg: Total) -> float:
        time.sleep(0.002)  # so that some wait in the mailbox
        return float(msg.array.sum())

    @handles
    def grow(self, msg: Grow) -> int:
        self._memory = np.ones(msg.mib << 17)
        return os.getpid()

    @handles
    def later(self, msg: Later, ctx: Context) -> int | Deferred:
        self._waiting.append(ctx.defer_reply())
        return DEFERRED

    @handles
    def answer(self, msg: Answer) -> None:
        for reply in self._waiting:
            reply(os.getpid())
        self._waiting.clear()


class Ledger(Actor):
    """Journals what it counts."""

    facets = (Durable(),)

    def __init__(self) -> None:
        self._seen: list[str] = []

    def apply(self, event: Counted) -> None:
        self._seen.append(f"{event.sender} {event.n}")

    @handles
    def count(self, msg: Count, ctx: Context) -> None:
        ctx.persist(Counted(msg.sender, msg.n))

    @handles
    def seen(self, msg: Seen) -> list[str]:
        return self._seen
