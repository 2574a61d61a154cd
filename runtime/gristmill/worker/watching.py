"""Watching: an event for an actor when the incarnation of another one has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gristmill.keyed import refuse_keyed
from gristmill.messages import Event
from gristmill.ref import Address
from gristmill.supervision import ExitReason, Lost
from gristmill.transport.inspection import Watch
from gristmill.worker import counters
from gristmill.worker.cell import TIMER, Cell, Entry

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


def watch(
    core: WorkerCore, watcher: Cell, target: Address, make: Callable[[ExitReason], Event]
) -> None:
    """Have ``watcher`` handle an event when the present incarnation of ``target`` has ended.

    Args:
        core: of the watcher's worker.
        watcher: an actor here; when its own incarnation ends, nothing comes.
        target: the actor to watch, here or elsewhere.
        make: makes the event of the reason; a lost worker and a missing actor are ``Lost``.
    """
    refuse_keyed(target, "watched")
    incarnation = watcher.incarnation

    def ended(future: asyncio.Future[Any]) -> None:
        if future.cancelled() or watcher.incarnation != incarnation:
            return
        error = future.exception()
        reason = future.result() if error is None else Lost(str(error))
        entry = Entry(TIMER, 0, watcher.key, 0, 0.0, b"", make(reason), core.meter.last)
        core.counters[counters.SENT] += 1
        core.deliver(watcher.key, [entry])
        core.shell.request_turn()

    core.asks.inspect(target, Watch()).add_done_callback(ended)
