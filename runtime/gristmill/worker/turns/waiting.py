"""``Waiting``: async handlers and starts that wait for something, as tasks.

The actor of such a handler takes no other message until it has finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from gristmill.behaviours.protocol import Handler
from gristmill.metrics import Meter, TimeClass
from gristmill.worker.actors.cell import Cell
from gristmill.worker.telemetry import counters
from gristmill.worker.telemetry.activity import WAITING
from gristmill.worker.turns.eager import Suspended
from gristmill.worker.turns.metered import metered

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_DISPATCH = int(TimeClass.DISPATCH)


class Waiting:
    """Lets handlers of a worker's actors go on where they have waited."""

    def __init__(self, core: WorkerCore, meter: Meter) -> None:
        self._core = core
        self._shell = core.shell
        self._counters = core.counters
        self._showing = core.showing
        self._meter = meter
        self.count = 0
        """How many async handlers and starts are under way."""
        self.messages = 0
        """How many messages the handlers among them have in hand."""

    def suspend(self, cell: Cell, handler: Handler, suspended: Suspended, messages: int) -> metered:
        """A handler waits, and its actor takes nothing else meanwhile; give what is to await."""
        self._meter.switch(_DISPATCH)
        self.count += 1
        self.messages += messages
        self._counters[counters.IN_HAND] += messages
        cell.busy = True
        if cell.spec is not None and cell.spec.time_limit:
            self._showing.cells[WAITING] = self._meter.last
        return self.metered(cell, suspended, handler)

    def go_on(
        self,
        cell: Cell,
        suspended: Suspended,
        rest: Coroutine[Any, Any, None],
        messages: int,
    ) -> None:
        """Let a suspended handler of so many messages go on as a task: ``rest`` awaits it."""

        def no_longer_waiting(_: asyncio.Task[None]) -> None:
            self.count -= 1
            self.messages -= messages
            self._counters[counters.IN_HAND] -= messages

        task = suspended.go_on(rest)
        task.add_done_callback(no_longer_waiting)
        cell.task = task

    def resumed(self, cell: Cell, task: asyncio.Task[Any] | None) -> None:
        """A handler that waited has ended: its actor takes messages again."""
        cell.asked_ns = 0
        self._showing.cells[WAITING] = 0
        if cell.task is task:
            self.free(cell)
        self._core.delivery.acknowledge(cell)
        self._shell.request_turn()

    def free(self, cell: Cell) -> None:
        """Let an actor go on whose async handler has ended."""
        cell.task = None
        cell.busy = bool(cell.blocked)
        self._core.schedule(cell)
        self._shell.request_turn()

    def metered(
        self, cell: Cell, work: Coroutine[Any, Any, Any] | Suspended, handler: Handler | None = None
    ) -> metered:
        """Account for an actor's coroutine, and let it send as that actor.

        ``handler``: whose coroutine it is; None for the start of the actor.
        """
        enter = partial(self._showing.enter, cell, handler)
        return metered(work, self._meter, enter, self._leave)

    def _leave(self) -> None:
        """Let what an async handler has sent so far leave while it waits."""
        self._showing.leave()
        self._shell.request_turn()
