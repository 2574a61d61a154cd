"""Actors behind circuit breakers that services share; workers import this module."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from gristmill import Actor, Breaker, Context, Request, handles
from gristmill.errors import CircuitOpenError
from gristmill.facets import CircuitBreakerSpec

BANK = "bank"


class Call(Request[str]):
    """Call the bank; give ``done``, ``failed`` or ``open``."""

    works: bool = True


class Die(Request[str]):
    """Crash, or take the worker along."""

    worker_too: bool = False


class Where(Request[str]):
    """On which worker?"""


def fail() -> NoReturn:
    raise ConnectionError("the bank is closed")


def do() -> str:
    return "done"


def facet(open_seconds: float, probes: int = 1) -> Breaker:
    spec = CircuitBreakerSpec(
        consecutive_failures=3,
        open_seconds=open_seconds,
        half_open_probes=probes,
        half_open_successes=probes,
    )
    return Breaker(BANK, spec)


class Teller(Actor):
    """Calls the bank through its breaker."""

    @handles
    def call(self, msg: Call, ctx: Context) -> str:
        try:
            return ctx.facets.breaker(BANK).call(do if msg.works else fail)
        except CircuitOpenError:
            return "open"
        except ConnectionError:
            return "failed"

    @handles
    def die(self, msg: Die) -> str:
        if msg.worker_too:
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("as told")

    @handles
    def where(self, msg: Where, ctx: Context) -> str:
        return ctx.worker
