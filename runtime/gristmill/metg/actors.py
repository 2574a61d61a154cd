"""The grid on actors: a block of points each, and one message a step for each other block.

A block does first what others need, and the rest while that travels. One worker has one block, so
a step takes it one handler.
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
    """Do the next step, which needs nothing more from others."""


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
        """Do the first step; the others follow."""
        self._order, self._run = msg, msg.run
        self._grid = Grid(msg.pattern, msg.width)
        self._block = Block(self._grid, self._number, len(self._others))
        self._kernel = KERNELS[msg.kernel]
        self._step = self._tasks = 0
        self._before: dict[int, Output] = {}
        self._done: dict[int, Output] = {}
        self._reply: Reply[int] = ctx.defer_reply()
        self._do_step(ctx)
        return DEFERRED

    @handles
    def outputs(self, msg: Outputs, ctx: Context) -> None:
        """Take in what a step needs, and do it if that was the last of it."""
        step = msg.step + 1
        self._arrived.setdefault((msg.run, step), []).append(msg.outputs)
        if msg.run == self._run and step == self._step and self._has_all():
            self._do_step(ctx)

    @handles
    def go_on(self, msg: GoOn, ctx: Context) -> None:  # noqa: ARG002 - it says nothing
        """Do the next step."""
        self._do_step(ctx)

    @handles
    def share(self, msg: Share) -> bytes:
        """Do a part of the trivial pattern."""
        grid, kernel, iterations = Grid("trivial", msg.width), KERNELS[msg.kernel], msg.iterations
        places = (divmod(task, msg.width) for task in range(msg.first, msg.first + msg.tasks))
        return b"".join(
            PACKED.pack(*perform(grid, step, point, (), kernel, iterations))
            for step, point in places
        )

    def _has_all(self) -> bool:
        """Tell whether everything has come that the step in hand needs from others."""
        arrived = self._arrived.get((self._run, self._step), ())
        return len(arrived) == self._block.exchange(self._step).sources

    def _do_step(self, ctx: Context) -> None:
        step, last = self._step, self._step + 1 == self._order.steps
        exchange = self._block.exchange(step)
        for outputs in self._arrived.pop((self._run, step), ()):
            for output in outputs:
                self._before[output[1]] = output
        done = self._done = {}
        self._perform(exchange.edge)
        if exchange.sends and not last:
            for other, points in exchange.sends:
                outputs = [done[point] for point in points]
                self._others[other].tell(Outputs(self._run, step, outputs))
            ctx.flush()
        self._perform(exchange.inner)
        self._tasks += len(done)
        self._before = done
        self._step += 1
        if last:
            self._reply(self._tasks)
        elif self._has_all():
            ctx.continue_with(GoOn())

    def _perform(self, tasks: Tasks) -> None:
        grid, step, before, done = self._grid, self._step, self._before, self._done
        kernel, iterations = self._kernel, self._order.iterations
        for point, needs in tasks:
            inputs = [before[need] for need in needs]
            done[point] = perform(grid, step, point, inputs, kernel, iterations)
