"""The grid on actors: a block of points each, and one message a step for each other block.

A block does first what others need, and the rest while that travels. One worker has one block, so
a step takes a worker two handlers: ``outputs`` and, behind what it has sent, ``go_on``.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import DEFERRED, Context, Deferred
from gristmill.behaviours.protocol import handles
from gristmill.deferred import Reply
from gristmill.messages import Command, Request
from gristmill.metg.blocks import Block, Tasks
from gristmill.metg.grid import KERNELS, Grid, Output, perform
from gristmill.ref import Ref

PACKED: Final = struct.Struct("<2I")
"""An output in the answer to a :class:`Share`."""


class Meet(Request[None]):
    """Learn where the blocks are, one's own included, by their numbers."""

    blocks: list[Ref[Any]]


class Begin(Request[int]):
    """Do all steps; answered, when they are done, by the number of tasks."""

    run: int
    """Which one, so that outputs of another are not taken for it."""
    pattern: str
    width: int
    steps: int
    kernel: str
    iterations: int


class Outputs(Command):
    """What another block needs of a step; one message, however many points it comes from."""

    run: int
    step: int
    outputs: list[Output]


class GoOn(Command):
    """Do what can be done without waiting."""


class Share(Request[bytes]):
    """Do tasks that need nothing, many in one message; answered by their outputs, packed."""

    width: int
    first: int
    """The first task, counted through all steps."""
    tasks: int
    kernel: str
    iterations: int


class BlockActor(Actor):
    """Hosts the points of one block.

    Args:
        number: which block.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._others: list[Ref[Any]] = []
        self._run = -1
        self._arrived: dict[tuple[int, int], list[list[Output]]] = {}
        """What others have sent for a step of a run."""

    @handles
    def meet(self, msg: Meet) -> None:
        """Learn where the others are."""
        self._others = msg.blocks

    @handles
    def begin(self, msg: Begin, ctx: Context) -> int | Deferred:
        """Do the first step, and those that follow for which everything is there."""
        self._order, self._run = msg, msg.run
        self._grid = Grid(msg.pattern, msg.width)
        self._block = Block(self._grid, self._number, len(self._others))
        self._kernel = KERNELS[msg.kernel]
        self._step = self._tasks = 0
        self._before: dict[int, Output] = {}
        self._done: dict[int, Output] = {}
        self._rest: Tasks | None = None
        """What is still to do of the step in hand; None between two steps."""
        self._reply: Reply[int] = ctx.defer_reply()
        self._begin_step(ctx)
        return DEFERRED

    @handles
    def outputs(self, msg: Outputs, ctx: Context) -> None:
        """Take in what a step needs, and begin it if that was the last of it."""
        step = msg.step + 1
        self._arrived.setdefault((msg.run, step), []).append(msg.outputs)
        if msg.run == self._run and step == self._step and self._rest is None:
            self._begin_step(ctx)

    @handles
    def go_on(self, msg: GoOn, ctx: Context) -> None:  # noqa: ARG002
        """Do the rest of the step in hand, and begin the next one if everything is there."""
        if self._rest is not None:
            self._perform(self._rest)
            self._end_step()
        if self._step < self._order.steps:
            self._begin_step(ctx)

    @handles
    def share(self, msg: Share) -> bytes:
        """Do a part of the trivial pattern."""
        grid, kernel, iterations = Grid("trivial", msg.width), KERNELS[msg.kernel], msg.iterations
        places = (divmod(task, msg.width) for task in range(msg.first, msg.first + msg.tasks))
        return b"".join(
            PACKED.pack(*perform(grid, step, point, (), kernel, iterations))
            for step, point in places
        )

    def _begin_step(self, ctx: Context) -> None:
        """Do what others need of a step, unless something is missing for it."""
        step = self._step
        exchange = self._block.exchange(step)
        if exchange.sources:
            arrived = self._arrived.get((self._run, step), ())
            if len(arrived) < exchange.sources:
                return
            del self._arrived[self._run, step]
            for outputs in arrived:
                for output in outputs:
                    self._before[output[1]] = output
        self._perform(exchange.edge)
        if step + 1 < self._order.steps:
            done = self._done
            for other, points in exchange.sends:
                outputs = [done[point] for point in points]
                self._others[other].tell(Outputs(self._run, step, outputs))
        self._rest = exchange.inner
        if not self._rest:
            self._end_step()
        ctx.continue_with(GoOn())

    def _end_step(self) -> None:
        self._rest = None
        self._tasks += len(self._done)
        self._before, self._done = self._done, {}
        self._step += 1
        if self._step == self._order.steps:
            self._reply(self._tasks)

    def _perform(self, tasks: Tasks) -> None:
        grid, step, before, done = self._grid, self._step, self._before, self._done
        kernel, iterations = self._kernel, self._order.iterations
        for point, needs in tasks:
            inputs = [before[need] for need in needs]
            done[point] = perform(grid, step, point, inputs, kernel, iterations)
