"""What clients may ask of the supervisor process: each call gets one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import msgspec

from gristmill.errors import (
    ActorNotFoundError,
    AlreadyStartedError,
    GristmillError,
    StartFailedError,
    UsageError,
)
from gristmill.metrics import WorkerSnapshot
from gristmill.node.status import NodeStatus, Reloaded
from gristmill.node.supervisor.accounts import Accounts
from gristmill.node.supervisor.actors.administration import Administration
from gristmill.node.supervisor.actors.families import Families
from gristmill.node.supervisor.actors.groups import Groups
from gristmill.node.supervisor.actors.pools import Pools
from gristmill.node.supervisor.actors.spawning import Spawning, why_not_started
from gristmill.node.supervisor.dead_letters import DeadLetters, address_of
from gristmill.node.supervisor.hearing import Hearing
from gristmill.node.supervisor.roster import ActorRecord, Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.subscriptions import Subscriptions
from gristmill.node.supervisor.traces import Traces
from gristmill.node.supervisor.views import Views
from gristmill.node.supervisor.workers.workforce import Workforce
from gristmill.ref import Address
from gristmill.supervision import (
    Action,
    ChildSpec,
    ExitReason,
    Ignored,
    Shutdown,
    Spec,
    SpecError,
    Started,
    SupervisionTree,
    SupervisorSpec,
)
from gristmill.transport import control as c
from gristmill.transport.child_operations import ChildOperation

_METRICS_GRACE = 2.0
"""Seconds to wait for the accounting of a worker that computes."""
_SHUTDOWN = Shutdown()


class Driver(Protocol):
    """The part of the core that operations act on."""

    @property
    def accepts_actors(self) -> bool:
        """Whether actors can be started."""

    def act(self, actions: list[Action]) -> None:
        """Carry out the tree's actions."""

    def admit(self, key: int, spec: c.ActorSpec) -> ActorRecord:
        """Give a new actor its place."""

    def settle(self, keys: list[int]) -> None:
        """Forget the actors that the tree will not start again."""

    def status(self) -> NodeStatus:
        """Describe the node."""

    def stop(self, timeout: float) -> None:
        """Stop the node."""

    def reload(
        self,
        tree: SupervisorSpec | None,
        answer: Callable[[Reloaded | GristmillError], None],
    ) -> None:
        """Replace all workers by such with the code as it is now."""


class _NameTakenError(AlreadyStartedError):
    """An actor has the name, in the process ``home``."""

    def __init__(self, text: str, home: int) -> None:
        super().__init__(text)
        self.home = home


