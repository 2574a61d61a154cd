"""``Pooled``: the elastic pools that a worker's actors send to.

Whoever sends chooses the member, each time anew. A member that leaves gets nothing from then on but
what must reach it; the fence that says so is put when it has acknowledged that. What a member that
has ended had not acknowledged goes to another one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gristmill.placement.balancing import Balancer, Routing
from gristmill.placement.places import Places
from gristmill.ref import Address
from gristmill.transport import control as c

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore
    from gristmill.worker.messaging.keyed import Held

_LANE: Final = "pool://"
"""How the names begin under which the journal keeps what waits for a pool's first member."""
_FULL: Final = 1 << 32
"""What counts as the load of a member without room in its mailbox."""


class Pooled:
    """The elastic pools of a worker's node, and the members of those that are in use here."""

    def __init__(self, core: WorkerCore, places: Places[Held]) -> None:
        self._core = core
        self._shell = core.shell
        self._places = places
        self.addresses: dict[str, Address] = {}
        """All elastic pools, by name."""
        self._pools: dict[str, Balancer] = {}
        """Those whose members are told to this worker, by name."""
        self.retiring: dict[str, tuple[int, int]] = {}
        """The members that leave, by name: the fence's number, and the process that gets it."""
        self._asked: Counter[int] = Counter()
        """How many requests from here are open with each member."""
        self._ended: set[int] = set()
        """The members that have ended here."""

    # --- sending ---

    def find(self, to: Address) -> Address | None:
        """Choose the member of a pool that the next message goes to; None while nobody is one."""
        pool = self._pools.get(to.name)
        return pool.choose(None, self._load) if pool is not None and pool.members else None

    def find_journaled(self, to: Address) -> Address:
        """Do so for a message that must arrive: while nobody is a member, the journal keeps it."""
        return self.find(to) or msgspec.structs.replace(to, name=_LANE + to.name)

    def members_of(self, to: Address) -> tuple[Address, ...]:
        """Give the members of a pool, as far as they are known."""
        pool = self._pools.get(to.name)
        return pool.members if pool is not None else ()

    def _load(self, member: Address) -> int:
        """Say what from here a member has not finished: requests, and what must reach it."""
        load = self._asked[member.key] + self._core.delivery.open_to(member.name)
        return load if self._core.sending.has_room(member) else load + _FULL

    def asked(self, member: Address, reply: asyncio.Future[Any]) -> None:
        """A member is asked something; one that is the pool itself is chosen later."""
        self._asked[member.key] += 1
        reply.add_done_callback(lambda _: self._answered(member.key))

    def _answered(self, key: int) -> None:
        self._asked[key] -= 1
        if not self._asked[key]:
            del self._asked[key]

    # --- what the supervisor process says ---

    def grouped(self, address: Address) -> None:
        """There is a pool; what an earlier run has left for former members is passed on."""
        self.addresses[address.name] = address
        self._pass_on(address.name)

    def members(self, news: c.Members) -> None:
        """A pool has other members: those who leave get a fence, and what has waited goes."""
        pool = self._pools.get(news.name)
        if pool is None:
            pool = self._pools[news.name] = Balancer(news.name, Routing.LEAST_LOADED)
        pool.change(news.members)
        for number, home, member in news.fences:
            self.retiring[member] = (number, home)
            self.acknowledged(member)
        if not news.members:
            return
        for held in self._places.take(news.name):
            held.send(pool.choose(None, self._load))
        self._pass_on(news.name)
        self._core.sending.feed(news.name)

    def acknowledged(self, member: str) -> None:
        """A member that leaves has acknowledged something: if that was all, it gets its fence."""
        if not self._core.delivery.has_open(member):
            number, home = self.retiring.pop(member)
            self._core.keyed.put_fence(home, number)

    def unregistered(self, name: str) -> None:
        """A name stands for nobody any more: if it was a member's, what it left is passed on."""
        pool = name.rpartition("-")[0]
        if pool in self.addresses:  # its last acknowledgements come by another pipe
            self._shell.when_drained(partial(self._pass_on, pool))

    def _pass_on(self, name: str) -> None:
        """Give what is open for those that are no more to members.

        These are members that have ended, and the single actor that a pool has taken the place of.
        """
        delivery, pool = self._core.delivery, self._pools.get(name)
        numbered = [target for target in delivery.open_targets(f"{name}-") if _is_of(target, name)]
        for target in (_LANE + name, name, *numbered):
            if not delivery.has_open(target) or self._core.directory.find(target) is not None:
                continue
            if pool is None or not pool.members:
                self._core.keyed.want(self.addresses[name])
                return
            delivery.pass_on(target, partial(pool.choose, None, self._load))
            if target in self.retiring:
                self.acknowledged(target)

    # --- hosting ---

    def has_member(self, name: str) -> bool:
        """Tell whether an actor with this name is, or was, a member of a pool."""
        pool = name.rpartition("-")[0]
        return pool in self.addresses and _is_of(name, pool)

    def forgotten(self, key: int, name: str) -> None:
        """An actor of this worker has ended for good."""
        if self.has_member(name):
            self._ended.add(key)

    def passes_on(self, key: int) -> bool:
        """Tell whether an actor was a member, so that senders pass on what must be handled."""
        return key in self._ended


def _is_of(member: str, pool: str) -> bool:
    return member.removeprefix(f"{pool}-").isdecimal()
