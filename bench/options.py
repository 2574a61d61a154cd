"""Monte-Carlo price of a European call, held against Black and Scholes' formula.

Each message is a batch of paths with random numbers of its own; the answer is two sums. The price
must lie within four standard errors of the formula, and be the same however it was computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from gristmill import Actor, Node, Request, handles
from harness.example import main, require

SPOT, STRIKE, RATE, VOLATILITY, YEARS = 100.0, 105.0, 0.03, 0.2, 1.0
_STEPS = 16
"""Steps of a path."""


class Sums(msgspec.Struct, frozen=True):
    """What some paths have paid."""

    paths: int
    pay: float
    squares: float

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.paths + other.paths, self.pay + other.pay, self.squares + other.squares)

    @property
    def price(self) -> tuple[float, float]:
        """The price and its standard error."""
        mean = self.pay / self.paths
        variance = self.squares / self.paths - mean * mean
        discount = math.exp(-RATE * YEARS)
        return discount * mean, discount * math.sqrt(variance / self.paths)


class Simulate(Request[Sums]):
    """What do so many paths pay?"""

    batch: int
    paths: int


class Simulator(Actor):
    """Simulates."""

    @handles
    def simulate(self, msg: Simulate) -> Sums:
        """Answer."""
        return simulated(msg.batch, msg.paths)


def simulated(batch: int, paths: int) -> Sums:
    """Let the price of the stock go its ways: geometric Brownian motion."""
    random = np.random.default_rng((7, batch))
    step = YEARS / _STEPS
    logs = np.full(paths, math.log(SPOT))
    for _ in range(_STEPS):
        logs += (RATE - VOLATILITY**2 / 2) * step
        logs += VOLATILITY * math.sqrt(step) * random.standard_normal(paths)
    pay = np.maximum(np.exp(logs) - STRIKE, 0.0)
    return Sums(paths, float(pay.sum()), float((pay * pay).sum()))


def alone(batches: int, paths: int) -> Sums:
    """Simulate all batches in one process."""
    return sum((simulated(batch, paths) for batch in range(batches)), Sums(0, 0.0, 0.0))


def black_scholes() -> float:
    """Give the price by the formula (Black and Scholes, 1973)."""
    spread = VOLATILITY * math.sqrt(YEARS)
    d1 = (math.log(SPOT / STRIKE) + (RATE + VOLATILITY**2 / 2) * YEARS) / spread
    return SPOT * _normal(d1) - STRIKE * math.exp(-RATE * YEARS) * _normal(d1 - spread)


def _normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


class Options:
    """Implements :class:`harness.example.Example` and its job."""

    name = "options"

    def __init__(self, *, quick: bool) -> None:
        self._batches, self._paths = (16, 20_000) if quick else (64, 20_000)
        self._sums = alone(self._batches, self._paths)

    def start(self, node: Node, workers: int) -> Options:
        """Start a pool."""
        self._pool = node.pool(Simulator, workers)
        return self

    @property
    def alone(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """All batches."""
        return alone, (self._batches, self._paths)

    def run(self) -> Sums:
        """Simulate on all workers."""
        requests = (Simulate(batch, self._paths) for batch in range(self._batches))
        return sum(self._pool.ask_many(requests), Sums(0, 0.0, 0.0))

    def check(self, outcome: Sums) -> None:
        """Hold it against the formula."""
        require(outcome == self._sums, "the sums are not those of the same random numbers")
        (price, error), right = outcome.price, black_scholes()
        require(
            abs(price - right) < 4 * error,
            f"{price:.4f} is not within four standard errors ({error:.4f}) of {right:.4f}",
        )


if __name__ == "__main__":
    main(Options, __doc__ or "")
