"""``Outgoing``: the way out of a client, shared by its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from gristmill.node.client.plane import Plane, Wake
from gristmill.node.client.straggler import SOON, Stragglers, StragglerThread
from gristmill.node.tallies import ClientCounters
from gristmill.transport.credit import CreditBook
from gristmill.transport.envelope import pack
from gristmill.transport.exchange import ArrayExchange
from gristmill.transport.outbound import Head

_PLAIN = {bytes}
"""The types of bodies without arrays beside them."""


class Outgoing:
    """A plane, the credit and the arrays of what leaves by it, and the lock that they need.

    ``lock`` is held around every use of ``plane`` (but not to receive), ``credit`` and ``wake``,
    and from the lending of arrays to the posting of their envelope, and to change ``counters``.
    """

    def __init__(
        self,
        plane: Plane,
        wake: Wake,
        arrays: ArrayExchange,
        counted: ClientCounters | None = None,
    ) -> None:
        self.plane = plane
        self.counters = counted if counted is not None else ClientCounters()
        """The client's own counters; what leaves is counted by the plane."""
        self.arrays = arrays
        self.wake = wake
        self.lock = threading.RLock()
        self.credit = CreditBook()
        self.read: Callable[[], None] = _nothing
        """Takes in what has come, unless somebody else does."""
        self.stragglers: Stragglers = StragglerThread(self.flush, self._take_in, arrays.pool)
        arrays.on_lent = self._lent_arrays
        self.left = 0
        """Tells since the last flush."""
        self._closed = False

    def flush(self) -> bool:
        """Send what waits, and give arrays back; give whether there was anything, or still is."""
        with self.lock:
            self.give_back()
            unsent = self.plane.unsent and not self._closed
            if unsent:
                self.left = 0
                self.plane.flush()
        return unsent

    def post(self, to: int, items: tuple[Any, ...]) -> None:
        """Post an envelope, given as its items, and lend its arrays. Under the lock."""
        plain = type(items[-1]) is bytes
        self.plane.post(to, pack(items if plain else self.arrays.seal(items, to)))

    def put(self, to: int, head: Head, number: int, body: bytes) -> None:
        """Put a message into the next frame, and lend its arrays. Under the lock."""
        if type(body) is bytes:
            self.plane.outbound(to).put(head, number, body)
        else:
            self.plane.post(to, pack(self.arrays.seal((*head, number, body), to)))

    def put_run(self, to: int, head: Head, first: int, bodies: list[bytes]) -> None:
        """Put many messages into the next frame, and lend their arrays. Under the lock."""
        if set(map(type, bodies)) == _PLAIN:
            self.plane.outbound(to).put_run(head, first, bodies)
        else:
            for number, body in enumerate(bodies, first):
                self.put(to, head, number, body)

    def give_back(self) -> None:
        """Post what is due for arrays that nobody here holds any more; a flush sends it."""
        if self.arrays.pool.release_due:
            with self.lock:
                if not self._closed:
                    self.arrays.give_back(self.plane.post)

    def took_arrays(self) -> None:
        """Arrays have come: give earlier ones back, and see to it that these will be."""
        with self.lock:
            self.give_back()
            if self.stragglers.looks_in != SOON:
                self.stragglers.wake()

    def _take_in(self) -> None:
        self.read()

    def _lent_arrays(self) -> None:
        """Arrays leave: see to it that what is given back is read. Under the lock."""
        if self.stragglers.looks_in is None:
            self.stragglers.wake()

    def wake_reader(self) -> None:
        """Have the thread that waits for a frame look again."""
        with self.lock:
            if not self._closed:
                self.wake.send()

    def close(self, last: Callable[[], None]) -> None:
        """Do ``last`` under the lock, then close every way."""
        self.stragglers.close()
        with self.lock:
            self._closed = True
            last()
            self.wake.close()
            self.plane.close()


def _nothing() -> None:
    """There is nothing to read from."""
