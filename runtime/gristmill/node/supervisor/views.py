"""What people see of a living node: what each worker does, and where the tree's actors are."""

from __future__ import annotations

from collections.abc import Callable

from gristmill.node.status import NodeTree, WorkerActivity, WorkerStatus
from gristmill.node.supervisor.breakers import Breakers
from gristmill.node.supervisor.roster import Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.slots import Slot, SlotState
from gristmill.supervision import SupervisionTree
from gristmill.transport import control as c
from gristmill.worker.telemetry.traces import STACK_SIGNAL

_GRACE = 0.2
"""Seconds to wait for a worker to say what is in its mailboxes; one that computes can't."""


class Views:
    """Looks at the workers on behalf of those who ask."""

    def __init__(
        self, shell: SupervisorShell, tree: SupervisionTree, roster: Roster, breakers: Breakers
    ) -> None:
        self._breakers = breakers
        self._shell = shell
        self._tree = tree
        self._roster = roster
        self._open: list[_Survey] = []

    def workers(self) -> tuple[WorkerStatus, ...]:
        """Say how the workers are, and how often they were started."""
        return tuple(
            WorkerStatus(
                name=slot.name,
                pid=slot.pid,
                state="handing over" if _hands_over(slot) else slot.state.name.lower(),
                incarnation=slot.incarnation,
                actors=len(slot.keys),
                last_exit=slot.last_exit,
            )
            for slot in self._roster.slots.all()
        )

    def activity(self, *, stacks: bool = False) -> list[WorkerActivity]:
        """Say what every worker does now; with ``stacks`` also have each write its stacks."""
        slots = self._roster.slots.all()
        if stacks:
            for slot in self._roster.slots.ready():
                self._shell.signal(slot.pid, STACK_SIGNAL)
        return [self._activity_of(slot) for slot in slots]

    def _activity_of(self, slot: Slot) -> WorkerActivity:
        stopped = bool(slot.pid) and self._shell.is_stopped(slot.pid)
        state = "stopped" if stopped else slot.state.name.lower()
        who = (slot.name, slot.pid, slot.incarnation, state)
        sight, _ = self._shell.look(slot) if slot.pid else (None, ())
        if sight is None or not sight.actor:
            return WorkerActivity(*who)
        seconds = max(0.0, (self._shell.now_ns() - sight.since_ns) / 1e9)
        label = self._roster.label(sight.actor)
        return WorkerActivity(*who, label, sight.actor, sight.message, seconds)

    def tree(self, done: Callable[[NodeTree], None]) -> None:
        """Call ``done`` with the tree once every worker has told its mailboxes, or can't."""
        asked = self._roster.slots.ready()
        survey = _Survey({slot.address: slot.name for slot in asked}, done)
        self._open.append(survey)
        for slot in asked:
            self._shell.send(slot.identity, c.ReportMailboxes())
        self._shell.call_at(self._shell.now() + _GRACE, lambda: self._finish(survey))
        self._settle()

    def heard(self, slot: Slot, lengths: dict[int, int]) -> None:
        """A worker has told what is in its mailboxes."""
        for survey in self._open:
            if survey.silent.pop(slot.address, None) is not None:
                survey.lengths.update(lengths)
        self._settle()

    def _settle(self) -> None:
        for survey in [survey for survey in self._open if not survey.silent]:
            self._finish(survey)

    def _finish(self, survey: _Survey) -> None:
        if survey not in self._open:
            return
        self._open.remove(survey)
        slots = self._roster.slots
        names = {slot.address: slot.name for slot in slots.all()}
        homes = {key: names.get(r.home, "") for key, r in self._roster.actors.items()}
        survey.done(
            NodeTree(
                tree=self._tree.snapshot(self._shell.now()),
                homes=homes,
                mailboxes=survey.lengths,
                silent=tuple(survey.silent.values()),
                workers=tuple(self.activity()),
                breakers=self._breakers.all(),
                now=self._shell.now(),
            )
        )


class _Survey:
    """A question about the mailboxes, and what was answered."""

    def __init__(self, silent: dict[int, str], done: Callable[[NodeTree], None]) -> None:
        self.silent = silent
        """Who has not answered, by address."""
        self.done = done
        self.lengths: dict[int, int] = {}


def _hands_over(slot: Slot) -> bool:
    return slot.successor is not None and slot.successor.state is SlotState.READY
