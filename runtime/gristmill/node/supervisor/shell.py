"""What the supervisor process's core is told at its start, and needs from the process around it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from gristmill.death import Likelihood
from gristmill.metrics import WorkerSnapshot
from gristmill.node.deliveries import Tally
from gristmill.node.supervisor.workers.slots import Slot
from gristmill.transport.control import ControlMessage, PeerInfo
from gristmill.transport.segment_directory import Process
from gristmill.worker.config import WorkerConfig
from gristmill.worker.telemetry.activity import Sight


class Renewal(Protocol):
    """How the code of a node's processes is loaded anew."""

    def load(self, modules: tuple[str, ...], types: tuple[str, ...]) -> None:
        """Start a new fork server that loads the code as it is now.

        Answered by :meth:`Reloading.loaded` or :meth:`Reloading.load_failed`.

        Args:
            modules: what to import, besides the client's script.
            types: import paths that must be there.
        """

    def adopt(self) -> None:
        """Let the new fork server take over."""

    def discard(self) -> None:
        """Do without the new fork server."""


class SupervisorShell(Protocol):
    """Clock, timers, sockets and processes of the supervisor process, real or simulated."""

    random: Random
    renewal: Renewal | None
    """None where the workers have no processes of their own."""

    def now(self) -> float:
        """Give monotonic time in seconds."""

    def now_ns(self) -> int:
        """Give perf_counter time in ns, the clock of the accounting."""

    def send(self, identity: bytes, message: ControlMessage) -> None:
        """Send a message to a worker or client."""

    def fork(self, config: WorkerConfig, *, fresh: bool = False) -> None:
        """Ask the fork server for a worker; if ``fresh`` the one that is not adopted yet."""

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

    def memory_of(self, pid: int) -> int:
        """Give the bytes of memory that a worker has for itself; 0 if that can't be known."""

    def is_stopped(self, pid: int) -> bool:
        """Tell whether a signal has stopped a process."""

    def watch(self, pid: int, address: int) -> None:
        """Tell :meth:`SupervisorCore.client_gone` when a client's process ends."""

    def log(self, text: str) -> None:
        """Show a line to people."""

    def finish(self, exit_code: int, message: str) -> None:
        """End the supervisor process."""
