"""``Outlet``: what leaves a worker process, behind the journal's commit."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from gristmill.durability import JournalError, JournalStore
from gristmill.metrics import TimeClass
from gristmill.transport.data import DataPlane
from gristmill.transport.exchange import ArrayExchange
from gristmill.worker.telemetry.accounting import Accounting

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_SEND = int(TimeClass.SEND)
_RETRY_SECONDS = 0.001
_RETRY_JOURNAL_SECONDS = 0.1

_log = logging.getLogger("gristmill.worker")


class Outlet:
    """Commits the journal, then sends what waits.

    Args:
        core: of the worker.
        plane: what waits for its peers.
        arrays: its arrays, of which some may have to be given back.
        accounting: is written whenever something leaves and it is time.
        loop: calls again when a peer has no room, or the journal can't be written.
        store: the journal, if this process has it already.
    """

    def __init__(
        self,
        core: WorkerCore,
        plane: DataPlane,
        arrays: ArrayExchange,
        accounting: Accounting,
        loop: asyncio.AbstractEventLoop,
        store: JournalStore | None,
    ) -> None:
        self._core = core
        self._meter = core.meter
        self._plane = plane
        self._arrays = arrays
        self._accounting = accounting
        self._loop = loop
        self.store = store
        """The journal, while this process has it."""
        self._retrying = False
        self._unwritable = False
        """Whether the last commit of the journal has failed."""

    def flush(self) -> None:
        """Commit the journal, then send what waits; try again soon if a peer has no room."""
        meter, core = self._meter, self._core
        previous = meter.enter(_SEND)
        core.effects.settle()
        try:
            if self.store is not None and self.store.dirty:
                core.records.publications.forget_confirmed()
                self.store.commit()
                self._unwritable = False
            core.records.committed()
            if self._arrays.pool.release_due:
                self._arrays.give_back(self._plane.post)
            again = self._plane.flush()
        except JournalError as error:
            if not self._unwritable:
                _log.error("%s; nothing leaves this worker until it can be written", error)
            self._unwritable = again = True
        if again and not self._retrying:
            self._retrying = True
            seconds = _RETRY_JOURNAL_SECONDS if self._unwritable else _RETRY_SECONDS
            self._loop.call_later(seconds, self._retry)
        self._accounting.write_if_due()
        meter.enter(previous)

    def _retry(self) -> None:
        self._retrying = False
        self.flush()

    def flush_midway(self) -> None:
        """Flush; a thread that does the sending may share a core with this one, so let it."""
        previous = self._meter.enter(_SEND)
        self.flush()
        if self._plane.background:
            os.sched_yield()
        self._meter.enter(previous)

    def send_now(self, address: int, envelope: bytes) -> None:
        """Send an envelope to another process; by the next flush if something must go first."""
        if self.store is not None and self.store.dirty:
            self._plane.post(address, envelope)
            self.flush()
            return
        previous = self._meter.enter(_SEND)
        self._plane.send_now(address, envelope)  # what finds no room is left to the next flush
        self._meter.enter(previous)

    def close_journal(self) -> bool:
        """Commit and let go of the journal; give whether that could be done."""
        if self.store is None:
            return True
        try:
            self.store.commit()
            self.store.close()
        except JournalError as error:
            _log.error("%s; this worker ends, and another one goes on from the journal", error)
            return False
        self.store = None
        return True
