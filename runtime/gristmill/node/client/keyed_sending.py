"""``KeyedSending``: what a client sends to keyed actors, and what waits for their places."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gristmill.errors import ActorNotFoundError, GristmillError, MailboxFullError
from gristmill.keyed import actor_number
from gristmill.node.client.delivery import Delivery
from gristmill.node.client.outgoing import Outgoing
from gristmill.node.client.requests import OpenRequests, RequestRun, Waiter
from gristmill.placement.balancing import Balancer, Routing
from gristmill.placement.places import Places
from gristmill.ref import KEYED, POOLED, Address
from gristmill.transport import control as c
from gristmill.transport.envelope import ASK, FENCE, TELL, pack

_log = logging.getLogger("gristmill.node")


class _Held(NamedTuple):
    send: Callable[[Address], bool]
    """Sends it; False if nobody wants that any more."""
    refuse: Callable[[GristmillError], None]


class KeyedSending:
    """The keyed actors that a client knows of. Everything is done under the way out's lock.

    Args:
        outgoing: the way out.
        delivery: makes sure of what must arrive.
        pending: the open requests.
        read: takes in what has come.
        say: tells the supervisor process something.
        bury: makes a message a dead letter: to whom, its body, why.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        delivery: Delivery,
        pending: OpenRequests,
        read: Callable[[], None],
        say: Callable[[c.ControlMessage], None],
        bury: Callable[[Address, bytes, str], None],
    ) -> None:
        self._outgoing = outgoing
        self._delivery = delivery
        self._pending = pending
        self._read = read
        self._say = say
        self._bury = bury
        self._places: Places[_Held] = Places()
        self._pools: dict[int, Balancer] = {}
        """The elastic pools in use here, by the numbers in their addresses."""
        self._open: dict[int, list[Waiter | RequestRun]] = {}
        """The requests of elastic pools that may be open, by member."""

    # --- what is sent ---

    def tell(self, to: Address, body: bytes) -> bool:
        """Send a message, or let it wait for its actor's place; False if there is no room."""
        send = partial(self._send_tell, body)
        return self._send(to, send, lambda error: self._bury(to, body, str(error)))

    def ask(self, entry: Waiter | RequestRun, number: int, body: bytes) -> bool:
        """Send a request, or let it wait for its actor's place; False if there is no room."""

        def refuse(error: GristmillError) -> None:
            if self._pending.pop(entry.number, None) is not None:
                entry.settle(None, error)

        return self._send(entry.to, partial(self._send_ask, entry, number, body), refuse)

    def _send(
        self,
        to: Address,
        send: Callable[[Address], bool],
        refuse: Callable[[GristmillError], None],
    ) -> bool:
        place = self._places.find(to.name) if to.home == KEYED else self._choose(to)
        if place is not None:
            if not self._outgoing.credit.has_room(place):
                return False
            self._send_there(place, send)
            return True
        if not self._places.has_room(to):
            return False
        dropped = self._places.hold(to, _Held(send, refuse))
        if dropped is not None:
            text = f"too many messages wait for the place of {to.label}"
            dropped.refuse(MailboxFullError(text))
        self.want(to.name)
        return True

    def _send_there(self, place: Address, send: Callable[[Address], bool]) -> None:
        if send(place):
            self._outgoing.credit.take(place)

    def join_pool(self, pool: Balancer) -> Balancer:
        """Have an elastic pool chosen from here; give the one that is known already, if any."""
        return self._pools.setdefault(actor_number(pool.name), pool)

    def _choose(self, to: Address) -> Address:
        pool = self._pools[to.key]
        return pool.choose(to.name.removeprefix(f"{pool.name}/"), self._load)

    def _load(self, member: Address) -> int:
        """Count the requests that this client has open with a member."""
        entries = self._open.get(member.key)
        if not entries:
            return 0
        entries[:] = [each for each in entries if each.number in self._pending]
        return len(entries)

    def _send_tell(self, body: bytes, place: Address) -> bool:
        self._outgoing.put(place.home, (TELL, place.key, 0), 0, body)
        return True

    def _send_ask(
        self, entry: Waiter | RequestRun, number: int, body: bytes, place: Address
    ) -> bool:
        if entry.number not in self._pending:  # nobody waits for the reply any more
            return False
        to = entry.to
        if to.home == POOLED and self._pools[to.key].routing is Routing.LEAST_LOADED:
            self._open.setdefault(place.key, []).append(entry)
        entry.to = place
        self._outgoing.put(place.home, (ASK, place.key, 0, entry.deadline or 0.0), number, body)
        return True

    def want(self, name: str) -> None:
        """Ask where an actor is, unless that is known or asked for."""
        if self._places.ask(name):
            self._locate(name)

    def want_all(self, group: str) -> None:
        """Ask where those actors of a group are whom something must still reach."""
        with self._outgoing.lock:
            for name in self._delivery.open_targets(f"{group}/"):
                self.want(name)

    def _locate(self, name: str, after: float = 0.0) -> None:
        group, _, key = name.partition("/")
        self._say(c.Locate(group, key, after))

    # --- what the supervisor process says ---

    def placed(self, address: Address) -> None:
        """An actor is here now: what has waited goes there."""
        self._delivery.located(address)
        with self._outgoing.lock:
            for held in self._places.placed(address):
                self._send_there(address, held.send)
        self._outgoing.flush()
        self._outgoing.stragglers.wake()

    def not_placed(self, name: str, reason: str) -> None:
        """An actor could not be started."""
        with self._outgoing.lock:
            refused = self._places.refused(name)
            if self._delivery.has_open(name):
                seconds, new = self._places.ask_again(name)
                if new:
                    _log.warning("%s; it is tried again, as something must reach it", reason)
                self._locate(name, seconds)
        for held in refused:
            held.refuse(ActorNotFoundError(reason))
        self._outgoing.wake_reader()

    def retire(self, number: int, home: int, names: tuple[str, ...]) -> None:
        """Actors leave a worker: nothing goes there any more, and a fence says so."""
        self._read()  # who only tells has nobody else to read what was acknowledged
        with self._outgoing.lock:
            again = set(self._places.forget(names))
            for name in names:
                self._delivery.unlocated(name)
                if self._delivery.has_open(name) and self._places.ask(name):
                    again.add(name)
            for name in again:
                self._locate(name)
            if number:
                self._outgoing.plane.post(home, pack((FENCE, number)))
        self._outgoing.flush()
        self._outgoing.stragglers.wake()

    def members(self, members: c.Members) -> None:
        """An elastic pool has other members: those who leave get a fence."""
        with self._outgoing.lock:
            pool = self._pools.get(actor_number(members.name))
            if pool is not None:
                pool.change(members.members)
                for gone in self._open.keys() - {member.key for member in members.members}:
                    self._open.pop(gone)
            for number, home, _ in members.fences:
                self._outgoing.plane.post(home, pack((FENCE, number)))
        self._outgoing.flush()
        self._outgoing.stragglers.wake()
