"""What the supervisor process's core is told at its start, and needs from the process around it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from gristmill.death import Likelihood
from gristmill.metrics import WorkerSnapshot
from gristmill.node.deliveries import Tally
from gristmill.node.slots import Slot
from gristmill.transport.control import ControlMessage, PeerInfo
from gristmill.transport.segment_directory import Process
from gristmill.worker.activity import Sight
from gristmill.worker.config import WorkerConfig


class SupervisorShell(Protocol):
    """Clock, timers, sockets and processes of the supervisor process, real or simulated."""

    random: Random

    def now(self) -> float:
        """Give monotonic time in seconds."""

    def now_ns(self) -> int:
        """Give perf_counter time in ns, the clock of the accounting."""

    def send(self, identity: bytes, message: ControlMessage) -> None:
        """Send a message to a worker or client."""

    def fork(self, config: WorkerConfig) -> None:
        """Ask the fork server for a worker."""

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a worker, unless it has ended."""

    def call_at(self, when: float, callback: Callable[[], None]) -> int:
        """Call back at a monotonic time; give a number to cancel it."""

    def cancel(self, timer: int) -> None:
        """Forget a timer."""

    def account(self) -> WorkerSnapshot | None:
        """Say where the process's time went; None where it has no process of its own."""

    def read_page(self, slot: Slot, *, remove: bool) -> dict[str, int] | None:
        """Read a worker's counter page, and remove it when the worker is dead."""

    def read_tally(self, peer: PeerInfo, *, remove: bool) -> Tally | None:
        """Read what a process has done with messages; a dead client's files can be removed."""

    def remove_segments(self, owner: Process) -> None:
        """Remove the arrays that a dead process has left in shared memory."""

    def look(self, slot: Slot) -> tuple[Sight | None, tuple[str, ...]]:
        """See what a worker does, or did last, and the frames where it has crashed."""

    def out_of_memory(self) -> Likelihood:
        """Tell whether the OOM killer has struck since this was asked last."""

    def is_stopped(self, pid: int) -> bool:
        """Tell whether a signal has stopped a process."""

    def watch(self, pid: int, address: int) -> None:
        """Tell :meth:`SupervisorCore.client_gone` when a client's process ends."""

    def log(self, text: str) -> None:
        """Show a line to people."""

    def finish(self, exit_code: int, message: str) -> None:
        """End the supervisor process."""
