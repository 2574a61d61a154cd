"""Actors that raise what is hard to tell, or use their task's context; workers import this."""

from __future__ import annotations

import asyncio
import decimal
from contextvars import ContextVar
from typing import NoReturn

from gristmill import Actor, Context, Reject, Request, handles

TENANT = ContextVar("tenant", default="nobody")


class OddError(Exception):
    """Can't say what it is."""

    def __str__(self) -> str:
        raise AttributeError("half-built exception")


def _raise_text() -> NoReturn:
    raise ValueError("can't parse " + b"caf\xe9".decode("utf-8", "surrogateescape"))


def _raise_odd() -> NoReturn:
    raise OddError


def _raise_cycle() -> NoReturn:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def _raise_base() -> NoReturn:
    raise BaseException("no Exception")


def _raise_generator_exit() -> NoReturn:
    raise GeneratorExit


ODD = {
    "text": _raise_text,
    "str": _raise_odd,
    "cycle": _raise_cycle,
    "base": _raise_base,
    "generator": _raise_generator_exit,
}
"""Raise something odd."""


class Raise(Request[int]):
    """Raise it; answer how many messages came before if it is empty."""

    how: str


class RaiseLater(Request[int]):
    """Raise it behind an await."""

    how: str


class Refuse(Request[int]):
    """Refuse with a reason or a code that is no text."""

    how: str


class Exit(Request[int]):
    """Leave the process with a status."""

    status: int


class Odd(Actor):
    """Raises; ``start``: in its constructor, ``late``: when it is started."""

    def __init__(self, start: str = "", late: str = "") -> None:
        self.late = late
        self.seen = 0
        if start:
            ODD[start]()

    async def on_start(self, ctx: Context) -> None:
        if self.late:
            await asyncio.sleep(0)
            ODD[self.late]()

    @handles
    def sync(self, msg: Raise) -> int:
        self.seen += 1
        if msg.how:
            ODD[msg.how]()
        return self.seen

    @handles
    async def later(self, msg: RaiseLater) -> int:
        self.seen += 1
        await asyncio.sleep(0)
        ODD[msg.how]()

    @handles
    def refuse(self, msg: Refuse) -> int:
        if msg.how == "code":
            raise Reject("no such order", code=404)  # type: ignore[arg-type]  # the point of it
        raise Reject(KeyError("order"))  # type: ignore[arg-type]  # the point of it

    @handles
    def exit(self, msg: Exit) -> int:
        raise SystemExit(msg.status)


class Use(Request[str]):
    """Use the context: ``set``, ``reset``, ``decimal``, or ``first`` and return at once."""

    how: str


class Tenant(Request[str]):
    """Whose turn is it?"""


class CancelYourself(Request[str]):
    """Cancel the task of your handler, before its first await."""


class Contextual(Actor):
    """Uses the context of its handlers."""

    @handles
    async def use(self, msg: Use) -> str:
        if msg.how == "decimal":
            with decimal.localcontext() as context:
                context.prec = 3
                await asyncio.sleep(0.001)
                return str(decimal.Decimal(1) / 3)
        token = TENANT.set("acme")
        if msg.how == "first":
            return TENANT.get()
        await asyncio.sleep(0.001)
        if msg.how == "reset":
            TENANT.reset(token)
        return TENANT.get()

    @handles
    async def tenant(self, msg: Tenant) -> str:
        return TENANT.get()

    @handles
    async def cancel(self, msg: CancelYourself) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(10.0)
        except asyncio.CancelledError:
            return "cancelled"
        return "slept"