class Operations:
    """Answers the calls of clients."""

    def __init__(
        self,
        driver: Driver,
        shell: SupervisorShell,
        tree: SupervisionTree,
        roster: Roster,
        accounts: Accounts,
        traces: Traces,
        families: Families,
        views: Views,
        groups: Groups,
        pools: Pools,
        workforce: Workforce,
        subscriptions: Subscriptions,
        hearing: Hearing,
    ) -> None:
        self._driver = driver
        self._shell = shell
        self._tree = tree
        self._roster = roster
        self._accounts = accounts
        self._traces = traces
        self._families = families
        self._views = views
        self._groups = groups
        self._pools = pools
        self._workforce = workforce
        self._subscriptions = subscriptions
        self._hearing = hearing
        self._administration = Administration(
            driver, tree, roster, families, self._address_of, shell.now
        )
        self._open: dict[int, Callable[[int, object], None]] = {}
        """Who is told what became of an operation of the tree: its number and the outcome."""
        self.letters = DeadLetters()

    def keep(self, letter: c.DeadLetter) -> None:
        """Keep a dead letter; a worker does not know the names of actors that have stopped."""
        if not letter.target and letter.key:
            target = self._roster.departed.get(letter.key, f"#{letter.key}")
            letter = msgspec.structs.replace(letter, target=target)
        self.letters.keep(letter)

    def completed(self, operation: int, outcome: object) -> None:
        """An operation of the tree has ended."""
        if self._administration.completed(operation, outcome):
            return
        done = self._open.pop(operation, None)
        if done is not None:
            done(operation, outcome)

    def call(self, identity: bytes, number: int, operation: c.Operation) -> None:
        """Begin an operation; its answer goes to the client that asked.

        Who has a name that is wanted may have ended, and the client may have heard of it sooner
        than this process. So its worker is heard first.
        """
        try:
            self._begin(identity, number, operation)
        except _NameTakenError as error:
            again = partial(self._begin_again, identity, number, operation)
            self._roster.tell(error.home, c.Hear(self._hearing.begin({error.home}, again)))
        except GristmillError as error:
            self._refuse(identity, number, error)

    def _begin_again(self, identity: bytes, number: int, operation: c.Operation) -> None:
        try:
            self._begin(identity, number, operation)
        except _NameTakenError as error:
            self._refuse(identity, number, AlreadyStartedError(str(error)))
        except GristmillError as error:
            self._refuse(identity, number, error)

    def _begin(self, identity: bytes, number: int, operation: c.Operation) -> None:
        match operation:
            case c.SpawnActors():
                self._spawn(identity, number, operation)
            case c.StartSupervisor(parent, spec):
                self._start(identity, number, parent, spec)
            case c.StartGroup():
                self._answer(identity, number, self._groups.start(operation))
            case c.FindGroup(name):
                self._answer(identity, number, self._groups.find(name))
            case c.WatchPool():
                self._pools.watch(operation)
                self._answer(identity, number, None)
            case c.JoinPool(name):
                address = self._pools.join(name, self._roster.process_of(identity))
                self._answer(identity, number, address)
            case c.AddWorkers(count):
                self._workforce.add(count, partial(self._answer, identity, number))
            case c.RemoveWorker(name):
                self._workforce.remove(name, partial(self._answer, identity, number, None))
            case c.StopChild(key, reason):
                self._stop([key], partial(self._answer, identity, number, None), reason)
            case ChildOperation():
                answer = partial(self._answer, identity, number)
                refuse = partial(self._refuse, identity, number)
                self._administration.begin(operation, answer, refuse)
            case c.AwaitSubscriptions():
                own = (self._roster.process_of(identity), 0)
                answer = partial(self._answer, identity, number, None)
                self._subscriptions.when_known({own}, answer)
            case c.Lookup(name):
                self._answer(identity, number, self._find(name))
            case c.GetStatus():
                self._answer(identity, number, self._driver.status())
            case c.GetTree():
                self._views.tree(partial(self._answer, identity, number))
            case c.GetActivity(stacks):
                self._answer(identity, number, self._views.activity(stacks=stacks))
            case c.CollectMetrics():
                self._collect(identity, number)
            case c.CollectTrace(begin):
                self._traces.collect(begin, partial(self._answer, identity, number))
            case c.GetDeadLetters():
                self._answer(identity, number, self.letters.all())
            case c.FindDeadLetter(wanted):
                letter = self.letters.find(wanted)
                self._answer(identity, number, (letter, address_of(letter, self._roster)))
            case c.RemoveDeadLetter(wanted):
                self.letters.remove(wanted)
                self._answer(identity, number, None)
            case c.Reload(tree):
                self._driver.reload(tree, partial(self._reloaded, identity, number))
            case c.StopNode(timeout):
                self._answer(identity, number, None)
                self._driver.stop(timeout)

    # --- start ---

    def _start(self, identity: bytes, number: int, parent: str, spec: Any) -> None:  # noqa: ANN401 - either spec
        self._check_names(spec, set())
        accepted = self._tree.add_child(self._tree.supervisor_at(parent), spec, self._shell.now())
        self._open[accepted.operation] = lambda _, outcome: self._started(
            identity, number, accepted.key, outcome
        )
        self._driver.act(accepted.actions)

    def _spawn(self, identity: bytes, number: int, operation: c.SpawnActors) -> None:
        instances, like = operation.instances, operation.actor
        if not instances:
            self._answer(identity, number, [])
            return
        self._check_spawn(instances, like.placement)
        child = operation.child
        specs = [
            child if one.id == child.id else msgspec.structs.replace(child, id=one.id)
            for one in instances
        ]
        parent = self._parent(operation)
        added, actions = self._tree.add_children(parent, specs, self._shell.now())
        keys = [key for key, _ in added]
        if operation.by is not None:
            self._families.joined(operation.by.key, keys)
        starts = {start: key for key, start in added}
        ended = Spawning(starts, partial(self._spawned, identity, number, keys)).ended
        actor = like
        for key, one in zip(keys, instances, strict=True):
            if (one.name, one.args) != (actor.name, actor.args):  # like ones share a description
                actor = msgspec.structs.replace(like, name=one.name, args=one.args)
            self._driver.admit(key, actor)
        self._open.update(dict.fromkeys(starts, ended))
        self._driver.act(actions)

    def _parent(self, operation: c.SpawnActors) -> int:
        """Give the supervisor that actors are to be spawned under."""
        by = operation.by
        if by is None:
            return self._tree.supervisor_at(operation.parent)
        record = self._roster.actors.get(by.key)
        if record is None or not record.alive or record.incarnation != by.incarnation:
            raise ActorNotFoundError("the actor that spawns has ended; its child was not started")
        return self._families.supervisor_for(by)

    def _check_spawn(self, instances: Iterable[c.Instance], placement: str) -> None:
        if not self._driver.accepts_actors:
            raise UsageError("the node is stopping and starts no more actors")
        for one in instances:
            self._check_name(one.name)
        self._roster.slots.check(placement)

    def _check_name(self, name: str) -> None:
        key = self._roster.names.get(name) if name else None
        if key is not None:
            record = self._roster.actors[key]
            raise _NameTakenError(
                f"the name {name!r} is taken by actor #{key} ({record.spec.type}); choose another, "
                "or stop that one",
                record.home,
            )

    def _check_names(self, spec: Spec, seen: set[str]) -> None:
        """Refuse a tree in which a name is taken, or an actor is not described."""
        if isinstance(spec, SupervisorSpec):
            for child in spec.children:
                self._check_names(child, seen)
        elif isinstance(spec, ChildSpec):
            try:
                name = msgspec.msgpack.decode(spec.start or b"", type=c.ActorSpec).name
            except msgspec.MsgspecError:
                raise SpecError(
                    f"the start of child {spec.id!r} describes no actor; use an ActorBuilder"
                ) from None
            self._check_name(name)
            if name and name in seen:
                raise AlreadyStartedError(f"two of the children have the name {name!r}; rename one")
            seen.add(name)

    def _spawned(
        self, identity: bytes, number: int, keys: list[int], failed: dict[int, object]
    ) -> None:
        """Every one of a batch has an outcome: answer, or stop those that did start."""
        homes = [(key, self._roster.actors[key].home) for key in keys if key not in failed]
        if not failed:
            self._answer(identity, number, homes)
            return
        key, outcome = next(iter(failed.items()))
        error = why_not_started(self._roster.label(key), outcome)
        if len(keys) > 1 and isinstance(error, StartFailedError):
            place = f"actor {keys.index(key) + 1} of {len(keys)}"
            text = f"{place}: {error}; the {len(homes)} that started were stopped"
            error = StartFailedError(text, error.error)
        for lost, what in failed.items():
            # it chose not to run, and nobody has a ref to start it
            if isinstance(what, Ignored) and self._tree.knows(lost):
                self._tree.delete_child(lost)
        self._driver.settle(list(failed))
        refuse = partial(self._refuse, identity, number, error)
        try:
            self._stop([key for key, _ in homes if self._tree.knows(key)], refuse)
        except GristmillError:  # their supervisor ends, and they with it
            refuse()

    def _started(self, identity: bytes, number: int, key: int, outcome: object) -> None:
        if isinstance(outcome, Started):
            below = self._tree.actors_below(key)
            found = [self._roster.address(k) for k in below if self._tree.is_expected(k)]
            self._answer(identity, number, found)
        else:
            self._refuse(identity, number, why_not_started(self._roster.label(key), outcome))
        self._driver.settle([key])

    # --- stop, find, account ---

    def _stop(
        self, keys: list[int], done: Callable[[], None], reason: ExitReason = _SHUTDOWN
    ) -> None:
        """Stop members in order and forget them; call ``done`` when they are gone."""
        left = set(keys)
        below = {key: self._tree.actors_below(key) for key in keys}

        def stopped(key: int, _operation: int, _outcome: object) -> None:
            if self._tree.knows(key):
                with suppress(ActorNotFoundError):  # its supervisor ends too
                    self._tree.delete_child(key)
            self._driver.settle(below[key])
            left.discard(key)
            if not left:
                done()

        for key in keys:
            accepted = self._tree.terminate_child(key, self._shell.now(), reason)
            self._open[accepted.operation] = partial(stopped, key)
            self._driver.act(accepted.actions)
        if not keys:
            done()

    def _find(self, name: str) -> object:
        key = self._roster.names.get(name)
        if key is None:
            known = ", ".join(sorted(self._roster.names)) or "none"
            raise ActorNotFoundError(f"no actor is named {name!r} (names: {known})")
        return self._address_of(key)

    def _address_of(self, key: int) -> Address:
        return self._groups.find_actor(key) or self._roster.address(key)

    def _collect(self, identity: bytes, number: int) -> None:
        slots = self._roster.slots.ready()
        finish = self._accounts.collect(
            slots,
            lambda snapshots: self._answer(identity, number, [*snapshots, *self._own()]),
        )
        for slot in slots:
            self._shell.send(slot.identity, c.ReportMetrics())
        self._shell.call_at(self._shell.now() + _METRICS_GRACE, finish)

    def _own(self) -> list[WorkerSnapshot]:
        own = self._shell.account()
        return [own] if own is not None else []

    def _reloaded(self, identity: bytes, number: int, outcome: Reloaded | GristmillError) -> None:
        if isinstance(outcome, GristmillError):
            self._refuse(identity, number, outcome)
        else:
            self._answer(identity, number, outcome)

    def _answer(self, identity: bytes, number: int, value: object) -> None:
        self._shell.send(identity, c.Result(number, msgspec.msgpack.encode(value)))

    def _refuse(self, identity: bytes, number: int, error: GristmillError) -> None:
        detail = getattr(error, "error", None)
        name = type(error).__name__
        self._shell.send(identity, c.Result(number, b"", name, str(error), detail))
