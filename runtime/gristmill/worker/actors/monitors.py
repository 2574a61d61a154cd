"""Monitors: who of this worker watches whom, and who is watched here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gristmill.behaviours.links import Down, MonitorRef
from gristmill.messages import Event
from gristmill.ref import Address
from gristmill.supervision import ExitReason, NoProc
from gristmill.transport.signals import INCARNATION_SHIFT, Ended, Signal, Unwatch, Watch
from gristmill.worker.actors.cell import Cell, State
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_log = logging.getLogger("gristmill.worker")


class _Open(NamedTuple):
    """A monitor whose target has not ended, as far as is known here."""

    watcher: Cell
    to: Address
    incarnation: int
    """That of the target's process."""
    make: Callable[[MonitorRef, ExitReason], Event]
    """Makes what the watcher is told."""


class Monitors:
    """The monitors of one worker, at both of their ends.

    Args:
        core: the worker's core.
        send: brings a signal to (process, actor key).
        inform: puts a message about an end into a mailbox.
    """

    def __init__(
        self,
        core: WorkerCore,
        send: Callable[[int, int, Signal], None],
        inform: Callable[[Cell, Event], None],
    ) -> None:
        self._core = core
        self._send = send
        self._inform = inform
        self._last = core.shell.incarnation << INCARNATION_SHIFT
        self._open: dict[int, _Open] = {}
        self._of_watcher: dict[int, set[int]] = {}
        self._watchers: dict[int, dict[tuple[int, int], None]] = {}
        """For each actor of this worker who watches it: (process, number)."""

    def __len__(self) -> int:
        """How many ends of monitors are known here."""
        return len(self._open) + len(self._watchers)

    # --- the watcher's end ---

    def open(
        self,
        cell: Cell,
        to: Address,
        incarnation: int,
        make: Callable[[MonitorRef, ExitReason], Event],
    ) -> MonitorRef:
        """Watch the present incarnation of an actor; ``make`` makes what its watcher is told."""
        self._last += 1
        number = self._last
        self._open[number] = _Open(cell, to, incarnation, make)
        self._of_watcher.setdefault(cell.key, set()).add(number)
        if to.home in self._core.directory.gone:
            self.on_ended(number, NoProc())
        else:
            self._send(to.home, to.key, Watch(number))
        return MonitorRef(cell.key, number)

    def close(self, cell: Cell, monitor: MonitorRef, *, flush: bool) -> None:
        """Watch no longer; one that is not the actor's own is left as it is."""
        found = self._open.get(monitor.number)
        if found is not None and found.watcher is cell:
            self._take(monitor.number)
            self._send(found.to.home, found.to.key, Unwatch(monitor.number))
        elif found is None and flush and cell.queue:
            kept = [entry for entry in cell.queue if not _is_about(entry.message, monitor)]
            self._core.counters[counters.ENDED] += len(cell.queue) - len(kept)
            cell.queue.clear()
            cell.queue.extend(kept)

    def on_ended(self, number: int, reason: ExitReason) -> None:
        """The target of a monitor has ended: its watcher is told, once."""
        found = self._take(number)
        if found is None:
            return
        watcher = found.watcher
        try:
            event = found.make(MonitorRef(watcher.key, number), reason)
        except Exception:  # whatever the user's function raises
            _log.exception("%s: no event could be made of an end", watcher.label)
        else:
            self._inform(watcher, event)

    def _take(self, number: int) -> _Open | None:
        found = self._open.pop(number, None)
        if found is not None:
            numbers = self._of_watcher[found.watcher.key]
            numbers.discard(number)
            if not numbers:
                del self._of_watcher[found.watcher.key]
        return found

    # --- the target's end ---

    def on_watch(self, source: int, key: int, number: int) -> None:
        """A process wants to know when an actor's incarnation ends."""
        cell = self._core.cells.get(key)
        if cell is None or cell.state is State.HELD:
            self._send(source, 0, Ended(number, NoProc()))
        else:
            self._watchers.setdefault(key, {})[source, number] = None

    def on_unwatch(self, source: int, key: int, number: int) -> None:
        """A watcher is no longer interested."""
        watchers = self._watchers.get(key)
        if watchers is not None:
            watchers.pop((source, number), None)
            if not watchers:
                del self._watchers[key]

    # --- ends ---

    def ended(self, cell: Cell, reason: ExitReason) -> None:
        """An incarnation of this worker has ended: tell its watchers, and watch no more for it."""
        for source, number in self._watchers.pop(cell.key, ()):
            self._send(source, 0, Ended(number, reason))
        for number in tuple(self._of_watcher.get(cell.key, ())):
            self.close(cell, MonitorRef(cell.key, number), flush=False)

    def process_lost(self, address: int, incarnation: int, reason: ExitReason) -> None:
        """A process has died, and all it had to say has been taken in."""
        for number, found in tuple(self._open.items()):
            if found.to.home == address and found.incarnation <= incarnation:
                self.on_ended(number, reason)
        for key, watchers in tuple(self._watchers.items()):
            for source, number in tuple(watchers):
                if source == address and number >> INCARNATION_SHIFT <= incarnation:
                    self.on_unwatch(source, key, number)


def _is_about(message: object, monitor: MonitorRef) -> bool:
    return isinstance(message, Down) and message.monitor == monitor
