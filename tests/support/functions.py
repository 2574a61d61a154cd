"""Plain functions that workers run, and actors that are started in numbers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gristmill import Actor, Request, handles
from support.actors import Quote

GATE_LIMIT = 20.0


def power(base: int, exponent: int = 2) -> int:
    """Raise to a power."""
    return int(base**exponent)


def divide(dividend: float, divisor: float) -> float:
    """Divide."""
    return dividend / divisor


def total(*numbers: int, **named: int) -> int:
    """Add everything up."""
    return sum(numbers) + sum(named.values())


def dearer(quote: Quote, cents: int) -> Quote:
    """Raise a price."""
    return Quote(quote.sku, quote.cents + cents)


class Till:
    """Has functions that are not its instances' own, and one that is."""

    def __init__(self, fee: int = 0) -> None:
        self._fee = fee

    def price(self, cents: int) -> int:
        """Add the fee."""
        return cents + self._fee

    @classmethod
    def opened(cls, cents: int) -> str:
        """Tell whose it is."""
        return f"{cls.__name__} {cents}"

    @staticmethod
    def closed(cents: int) -> int:
        """Give it back."""
        return cents


class Corner(Till):
    """Inherits."""


def doubled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Double an array."""
    return values * 2


def first(values: npt.NDArray[np.float64]) -> float:
    """Give the first number."""
    return float(values[0])


def zeros(count: int) -> npt.NDArray[np.float64]:
    """Give that many."""
    return np.zeros(count)


def blank(size: int) -> bytes:
    """Give that many bytes."""
    return bytes(size)


def pair(value: int) -> tuple[int, str]:
    """Give two things."""
    return value, str(value)


def no_plain_data(value: int) -> object:
    """Give what can't travel."""
    return lambda: value


def process() -> int:
    """Tell in which process this runs."""
    return os.getpid()


def passed(step: str) -> int:
    """Wait for the file of ``wait FILE``, make that of ``open FILE``; tell in which process."""
    what, _, path = step.partition(" ")
    if what == "wait":
        wait_for(path)
    elif what == "open":
        Path(path).touch()
    return os.getpid()


def wait_for(path: str) -> str:
    """Wait until a file exists."""
    deadline = time.monotonic() + GATE_LIMIT
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.001)
    return path


def die() -> None:
    """Kill the own process."""
    os.kill(os.getpid(), signal.SIGKILL)


class Where(Request[tuple[int, int]]):
    """Which number were you given, and in which process do you live?"""


class Numbered(Actor):
    """Refuses to be number 13."""

    def __init__(self, number: int, factor: int = 1) -> None:
        if number == 13:
            raise ValueError("thirteen is unlucky")
        self._number = number * factor

    @handles
    def where(self, msg: Where) -> tuple[int, int]:
        """Tell."""
        return self._number, os.getpid()


class SlowStarter(Numbered):
    """Is up only some turns later."""

    async def on_start(self, ctx: object) -> None:
        """Let others start."""
        await ctx.sleep(0.001 * (self._number % 3))  # type: ignore[attr-defined]  # a Context
