"""Gravity among all pairs of bodies: each worker computes the forces on some, for all steps.

Positions go out in each step and accelerations come back; the client moves the bodies (leapfrog).
Momentum must be conserved to rounding, energy to a thousandth, and all positions must be those of
one process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill import Actor, Node, Request, handles
from harness.example import main, require

Vectors = npt.NDArray[np.float64]
_SOFTENING = 0.05
_TIME_STEP = 1e-3
_TOGETHER = 32
"""Bodies whose forces are computed at once, so that what is in between fits into a cache."""


class Accelerations(Request[Vectors]):
    """What are the accelerations of one's own bodies?"""

    positions: Vectors


class Bodies(Actor):
    """Some of the bodies.

    Args:
        masses: of all bodies.
        first: of one's own.
        last: the one behind them.
    """

    def __init__(self, masses: Vectors, first: int, last: int) -> None:
        self._masses = masses
        self._own = slice(first, last)

    @handles
    def accelerate(self, msg: Accelerations) -> Vectors:
        """Answer."""
        return accelerations(msg.positions, self._masses, self._own)


def accelerations(positions: Vectors, masses: Vectors, own: slice) -> Vectors:
    """Give the acceleration of some bodies by all (G = 1, softened)."""
    found = []
    for first in range(own.start, own.stop, _TOGETHER):
        some = positions[first : min(first + _TOGETHER, own.stop)]
        apart = positions[None, :, :] - some[:, None, :]
        squares = np.einsum("ijk,ijk->ij", apart, apart) + _SOFTENING**2
        found.append(np.einsum("ijk,ij->ik", apart, masses / (squares * np.sqrt(squares))))
    return np.concatenate(found)


def moved(
    positions: Vectors, velocities: Vectors, steps: int, forces: Callable[[Vectors], Vectors]
) -> Vectors:
    """Move the bodies (kick, drift, kick); give positions and velocities, one behind the other."""
    positions, velocities = positions.copy(), velocities.copy()
    pull = forces(positions)
    for _ in range(steps):
        velocities += _TIME_STEP / 2 * pull
        positions += _TIME_STEP * velocities
        pull = forces(positions)
        velocities += _TIME_STEP / 2 * pull
    return np.stack([positions, velocities])


def alone(positions: Vectors, velocities: Vectors, masses: Vectors, steps: int) -> Vectors:
    """Move the bodies in one process."""
    everything = slice(0, len(masses))
    return moved(positions, velocities, steps, lambda now: accelerations(now, masses, everything))


def energy(positions: Vectors, velocities: Vectors, masses: Vectors) -> float:
    """Give the kinetic and the potential energy of all bodies."""
    apart = positions[None] - positions[:, None]
    distances = np.sqrt((apart**2).sum(axis=2) + _SOFTENING**2)
    pairs = np.triu(masses[:, None] * masses[None] / distances, 1)
    return float((masses * (velocities**2).sum(axis=1)).sum() / 2 - pairs.sum())


class NBody:
    """Implements :class:`harness.example.Example` and its job."""

    name = "nbody"

    def __init__(self, *, quick: bool) -> None:
        count, self._steps = (512, 6) if quick else (2048, 20)
        random = np.random.default_rng(5)
        self._masses = random.uniform(0.5, 1.5, count) / count
        self._positions = random.normal(size=(count, 3))
        self._velocities = 0.3 * random.normal(size=(count, 3))
        self._energy = energy(self._positions, self._velocities, self._masses)
        self._moved = alone(self._positions, self._velocities, self._masses, self._steps)

    def start(self, node: Node, workers: int) -> NBody:
        """Give each worker as many bodies."""
        bounds = [len(self._masses) * n // workers for n in range(workers + 1)]
        self._parts = [
            node.spawn(Bodies, args=(self._masses, bounds[n], bounds[n + 1]), placement=f"w{n + 1}")
            for n in range(workers)
        ]
        return self

    @property
    def alone(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """All bodies."""
        return alone, (self._positions, self._velocities, self._masses, self._steps)

    def run(self) -> Vectors:
        """Move the bodies, with the forces from all workers."""
        return moved(self._positions, self._velocities, self._steps, self._forces)

    def _forces(self, positions: Vectors) -> Vectors:
        replies = [part.request(Accelerations(positions)) for part in self._parts]
        return np.concatenate([reply.result(60.0) for reply in replies])

    def check(self, outcome: Vectors) -> None:
        """Hold it against the laws of conservation and one process."""
        positions, velocities = outcome
        require(np.allclose(outcome, self._moved, rtol=1e-9), "bodies are elsewhere")
        before = self._masses @ self._velocities
        drift = float(np.abs(self._masses @ velocities - before).max())
        require(drift < 1e-12, f"momentum has changed by {drift:.1e}")
        change = energy(positions, velocities, self._masses) / self._energy - 1
        require(abs(change) < 1e-3, f"energy has changed by {change:.1e} of it")


if __name__ == "__main__":
    main(NBody, __doc__ or "")
