"""``Peers``: other processes come and go, and what that means for a client's open requests."""

from __future__ import annotations

from functools import partial

from gristmill.death import LAST_WORDS_SECONDS, Death
from gristmill.errors import ActorDied, ActorNotFoundError, QuarantinedError
from gristmill.node.client.delivery import Delivery
from gristmill.node.client.monitor import Monitor
from gristmill.node.client.outgoing import Outgoing
from gristmill.node.client.reading import BLOCKED_WAIT, Reading
from gristmill.node.client.requests import OpenRequests, RequestRun, Waiter
from gristmill.supervision import ExitReason, NoProc, describe
from gristmill.transport.control import PeerInfo
from gristmill.transport.envelope import SWITCH, pack
from gristmill.transport.segment_directory import Process
from gristmill.worker.telemetry import counters

_SWITCH = pack((SWITCH,))


class Peers:
    """Opens and closes the ways to other processes; ends the requests to those that died."""

    def __init__(
        self,
        outgoing: Outgoing,
        reading: Reading,
        pending: OpenRequests,
        delivery: Delivery,
        monitors: dict[int, Monitor],
    ) -> None:
        self._outgoing = outgoing
        self._reading = reading
        self._pending = pending
        self._delivery = delivery
        self._monitors = monitors
        self.here = 0
        """The address of this process, once it has one."""
        self._moving: dict[int, PeerInfo] = {}
        """Workers that were replaced, by whom, and from which something may still come."""
        self._silent: dict[int, int] = {}
        """Workers that say no more, by address, and their incarnations."""
        self.gone: set[int] = set()
        """The addresses that nobody will have again."""

    def up(self, peer: PeerInfo) -> None:
        """A process can be reached."""
        plane = self._outgoing.plane
        with self._outgoing.lock:
            plane.connect(peer.address, peer.incarnation, peer.endpoint)
            deadline = plane.now() + 1.0
            while plane.flush() and plane.now() < deadline:
                plane.linger(BLOCKED_WAIT)  # the connection is made in the background

    def moved(self, peer: PeerInfo) -> None:
        """A worker is replaced by another one, which gets all that was sent to it.

        This client sends to that one, and hears from it, once it has heard all of the one before.
        """
        plane = self._outgoing.plane
        with self._outgoing.lock:
            self._moving[peer.address] = peer
            self._move_if_silent(peer.address)
        deadline = plane.now() + 1.0
        while peer.address in self._moving and plane.now() < deadline:
            self._reading.available()  # if nobody waits, nobody reads
            plane.linger(BLOCKED_WAIT)

    def on_last(self, address: int, incarnation: int) -> None:
        """A worker that is replaced says no more."""
        with self._outgoing.lock:
            self._silent[address] = incarnation
            self._move_if_silent(address)

    def _move_if_silent(self, address: int) -> None:
        before = self._outgoing.plane.incarnation_of(address)
        if address in self._moving and self._silent.get(address) == before:
            self._move(self._moving.pop(address), before)

    def _move(self, peer: PeerInfo, before: int) -> None:
        self._silent.pop(peer.address, None)
        self._outgoing.plane.move(peer.address, peer.incarnation, peer.endpoint, _SWITCH)
        self._delivery.moved(peer.address, before, peer.incarnation)
        self._outgoing.plane.flush()
        self._outgoing.wake_reader()  # it flushes again, if need be

    def departed(self, address: int, incarnation: int) -> None:
        """A worker that was replaced has ended."""
        with self._outgoing.lock:
            if address in self._moving:  # it has died before it said its last
                self._move(self._moving.pop(address), incarnation)
            self._outgoing.plane.close_moved(address)
            self._outgoing.arrays.pool.peer_down(Process(address, incarnation))

    def down(
        self,
        address: int,
        name: str,
        reason: ExitReason,
        death: Death | None = None,
        *,
        final: bool,
    ) -> None:
        """A process has died: its credit is void, and asks to it fail."""
        with self._outgoing.lock:
            self._moving.pop(address, None)
            self._silent.pop(address, None)
            if final:
                self.gone.add(address)
            gone = Process(address, self._outgoing.plane.incarnation_of(address))
            self._outgoing.plane.disconnect(address, final=final)
            self._outgoing.arrays.pool.peer_down(gone)
            self._outgoing.credit.reset(address)
            self._delivery.lost(address)
            pending = list(self._pending.copy().items())  # at once: others take theirs out
            monitors = list(self._monitors.copy().items())
            asked = [(number, waiter) for number, waiter in pending if waiter.to.home == address]
            for _, waiter in asked:
                if isinstance(waiter, RequestRun):
                    waiter.closed = True
        watching = [number for number, one in monitors if one.ref.address.home == address]
        if not asked and not watching:
            return
        self._outgoing.plane.linger(LAST_WORDS_SECONDS)
        self._reading.available()
        for number in watching:
            monitor = self._monitors.pop(number, None)
            if monitor is not None:
                monitor.reason = NoProc() if final else reason
        died = f"its worker {name} died ({describe(reason)})"
        for number, waiter in asked:
            if number not in self._pending:
                continue
            if final:
                self._pending.pop(number, None)
                waiter.settle(None, ActorNotFoundError(f"{waiter.to.label} has stopped"))
            else:
                self._ask_again(number, waiter, died, death)
        self._outgoing.wake_reader()

    def _ask_again(
        self, number: int, waiter: Waiter | RequestRun, died: str, death: Death | None
    ) -> None:
        """Send idempotent requests to the next incarnation; fail any other, and poison."""

        def blamed(request: int) -> bool:
            return death is None or death.may_be_of(self.here, request)

        who = (waiter.to.label, waiter.to.key, waiter.kind.name, died, death)
        again = waiter.again(blamed, partial(QuarantinedError.asked, *who))
        if again:
            with self._outgoing.lock:
                self._outgoing.counters[counters.RESENT] += len(again)
                for head, request, body in again:
                    self._outgoing.credit.take(waiter.to)
                    self._outgoing.put(waiter.to.home, head, request, body)
                self._outgoing.plane.flush()
        elif self._pending.pop(number, None) is not None:
            waiter.settle(None, ActorDied.asked(*who))
