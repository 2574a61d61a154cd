"""``Publisher``: a process's events on their way to one broker, on a thread of their own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from itertools import islice
from typing import Protocol

from gristmill.channels.contract import ChannelFullError
from gristmill.channels.driver import BrokerDownError, BrokerRefusedError, Driver, Producer
from gristmill.channels.intake import Retries
from gristmill.channels.pace import PACE
from gristmill.channels.records import Publication

_BATCH = 1000
_REST = 0.2
"""Seconds without events after which whoever publishes hears that everything is confirmed."""
_BREAK = 8
"""A busy broker is left alone for so many times as long as the last round trip took ..."""
_LONGEST_BREAK = 0.1
"""... but for no longer than this, in seconds: more events then share the next one."""
_OUTAGE = Retries(attempts=1, delay=0.05, longest=1.0)
"""The delays between attempts to reach a broker that is away."""

_log = logging.getLogger("gristmill.channels")


class Fate(Protocol):
    """Who is told, on the publisher's thread, what became of events."""

    def confirmed(self, last: Publication) -> None:
        """Everything up to this one is safe."""

    def rests(self) -> None:
        """It was confirmed a while ago, and there is nothing more."""

    def refused(self, publication: Publication, reason: str) -> None:
        """The broker will never take it."""


class Publisher:
    """Keeps events until the broker has them; sends them in order and tries until it can.

    Args:
        driver: the broker.
        fate: is told what became of them.
        bound: how many may wait.
    """

    def __init__(self, driver: Driver, fate: Fate, bound: int) -> None:
        self.kind = driver.kind
        self._driver = driver
        self._fate = fate
        self._bound = bound
        self._waiting: deque[Publication] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._break = 0.0
        """Seconds before the next batch, unless that is full."""
        self._thread: threading.Thread | None = None
        self._producer: Producer | None = None

    def __len__(self) -> int:
        """How many events wait."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether one event more may wait."""
        return len(self._waiting) < self._bound

    def check_room(self) -> None:
        """Refuse one event more than may wait.

        Raises:
            ChannelFullError: there is no room.
        """
        if not self.has_room:
            raise ChannelFullError(
                f"{len(self._waiting)} events wait for {self.kind}, which is the limit "
                "([channel] max_unsent); the event was not published"
            )

    def send(self, publications: list[Publication]) -> None:
        """Have events published; from any thread."""
        with self._changed:
            wakes = not self._waiting
            self._waiting.extend(publications)
            if self._thread is None:
                name = f"gristmill-{self.kind}-publisher"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            if wakes or len(self._waiting) >= _BATCH:
                self._changed.notify_all()

    def close(self, seconds: float) -> int:
        """Publish what waits, ``seconds`` at most; give how many events are left."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._waiting and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            self._closing = True
            self._changed.notify_all()
            if self._producer is not None:
                self._producer.interrupt()
        if self._thread is not None:
            self._thread.join(1.0)
        return len(self._waiting)

    def _run(self) -> None:
        failures = 0
        while (batch := self._next()) is not None:
            try:
                if self._producer is None:
                    self._producer = self._driver.producer()
                self._send(self._producer, batch)
            except BrokerRefusedError as error:
                self._drop(batch, error)
            except Exception as error:  # whatever it is, nothing may be lost by it
                failures += 1
                known = isinstance(error, BrokerDownError)
                if failures == 1 or not known:
                    text = f"{self.kind}: {error}; what is published waits"
                    _log.warning("%s", text, exc_info=None if known else error)
                self._let_go()
                with self._changed:
                    if not self._closing:
                        self._changed.wait_for(
                            lambda: self._closing, timeout=_OUTAGE.after(failures)
                        )
            else:
                if failures:
                    _log.warning("%s is back", self.kind)
                    failures = 0
                self._confirm(batch, len(batch))
        self._let_go()

    def _send(self, producer: Producer, batch: list[Publication]) -> None:
        began = time.monotonic()
        producer.send(batch)
        took = time.monotonic() - began
        self._break = max(PACE - took, min(_BREAK * took, _LONGEST_BREAK))

    def _let_go(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()

    def _next(self) -> list[Publication] | None:
        """Wait for events, and for more of them if they are few; None at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._waiting) >= _BATCH or self._closing, self._break
            )
            if not self._changed.wait_for(lambda: self._waiting or self._closing, _REST):
                self._fate.rests()
                self._changed.wait_for(lambda: self._waiting or self._closing)
            return None if self._closing else list(islice(self._waiting, _BATCH))

    def _confirm(self, batch: list[Publication], count: int) -> None:
        if not count:
            return
        with self._changed:
            for _ in range(count):
                self._waiting.popleft()
            self._changed.notify_all()
        self._fate.confirmed(batch[count - 1])

    def _drop(self, batch: list[Publication], error: BrokerRefusedError) -> None:
        refused = batch[error.sent]
        _log.error("%s: an event for %r was refused: %s", self._driver.kind, refused.channel, error)
        self._fate.refused(refused, str(error))
        self._confirm(batch, error.sent + 1)
