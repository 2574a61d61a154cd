"""``Consumer``: one subscription to a broker, on a thread of its own.

It fetches, says that it lives and acknowledges while handlers compute; so a slow handler costs no
membership. The subscriber's side (:meth:`begin`, :meth:`handled`, ...) never waits for the broker.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Protocol

from gristmill.channels.contract import Listen
from gristmill.channels.driver import BrokerDownError, Driver, Source
from gristmill.channels.intake import Intake, Retries
from gristmill.channels.pace import PACE
from gristmill.channels.records import DeadRecord, Delivery

_IDLE_WAIT = 0.2
"""Seconds that a fetch waits when nothing is in hand: an acknowledgement would wait as long."""
_BUSY_WAIT = 0.02
_OUTAGE = Retries(attempts=1, delay=0.05, longest=1.0)

_log = logging.getLogger("gristmill.channels")


class Subscriber(Protocol):
    """Whom the events are for; called on the consumer's thread."""

    def wants(self, delivery: Delivery) -> bool:
        """Tell whether it has anything to do with an event; else it is spared that."""

    def take(self, consumer: Consumer, batch: list[tuple[int, Delivery]], spared: int) -> None:
        """Get events, each with its token; so many others were not for it."""

    def lost(self, count: int) -> None:
        """The broker has dropped so many events unread."""


class Consumer:
    """Gets events from a broker to one subscriber, and tells the broker what was handled.

    Args:
        driver: the broker.
        listen: what to hear.
        member: the name of the subscriber as a member of the group.
        retries: how often an event is tried.
        subscriber: gets the events.
        lasting: whether the subscriber has successors of the same name.
    """

    def __init__(
        self,
        driver: Driver,
        listen: Listen,
        member: str,
        retries: Retries,
        subscriber: Subscriber,
        *,
        lasting: bool,
    ) -> None:
        self.listen = listen
        self.kind = driver.kind
        self._driver = driver
        self._member = member
        self._subscriber = subscriber
        self._lasting = lasting
        self._intake = Intake(listen.window, retries, subscriber.wants)
        self._changed = self._intake.changed
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"gristmill-{driver.kind}-{listen.channel}", daemon=True
        )
        self._thread.start()

    # --- the subscriber's side, on its loop ---

    def open(self) -> None:
        """The subscriber takes events from now on."""
        with self._changed:
            self._intake.open = True
            self._changed.notify_all()

    def returned(self) -> None:
        """The subscriber's incarnation has ended; what it had not handled comes again."""
        with self._changed:
            self._intake.returned()

    def begin(self, token: int) -> bool:
        """The subscriber begins to handle an event; give whether it still should."""
        return self._intake.begin(token)

    def is_current(self, token: int) -> bool:
        """Tell whether an event that was handed over is still the subscriber's."""
        return self._intake.is_current(token)

    def handled(self, tokens: Iterable[int]) -> None:
        """Events were handled, and what came of them is committed."""
        with self._changed:
            self._intake.handled(tokens)
            self._changed.notify_all()

    def failed(
        self, token: int, reason: str, *, final: bool = False, after: float | None = None
    ) -> None:
        """An event was not handled; see :meth:`Intake.failed`."""
        with self._changed:
            self._intake.failed(token, reason, time.monotonic(), final=final, after=after)
            self._changed.notify_all()

    def wait_until_ready(self, seconds: float) -> None:
        """Wait until the broker has been asked once, so that nothing new is missed."""
        self._ready.wait(seconds)

    @property
    def ended(self) -> bool:
        """Whether its thread has ended."""
        return not self._thread.is_alive()

    def close(self, seconds: float) -> None:
        """Read no more, have what was handled acknowledged and leave; wait ``seconds`` at most."""
        self._closing.set()
        with self._changed:
            self._intake.open = False
            self._changed.notify_all()
        self._thread.join(seconds)

    # --- the broker's side, on the consumer's thread ---

    def _run(self) -> None:
        source: Source | None = None
        failures = 0
        while not self._closing.is_set():
            try:
                if source is None:
                    source = self._driver.source(self.listen, self._member, lasting=self._lasting)
                self._step(source)
            except Exception as error:  # a subscription that ends for any reason is deaf for ever
                failures += 1
                known = isinstance(error, BrokerDownError)
                if failures == 1 or not known:
                    where = f"{self._driver.kind}, {self.listen.channel}"
                    _log.warning("%s: %s", where, error, exc_info=None if known else error)
                if source is not None:
                    source.drop()
                self._closing.wait(_OUTAGE.after(failures))
            else:
                if failures:
                    _log.warning("%s, %s: is back", self._driver.kind, self.listen.channel)
                    failures = 0
        if source is not None:
            try:
                source.close(self._intake)
            except BrokerDownError:
                source.drop()

    def _step(self, source: Source) -> None:
        intake = self._intake
        wait = _IDLE_WAIT if intake.idle else _BUSY_WAIT
        more = source.poll(intake, wait if self._ready.is_set() else 0.0)
        self._ready.set()
        if source.lost:
            self._subscriber.lost(source.lost)
            source.lost = 0
        spared = intake.take_spared()
        batch = intake.hand_over(time.monotonic())
        if batch or spared:
            self._subscriber.take(self, batch, spared)
        for delivery, attempts, reason in intake.dead():
            self._bury(source, delivery, attempts, reason)
        if (batch or spared) and not more:
            self._closing.wait(PACE)

    def _bury(self, source: Source, delivery: Delivery, attempts: int, reason: str) -> None:
        listen = self.listen
        source.bury(DeadRecord(listen.channel, listen.group, delivery, attempts, reason))
        _log.error(
            "an event of %r is given up after %d attempts (%s): %s",
            listen.channel, attempts, delivery.position, reason,
        )  # fmt: skip
        self._intake.buried(delivery)
