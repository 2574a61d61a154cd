"""What a worker adds to its event loop: waits that are accounted for, and its timers."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING

from gristmill.metrics import TimeClass

if TYPE_CHECKING:
    from gristmill.worker.process.worker_process import WorkerProcess

_POLL = int(TimeClass.POLL)


class MeteredSelector(selectors.DefaultSelector):
    """Tells the meter when the loop blocks, and why."""

    def __init__(self, process: WorkerProcess) -> None:
        super().__init__()
        self._process = process

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for descriptors; the wait is accounted as idle, ask_wait or io_wait."""
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        process = self._process
        process.meter.switch(process.idle_class())
        process.lone_turns.sleep()
        process.accounting.write()
        ready = super().select(timeout)
        process.meter.switch(_POLL)
        process.lone_turns.wake()
        return ready


class LoopTimer:
    """A timer of an event loop."""

    __slots__ = ("_handle",)

    def __init__(self, handle: asyncio.TimerHandle) -> None:
        self._handle = handle

    def cancel(self) -> bool:
        """Stop it; give whether it was still to fire."""
        live = not self._handle.cancelled()
        self._handle.cancel()
        return live
