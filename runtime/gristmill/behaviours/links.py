"""What actors hear of each other's ends: ``Down`` from a monitor, ``Exited`` from a link."""

from __future__ import annotations

import msgspec

from gristmill.messages import Event
from gristmill.ref import AnyRef
from gristmill.supervision import ExitReason


class MonitorRef(msgspec.Struct, frozen=True, array_like=True):
    """One monitor: what :meth:`Context.monitor` gives and :meth:`Context.demonitor` takes."""

    watcher: int
    """The key of the actor that watches."""
    number: int


class Down(Event):
    """The incarnation that was monitored has ended. Comes once for each monitor.

    ``reason`` is ``NoProc()`` when there was none to monitor.
    """

    ref: AnyRef
    reason: ExitReason
    monitor: MonitorRef


class Exited(Event):
    """A linked actor has ended, or an exit signal came; only for actors with ``trap_exits``."""

    ref: AnyRef
    reason: ExitReason
