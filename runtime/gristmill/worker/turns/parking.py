"""Actors that wait for a batch to fill, though they have mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gristmill.behaviours.actor_host import Timer
from gristmill.metrics import Meter
from gristmill.worker.actors.cell import Cell, State
from gristmill.worker.turns.batch_plans import BatchPlan, plan_of

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_RUNNING = State.RUNNING
_LATE_NS = 1_000_000
"""A timer of an event loop may be so late."""


class _Parked(NamedTuple):
    cell: Cell
    plan: BatchPlan
    incarnation: int
    before: int
    """How many messages there were."""
    timer: Timer


class Parking:
    """Has actors wait until enough messages have come, or the first has waited long enough."""

    def __init__(self, core: WorkerCore, meter: Meter) -> None:
        self._core = core
        self._meter = meter
        self.parked: dict[int, _Parked] = {}
        """Who waits, by the actor's key."""

    def hold(self, cell: Cell, plan: BatchPlan) -> bool:
        """Have an actor wait until a batch is full or due; give whether it does."""
        if not self._may_grow(cell, plan):
            return False
        first = cell.queue[0].arrived
        left = first + plan.hold_ns - self._meter.clock() - _LATE_NS
        if left <= 0:
            return False
        timer = self._core.shell.call_later(left / 1e9, lambda: self._unpark(cell.key))
        before = len(cell.queue)
        self.parked[cell.key] = _Parked(cell, plan, cell.incarnation, before, timer)
        cell.scheduled = True  # though it is not: nothing that comes schedules it now
        return True

    def _may_grow(self, cell: Cell, plan: BatchPlan) -> bool:
        """Tell whether what comes next can join the batch that the mailbox begins with."""
        queue = cell.queue
        if not queue or queue[0].kind < 0 or len(queue) >= plan.size:
            return False
        last = queue[-1]
        return last.kind >= 0 and plan_of(cell, last) is plan

    def review(self) -> None:
        """Look, when something has come, whether an actor has waited for it."""
        for parked in list(self.parked.values()):
            cell = parked.cell
            lives = cell.incarnation == parked.incarnation and cell.state is _RUNNING
            if not lives or not self._may_grow(cell, parked.plan):
                parked.timer.cancel()
                self._unpark(cell.key)

    def _unpark(self, key: int) -> None:
        parked = self.parked.pop(key)
        cell, governor = parked.cell, parked.plan.governor
        if governor is not None:
            governor.held(parked.before, min(len(cell.queue), parked.plan.size))
        cell.scheduled = False
        self._core.schedule(cell)
