"""Actors of the tests of the simulator."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
import time
import uuid
from typing import Any, ClassVar

import msgspec

from gristmill import Actor, Command, Context, Durable, Ref, Request, handles

CALLS: dict[str, tuple[Any, str, tuple[Any, ...]]] = {
    "time.time": (time, "time", ()),
    "time.monotonic": (time, "monotonic", ()),
    "time.sleep": (time, "sleep", (0.001,)),
    "threading.Thread.start": (threading.Thread(target=print), "start", ()),
    "socket.socket": (socket, "socket", ()),
    "os.urandom": (os, "urandom", (4,)),
    "os._exit": (os, "_exit", (3,)),
    "uuid.uuid4": (uuid, "uuid4", ()),
    "random.random": (random, "random", ()),
}
"""What a seed can't decide, as owner, name and arguments."""


def make_call(what: str) -> str:
    """Call it as it is now."""
    owner, name, arguments = CALLS[what]
    return str(getattr(owner, name)(*arguments))


class Touch(Request[str]):
    """Call something that a seed can't decide."""

    what: str


class TouchLater(Request[str]):
    """Do so behind an await."""

    what: str


class UseThread(Request[str]):
    """Run something in a thread of the loop."""


class LogIt(Request[int]):
    """Log something, which reads a clock of its own."""


class Ping(Request[int]):
    """How many starts were there?"""


class Facts(Request[tuple[float, float, str, float]]):
    """What time is it, which id comes next, which number?"""


class SleepFor(Request[float]):
    """Sleep, and say how long that was."""

    seconds: float


class Limited(Request[str]):
    """Sleep under a time limit."""

    seconds: float
    limit: float


class Curious(Actor):
    """Touches what it is told to."""

    @handles
    def touch(self, msg: Touch) -> str:
        return make_call(msg.what)

    @handles
    async def touch_later(self, msg: TouchLater, ctx: Context) -> str:
        await ctx.sleep(0.5)
        return make_call(msg.what)

    @handles
    async def use_thread(self, msg: UseThread) -> str:
        return str(await asyncio.to_thread(os.getpid))

    @handles
    def log_it(self, msg: LogIt, ctx: Context) -> int:
        ctx.log.warning("this has a time of its own")
        return 1

    @handles
    def facts(self, msg: Facts, ctx: Context) -> tuple[float, float, str, float]:
        return ctx.now(), ctx.wall_time(), ctx.new_id(), ctx.random.random()

    @handles
    async def sleep_for(self, msg: SleepFor, ctx: Context) -> float:
        begin = ctx.now()
        await ctx.sleep(msg.seconds)
        return ctx.now() - begin

    @handles
    async def limited(self, msg: Limited, ctx: Context) -> str:
        try:
            async with asyncio.timeout(msg.limit):
                await ctx.sleep(msg.seconds)
        except TimeoutError:
            return "late"
        return "in time"


class Put(Command):
    """Pass a word on to the reader."""

    word: str


class Words(Request[list[str]]):
    """Which words have come?"""


class Writer(Actor):
    """Passes words on."""

    def __init__(self, reader: Ref[Any]) -> None:
        self._reader = reader

    @handles
    def put(self, msg: Put) -> None:
        self._reader.tell(msg)


class Reader(Actor):
    """Keeps words in the order in which they come."""

    def __init__(self) -> None:
        self._words: list[str] = []

    @handles
    def put(self, msg: Put) -> None:
        self._words.append(msg.word)

    @handles
    def words(self, msg: Words) -> list[str]:
        return self._words


class Came(msgspec.Struct, frozen=True, tag=True):
    """A word has come."""

    word: str


class Book(Actor):
    """Keeps words for good."""

    facets = (Durable(),)

    def __init__(self) -> None:
        self._words: list[str] = []

    def apply(self, event: Came) -> None:
        self._words.append(event.word)

    @handles
    def put(self, msg: Put, ctx: Context) -> None:
        ctx.persist(Came(msg.word))

    @handles
    def words(self, msg: Words) -> list[str]:
        return self._words


class SlowBook(Book):
    """Takes its time."""

    @handles
    async def put(self, msg: Put, ctx: Context) -> None:
        await ctx.sleep(0.5)
        ctx.persist(Came(msg.word))


class LateBook(Book):
    """Can't start before a point of time."""

    def __init__(self, opens_at: float) -> None:
        super().__init__()
        self._opens_at = opens_at

    def on_start(self, ctx: Context) -> None:
        if ctx.now() < self._opens_at:
            raise ConnectionError("the database is away")


class Courier(Actor):
    """Sends words on at least once."""

    def __init__(self, reader: Ref[Any]) -> None:
        self._reader = reader

    @handles
    def put(self, msg: Put) -> None:
        self._reader.tell(msg, delivery="at_least_once")


class Errand(Courier):
    """Sends one word on, and has done its duty."""

    @handles
    def put(self, msg: Put, ctx: Context) -> None:
        self._reader.tell(msg, delivery="at_least_once")
        ctx.stop()


class LateStart(Actor):
    """Its second start fails so late that its limit is over when that is heard of."""

    starts: ClassVar[list[float]] = []

    async def on_start(self, ctx: Context) -> None:
        self.starts.append(ctx.now())
        if len(self.starts) == 2:
            await ctx.sleep(0.9995)
            raise ValueError("late and failed")

    @handles
    def ping(self, msg: Ping) -> int:
        return len(self.starts)
