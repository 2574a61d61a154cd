"""The roster: which actors, names and clients a node has, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from gristmill.death import Suspect
from gristmill.node.supervisor.workers.slots import Slots
from gristmill.ref import Address
from gristmill.transport import control as c

_DEPARTED = 1000


class Client(msgspec.Struct, frozen=True):
    """A client that has joined."""

    identity: bytes
    peer: c.PeerInfo
    owner: bool


class ActorRecord(msgspec.Struct, gc=False):
    """Where an actor lives."""

    spec: c.ActorSpec
    home: int
    incarnation: int = 0
    alive: bool = False
    announced: bool = False
    suspects: tuple[Suspect, ...] = ()
    """The at-least-once messages that its workers have died with."""


class Roster:
    """Who is where. Changes are told to every worker and client."""

    def __init__(self, slots: Slots, send: Callable[[bytes, c.ControlMessage], None]) -> None:
        self.slots = slots
        self.actors: dict[int, ActorRecord] = {}
        self.names: dict[str, int] = {}
        self.clients: dict[int, Client] = {}
        self.departed: dict[int, str] = {}
        """The names of the last actors that have stopped, by key."""
        self.news = 0
        """The number of the last news."""
        self._send = send

    def broadcast(self, message: c.ControlMessage, *, but: int = -1) -> None:
        """Send a message to every worker that is up and every client, but one."""
        self.tell_workers(message, but=but)
        for address, client in self.clients.items():
            if address != but:
                self._send(client.identity, message)

    def tell_news(self, what: c.Registered | c.Unregistered | c.Grouped) -> None:
        """Tell every process something that what is sent afterwards may rely on."""
        self.news += 1
        self.broadcast(c.News(self.news, what))

    def tell_workers(self, message: c.ControlMessage, *, but: int = -1) -> None:
        """Send a message to every worker that is up, but one."""
        for slot in self.slots.reachable():
            if slot.address != but:
                self._send(slot.identity, message)

    def tell(self, process: int, message: c.ControlMessage) -> None:
        """Send a message to one process, if it is there."""
        slot = self.slots.get(process)
        if slot is not None and slot.identity:
            self._send(slot.identity, message)
        elif process in self.clients:
            self._send(self.clients[process].identity, message)

    def process_of(self, identity: bytes) -> int:
        """Give the process with this routing id; 0 if there is none any more."""
        slot = self.slots.by_identity(identity)
        if slot is not None:
            return slot.address
        clients = self.clients.items()
        return next((at for at, client in clients if client.identity == identity), 0)

    def processes(self) -> set[int]:
        """Give the addresses of the workers that are up and of the clients."""
        return {slot.address for slot in self.slots.reachable()} | set(self.clients)

    def peers(self) -> list[c.PeerInfo]:
        """Give every process that can be reached."""
        workers = [slot.peer for slot in self.slots.ready() if slot.peer is not None]
        return workers + [client.peer for client in self.clients.values()]

    def directory(self) -> list[Address]:
        """Give the addresses of the named actors that have started, but no keyed ones.

        Where those are is told to who asks.
        """
        announced = [key for key in self.names.values() if self.actors[key].announced]
        return [self.address(key) for key in announced if not self.actors[key].spec.key]

    def plain_names(self) -> tuple[str, ...]:
        """Give the names of all actors but the keyed ones, sorted."""
        named = self.names.items()
        return tuple(sorted(name for name, key in named if not self.actors[key].spec.key))

    def address(self, key: int) -> Address:
        """Give the address of an actor."""
        record = self.actors[key]
        spec = record.spec
        return Address(key, record.home, spec.type, spec.name, spec.mailbox)

    def label(self, key: int) -> str:
        """Name an actor for people."""
        record = self.actors.get(key)
        return (record.spec.name or record.spec.type) if record is not None else f"#{key}"

    def add(self, key: int, record: ActorRecord) -> None:
        """Take in an actor."""
        self.actors[key] = record
        if record.spec.name:
            self.names[record.spec.name] = key

    def ended(self, key: int, incarnation: int) -> None:
        """An incarnation runs no more."""
        record = self.actors.get(key)
        if record is not None and record.incarnation == incarnation:
            record.alive = False

    def lost(self, keys: Iterable[int]) -> list[tuple[int, int]]:
        """These actors run no more; give those that did, as (key, incarnation), by key."""
        records = ((key, self.actors[key]) for key in sorted(keys))
        lost = [(key, record.incarnation) for key, record in records if record.alive]
        for key, _ in lost:
            self.actors[key].alive = False
        return lost

    def announce(self, key: int) -> None:
        """An actor has started: its name stands for it now."""
        record = self.actors[key]
        record.announced = True
        if record.spec.name and not record.spec.key:
            self.tell_news(c.Registered(self.address(key)))

    def remove(self, key: int) -> None:
        """Forget an actor and its name."""
        record = self.actors.pop(key)
        name = record.spec.name
        if name:
            self.departed[key] = name
            if len(self.departed) > _DEPARTED:
                del self.departed[next(iter(self.departed))]
        if self.names.get(name) == key:
            del self.names[name]
            if not record.spec.key:
                self.tell_news(c.Unregistered(key, name))
