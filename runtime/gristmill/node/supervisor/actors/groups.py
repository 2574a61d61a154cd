"""``Groups``: carries out where keyed actors live; the supervisor process's part of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from gristmill.errors import ActorNotFoundError, AlreadyStartedError, GristmillError, UsageError
from gristmill.keyed import group_address, keyed_address
from gristmill.node.status import GroupStatus
from gristmill.node.supervisor.roster import ActorRecord, Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.slots import Slot
from gristmill.placement.coordinator import (
    Coordinator,
    PlacementAction,
    Refuse,
    Retire,
    Start,
    Stop,
    Tell,
)
from gristmill.ref import Address
from gristmill.supervision import (
    Action,
    ChildSpec,
    Failed,
    Ignored,
    Restart,
    Strategy,
    SupervisionTree,
    SupervisorSpec,
    describe,
)
from gristmill.transport import control as c


class Driver(Protocol):
    """The part of the core that carries out what follows."""

    @property
    def accepts_actors(self) -> bool:
        """Whether actors can be started."""

    def act(self, actions: list[Action]) -> None:
        """Carry out the tree's actions."""

    def admit(self, key: int, spec: c.ActorSpec) -> ActorRecord:
        """Give a new actor its place."""

    def tell_slot(self, slot: Slot, message: c.ControlMessage) -> None:
        """Tell a worker something, once it is ready."""


@dataclass(slots=True)
class _Group:
    spec: c.StartGroup
    address: Address
    places: Coordinator

    @property
    def name(self) -> str:
        return self.address.name


