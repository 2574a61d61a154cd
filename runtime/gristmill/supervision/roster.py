"""The books of one tree: its members, timers and operations, and the actions that are due."""

from __future__ import annotations

from collections import deque

from gristmill.supervision.actions import (
    Action,
    ArmTimer,
    CancelTimer,
    Completed,
    Decision,
    ErrorRecord,
    Outcome,
    Report,
)
from gristmill.supervision.intensity import RestartIntensity
from gristmill.supervision.members import Actor, Member, State, Supervisor
from gristmill.supervision.reasons import ExitReason
from gristmill.supervision.spec import Spec, SupervisorSpec


class Roster:
    """Knows every member by key and every timer by id, and numbers whatever needs a number."""

    def __init__(self, root: SupervisorSpec) -> None:
        self.now = 0.0
        self.members: dict[int, Member] = {}
        self._timers: dict[int, Member] = {}
        self._actions: list[Action] = []
        self._queue: deque[Supervisor] = deque()
        self._next_key = 1
        self._next_timer = 1
        self._next_operation = 1
        self.root = Supervisor(self._new_key(), root, None, 0)
        self.members[self.root.key] = self.root

    def operation(self) -> int:
        """Number an operation."""
        self._next_operation += 1
        return self._next_operation - 1

    def complete(self, operation: int, outcome: Outcome) -> None:
        """Announce the end of an operation."""
        self._actions.append(Completed(operation, outcome))

    def complete_start(self, child: Member, outcome: Outcome) -> None:
        """Announce what became of the start that somebody asked for, if somebody did."""
        if child.start_operation is not None:
            self.complete(child.start_operation, outcome)
            child.start_operation = None

    def wake(self, supervisor: Supervisor) -> None:
        """Have the plan of a supervisor looked at before the event is over."""
        if not supervisor.queued:
            supervisor.queued = True
            self._queue.append(supervisor)

    def adopt(self, parent: Supervisor, spec: Spec) -> Member:
        """Make a new last child."""
        key, rank = self._new_key(), parent.new_rank()
        member: Member
        if isinstance(spec, SupervisorSpec):
            member = Supervisor(key, spec, parent, rank)
        else:
            member = Actor(key, spec, parent, rank)
        parent.children[spec.id] = member
        self.members[key] = member
        return member

    def renew(self, supervisor: Supervisor) -> None:
        """Give a supervisor its static children again, in order; known ones keep their keys."""
        known, supervisor.children, supervisor.next_rank = supervisor.children, {}, 0
        for spec in supervisor.spec.children:
            child = known.get(spec.id)
            if child is None:
                child = self.adopt(supervisor, spec)
            else:
                child.rank = supervisor.new_rank()
                supervisor.children[spec.id] = child
            child.fresh = True
        spec = supervisor.spec
        supervisor.intensity = RestartIntensity(spec.max_restarts, spec.within)

    def drop(self, member: Member) -> None:
        """Forget a dead member and all below it."""
        self.unschedule(member)
        del member.owner.children[member.id]
        self._forget(member)

    def unschedule(self, child: Member) -> None:
        """Take a start that is due off the plan."""
        child.owner.to_start.discard(child)
        if not child.alive:
            self.disarm(child)
            child.state = State.STOPPED

    def arm(self, member: Member, at: float) -> None:
        """Set the member's one timer to the monotonic time ``at``."""
        self.disarm(member)
        member.timer, self._next_timer = self._next_timer, self._next_timer + 1
        self._timers[member.timer] = member
        self._actions.append(ArmTimer(member.timer, at))

    def disarm(self, member: Member) -> None:
        """Cancel the member's timer, if it has one."""
        if member.timer is not None:
            del self._timers[member.timer]
            self._actions.append(CancelTimer(member.timer))
            member.timer = None

    def take_timer(self, timer_id: int) -> Member | None:
        """Give the member whose timer has fired, or None if the timer is no longer armed."""
        member = self._timers.pop(timer_id, None)
        if member is not None:
            member.timer = None
        return member

    def report(
        self, child: Member, reason: ExitReason, decision: Decision, delay: float = 0.0
    ) -> None:
        """Report a failure and what was decided."""
        owner = child.owner
        used = owner.intensity.count(self.now)
        limits = (owner.spec.max_restarts, owner.spec.within)
        identity = (owner.path, child.id, child.key, child.incarnation)
        self._actions.append(Report(ErrorRecord(*identity, reason, decision, used, *limits, delay)))

    def _forget(self, member: Member) -> None:
        del self.members[member.key]
        if isinstance(member, Supervisor):
            for child in member.children.values():
                self._forget(child)

    def _new_key(self) -> int:
        self._next_key += 1
        return self._next_key - 1
