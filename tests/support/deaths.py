"""Actors of the tests that hang, take too long, or say something before they die."""

from __future__ import annotations

import ctypes
import logging
import re
import time

from gristmill import Actor, Command, Context, Request, handles
from support.actors import Die, Pid, Worker


class Spin(Request[int]):
    """Compute for so many seconds."""

    seconds: float


class Await(Request[int]):
    """Wait for so many seconds, step by step, without holding the worker."""

    seconds: float
    step: float


class HoldGil(Command):
    """Compute in C for seconds, with the GIL held."""

    length: int


class SayAndDie(Request[int]):
    """Print lines, then end the worker."""

    lines: int
    how: str


def spin(seconds: float) -> None:
    """Hold the core, and the GIL most of the time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


class Slow(Worker):
    """Takes its time."""

    @handles
    def spin(self, msg: Spin) -> int:
        spin(msg.seconds)
        return 1

    @handles
    async def wait(self, msg: Await, ctx: Context) -> int:
        until = ctx.now() + msg.seconds
        while ctx.now() < until:
            await ctx.sleep(msg.step)
        return 1

    @handles
    def hold_gil(self, msg: HoldGil) -> None:
        re.match(r"(a+)+$", "a" * msg.length + "b")

    @handles
    def say_and_die(self, msg: SayAndDie) -> int:
        for number in range(msg.lines):
            logging.getLogger("app").error("line %d", number)
        return self.die(Die(msg.how))


class SlowParent(Slow):
    """Has a child."""

    async def on_start(self, ctx: Context) -> None:
        await ctx.spawn(Slow)


class Limited(Slow):
    """May take a fifth of a second."""

    time_limit = 0.2


class SlowStart(Actor):
    """Dies in its constructor, when the file is there."""

    def __init__(self) -> None:
        ctypes.string_at(0)

    @handles
    def pid(self, msg: Pid) -> int:
        return 0
