"""``Pools``: looks at elastic pools and changes their sizes; the supervisor process's part of it.

A member that is to leave is first taken off the list of every process that sends to the pool, each
of which puts a fence behind what it has sent. When all fences have come, and the member has nothing
to do any more, it is stopped.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Protocol

import msgspec

from gristmill.errors import ActorNotFoundError, AlreadyStartedError, GristmillError
from gristmill.keyed import pool_address
from gristmill.node.status import PoolStatus
from gristmill.node.supervisor.roster import ActorRecord, Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.slots import Slot
from gristmill.placement.elasticity import Scaler
from gristmill.ref import Address
from gristmill.supervision import Action, SupervisionTree
from gristmill.transport import control as c

_FENCES_WITHIN = 10.0
"""Seconds in which all put their fences; then a member leaves all the same."""


class Driver(Protocol):
    """The part of the core that carries out what follows."""

    @property
    def accepts_actors(self) -> bool:
        """Whether actors can be started."""

    def act(self, actions: list[Action]) -> None:
        """Carry out the tree's actions."""

    def admit(self, key: int, spec: c.ActorSpec) -> ActorRecord:
        """Give a new actor its place."""

    def settle(self, keys: list[int]) -> None:
        """Forget the actors that the tree will not start again."""

    def tell_slot(self, slot: Slot, message: c.ControlMessage) -> None:
        """Tell a worker something, once it is ready."""


class _Phase(Enum):
    STARTING = auto()
    SERVING = auto()
    FENCING = auto()
    DRAINING = auto()
    STOPPING = auto()


@dataclass(slots=True)
class _Member:
    phase: _Phase
    at_work: bool = False
    waiting: int = 0


@dataclass(slots=True)
class _Pool:
    spec: c.WatchPool
    scaler: Scaler
    members: dict[int, _Member] = field(default_factory=dict)
    last: int = 0
    """The number in the name of the newest member; 0: it has not begun."""
    knowing: set[int] = field(default_factory=set)
    """The processes that send to the pool."""
    silent: set[int] = field(default_factory=set)
    """The workers that have not answered the last question."""
    hindered: str = ""
    """Why it could not grow the last time."""

    @property
    def address(self) -> Address:
        return pool_address(self.spec.name, self.spec.actor.type, self.spec.actor.mailbox)

    def those(self, *phases: _Phase) -> list[int]:
        return [key for key, member in self.members.items() if member.phase in phases]


