"""What the worker's core needs from the process around it, real or simulated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random
from typing import Any, Protocol

from gristmill.behaviours.actor_host import Timer
from gristmill.metrics.wires import Wires
from gristmill.transport.control import ControlMessage, PeerInfo
from gristmill.transport.exchange import ArrayExchange
from gristmill.transport.outbound import Outbound
from gristmill.worker.telemetry.counters import Cells


class Shell(Protocol):
    """Clock, timers, tasks and wires of one process. The core has none of its own."""

    address: int
    incarnation: int
    pid: int
    name: str
    node_id: str
    random: Random
    arrays: ArrayExchange
    counters: Cells
    """The process's :mod:`~gristmill.worker.telemetry.counters`, where they outlive it."""
    wires: Wires
    """Counts what it exchanges with other processes."""

    def now(self) -> float:
        """Give monotonic time in seconds, the same clock for all processes of a node."""

    def wall_time(self) -> float:
        """Give the seconds since 1970."""

    def from_thread(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the loop soon, and take a turn after it; from any thread."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` on the loop after ``delay`` seconds, and take a turn after it."""

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back when all that a process sent before its end, now known, has been taken in."""

    def when_arrived(self, callback: Callable[[], None]) -> None:
        """Call back when all that has arrived by now, by whatever pipe, has been taken in."""

    def create_task(
        self, coroutine: Coroutine[Any, Any, None], *, context: Context | None = None
    ) -> asyncio.Task[None]:
        """Run a coroutine on the loop, in a copy of the present context if none is given."""

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of the loop."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def post(self, address: int, envelope: bytes) -> None:
        """Send an envelope to another process with the next flush."""

    def outbound(self, address: int) -> Outbound:
        """Give where to put what leaves for another process with the next flush."""

    def send_now(self, address: int, envelope: bytes) -> None:
        """Send an envelope to another process, behind what waits and the journal's commit."""

    def waiting(self, address: int) -> int:
        """Count the envelopes that wait for a process."""

    def heard(self, news: int) -> None:
        """Have frames say that news up to this number have been heard."""

    def connect(self, peer: PeerInfo) -> None:
        """Open the way to a process."""

    def move(self, peer: PeerInfo) -> None:
        """Open the way to the worker that replaces another one, behind what was sent to that."""

    def close_moved(self, address: int) -> None:
        """A worker that was replaced has ended; what still waits for it is lost."""

    def disconnect(self, address: int, *, final: bool) -> None:
        """Close the way to a dead process; what still waits for it is lost.

        ``final``: nobody will have its address again.
        """

    def report_metrics(self) -> None:
        """Send the process's accounting to the supervisor process."""

    def exit(self, status: int = 0) -> None:
        """End the process after this turn."""

    def control(self, message: ControlMessage) -> None:
        """Send a message to the supervisor process."""

    def request_turn(self) -> None:
        """Have :meth:`WorkerCore.turn` called soon; called from outside a turn."""

    def flush(self) -> None:
        """Commit the journal, then send what waits."""

    def flush_midway(self) -> None:
        """Flush in the middle of a turn: the worker goes on computing while frames travel."""
