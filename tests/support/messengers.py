"""Actors that send each other every kind of message, for what is recorded of single messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill import Actor, Command, Context, Durable, Event, Ref, Request, handles

CHANNEL = "news"


class Note(Command):
    """Take note."""

    text: str


class Remark(Command):
    """Take note too, but not in the same way."""

    text: str


class Noted(Request[int]):
    """How many notes were taken?"""


class Slow(Request[int]):
    """How many notes were taken? Wait before the answer."""


class Total(Request[float]):
    """What is the sum?"""

    numbers: npt.NDArray[np.float64]


class Load(Command):
    """Carries an array."""

    numbers: npt.NDArray[np.float64]


class Tell(Request[None]):
    """Tell so many notes and remarks, in turns."""

    to: Ref[Any]
    count: int
    delivery: str = "at_most_once"


class Ask(Request[int]):
    """Ask for the notes, and add what one answers who waits."""

    to: Ref[Any]


class Pass(Command):
    """Pass it on to a later message of one's own."""


class Later(Command):
    """What was passed on."""


class Send(Request[None]):
    """Send arrays, in a tell and in an ask."""

    to: Ref[Any]
    size: int


class News(Event):
    """Something has happened."""

    number: int


class Publish(Request[None]):
    """Publish news."""


class Crash(Command):
    """Raise."""


class Messenger(Actor):
    """Sends and receives."""

    def __init__(self, *, hears: bool = False) -> None:
        self.notes = 0
        self._hears = hears

    def on_start(self, ctx: Context) -> None:
        if self._hears:
            ctx.subscribe(CHANNEL)

    @handles
    def note(self, msg: Note) -> None:
        self.notes += 1

    @handles
    def remark(self, msg: Remark) -> None:
        self.notes += 1

    @handles
    def noted(self, msg: Noted) -> int:
        return self.notes

    @handles
    async def slow(self, msg: Slow, ctx: Context) -> int:
        await ctx.sleep(0.001)
        return self.notes

    @handles
    def total(self, msg: Total) -> float:
        return float(msg.numbers.sum())

    @handles
    def load(self, msg: Load) -> None:
        self.notes += 1

    @handles
    def tell_others(self, msg: Tell) -> None:
        for number in range(msg.count):
            kind = Remark if number % 2 else Note
            msg.to.tell(kind(str(number)), delivery=msg.delivery)

    @handles
    async def ask(self, msg: Ask, ctx: Context) -> int:
        first = await ctx.ask(msg.to, Noted(), timeout=5.0)
        return first + await ctx.ask(msg.to, Slow(), timeout=5.0)

    @handles
    def pass_on(self, msg: Pass, ctx: Context) -> None:
        ctx.ref.tell(Later())

    @handles
    def later(self, msg: Later) -> None:
        self.notes += 1

    @handles
    async def send(self, msg: Send, ctx: Context) -> None:
        numbers = np.ones(msg.size)
        msg.to.tell(Load(numbers))
        await ctx.ask(msg.to, Total(numbers), timeout=5.0)

    @handles
    def publish(self, msg: Publish, ctx: Context) -> None:
        ctx.publish(CHANNEL, News(1))

    @handles
    def news(self, msg: News) -> None:
        self.notes += 1

    @handles
    def crash(self, msg: Crash) -> None:
        raise ValueError("as told")


class Batcher(Actor):
    """Takes several at once."""

    @handles(batch=8)
    def noted(self, msgs: list[Noted]) -> list[int]:
        return [len(msgs)] * len(msgs)


class Keeper(Messenger):
    """Survives."""

    facets = (Durable(),)
