"""``Keyed``: keyed actors as one worker sees them: those it sends to, and those that it hosts.

Elastic pools, whose places are their members, are the part of :class:`Pooled`.

What is sent to one whose place is not known waits here, in order; a sender that finds no room
waits as for a full mailbox. Those that live here are looked at now and then: who has had nothing
to do for a while may end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from gristmill.behaviours.protocol import Handler
from gristmill.errors import ActorNotFoundError, GristmillError, MailboxFullError
from gristmill.messages import Message
from gristmill.placement.places import Fences, Places
from gristmill.ref import KEYED, POOLED, Address
from gristmill.transport import control as c
from gristmill.transport.envelope import FENCE, pack
from gristmill.worker.actors.cell import Cell, State
from gristmill.worker.messaging.pooled import Pooled

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_log = logging.getLogger("gristmill.worker")
_LOOKS = 4
"""How often those that may rest are looked at in the time after which they do."""


class Held(NamedTuple):
    """What waits for the place of an actor."""

    send: Callable[[Address], None]
    refuse: Callable[[GristmillError], None]


class Keyed:
    """The keyed actors that a worker knows of."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._shell = core.shell
        self.groups: dict[str, Address] = {}
        self._places: Places[Held] = Places()
        self.pools = Pooled(core, self._places)
        self._fences = Fences()
        self._restless: dict[int, _Restless] = {}
        self._looking = False

    # --- sending ---

    def find(self, to: Address) -> Address | None:
        """Give where to send what is for an address; None if that is not known yet."""
        if to.home >= 0:
            return to
        return self._places.find(to.name) if to.home == KEYED else self.pools.find(to)

    def find_all(self, to: Address) -> tuple[Address, ...]:
        """Give where what is for the address of a keyed actor, or of a pool, may go."""
        if to.home == POOLED:
            return self.pools.members_of(to)
        place = self._places.find(to.name) if to.home == KEYED else None
        return (place,) if place is not None else ()

    def has_room(self, to: Address) -> bool:
        """Tell whether something more may wait for the place of an actor."""
        return self._places.has_room(to)

    def want(self, to: Address) -> None:
        """Ask where an actor is, unless that is known or asked for."""
        if self._places.ask(to.name):
            self._locate(to.name)

    def hold(self, to: Address, held: Held) -> None:
        """Let something wait for the place of an actor."""
        dropped = self._places.hold(to, held)
        if dropped is not None:
            dropped.refuse(MailboxFullError(f"too many messages wait for the place of {to.label}"))
        self.want(to)

    def _locate(self, name: str, after: float = 0.0) -> None:
        group, _, key = name.partition("/")
        self._shell.control(c.Locate(group, key, after))

    # --- what the supervisor process says ---

    def grouped(self, address: Address) -> None:
        """There is a group or pool; what an earlier run has left for its actors is wanted there."""
        if address.home == POOLED:
            self.pools.grouped(address)
            return
        self.groups[address.name] = address
        for name in self._core.delivery.open_targets(f"{address.name}/"):
            if self._places.ask(name):
                self._locate(name)

    def reopened(self) -> None:
        """This worker has taken another one's place, with its journal: see what that has left."""
        for address in (*self.groups.values(), *self.pools.addresses.values()):
            self.grouped(address)

    def members(self, news: c.Members) -> None:
        """An elastic pool has other members."""
        self.pools.members(news)
        self._core.leaving.leave_when_done()

    def placed(self, address: Address) -> None:
        """An actor is here now: what has waited goes there."""
        self._core.delivery.located(address)
        for held in self._places.placed(address):
            held.send(address)
        self._core.sending.feed(address.name)
        self._core.leaving.leave_when_done()

    def not_placed(self, name: str, reason: str) -> None:
        """An actor could not be started."""
        for held in self._places.refused(name):
            held.refuse(ActorNotFoundError(reason))
        if self._core.delivery.has_open(name):
            seconds, new = self._places.ask_again(name)
            if new:
                _log.warning("%s; it is tried again, as something must reach it", reason)
            self._locate(name, seconds)
        self._core.sending.feed(name)
        self._core.leaving.leave_when_done()

    def retire(self, number: int, home: int, names: tuple[str, ...]) -> None:
        """Actors leave a worker: nothing goes there any more, and a fence says so."""
        sending = self._core.sending
        again = set(self._places.forget(names))
        for name in names:
            if self._core.delivery.unlocated(name) and self._places.ask(name):
                again.add(name)
        for name in again:
            self._locate(name)
        if number:
            self.put_fence(home, number)
        for name in names:
            sending.feed(name)  # who waited for room there waits for the new place

    def put_fence(self, home: int, number: int) -> None:
        """Put a fence behind what was sent to a process."""
        if home == self._shell.address:
            self.fence(home, number)
        else:
            self._shell.post(home, pack((FENCE, number)))

    @property
    def holds_any(self) -> bool:
        """Whether something waits for the place of an actor."""
        return bool(len(self._places))

    @property
    def settled(self) -> bool:
        """Whether nothing waits for the place of an actor, and no actor is about to leave."""
        return not self.holds_any and not self._fences

    # --- hosting ---

    def await_fences(self, number: int, processes: Iterable[int]) -> None:
        """Say when all these processes have put their fences."""
        if self._fences.expect(number, processes):
            self._shell.control(c.Fenced(number))

    def fence(self, source: int, number: int) -> None:
        """A process sends nothing more to those who leave."""
        if self._fences.arrived(number, source):
            self._shell.control(c.Fenced(number))

    def process_down(self, process: int) -> None:
        """A process has died: it puts no fences."""
        for number in self._fences.process_down(process):
            self._shell.control(c.Fenced(number))

    def started(self, cell: Cell) -> None:
        """An actor that may rest has been made: look at it now and then."""
        assert cell.spec is not None
        restless = self._restless[cell.key] = _Restless(cell, cell.spec.idle, self._shell.now())
        cell.handlers = restless.handlers
        if not self._looking:
            self._look_later()

    def _look_later(self) -> None:
        self._looking = bool(self._restless)
        if self._looking:
            soonest = min(restless.idle for restless in self._restless.values())
            self._shell.call_later(soonest / _LOOKS, self._look)

    def _look(self) -> None:
        now = self._shell.now()
        cells = self._core.cells
        resting = []
        for key, restless in list(self._restless.items()):
            if cells.get(key) is not restless.cell:
                del self._restless[key]
            elif restless.rests(now):
                resting.append(key)
        if resting:
            self._shell.control(c.Idle(tuple(resting)))
        self._look_later()


class _Restless:
    """An actor that may end when it has had nothing to do for a while."""

    def __init__(self, cell: Cell, idle: float, now: float) -> None:
        self.cell = cell
        self.idle = idle
        self.handlers = _Noticed(cell.handlers)
        self._since = now

    def rests(self, now: float) -> bool:
        """Tell whether it has done nothing, and waits for nothing, for long enough."""
        cell = self.cell
        active = (
            self.handlers.used
            or cell.state is not State.RUNNING
            or cell.busy
            or cell.queue
            or cell.timers
            or cell.deferred
            or cell.postponed
        )
        if active:
            self._since = now
            self.handlers.used = False
        return now - self._since >= self.idle


class _Noticed(dict[type[Message], Handler]):
    """An actor's handlers; notices when one is looked up, so that all other actors pay nothing."""

    __slots__ = ("used",)

    def __init__(self, real: dict[type[Message], Handler]) -> None:
        super().__init__(real)
        self.used = True

    def get(self, kind: Any, default: Any = None) -> Any:  # noqa: ANN401 - as dict.get
        """Find the handler of a message that has come."""
        self.used = True
        return super().get(kind, default)
