"""Actors whose handlers go through layers; workers import this module."""

from __future__ import annotations

from collections.abc import Generator
from types import MappingProxyType
from typing import Any

from gristmill import (
    Actor,
    Breaker,
    Command,
    Context,
    FailurePolicy,
    Idempotency,
    Reject,
    Request,
    guarded,
    handles,
    once,
    through,
)
from gristmill.facets import CircuitBreakerSpec

BANK = Breaker("bank", CircuitBreakerSpec(consecutive_failures=2, open_seconds=600.0))


class Pay(Request[list[str]]):
    """Pay; ``how`` it goes: ``well``, ``badly`` or ``refused``."""

    key: str
    how: str = "well"


class PayLater(Pay):
    """The same, by a handler that awaits."""


class Greet(Request[str]):
    """Say something to somebody."""

    whom: str


class Log(Request[list[str]]):
    """What has happened?"""


class Set(Command):
    """Set something once."""

    key: str


def noted(name: str) -> Any:
    """Note when what it is around begins and ends."""

    def layer(message: Any, ctx: Context) -> Generator[None, Any, Any]:
        LOG.append(f"{name} in")
        try:
            reply = yield
        except Exception as error:
            LOG.append(f"{name} {type(error).__name__}")
            raise
        LOG.append(f"{name} out")
        return reply

    return layer


def polite(message: Greet, ctx: Context) -> Generator[None, Any, Any]:
    """Answer itself for nobody, and add a word to what others get; turn failures into a reply."""
    if not message.whom:
        return "nobody is there"
    try:
        reply = yield
    except ValueError:
        return "sorry"
    return f"{reply}, please"


LOG: list[str] = []


class Layered(Actor):
    """Goes on after an exception."""

    facets = (BANK, Idempotency())
    on_failure = MappingProxyType({Exception: FailurePolicy.resume()})

    def __init__(self) -> None:
        LOG.clear()
        self.runs = 0

    def run(self, how: str) -> list[str]:
        self.runs += 1
        if how == "badly":
            raise ConnectionError("the bank is closed")
        if how == "refused":
            raise Reject("not today")
        return [f"run {self.runs}"]

    @handles
    @through(noted("outer"), once("key"), guarded("bank"), noted("inner"))
    def pay(self, msg: Pay, ctx: Context) -> list[str]:
        return self.run(msg.how)

    @handles
    @through(noted("outer"), once("key"), guarded("bank"), noted("inner"))
    async def pay_later(self, msg: PayLater, ctx: Context) -> list[str]:
        await ctx.sleep(0.001)
        return self.run(msg.how)

    @handles
    @through(polite)
    def greet(self, msg: Greet, ctx: Context) -> str:
        if msg.whom == "error":
            raise ValueError("as told")
        return f"hello {msg.whom}"

    @handles
    @through(once("key"))
    def set(self, msg: Set, ctx: Context) -> None:
        LOG.append(f"set {msg.key}")

    @handles
    def log(self, msg: Log) -> list[str]:
        return LOG
