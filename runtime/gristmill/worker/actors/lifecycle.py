"""The lives of a worker's actors: start, replay, stop, crash."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gristmill.behaviours.context import Context
from gristmill.channels.manager import listening
from gristmill.errors import (
    ActorCrashed,
    ActorDied,
    ActorNotFoundError,
    ErrorData,
    Ignore,
    UsageError,
)
from gristmill.facets.specs import Reminders
from gristmill.metrics import TimeClass
from gristmill.supervision import (
    Crash,
    Directive,
    ExitReason,
    Killed,
    Normal,
    Shutdown,
    Verdict,
    describe,
)
from gristmill.transport import control as c
from gristmill.transport.envelope import ASK
from gristmill.worker.actors.blueprint import Blueprint
from gristmill.worker.actors.cell import (
    CONTINUE,
    INSPECTION,
    REMINDER,
    SIGNAL,
    STOP,
    TIMER,
    Cell,
    State,
)
from gristmill.worker.actors.history import History
from gristmill.worker.actors.host import CellHost
from gristmill.worker.telemetry import counters
from gristmill.worker.turns.failures import EXITS

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_OWN = (CONTINUE, TIMER, SIGNAL, REMINDER)
"""The kinds of messages that end with their incarnation."""
_STARTUP = int(TimeClass.STARTUP)


class Lifecycle:
    """Carries out what the supervisor process decides about actors, and reports their ends."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._shell = core.shell
        self._blueprints: dict[str, Blueprint] = {}
        self._together: list[tuple[int, int]] | None = None
        """The incarnations that have started in the batch in progress."""

    def expect(self, key: int) -> None:
        """Hold what comes for an actor that is going to be started here."""
        self._core.cells.setdefault(key, Cell(key))

    # --- start ---

    def start_all(self, starts: Iterable[c.StartActor]) -> None:
        """Start incarnations; report those that are up at once with one message."""
        together = self._together = []
        try:
            for start in starts:
                self._start(start)
        finally:
            self._together = None
            if together:
                self._shell.control(c.ActorsStarted(tuple(together)))

    def _start(self, start: c.StartActor) -> None:
        """Make an incarnation: construct, replay, ``on_start``; then let it take messages."""
        key, spec = start.key, start.spec
        cell = self._core.cells.get(key)
        if cell is None:
            cell = self._core.cells[key] = Cell(key)
        for suspect in start.suspects:
            cell.own("attempts").setdefault((suspect.source, suspect.number), suspect)
        if spec.on_restart == "drop":
            self._drop_mailbox(cell, "dropped at the restart of its actor")
        meter = self._core.meter
        previous = meter.switch(_STARTUP)
        cell.prepare(spec, start.path, start.incarnation)
        self._core.showing.enter(cell, None)
        try:
            starting = self._construct(cell, spec)
            if not inspect.iscoroutine(starting):
                _check_start(cell, starting)
        except EXITS:
            raise
        except BaseException as error:  # whatever the user's constructor raises fails this start
            self._start_failed(cell, error)
        else:
            if starting is not None:
                cell.busy = True
                cell.task = self._shell.create_task(self._finish_start(cell, starting))
                cell.task.add_done_callback(lambda _: starting.close())  # if it was never begun
            else:
                self._started(cell)
        finally:
            self._core.showing.leave()
            meter.switch(previous)

    def _construct(self, cell: Cell, spec: c.ActorSpec) -> Any:  # noqa: ANN401 - None or awaitable
        blueprint = self._blueprints.get(spec.type)
        if blueprint is None:
            blueprint = Blueprint(spec.type, self._core.codec, governs=self._core.governs)
            self._blueprints[spec.type] = blueprint
        positional, keywords = blueprint.arguments(spec.args)
        cell.spec = blueprint.lean(spec)
        cell.mailbox = cell.spec.mailbox
        kind = blueprint.kind
        host = CellHost(self._core, cell)
        shell = self._shell
        cell.context = Context(
            host,
            name=spec.name,
            path=cell.path,
            worker=shell.name,
            node=shell.node_id,
            key=spec.key,
        )
        cell.actor = kind(*positional, **keywords)
        cell.handlers = blueprint.handlers
        cell.plans = blueprint.plans
        cell.decode = blueprint.decode
        if spec.idle:
            self._core.keyed.started(cell)
        if cell.durable:
            cell.history = History(self._core, cell, host)
            cell.history.replay()
            assert self._core.delivery.store is not None
            cell.marks = self._core.delivery.store.marks(spec.name)
            if any(isinstance(facet, Reminders) for facet in spec.facets):
                self._core.reminding.arm_all(cell)
        for listen in kind.channels:
            host.subscribe(listening(listen), wanted=True)
        starting = cell.actor.__begin__(cell.context)
        if not inspect.iscoroutine(starting):
            _check_start(cell, starting)
        return starting

    async def _finish_start(self, cell: Cell, starting: Any) -> None:  # noqa: ANN401 - awaitable
        waiting, task = self._core.waiting, asyncio.current_task()
        waiting.count += 1
        try:
            _check_start(cell, await waiting.metered(cell, starting))
        except (*EXITS, GeneratorExit):  # or its coroutine is closed
            raise
        except BaseException as error:  # whatever on_start raises fails this start
            if cell.task is not task:  # its incarnation has ended
                raise
            self._start_failed(cell, error)
        else:
            if cell.task is task:
                cell.task = None
                cell.busy = False
                self._started(cell)
        finally:
            waiting.count -= 1
            self._shell.request_turn()

    def _started(self, cell: Cell) -> None:
        if cell.stop_reason is not None and cell.state is State.STARTING:
            self._refused_start(cell, cell.stop_reason)
            return
        self._core.effects.release_all(cell)
        if cell.state is State.STARTING:
            cell.state = State.RUNNING
        self._core.failures.started(cell)
        started = (cell.key, cell.incarnation)
        if self._together is not None:
            self._together.append(started)
        else:
            self._shell.control(c.ActorsStarted((started,)))
        self._core.records.started(cell)
        if cell.queue:
            self._core.schedule(cell)

    def _start_failed(self, cell: Cell, error: BaseException) -> None:
        if isinstance(error, Ignore):
            self._refused_start(cell, Normal(), ignored=True)
            return
        blueprint = self._blueprints.get(cell.spec.type) if cell.spec is not None else None
        policies = blueprint.kind.on_failure if blueprint is not None else {}
        verdict = self._core.failures.judge_start(cell, policies, error)
        self._refused_start(cell, Crash(ErrorData.of(error)), verdict=verdict)

    def _refused_start(
        self,
        cell: Cell,
        reason: ExitReason,
        *,
        ignored: bool = False,
        verdict: Verdict | None = None,
    ) -> None:
        self._discard(cell)
        self._core.bonds.ended(cell, reason)
        failed = c.ActorFailed(cell.key, cell.incarnation, reason, ignored, verdict)
        self._shell.control(failed)

    # --- end ---

    def stop(self, key: int, incarnation: int, reason: ExitReason) -> None:
        """End an incarnation behind what is in its mailbox."""
        cell = self._core.cells.get(key)
        if cell is None or cell.incarnation != incarnation or cell.state is State.HELD:
            return
        if cell.state is State.SUSPENDED:
            self.end(cell, reason)
            return
        cell.stop_reason = reason
        if cell.state in (State.RUNNING, State.PAUSED):
            cell.state = State.STOPPING
        self._core.request_stop(cell)

    def end_all(self) -> None:
        """End every actor at once, in order; the worker's exit status tells of all of them."""
        for cell in list(self._core.cells.values()):
            if cell.state is not State.HELD:
                self._end(cell, Shutdown("its worker was terminated"))

    def end(self, cell: Cell, reason: ExitReason, verdict: Verdict | None = None) -> None:
        """End an incarnation now, with its ``terminate``, and report it.

        ``verdict`` is what its class has decided about its exception.
        """
        again = (Directive.RESTART, Directive.REPLAY)
        restarts = verdict is not None and verdict.directive in again
        self._end(cell, reason, restarts=restarts)
        self._core.delivery.acknowledge(cell)
        self._shell.flush()  # its last words come before the news of its end
        self._shell.control(c.ActorExited(cell.key, cell.incarnation, reason, verdict))

    def leave(self, cell: Cell, reason: ExitReason) -> None:
        """End an incarnation whose next one begins in another worker, with its mailbox.

        It is no failure, so actors that are linked to it go on.
        """
        cell.state = State.HELD
        cell.own("queue").extendleft(reversed(cell.postponed))
        cell.postponed.clear()
        if cell.actor is not None:
            self._terminate(cell, reason, restarts=False)
        self._bury(cell, reason, to_links=Normal())

    def kill(self, cell: Cell) -> None:
        """End an incarnation at once and unconditionally, and report it; not if it has ended."""
        if cell.state is State.HELD:
            return
        killed = Killed(9)
        self._bury(cell, killed)
        self._core.delivery.acknowledge(cell)
        self._shell.control(c.ActorExited(cell.key, cell.incarnation, killed))

    def _end(self, cell: Cell, reason: ExitReason, *, restarts: bool = False) -> None:
        cell.state = State.HELD  # what its terminate causes can't end it again
        if cell.actor is not None:
            self._terminate(cell, reason, restarts=restarts)
        self._bury(cell, reason)

    def _bury(self, cell: Cell, reason: ExitReason, *, to_links: ExitReason | None = None) -> None:
        self._core.effects.settle()
        self._tell_waiting_askers(cell, reason)
        if cell.current is not None and cell.task is not None:  # its handler will not finish
            self._core.failures.interrupted(cell, cell.current, reason)
        if cell.plans and cell.task is not None:
            for entry in reversed(cell.in_hand):
                self._core.failures.interrupted(cell, entry, reason)
        self._discard(cell)
        self._core.bonds.ended(cell, reason, to_links=to_links)

    def _tell_waiting_askers(self, cell: Cell, reason: ExitReason) -> None:
        """Requests whose handler is under way, or whose reply was deferred, get no answer."""
        waiting = list(cell.deferred.values())
        if cell.current is not None and cell.current.kind == ASK:
            waiting.append(cell.current)
        if cell.plans:
            waiting += [entry for entry in cell.in_hand if entry.kind == ASK]
        text = f"{cell.label} ended before it answered: {describe(reason)}"
        crash = ActorCrashed(text, reason.error) if isinstance(reason, Crash) else None
        for entry in waiting:
            self._core.failures.answer(entry, crash or ActorDied(text))
        for entry in cell.postponed:  # they may be what it could not cope with
            if entry.kind >= 0:
                self._core.failures.refuse(cell, entry, crash or ActorDied(text))

    def _terminate(self, cell: Cell, reason: ExitReason, *, restarts: bool) -> None:
        assert cell.actor is not None
        assert cell.context is not None
        self._core.effects.settle()
        if cell.task is not None:  # its handler does not come to its end
            cell.effects = []
        origin, self._core.sending.origin = self._core.sending.origin, cell
        try:
            cell.actor.__finish__(reason, cell.context, restarts=restarts)
        except EXITS:
            raise
        except BaseException:  # the actor ends anyway; its failure to clean up is logged
            hook = "before_restart" if restarts else "terminate"
            cell.context.log.exception("%s.%s raised", type(cell.actor).__qualname__, hook)
        finally:
            self._core.sending.origin = origin
        self._core.effects.release_all(cell)

    def _discard(self, cell: Cell) -> None:
        self._core.records.ended(cell)
        for timer in list(cell.timers):
            timer.cancel()
        cell.timers.clear()
        if cell.task is not None:
            cell.task.cancel()
            cell.task = None
        cell.state = State.HELD
        cell.actor = None
        cell.history = None
        cell.context = None
        cell.current = None
        if cell.plans:
            cell.in_hand = []
        cell.effects = []
        cell.busy = False
        cell.deferred.clear()
        kept = [entry for entry in cell.queue if entry.kind >= 0 or entry.kind == INSPECTION]
        own = sum(e.kind in _OWN for e in (*cell.postponed, *cell.queue))
        self._core.counters[counters.ENDED] += own + len(cell.blocked)
        cell.blocked.clear()
        cell.postponed.clear()
        if cell.queue:
            cell.queue = deque(kept)

    def forget(self, key: int) -> None:
        """Give up an actor for good: what waits for it becomes dead letters."""
        cell = self._core.cells.pop(key, None)
        if cell is not None:
            self._core.records.forget(cell)
            self._core.reminding.forget(key)
            self._core.keyed.pools.forgotten(key, cell.label)
            self._drop_mailbox(cell, f"{cell.label} has stopped")
            self._core.delivery.acknowledge(cell)
            self._core.sending.settle_credit(cell)

    def _drop_mailbox(self, cell: Cell, reason: str) -> None:
        queue = list(cell.queue)
        cell.queue.clear()
        for entry in queue:
            if entry.kind == INSPECTION:
                self._core.failures.answer(entry, ActorNotFoundError(reason))
            elif entry.kind >= 0:
                if entry.holds_place:
                    self._core.free_places(cell, entry.source, 1)
                self._core.failures.refuse(cell, entry, ActorNotFoundError(reason))
            elif entry.kind != STOP:
                self._core.counters[counters.ENDED] += 1


def _check_start(cell: Cell, value: object) -> None:
    """Refuse what ``on_start`` gave, if it gave something."""
    if value is not None:
        raise UsageError(
            f"{cell.label}: on_start returned {value!r}; it returns nothing (raise Ignore() to "
            "say that the actor is not to run)"
        )
