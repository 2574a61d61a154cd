"""An actor that pays once for each key, and one that asks it many times; workers import this."""

from __future__ import annotations

from typing import Any

from gristmill import (
    DEFERRED,
    Actor,
    Command,
    Context,
    GenServer,
    Idempotency,
    Ref,
    Reply,
    Request,
    handles,
)
from gristmill.behaviours.context import Deferred
from gristmill.facets import InProgress, Replay


class Pay(Request[str]):
    """Pay once for each key; answered by how often that was done, or that it is under way."""

    key: str


class Settle(Command, internal=True):
    """The payment has gone through."""

    key: str


class Race(Request[list[str]]):
    """Have all of these sent at once."""

    to: Ref[Any]
    key: str
    times: int


class Till(GenServer):
    """Takes its time to pay, and takes other requests meanwhile."""

    facets = (Idempotency(),)

    def __init__(self) -> None:
        self.paid = 0
        self.waiting: dict[str, Reply[str]] = {}

    @handles
    def pays(self, msg: Pay, ctx: Context) -> str | Deferred:
        match ctx.facets.idempotency.claim(msg.key, msg):
            case Replay(outcome):
                return outcome.decode()
            case InProgress():
                return "in progress"
        self.paid += 1
        self.waiting[msg.key] = ctx.defer_reply()
        ctx.send_after(0.02, Settle(msg.key))
        return DEFERRED

    @handles
    def settles(self, msg: Settle, ctx: Context) -> None:
        outcome = f"paid {self.paid}"
        ctx.facets.idempotency.complete(msg.key, outcome.encode())
        self.waiting.pop(msg.key)(outcome)


class Racer(Actor):
    """Asks the same many times at once."""

    @handles
    async def races(self, msg: Race, ctx: Context) -> list[str]:
        outcome = await ctx.multi_ask([msg.to] * msg.times, Pay(msg.key))
        return [reply for _, reply in outcome.replies]
