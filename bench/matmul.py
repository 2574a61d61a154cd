"""Blocked matrix multiplication: rows of blocks on a pool, arrays in shared memory.

A worker gets some rows of A and all of B, and answers with as many rows of the product, which
must be numpy's own. B is sent again with each message, and never copied again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill import Actor, Node, Request, handles
from harness.example import main, require

Matrix = npt.NDArray[np.float64]
_BLOCKS = 4
"""Messages for each worker."""


class Multiply(Request[Matrix]):
    """What is the product?"""

    rows: Matrix
    other: Matrix


class Multiplier(Actor):
    """Multiplies."""

    @handles
    def multiply(self, msg: Multiply) -> Matrix:
        """Answer."""
        return msg.rows @ msg.other


def alone(a: Matrix, b: Matrix) -> Matrix:
    """Multiply in one process."""
    return a @ b


class Matmul:
    """Implements :class:`harness.example.Example` and its job."""

    name = "matmul"

    def __init__(self, *, quick: bool) -> None:
        size = 768 if quick else 1536
        random = np.random.default_rng(1)
        self._a, self._b = random.random((2, size, size))
        self._product = self._a @ self._b

    def start(self, node: Node, workers: int) -> Matmul:
        """Start a pool; put the factors where they are sent from."""
        self._pool = node.pool(Multiplier, workers)
        self._blocks = np.array_split(self._a, _BLOCKS * workers)
        self._shared = node.empty(self._b.shape)
        self._shared[:] = self._b
        return self

    @property
    def alone(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The whole product."""
        return alone, (self._a, self._b)

    def run(self) -> Matrix:
        """Multiply by blocks."""
        requests = (Multiply(rows, self._shared) for rows in self._blocks)
        return np.concatenate(list(self._pool.ask_many(requests)))

    def check(self, outcome: Matrix) -> None:
        """Hold it against numpy's product."""
        require(np.allclose(outcome, self._product, rtol=1e-12), "the product is not numpy's")


if __name__ == "__main__":
    main(Matmul, __doc__ or "")