class Groups:
    """The groups of keyed actors of a node."""

    def __init__(
        self,
        driver: Driver,
        shell: SupervisorShell,
        tree: SupervisionTree,
        roster: Roster,
        numbers: Iterator[int],
    ) -> None:
        self._driver = driver
        self._shell = shell
        self._tree = tree
        self._roster = roster
        self._groups: dict[str, _Group] = {}
        self._starts: dict[int, tuple[_Group, str]] = {}
        """The group and key of each start that is under way, by its operation of the tree."""
        self._retirements: dict[int, _Group] = {}
        self._later: set[tuple[str, str, int]] = set()
        """What is going to be located: the group, the key, and the process that asks."""
        self._numbers = numbers

    # --- groups ---

    def start(self, spec: c.StartGroup) -> Address:
        """Have a group.

        Raises:
            AlreadyStartedError: there is one of this name, or a supervisor.
            UsageError: the node is stopping.
        """
        name = spec.actor.name
        if not self._driver.accepts_actors:
            raise UsageError("the node is stopping and starts no more actors")
        if name in self._groups:
            raise AlreadyStartedError(
                f"there is a group {name!r} already; choose another name, or find it with "
                "lookup_keyed"
            )
        supervisor = SupervisorSpec(
            name, Strategy.DYNAMIC, max_restarts=spec.max_restarts, within=spec.within
        )
        added = self._tree.add_child(self._tree.root, supervisor, self._shell.now())
        address = group_address(name, spec.actor.type, spec.actor.mailbox)
        places = Coordinator(spec.shards, self._workers(), self._numbers)
        self._groups[name] = _Group(spec, address, places)
        self._driver.act(added.actions)
        self._roster.tell_news(c.Grouped(address))
        return address

    def find(self, name: str) -> Address:
        """Give the address of a group.

        Raises:
            ActorNotFoundError: there is none of this name.
        """
        group = self._groups.get(name)
        if group is None:
            known = ", ".join(sorted(self._groups)) or "none"
            raise ActorNotFoundError(f"no group is named {name!r} (groups: {known})")
        return group.address

    def find_actor(self, key: int) -> Address | None:
        """Give the address under which a keyed actor is known for ever; None of any other."""
        spec = self._roster.actors[key].spec
        group = self._groups.get(spec.name.removesuffix(f"/{spec.key}")) if spec.key else None
        return keyed_address(group.address, spec.key) if group is not None else None

    def introduce(self, identity: bytes) -> None:
        """Tell a newcomer of the groups."""
        for group in self._groups.values():
            self._shell.send(identity, c.Grouped(group.address))

    def status(self) -> tuple[GroupStatus, ...]:
        """Describe the groups."""
        return tuple(
            GroupStatus(
                group.name, len(group.places), group.places.moving, group.places.shards_of()
            )
            for group in self._groups.values()
        )

    def _workers(self) -> dict[str, int]:
        return {slot.name: slot.address for slot in self._roster.slots.all() if slot.shared}

    # --- what others say ---

    def locate(self, name: str, key: str, process: int) -> None:
        """A process asks where the actor of a key is."""
        group = self._groups.get(name)
        if group is None:
            refusal = c.NotPlaced(f"{name}/{key}", f"no group is named {name!r}")
            self._roster.tell(process, refusal)
            return
        self._act(group, group.places.locate(key, process))

    def locate_later(self, name: str, key: str, process: int, seconds: float) -> None:
        """A process will ask where the actor of a key is, unless it is going to do so anyway."""
        question = (name, key, process)
        if question not in self._later:
            self._later.add(question)
            self._shell.call_at(self._shell.now() + seconds, partial(self._locate_now, *question))

    def _locate_now(self, name: str, key: str, process: int) -> None:
        self._later.discard((name, key, process))
        if process in self._roster.processes():
            self.locate(name, key, process)

    def fenced(self, number: int) -> None:
        """All fences of a retirement have come."""
        group = self._retirements.pop(number, None)
        if group is not None:
            self._act(group, group.places.fenced(number))

    def idle(self, actors: Iterable[int]) -> None:
        """Actors have had nothing to do for a while."""
        found = list(actors)
        for group in self._groups.values():
            self._act(group, group.places.idle(found))

    def started(self, actor: int) -> None:
        """An actor has started, for the first time or again."""
        for group in self._groups.values():
            self._act(group, group.places.started(actor))

    def gone(self, actor: int) -> None:
        """An actor has ended for good."""
        for group in self._groups.values():
            self._act(group, group.places.gone(actor))

    def completed(self, operation: int, outcome: object) -> bool:
        """An operation of the tree has ended; tell whether it was one of these."""
        begun = self._starts.pop(operation, None)
        if begun is None:
            return False
        group, key = begun
        if isinstance(outcome, Failed | Ignored):
            refusals = group.places.refused(key)
            why = describe(outcome.reason) if isinstance(outcome, Failed) else "it chose not to run"
            self._act(group, refusals, f"{group.name}/{key} could not start: {why}")
        return True

    def process_down(self, process: int) -> None:
        """A worker or client has died."""
        for group in self._groups.values():
            group.places.home_down(process)
            group.places.process_down(process)

    def workers_changed(self) -> None:
        """There are more workers, or fewer, for keyed actors."""
        workers = self._workers()
        for group in self._groups.values():
            self._act(group, group.places.set_workers(workers))

    # --- what follows ---

    def _act(self, group: _Group, actions: list[PlacementAction], why: str = "") -> None:
        for action in actions:
            match action:
                case Start(key, home):
                    self._start_actor(group, key, home)
                case Tell(_, actor, processes):
                    if actor in self._roster.actors:
                        self._send(processes, c.Placed(self._roster.address(actor)))
                case Refuse(key, processes):
                    reason = why or f"{group.name}/{key} ended while it started"
                    self._send(processes, c.NotPlaced(f"{group.name}/{key}", reason))
                case Retire():
                    self._retire(group, action)
                case Stop(actor):
                    self._stop_actor(actor)

    def _send(self, processes: Iterable[int], message: c.ControlMessage) -> None:
        for process in processes:
            self._roster.tell(process, message)

    def _start_actor(self, group: _Group, key: str, home: int) -> None:
        name = f"{group.name}/{key}"
        spec = msgspec.structs.replace(group.spec.actor, name=name, key=key)
        child = ChildSpec(key, b"", Restart.TRANSIENT, group.spec.hand_off)
        try:
            slot = self._roster.slots.get(home)
            if not self._driver.accepts_actors or slot is None:
                raise UsageError("the node is stopping and starts no more actors")
            if name in self._roster.names:
                raise AlreadyStartedError(f"the name {name!r} is taken")
            parent = self._tree.by_path(f"{self._tree.path_of(self._tree.root)}/{group.name}")
            added, actions = self._tree.add_children(parent, [child], self._shell.now())
        except GristmillError as error:
            self._act(group, group.places.refused(key), f"{name} could not start: {error}")
            return
        ((actor, operation),) = added
        self._starts[operation] = (group, key)
        group.places.begun(key, actor)
        self._driver.admit(actor, msgspec.structs.replace(spec, placement=slot.name))
        self._driver.act(actions)

    def _stop_actor(self, actor: int) -> None:
        try:
            accepted = self._tree.terminate_child(actor, self._shell.now())
        except ActorNotFoundError:  # its supervisor ends, and it with it
            return
        self._driver.act(accepted.actions)

    def _retire(self, group: _Group, retire: Retire) -> None:
        names = tuple(f"{group.name}/{key}" for key in retire.keys)
        number = retire.number
        slot = self._roster.slots.get(retire.home)
        if number and slot is not None:
            self._retirements[number] = group
            self._driver.tell_slot(slot, c.AwaitFences(number, tuple(sorted(retire.processes))))
            deadline = self._shell.now() + group.spec.hand_off
            self._shell.call_at(deadline, partial(self._overdue, number))
        self._send(retire.processes, c.Retire(number, retire.home, names))

    def _overdue(self, number: int) -> None:
        group = self._retirements.pop(number, None)
        if group is not None:
            self._act(group, group.places.overdue(number))
