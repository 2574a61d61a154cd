"""The engine of the tree: decides what follows from an event, and carries out the plans."""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from gristmill.supervision.actions import (
    Action,
    Decision,
    Ending,
    Failed,
    Ignored,
    KillActor,
    StartActor,
    Started,
    StopActor,
    Terminated,
    TreeStarted,
    TreeStopped,
)
from gristmill.supervision.members import Actor, Member, State, Supervisor
from gristmill.supervision.policies import Directive, Verdict
from gristmill.supervision.reasons import (
    ExitReason,
    Killed,
    Normal,
    Shutdown,
    is_ordered,
)
from gristmill.supervision.roster import Roster
from gristmill.supervision.rules import (
    causes,
    is_restarted,
    next_to_start,
    next_to_stop,
    says,
    shuts_down,
)
from gristmill.supervision.spec import (
    BRUTAL_KILL,
    INFINITY,
    Restart,
    SupervisorSpec,
)

SIGKILL: Final = 9  # by number: the signal module of another platform may lack it


class Engine(Roster):
    """Keeps the members of one tree moving; :class:`SupervisionTree` is its face.

    Use: ``begin``, then any of the other methods, then ``finish`` for the actions.
    """

    def __init__(self, root: SupervisorSpec, random: Random) -> None:
        super().__init__(root)
        self._random = random
        self._event = 0

    # -- one event ------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Start to handle an event at ``now``; all that follows from it counts as one failure."""
        self.now = now
        self._event += 1

    def finish(self) -> list[Action]:
        """Carry out all plans as far as they go, and give what is to be done, in order."""
        while self._queue:
            supervisor = self._queue.popleft()
            supervisor.queued = False
            self._advance(supervisor)
        actions, self._actions = self._actions, []
        return actions

    # -- plans ----------------------------------------------------------------------------------

    def _advance(self, supervisor: Supervisor) -> None:
        if not supervisor.alive:
            return
        for child in next_to_stop(supervisor):
            self._ask_to_stop(child)
        for child in next_to_start(supervisor):
            self._launch(child)
        if not supervisor.idle:
            return
        if supervisor.ending is not None:
            self._ended(supervisor)
        elif supervisor.state is State.STARTING:
            self.started(supervisor)

    def launch_root(self) -> None:
        """Start the tree."""
        self._start_supervisor(self.root)

    def _launch(self, child: Member) -> None:
        child.owner.to_start.discard(child)
        child.owner.starting.add(child)
        if isinstance(child, Supervisor):
            self._start_supervisor(child)
            return
        child.state = State.STARTING
        child.incarnation += 1
        child.started_at = None
        child.kill_sent = child.kill_expected = False
        self._actions.append(StartActor(child.key, child.incarnation, child.spec))
        if child.spec.restart is Restart.TEMPORARY and not child.static:
            # it is never started again, so its arguments need no memory
            child.spec = msgspec.structs.replace(child.spec, start=None)

    def _start_supervisor(self, supervisor: Supervisor) -> None:
        supervisor.state = State.STARTING
        supervisor.incarnation += 1
        supervisor.ending, supervisor.causes = None, ()
        self.renew(supervisor)
        supervisor.to_start.update(supervisor.children.values())
        self.wake(supervisor)

    def started(self, member: Member) -> None:
        """Take note that a member runs."""
        member.state = State.RUNNING
        member.fresh = False
        if isinstance(member, Actor):
            member.started_at = self.now
        if member.parent is None:
            self._actions.append(TreeStarted())
            return
        self.complete_start(member, Started(member.key, member.incarnation))
        member.parent.starting.discard(member)
        self.wake(member.parent)

    def plan_stop(self, child: Member) -> None:
        """Put the stop of a living child on the plan."""
        if child not in child.owner.stopping:
            child.owner.to_stop.add(child)
        self.wake(child.owner)

    def plan_start(self, child: Member) -> None:
        """Put the start of a child on the plan."""
        child.owner.to_start.add(child)
        self.wake(child.owner)

    def _ask_to_stop(self, child: Member) -> None:
        self._mark_stopping(child)
        policy = child.spec.shutdown
        if policy == BRUTAL_KILL:
            self.kill(child, expected=True)
            return
        timeout = None if policy == INFINITY else float(policy)
        if timeout is not None:
            self.arm(child, self.now + timeout)
        if isinstance(child, Supervisor):
            self.end(child, Ending.STOPPED, Shutdown())
            return
        child.state = State.STOPPING
        reason, child.stop_reason = child.stop_reason, Shutdown()
        self._actions.append(StopActor(child.key, child.incarnation, reason, timeout))

    def _mark_stopping(self, child: Member) -> None:
        child.owner.to_stop.discard(child)
        child.owner.starting.discard(child)
        child.owner.stopping.add(child)

    def kill(self, member: Member, *, expected: bool) -> None:
        """End a member at once, a supervisor with all that lives below it.

        ``expected`` is False when it is killed for not having stopped in time.
        """
        self.disarm(member)
        if isinstance(member, Supervisor):
            self.end(member, Ending.STOPPED, Killed(SIGKILL))
            member.exit = Killed(SIGKILL)
            for child in reversed(list(member.children.values())):
                if child.alive:
                    self._mark_stopping(child)
                    self.kill(child, expected=expected)
        elif not member.kill_sent:
            member.state = State.STOPPING
            member.kill_sent, member.kill_expected = True, expected
            self._actions.append(KillActor(member.key, member.incarnation))

    def end(
        self,
        supervisor: Supervisor,
        ending: Ending,
        reason: ExitReason,
        causes: tuple[str, ...] = (),
        event: int = 0,
    ) -> None:
        """Have a supervisor stop all its children and then end. The first ending counts."""
        if supervisor.ending is not None:
            return
        supervisor.state = State.STOPPING
        supervisor.ending, supervisor.exit, supervisor.causes = ending, reason, causes
        supervisor.event = event
        for child in supervisor.to_start.all():
            self.unschedule(child)
            if not child.alive:
                self.complete_start(child, Failed(Shutdown("its supervisor stops")))
        for child in supervisor.children.values():
            if child.alive and child not in supervisor.stopping:
                supervisor.to_stop.add(child)
        self.wake(supervisor)

    def _ended(self, supervisor: Supervisor) -> None:
        for child in list(supervisor.children.values()):
            if not child.static:
                self.drop(child)
        if supervisor.parent is not None:
            self.gone([supervisor], supervisor.exit, supervisor.event)
            return
        supervisor.state, supervisor.last_exit = State.STOPPED, supervisor.exit
        ending = supervisor.ending or Ending.STOPPED
        self._actions.append(TreeStopped(supervisor.exit, ending, supervisor.causes))

    # -- ends -----------------------------------------------------------------------------------

    def gone(
        self,
        members: list[Member],
        reason: ExitReason,
        event: int | None = None,
        *,
        collateral: bool = False,
        verdict: Verdict | None = None,
    ) -> None:
        """Take note that members have ended, all through one event, and decide what follows.

        ``event`` is an earlier event that led to this one, if there is one. ``verdict`` is what
        the class of an actor has decided about its end.
        """
        event = self._event if event is None else event
        members = sorted(members, key=lambda member: member.position)
        # all of them are dead before the first decision is made
        asked = [self._bury(member, reason) for member in members]
        for member, (expected, starting) in zip(members, asked, strict=True):
            member.state = State.STOPPED
            self.wake(member.owner)
            if expected or member.owner.doomed:
                self._end_expected(member, reason)
            elif collateral and starting and member.spec.restart is not Restart.TEMPORARY:
                member.state = State.RESTARTING
                self.plan_start(member)
            elif starting:
                self._start_failed(member, reason, event, verdict)
            else:
                self._end_unexpected(member, reason, event, verdict, free=collateral)

    def replaced(self, members: list[Member], reason: ExitReason) -> None:
        """Take note that members have ended in order to go on elsewhere, which is no failure."""
        members = sorted(members, key=lambda member: member.position)
        asked = [self._bury(member, reason) for member in members]
        for member, (expected, _) in zip(members, asked, strict=True):
            member.state = State.STOPPED
            self.wake(member.owner)
            if expected or member.owner.doomed:
                self._end_expected(member, reason)
            elif member.spec.restart is Restart.TEMPORARY:
                self._end_unexpected(member, reason, self._event, None, free=True)
            else:
                member.state = State.RESTARTING
                self._restart_group(member)

    def _bury(self, member: Member, reason: ExitReason) -> tuple[bool, bool]:
        """Mark a member dead; tell whether its stop was planned and whether it was starting."""
        owner = member.owner
        expected = member in owner.stopping or member in owner.to_stop
        starting = member in owner.starting
        owner.to_stop.discard(member)
        owner.stopping.discard(member)
        owner.starting.discard(member)
        self.disarm(member)
        # until its own end is decided on, it counts as a child that may come back
        member.state = State.RESTARTING
        member.last_exit = reason
        return expected, starting

    def _end_expected(self, child: Member, reason: ExitReason) -> None:
        killed_by_policy = isinstance(child, Actor) and child.kill_expected
        if isinstance(child, Actor) and not is_ordered(reason) and not killed_by_policy:
            self.report(child, reason, Decision.STOPPING)
        for operation in child.stop_operations:
            self.complete(operation, Terminated())
        child.stop_operations = ()
        if child in child.owner.to_start:
            return
        self.complete_start(child, Failed(Shutdown("stopped before it had started")))
        if not child.owner.keeps(child):
            self.drop(child)

    def ignored(self, child: Member) -> None:
        """Take note that a child chose not to run."""
        expected, _ = self._bury(child, Normal())
        child.state = State.STOPPED
        self.wake(child.owner)
        if expected or child.owner.doomed:
            self._end_expected(child, Normal())
            return
        child.fresh = False
        self.complete_start(child, Ignored())
        if not child.owner.keeps(child):
            self.drop(child)

    def _start_failed(
        self, child: Member, reason: ExitReason, event: int, verdict: Verdict | None
    ) -> None:
        owner = child.owner
        if child.start_operation is not None:
            self.complete_start(child, Failed(reason))
            if child.fresh:
                self.drop(child)
        elif child.fresh and owner.state is State.STARTING:
            self.report(child, reason, Decision.START_FAILED)
            chain = (*causes(child, reason), f"{owner.path}: failed to start")
            self.end(owner, Ending.START_FAILED, reason, chain, event)
        elif says(verdict, Directive.STOP):
            self._stay_down(child, reason, event, Decision.OWN_STOP)
        else:
            self._restart(child, reason, event, verdict, free=False)

    def _end_unexpected(
        self,
        child: Member,
        reason: ExitReason,
        event: int,
        verdict: Verdict | None,
        *,
        free: bool,
    ) -> None:
        if is_restarted(child.spec.restart, reason, verdict):
            self._restart(child, reason, event, verdict, free=free)
        elif says(verdict, Directive.STOP):
            self._stay_down(child, reason, event, Decision.OWN_STOP)
        else:
            self._stay_down(child, reason, event, Decision.NOT_RESTARTED)

    def _stay_down(self, child: Member, reason: ExitReason, event: int, decision: Decision) -> None:
        owner = child.owner
        if not is_ordered(reason):
            self.report(child, reason, decision)
        if not owner.keeps(child):
            self.drop(child)
        if child.spec.significant and shuts_down(owner):
            text = f"{owner.path}: auto-shutdown, its significant child {child.id} has ended"
            chain = (*causes(child, reason), text)
            self.end(owner, Ending.AUTO_SHUTDOWN, Shutdown("auto-shutdown"), chain, event)

    def _restart(
        self,
        child: Member,
        reason: ExitReason,
        event: int,
        verdict: Verdict | None,
        *,
        free: bool,
    ) -> None:
        owner = child.owner
        free = free or verdict is not None
        if not free and not owner.intensity.record(self.now, event):
            self.report(child, reason, Decision.GAVE_UP)
            used, most = owner.intensity.count(self.now), owner.spec.max_restarts
            text = f"restart intensity exceeded ({used} restarts in {owner.spec.within:g} s"
            text += f", {most} allowed)"
            chain = (*causes(child, reason), f"{owner.path}: {text}")
            self.end(owner, Ending.INTENSITY, Shutdown(text), chain, event)
            return
        child.state = State.RESTARTING
        decision = Decision.RESTART if verdict is None else Decision.OWN_RESTART
        if says(verdict, Directive.REPLAY):
            decision = Decision.REPLAY
        self.report(child, reason, decision, self._back_off(child, verdict))
        self._restart_group(child)

    def _restart_group(self, child: Member) -> None:
        """Put the restart of a child, and of those that restart with it, on the plan."""
        for sibling in child.owner.group(child):
            if sibling.alive:
                self.plan_stop(sibling)
            if sibling.spec.restart is not Restart.TEMPORARY:
                child.owner.to_start.add(sibling)

    def _back_off(self, child: Member, verdict: Verdict | None) -> float:
        """Give the seconds to wait before a restart, and arm the timer for it."""
        if verdict is not None and verdict.delay is not None:
            delay = verdict.delay
        elif isinstance(child, Supervisor) or child.spec.backoff is None:
            return 0.0
        else:
            backoff, began = child.spec.backoff, child.started_at
            ran = self.now - began if began is not None else None
            restarts = backoff.in_a_row(child.restarts_in_a_row, ran)
            child.restarts_in_a_row = restarts + 1
            delay = backoff.delay(restarts, self._random.random())
        self.arm(child, self.now + delay)
        return delay