class Pools:
    """The elastic pools of a node.

    Args:
        driver: carries out what is decided.
        shell: the process around it.
        tree: the node's tree.
        roster: its actors.
        numbers: of the retirements of the whole node.
        declared: the pools that the node is started with.
    """

    def __init__(
        self,
        driver: Driver,
        shell: SupervisorShell,
        tree: SupervisionTree,
        roster: Roster,
        numbers: Iterator[int],
        declared: Iterable[c.WatchPool],
    ) -> None:
        self._driver = driver
        self._shell = shell
        self._tree = tree
        self._roster = roster
        self._numbers = numbers
        self._pools = {spec.name: _Pool(spec, Scaler(spec.rule, 0.0)) for spec in declared}
        self._of_member: dict[int, _Pool] = {}
        self._fencing: dict[int, tuple[_Pool, int]] = {}
        """The pool and the member of each retirement, by its number."""
        self._stops: dict[int, int] = {}
        """The member of each stop that is under way, by its operation of the tree."""

    def begin(self) -> None:
        """The first members of the declared pools run: look after them from now on."""
        for pool in self._pools.values():
            self._begin(pool)

    def watch(self, spec: c.WatchPool) -> None:
        """Look after a pool whose first members run.

        Raises:
            AlreadyStartedError: it is looked after already.
            ActorNotFoundError: it has no members.
        """
        if spec.name in self._pools:
            raise AlreadyStartedError(f"the pool {spec.name!r} is elastic already")
        pool = _Pool(spec, Scaler(spec.rule, 0.0))
        self._begin(pool)
        self._pools[spec.name] = pool
        self._roster.tell_news(c.Grouped(pool.address))

    def _begin(self, pool: _Pool) -> None:
        for number in itertools.count(1):
            key = self._roster.names.get(f"{pool.spec.name}-{number}")
            if key is None:
                break
            pool.members[key] = _Member(_Phase.SERVING)
        if not pool.members:
            raise ActorNotFoundError(f"there is no pool {pool.spec.name!r}")
        pool.last = len(pool.members)
        pool.scaler = Scaler(pool.spec.rule, self._shell.now())
        self._of_member.update(dict.fromkeys(pool.members, pool))
        self._tell(pool)
        self._look_later(pool)

    def introduce(self, identity: bytes) -> None:
        """Tell a newcomer that there are these pools."""
        for pool in self._pools.values():
            self._shell.send(identity, c.Grouped(pool.address))

    def join(self, name: str, process: int) -> Address:
        """Tell a process of a pool's members, now and whenever they change; give its address.

        Raises:
            ActorNotFoundError: no elastic pool has this name.
        """
        pool = self._pools.get(name)
        if pool is None:
            raise ActorNotFoundError(f"no elastic pool is named {name!r}")
        pool.knowing.add(process)
        self._roster.tell(process, self._members(pool))
        return pool.address

    def status(self) -> tuple[PoolStatus, ...]:
        """Describe the pools."""
        leaving = (_Phase.FENCING, _Phase.DRAINING, _Phase.STOPPING)
        return tuple(
            PoolStatus(
                name,
                len(pool.those(_Phase.SERVING)),
                pool.spec.rule.minimum,
                pool.spec.rule.maximum,
                len(pool.those(_Phase.STARTING)),
                len(pool.those(*leaving)),
            )
            for name, pool in self._pools.items()
        )

    # --- what others say ---

    def started(self, actor: int) -> None:
        """An actor has started, for the first time or again."""
        pool = self._of_member.get(actor) or self._returned(actor)
        if pool is not None and pool.members[actor].phase is _Phase.STARTING:
            pool.members[actor].phase = _Phase.SERVING
            self._tell(pool)

    def _returned(self, actor: int) -> _Pool | None:
        """Take in a member that had ended, and that its supervisor's restart brings back."""
        name = self._roster.actors[actor].spec.name
        pool = self._pools.get(name.rpartition("-")[0])
        if pool is None or not pool.last:
            return None
        root = self._tree.path_of(self._tree.root)
        if self._tree.path_of(actor) != f"{root}/{pool.spec.path}/{name}":
            return None
        pool.members[actor] = _Member(_Phase.STARTING)
        self._of_member[actor] = pool
        return pool

    def gone(self, actor: int) -> None:
        """An actor has ended for good."""
        pool = self._of_member.pop(actor, None)
        if pool is not None and pool.members.pop(actor).phase is _Phase.SERVING:
            self._tell(pool)

    def fenced(self, number: int) -> None:
        """All fences of a retirement have come, or nobody waits for them any more."""
        pool, actor = self._fencing.pop(number, (None, 0))
        member = pool.members.get(actor) if pool is not None else None
        if member is not None:
            member.phase = _Phase.DRAINING
            member.at_work = True  # until its worker says otherwise, from now on

    def process_down(self, process: int) -> None:
        """A client has left, or a worker has died."""
        for pool in self._pools.values():
            pool.knowing.discard(process)

    def heard(self, slot: Slot, loads: dict[int, tuple[bool, int]]) -> None:
        """A worker has said what its members have to do."""
        for actor, (at_work, waiting) in loads.items():
            pool = self._of_member.get(actor)
            if pool is None:
                continue
            pool.silent.discard(slot.address)
            member = pool.members[actor]
            member.at_work, member.waiting = at_work, waiting
            if member.phase is _Phase.DRAINING and not at_work and not waiting:
                member.phase = _Phase.STOPPING
                self._stop(actor)

    # --- the look ---

    def _look_later(self, pool: _Pool) -> None:
        at = self._shell.now() + pool.spec.rule.interval
        self._shell.call_at(at, partial(self._look, pool))

    def _look(self, pool: _Pool) -> None:
        if not self._driver.accepts_actors:
            return
        self._look_at_silent(pool)
        serving = [pool.members[key] for key in pool.those(_Phase.SERVING)]
        size = len(serving) + len(pool.those(_Phase.STARTING))
        at_work = sum(member.at_work or member.waiting > 0 for member in serving)
        waiting = sum(member.waiting for member in serving)
        wanted = pool.scaler.look(size, at_work, waiting, self._shell.now())
        if wanted > size:
            self._grow(pool, wanted - size)
        elif wanted < size:
            self._shrink(pool, size - wanted)
        self._ask(pool)
        self._look_later(pool)

    def _ask(self, pool: _Pool) -> None:
        homes: defaultdict[int, list[int]] = defaultdict(list)
        for key in pool.members:
            homes[self._roster.actors[key].home].append(key)
        pool.silent = set(homes)
        for home, keys in homes.items():
            self._roster.tell(home, c.ReportLoads(tuple(keys)))

    def _look_at_silent(self, pool: _Pool) -> None:
        """See who computes on workers that do not answer for that."""
        for address in pool.silent:
            slot = self._roster.slots.get(address)
            sight = self._shell.look(slot)[0] if slot is not None else None
            if sight is not None and sight.actor in pool.members:
                pool.members[sight.actor].at_work = True

    # --- the change ---

    def _grow(self, pool: _Pool, more: int) -> None:
        spec = pool.spec
        numbers = range(pool.last + 1, pool.last + 1 + more)
        pool.last += more
        names = [f"{spec.name}-{number}" for number in numbers]
        children = [msgspec.structs.replace(spec.child, id=name) for name in names]
        try:
            parent = self._tree.supervisor_at(spec.path)
            added, actions = self._tree.add_children(parent, children, self._shell.now())
        except GristmillError as error:
            if pool.hindered != str(error):  # said once, and not at every look
                pool.hindered = str(error)
                self._shell.log(f"pool {spec.name} can't grow: {error}")
            return
        pool.hindered = ""
        for (key, _), name in zip(added, names, strict=True):
            pool.members[key] = _Member(_Phase.STARTING)
            self._of_member[key] = pool
            self._driver.admit(key, msgspec.structs.replace(spec.actor, name=name))
        self._driver.act(actions)

    def _shrink(self, pool: _Pool, fewer: int) -> None:
        """Let those leave that have the least to do, the newest first."""
        serving = pool.those(_Phase.SERVING)
        serving.sort(key=lambda key: (pool.members[key].at_work, pool.members[key].waiting, -key))
        fences: list[tuple[int, int, str]] = []
        knowing = tuple(sorted(pool.knowing))
        for key in serving[:fewer]:
            number = next(self._numbers)
            pool.members[key].phase = _Phase.FENCING
            self._fencing[number] = (pool, key)
            record = self._roster.actors[key]
            slot = self._roster.slots.get(record.home)
            if slot is not None:
                self._driver.tell_slot(slot, c.AwaitFences(number, knowing))
            fences.append((number, record.home, record.spec.name))
            deadline = self._shell.now() + _FENCES_WITHIN
            self._shell.call_at(deadline, partial(self.fenced, number))
        self._tell(pool, tuple(fences))

    def _stop(self, actor: int) -> None:
        try:
            accepted = self._tree.terminate_child(actor, self._shell.now())
        except ActorNotFoundError:  # its supervisor ends, and it with it
            return
        self._stops[accepted.operation] = actor
        self._driver.act(accepted.actions)

    def completed(self, operation: int) -> bool:
        """An operation of the tree has ended; tell whether it was one of these."""
        actor = self._stops.pop(operation, None)
        if actor is None:
            return False
        if self._tree.knows(actor):
            with suppress(ActorNotFoundError):  # its supervisor ends too
                self._tree.delete_child(actor)
        self._driver.settle([actor])
        return True

    def _tell(self, pool: _Pool, fences: tuple[tuple[int, int, str], ...] = ()) -> None:
        members = self._members(pool, fences)
        for process in pool.knowing:
            self._roster.tell(process, members)

    def _members(self, pool: _Pool, fences: tuple[tuple[int, int, str], ...] = ()) -> c.Members:
        serving = [self._roster.address(key) for key in pool.those(_Phase.SERVING)]
        return c.Members(pool.spec.name, tuple(serving), fences)
