"""Heat in a square plate: strips on actors, which exchange their edge rows each step.

The plate begins as one arch of sines with cold borders, so what it becomes is known: each step of
the scheme (forward in time, centred in space) makes it smaller by one factor, and that is close to
the decay of the heat equation itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill import DEFERRED, Actor, Command, Context, Node, Ref, Reply, Request, handles
from gristmill.behaviours.context import Deferred
from harness.example import main, require

Plate = npt.NDArray[np.float64]
_NUMBER = 0.2
"""Diffusivity x time step / distance squared; below 0.25 the scheme is stable."""


class Meet(Request[None]):
    """Learn who is above and below."""

    above: Ref[Any] | None
    below: Ref[Any] | None


class Diffuse(Request[Plate]):
    """What has become of the strip after so many steps?"""

    run: int
    strip: Plate
    steps: int


class Edge(Command):
    """A neighbour's edge row before a step."""

    run: int
    step: int
    is_above: bool
    row: Plate


class Strip(Actor):
    """Some rows of the plate, with one row of each neighbour around them."""

    def __init__(self) -> None:
        self._run = 0
        self._edges: dict[tuple[int, int, bool], Plate] = {}

    @handles
    def meet(self, msg: Meet) -> None:
        """Learn."""
        self._above, self._below = msg.above, msg.below

    @handles
    def diffuse(self, msg: Diffuse, ctx: Context) -> Plate | Deferred:
        """Begin; answered after the last step."""
        self._run, self._step, self._steps = msg.run, 0, msg.steps
        self._rows = np.zeros((msg.strip.shape[0] + 2, msg.strip.shape[1]))
        self._rows[1:-1] = msg.strip
        self._reply: Reply[Plate] = ctx.defer_reply()
        self._send_edges()
        self._advance()
        return DEFERRED

    @handles
    def edge(self, msg: Edge) -> None:
        """Take a row in, and go on if it was the last that was missing."""
        self._edges[msg.run, msg.step, msg.is_above] = msg.row
        if msg.run == self._run:
            self._advance()

    def _send_edges(self) -> None:
        if self._above is not None:
            row = self._rows[1]
            self._above.tell(Edge(self._run, self._step, is_above=False, row=row))
        if self._below is not None:
            row = self._rows[-2]
            self._below.tell(Edge(self._run, self._step, is_above=True, row=row))

    def _advance(self) -> None:
        while self._step < self._steps:
            above, below = (self._run, self._step, True), (self._run, self._step, False)
            if (self._above is not None and above not in self._edges) or (
                self._below is not None and below not in self._edges
            ):
                return
            if self._above is not None:
                self._rows[0] = self._edges.pop(above)
            if self._below is not None:
                self._rows[-1] = self._edges.pop(below)
            diffused(self._rows)
            self._step += 1
            if self._step < self._steps:
                self._send_edges()
        self._reply(self._rows[1:-1])
        self._steps = -1


def diffused(rows: Plate) -> None:
    """Take one step; the outermost rows and columns stay."""
    inner = rows[1:-1, 1:-1]
    change = rows[:-2, 1:-1] + rows[2:, 1:-1]
    change += rows[1:-1, :-2]
    change += rows[1:-1, 2:]
    change -= 4 * inner
    change *= _NUMBER
    inner += change


def alone(plate: Plate, steps: int) -> Plate:
    """Take all steps in one process."""
    rows = np.zeros((plate.shape[0] + 2, plate.shape[1]))
    rows[1:-1] = plate
    for _ in range(steps):
        diffused(rows)
    return rows[1:-1]


class Heat:
    """Implements :class:`harness.example.Example` and its job."""

    name = "heat"

    def __init__(self, *, quick: bool) -> None:
        size, self._steps = (512, 40) if quick else (1024, 200)
        self._size = size
        arch = np.sin(np.linspace(0, math.pi, size + 2))
        self._plate = np.outer(arch, arch)[1:-1].copy()
        self._runs = 0

    def start(self, node: Node, workers: int) -> Heat:
        """Start a strip on each worker."""
        self._strips = [node.spawn(Strip, placement=f"w{n + 1}") for n in range(workers)]
        above = [None, *self._strips[:-1]]
        below = [*self._strips[1:], None]
        for strip, one, other in zip(self._strips, above, below, strict=True):
            strip.ask(Meet(one, other))
        self._parts = np.array_split(self._plate, workers)
        return self

    @property
    def alone(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The whole plate."""
        return alone, (self._plate, self._steps)

    def run(self) -> Plate:
        """Let all strips diffuse."""
        self._runs += 1
        replies = [
            strip.request(Diffuse(self._runs, part, self._steps))
            for strip, part in zip(self._strips, self._parts, strict=True)
        ]
        return np.concatenate([reply.result(60.0) for reply in replies])

    def check(self, outcome: Plate) -> None:
        """Hold it against what the scheme, and the heat equation, make of an arch of sines."""
        distance = math.pi / (self._size + 1)
        factor = 1 - 8 * _NUMBER * math.sin(distance / 2) ** 2
        scheme = self._plate * factor**self._steps
        require(np.allclose(outcome, scheme, rtol=1e-9), "it is not what the scheme must give")
        decay = math.exp(-2 * distance**2 * _NUMBER * self._steps)
        error = float(np.abs(outcome - self._plate * decay).max())
        require(error < 1e-4, f"it is {error:.1e} away from the heat equation")


if __name__ == "__main__":
    main(Heat, __doc__ or "")
