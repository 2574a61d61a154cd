"""``Delivery``: a client's at-least-once messages, journaled before they are sent."""

from __future__ import annotations

import contextlib
import threading

from gristmill.durability import JournalError, JournalStore
from gristmill.errors import UsageError
from gristmill.node.client.outgoing import Outgoing
from gristmill.ref import POOLED, Address
from gristmill.transport.envelope import TELL
from gristmill.worker.messaging.outbox import Outbox
from gristmill.worker.telemetry import counters


class _Together(threading.local):
    """What a thread has told since it began to gather."""

    batch: list[tuple[Address, bytes]] | None = None


class Delivery:
    """Journals, sends and sends again what must arrive; forgets what was acknowledged."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._store: JournalStore | None = None
        self._outbox: Outbox | None = None
        self._together = _Together()
        self._located: dict[str, tuple[Address, int]] = {}

    def open_journal(self, store: JournalStore) -> None:
        """Journal at-least-once messages from now on, and send what an earlier run left."""
        with self._outgoing.lock:
            self._store = store
            self._outbox = Outbox(store, self._transmit)
            for target, incarnation in self._located.values():
                self._outbox.located(target, incarnation)
            self._outgoing.plane.flush()

    def close(self) -> None:
        """Write what was acknowledged, and let go of the journal."""
        if self._store is not None:
            with contextlib.suppress(JournalError):  # what isn't forgotten is sent again
                self._store.commit()
            self._store.close()

    # --- sending ---

    def check(self, to: Address) -> None:
        """Refuse a message that can't be delivered at least once.

        Raises:
            UsageError: there is no journal, or the target has no name.
        """
        if self._outbox is None:
            raise UsageError(
                "delivery='at_least_once' needs a journal; write Node(journal=DIRECTORY)"
            )
        if to.home == POOLED:
            raise UsageError(
                f"delivery='at_least_once' needs one target that stays, and the members of "
                f"{to.label} come and go; give the pool a fixed size"
            )
        if not to.name:
            raise UsageError(
                f"delivery='at_least_once' needs a named target, and {to.label} has no name"
            )

    def gather(self) -> bool:
        """Have this thread's messages held from now on; False when they are already."""
        if self._together.batch is not None:
            return False
        self._together.batch = []
        return True

    def gathered(self) -> list[tuple[Address, bytes]]:
        """Give what was held since :meth:`gather`, and hold no more."""
        batch, self._together.batch = self._together.batch, None
        return batch or []

    def hold(self, to: Address, body: bytes) -> bool:
        """Keep a message for the end of :meth:`gather`; False when this thread doesn't gather."""
        if self._together.batch is None:
            return False
        self._together.batch.append((to, body))
        return True

    def send(self, batch: list[tuple[Address, bytes]]) -> None:
        """Journal messages with one commit, then send them."""
        with self._outgoing.lock:
            if self._outbox is None or self._store is None:
                return
            runs: dict[str, tuple[Address, list[bytes]]] = {}
            for to, body in batch:
                runs.setdefault(to.name, (to, []))[1].append(body)
            for to, bodies in runs.values():
                self._outbox.send(to, "", bodies)
            self._store.commit()
            self._outgoing.plane.flush()

    def _transmit(
        self, to: Address, sender: str, first: int, bodies: list[bytes], *, again: bool
    ) -> None:
        del sender  # a client's messages come from no actor
        self._outgoing.counters[counters.RESENT] += again * len(bodies)
        self._outgoing.put_run(to.home, (TELL, to.key, 0), first, bodies)

    @property
    def undelivered(self) -> int:
        """How many messages are not acknowledged yet."""
        return len(self._outbox) if self._outbox is not None else 0

    def open_targets(self, prefix: str) -> list[str]:
        """Give the targets whose names begin so and that have not handled everything."""
        return self._outbox.open_targets(prefix) if self._outbox is not None else []

    def has_open(self, target: str) -> bool:
        """Tell whether a target has not handled everything."""
        return self._outbox is not None and self._outbox.has_open(target)

    # --- what others say ---

    def acknowledged(self, numbers: dict[str, int]) -> None:
        """Forget what was handled: the highest number by target.

        While messages are open that is written with the next one: who has handled a message that
        comes again knows it.
        """
        with self._outgoing.lock:
            if self._outbox is not None and self._store is not None:
                for target, number in numbers.items():
                    self._outbox.acknowledged(target, number)
                if not self.undelivered:
                    self._store.commit()
                self._outgoing.plane.flush()

    def located(self, target: Address) -> None:
        """A named actor has started somewhere: it is sent what it has not acknowledged."""
        with self._outgoing.lock:
            incarnation = self._outgoing.plane.incarnation_of(target.home)
            self._located[target.name] = (target, incarnation)
            if self._outbox is not None:
                self._outbox.located(target, incarnation)
                self._outgoing.plane.flush()

    def unlocated(self, name: str) -> None:
        """A name stands for nobody any more."""
        with self._outgoing.lock:
            self._located.pop(name, None)
            if self._outbox is not None:
                self._outbox.unlocated(name)

    def moved(self, address: int, before: int, now: int) -> None:
        """A process was replaced by its next incarnation, which has all that was sent to it."""
        for name, (target, incarnation) in self._located.items():
            if (target.home, incarnation) == (address, before):
                self._located[name] = (target, now)
        if self._outbox is not None:
            self._outbox.moved(address, before, now)

    def lost(self, address: int) -> None:
        """A process has died: what it did not acknowledge waits for the next one."""
        with self._outgoing.lock:
            if self._outbox is not None:
                self._outbox.lost(address)
