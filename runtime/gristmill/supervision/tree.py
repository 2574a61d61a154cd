"""The supervision tree as its driver sees it: events and requests in, actions out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from gristmill.errors import ActorNotFoundError, AlreadyStartedError, UsageError
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
    SupervisorNotFoundError,
)
from gristmill.supervision.spec import ChildSpec, Spec, Strategy, SupervisorSpec, validate
from gristmill.supervision.views import (
    ChildCounts,
    ChildInfo,
    Snapshot,
    children_of,
    counts_of,
    snapshot_of,
)

_SHUTDOWN = Shutdown()


class Accepted(NamedTuple):
    """An operation has begun; an action ``Completed`` with its number tells how it ended."""

    key: int
    """The child that it is about."""
    operation: int
    actions: list[Action]


class SupervisionTree:
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
        self._engine = Engine(root, random)
        self._root = self._engine.root

    @property
    def root(self) -> int:
        """The key of the root."""
        return self._root.key

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

    def _running(self, key: int) -> Supervisor:
        member = self._engine.members.get(key)
        if member is None:
            raise SupervisorNotFoundError(f"the tree has no supervisor with key {key}")
        if not isinstance(member, Supervisor):
            raise SupervisorNotFoundError(f"{member.path} is an actor and no supervisor")
        if member.doomed:
            raise SupervisorNotFoundError(
                f"supervisor {member.path} is {member.state}, not running"
            )
        return member

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

    def _member(self, key: int) -> Member:
        member = self._engine.members.get(key)
        if member is None:
            raise ActorNotFoundError(f"the tree has no member with key {key}")
        return member

    def compare(self, root: SupervisorSpec) -> list[tuple[int, ChildSpec]]:
        """Compare the static tree with another one that has the same members.

        Gives the key and the new spec of each actor whose start differs.

        Raises:
            SpecError: a member is missing, is new, or is another kind of member.
        """
        return differences(self._root, root)

    def change(self, key: int, spec: ChildSpec) -> bool:
        """Start an actor as another spec says from its next start on; give whether it is there."""
        actor = self._engine.members.get(key)
        if isinstance(actor, Actor):
            actor.spec = msgspec.structs.replace(actor.spec, start=spec.start)
        return isinstance(actor, Actor)

    # -- introspection --------------------------------------------------------------------------

    def child_of(self, supervisor: int, child: str | int) -> int:
        """Give the key of a child of a running supervisor, which is named by its id or key.

        Raises:
            SupervisorNotFoundError: there is none, or it does not run.
            ChildNotFoundError: it has no such child.
        """
        owner = self._running(supervisor)
        if isinstance(child, str):
            found = owner.children.get(child)
        else:
            found = self._engine.members.get(child)
        if found is None or found.parent is not owner:
            what = repr(child) if isinstance(child, str) else f"with key {child}"
            raise ChildNotFoundError(f"{owner.path} has no child {what}")
        return found.key

    def which_children(self, key: int) -> tuple[ChildInfo, ...]:
        """List the children of a running supervisor, the last in start order first.

        Raises:
            SupervisorNotFoundError: there is none, or it does not run.
        """
        return children_of(self._running(key))

    def count_children(self, key: int) -> ChildCounts:
        """Count the children of a running supervisor.

        Raises:
            SupervisorNotFoundError: there is none, or it does not run.
        """
        return counts_of(self._running(key))

    @property
    def running(self) -> bool:
        """Whether every static child has started, and the root has not begun to end."""
        return self._root.state is State.RUNNING

    def knows(self, key: int) -> bool:
        """Tell whether there is a member with this key, running or not."""
        return key in self._engine.members

    def is_expected(self, key: int) -> bool:
        """Tell whether a member runs or is going to be started again."""
        member = self._engine.members.get(key)
        if member is None:
            return False
        if member.alive or member.state is State.RESTARTING:
            return True
        above = member.parent
        if above is None or above.ending is not None:
            return False
        return member in above.to_start or member in above.to_stop

    def may_come_back(self, key: int) -> bool:
        """Tell whether a member can start again, by a restart of others or on request."""
        member = self._engine.members.get(key)
        if member is None or member.parent is None:
            return False
        return member.static or member.parent.keeps(member)

    def path_of(self, key: int) -> str:
        """Give the path of a member.

        Raises:
            ActorNotFoundError: there is none with this key.
        """
        return self._member(key).path

    def actors_below(self, key: int) -> list[int]:
        """Give the keys of the actors at and below a member, in start order."""
        member = self._engine.members.get(key)
        if isinstance(member, Supervisor):
            return [k for child in member.children.values() for k in self.actors_below(child.key)]
        return [] if member is None else [key]

    def snapshot(self, now: float) -> Snapshot:
        """Describe the whole tree."""
        return snapshot_of(self._root, now)

    def by_path(self, path: str) -> int:
        """Give the key of the member at a path such as ``root/services/payment``.

        Raises:
            ActorNotFoundError: there is nothing at that path.
        """
        first, *ids = path.split("/")
        member: Member | None = self._root if first == self._root.id else None
        for child_id in ids:
            member = member.children.get(child_id) if isinstance(member, Supervisor) else None
        if member is None:
            raise ActorNotFoundError(f"the tree has no member at {path!r}")
        return member.key

    def supervisor_at(self, path: str) -> int:
        """Give the key of the supervisor at a path; empty is the root, whose id may be left out.

        Raises:
            SupervisorNotFoundError: there is none, or it does not run.
        """
        root = self._root.id
        whole = path if path.partition("/")[0] == root else f"{root}/{path}".rstrip("/")
        try:
            key = self.by_path(whole)
        except ActorNotFoundError:
            raise SupervisorNotFoundError(f"the tree has no supervisor at {whole!r}") from None
        return self._running(key).key
