"""The supervision tree as its driver sees it: events and requests in, actions out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from gristmill.errors import AlreadyStartedError, UsageError
from gristmill.supervision.actions import Action, Ending, Failed, Terminated
from gristmill.supervision.comparison import differences
from gristmill.supervision.engine import Engine
from gristmill.supervision.members import Actor, Member, State, Supervisor
from gristmill.supervision.policies import Verdict
from gristmill.supervision.reasons import ExitReason, Shutdown
from gristmill.supervision.refusals import (
    AlreadyPresentError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    MaxChildrenError,
    StrategyError,
)
from gristmill.supervision.spec import ChildSpec, Spec, Strategy, SupervisorSpec, validate
from gristmill.supervision.tree_view import TreeView

_SHUTDOWN = Shutdown()


class Accepted(NamedTuple):
    """An operation has begun; an action ``Completed`` with its number tells how it ended."""

    key: int
    """The child that it is about."""
    operation: int
    actions: list[Action]


class SupervisionTree(TreeView):
    """A tree of supervisors and actors, with OTP's rules and without any I/O.

    Every method takes ``now``, monotonic seconds, and returns the actions that the driver must
    carry out, in order. What refers to an incarnation that is over is ignored.

    Args:
        root: the whole static tree.
        random: for the jitter of backoffs.

    Raises:
        SpecError: something in the spec can't work.
    """

    def __init__(self, root: SupervisorSpec, random: Random) -> None:
        validate(root)
        if not isinstance(root, SupervisorSpec):
            raise UsageError(f"the root {root.id!r} is no supervisor; put it under one")
        super().__init__(Engine(root, random))

    # -- life of the tree -----------------------------------------------------------------------

    def start(self, now: float) -> list[Action]:
        """Start the static children, one after the other.

        Raises:
            UsageError: it has been started before.
        """
        if self._root.incarnation or self._root.ending is not None:
            raise UsageError("a supervision tree can be started once; make a new one")
        self._engine.begin(now)
        self._engine.launch_root()
        return self._engine.finish()

    def stop(self, now: float) -> list[Action]:
        """Stop everything in reverse start order, then the root. Again: nothing."""
        return self._end_root(now, kill=False)

    def kill(self, now: float) -> list[Action]:
        """End everything at once and unconditionally, also in the middle of ``stop``."""
        return self._end_root(now, kill=True)

    def _end_root(self, now: float, *, kill: bool) -> list[Action]:
        self._engine.begin(now)
        over = self._root.ending is not None and not self._root.alive
        if not over:
            self._engine.end(self._root, Ending.STOPPED, Shutdown())
            if kill:
                self._engine.kill(self._root, expected=True)
        return self._engine.finish()

    # -- events ---------------------------------------------------------------------------------

    def actor_started(self, key: int, incarnation: int, now: float) -> list[Action]:
        """The incarnation's start is complete."""
        return self.actors_started(((key, incarnation),), now)

    def actors_started(self, started: Iterable[tuple[int, int]], now: float) -> list[Action]:
        """The starts of these incarnations, given as (key, incarnation), are complete."""
        self._engine.begin(now)
        for key, incarnation in started:
            actor = self._current(key, incarnation)
            if actor is not None and actor.state is State.STARTING:
                self._engine.started(actor)
        return self._engine.finish()

    def start_failed(
        self,
        key: int,
        incarnation: int,
        reason: ExitReason,
        now: float,
        *,
        ignored: bool = False,
        verdict: Verdict | None = None,
    ) -> list[Action]:
        """The incarnation did not come up, and nothing of it is left.

        With ``ignored`` it chose not to run, which is no failure. A ``verdict`` of its own class
        holds for restarts only.
        """
        self._engine.begin(now)
        actor = self._current(key, incarnation)
        if actor is not None and ignored:
            self._engine.ignored(actor)
        elif actor is not None:
            self._engine.gone([actor], reason, verdict=verdict)
        return self._engine.finish()

    def actors_exited(
        self,
        exited: Iterable[tuple[int, int]],
        reason: ExitReason,
        now: float,
        *,
        collateral: bool = False,
        event: int | None = None,
        verdict: Verdict | None = None,
    ) -> list[Action]:
        """One event ended these incarnations, given as (key, incarnation).

        It costs each supervisor that it touches one restart, also if it is told in parts: those
        carry the same negative number as ``event``. With ``collateral`` they did nothing
        wrong (their worker was ended because of another actor on it): restarts cost nothing, and a
        start that was under way is tried again. A ``verdict`` is what the class of the one actor
        that ended has decided, in its supervisor's place.
        """
        self._engine.begin(now)
        found = {self._current(key, incarnation) for key, incarnation in exited}
        actors: list[Member] = [actor for actor in found if actor is not None]
        self._engine.gone(actors, reason, event, collateral=collateral, verdict=verdict)
        return self._engine.finish()

    def actors_replaced(
        self, ended: Iterable[tuple[int, int]], reason: ExitReason, now: float
    ) -> list[Action]:
        """These incarnations, given as (key, incarnation), ended so that they go on elsewhere.

        It is no failure: they are started again at once, their siblings as the strategy says,
        transient ones too, and nothing is counted. Temporary ones are not started again.
        """
        self._engine.begin(now)
        found = {self._current(key, incarnation) for key, incarnation in ended}
        actors: list[Member] = [actor for actor in found if actor is not None]
        self._engine.replaced(actors, reason)
        return self._engine.finish()

    def timer_fired(self, timer_id: int, now: float) -> list[Action]:
        """The time of an ``ArmTimer`` has come."""
        self._engine.begin(now)
        member = self._engine.take_timer(timer_id)
        if member is not None:
            if member.alive:
                self._engine.kill(member, expected=False)
            self._engine.wake(member.owner)
        return self._engine.finish()

    def _current(self, key: int, incarnation: int) -> Actor | None:
        member = self._engine.members.get(key)
        if isinstance(member, Actor) and member.alive and member.incarnation == incarnation:
            return member
        return None

    # -- operations -----------------------------------------------------------------------------

    def add_child(self, parent: int, spec: Spec, now: float, *, ahead: bool = False) -> Accepted:
        """Add a child behind all others and start it. If its start fails, it is forgotten.

        With ``ahead`` it ranks before all others instead, so it is stopped last.

        Raises:
            SupervisorNotFoundError: there is none, or it does not run.
            AlreadyStartedError: the id belongs to a child that runs or is about to.
            AlreadyPresentError: the id belongs to a stopped child.
            MaxChildrenError: the dynamic supervisor is full.
            SpecError: the spec can't work.
        """
        (added,), actions = self.add_children(parent, (spec,), now, ahead=ahead)
        return Accepted(*added, actions)

    def add_children(
        self, parent: int, specs: Sequence[Spec], now: float, *, ahead: bool = False
    ) -> tuple[list[tuple[int, int]], list[Action]]:
        """Add children behind all others and start them; nothing is added if one can't be.

        Gives (key, operation) of each, and the actions of all.

        Raises:
            GristmillError: what :meth:`add_child` raises, for the first that can't be added.
        """
        supervisor = self._running(parent)
        ids: set[str] = set()
        for spec in specs:
            validate(spec, supervisor.spec, supervisor.path)
            self._check_room(supervisor, spec, len(ids))
            if spec.id in ids:
                raise AlreadyStartedError(
                    f"two of the children have the id {spec.id!r}; rename one"
                )
            ids.add(spec.id)
        engine = self._engine
        engine.begin(now)
        added = []
        for spec in specs:
            child = engine.adopt(supervisor, spec)
            child.static = False
            if ahead:
                child.rank = -1
            child.start_operation = engine.operation()
            engine.plan_start(child)
            added.append((child.key, child.start_operation))
        return added, engine.finish()

    def restart_child(self, key: int, now: float) -> Accepted:
        """Start a stopped child. If its start fails, it stays stopped.

        Raises:
            ChildNotFoundError: there is no such child.
            SupervisorNotFoundError: its supervisor does not run.
            ChildStateError: it is not stopped: a ``ChildRunningError`` or ``ChildRestartingError``.
            StrategyError: its supervisor is dynamic.
        """
        child = self._stopped_child(key, "restart")
        self._engine.begin(now)
        child.fresh = False
        return self._start_on_request(child)

    def terminate_child(self, key: int, now: float, reason: ExitReason = _SHUTDOWN) -> Accepted:
        """Stop a child as its shutdown policy says. Its spec is kept, unless it is temporary.

        ``reason`` is what an actor is told, and what it ends with.

        Raises:
            ChildNotFoundError: there is no such child.
            SupervisorNotFoundError: its supervisor does not run.
        """
        child = self._child(key)
        self._engine.begin(now)
        operation = self._engine.operation()
        self._engine.complete_start(child, Failed(Shutdown("terminated")))
        self._engine.unschedule(child)
        if child.alive:
            if isinstance(child, Actor):
                child.stop_reason = reason
            child.stop_operations += (operation,)
            self._engine.plan_stop(child)
        else:
            self._engine.complete(operation, Terminated())
            if not child.owner.keeps(child):
                self._engine.drop(child)
            self._engine.wake(child.owner)
        return Accepted(key, operation, self._engine.finish())

    def delete_child(self, key: int) -> None:
        """Forget a stopped child.

        Raises:
            ChildNotFoundError: there is no such child.
            SupervisorNotFoundError: its supervisor does not run.
            ChildStateError: it is not stopped: a ``ChildRunningError`` or ``ChildRestartingError``.
            StrategyError: its supervisor is dynamic.
        """
        self._engine.drop(self._stopped_child(key, "delete"))

    def _start_on_request(self, child: Member) -> Accepted:
        operation = self._engine.operation()
        child.start_operation = operation
        self._engine.plan_start(child)
        return Accepted(child.key, operation, self._engine.finish())

    def _check_room(self, supervisor: Supervisor, spec: Spec, more: int = 0) -> None:
        """Refuse a child whose id is taken, or for which there is no room beside ``more`` new."""
        present = supervisor.children.get(spec.id)
        if present is not None:
            where = f"{supervisor.path}/{spec.id}"
            if present.state is State.STOPPED and not present.due:
                raise AlreadyPresentError(
                    f"{where} is stopped and its spec is kept; restart it, or delete it first"
                )
            raise AlreadyStartedError(
                f"{where} is {present.state}, incarnation {present.incarnation} of key "
                f"{present.key}; use it, or choose another id"
            )
        most = supervisor.spec.max_children
        if most is not None and len(supervisor.children) + more >= most:
            raise MaxChildrenError(
                f"{supervisor.path} has its {most} children (max_children); {spec.id!r} was not "
                "started"
            )

    def _child(self, key: int) -> Member:
        child = self._engine.members.get(key)
        if child is None:
            raise ChildNotFoundError(f"the tree has no member with key {key}")
        if child.parent is None:
            raise UsageError(f"{child.path} is the root; use stop to end the tree")
        self._running(child.parent.key)
        return child

    def _stopped_child(self, key: int, verb: str) -> Member:
        child = self._child(key)
        if child.owner.spec.strategy is Strategy.DYNAMIC:
            raise StrategyError(
                f"can't {verb} {child.path}: a dynamic supervisor keeps no stopped children; "
                "add a new child"
            )
        if child.state is State.RESTARTING or child.due:
            raise ChildRestartingError(
                f"can't {verb} {child.path}: it is restarting; terminate it first"
            )
        if child.state is not State.STOPPED:
            raise ChildRunningError(
                f"can't {verb} {child.path}: it is {child.state}; terminate it first"
            )
        return child

    def compare(
        self, root: SupervisorSpec, elastic: Iterable[str] = ()
    ) -> list[tuple[int, ChildSpec]]:
        """Compare the static tree with another one that has the same members.

        Gives the key and the new spec of each actor whose start differs.

        Args:
            root: the other tree.
            elastic: the paths below the root of the supervisors whose children come and go.

        Raises:
            SpecError: a member is missing, is new, or is another kind of member.
        """
        return differences(self._root, root, {f"{self._root.path}/{path}" for path in elastic})

    def change(self, key: int, spec: ChildSpec) -> bool:
        """Start an actor as another spec says from its next start on; give whether it is there."""
        actor = self._engine.members.get(key)
        if isinstance(actor, Actor):
            actor.spec = msgspec.structs.replace(actor.spec, start=spec.start)
        return isinstance(actor, Actor)
