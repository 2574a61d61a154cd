"""Where a node runs: in processes of its own, or inside the client's process.

What a client needs is loaded here while the supervisor process loads what that needs.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from gristmill.errors import NodeStoppedError
from gristmill.node.config import NodeConfig
from gristmill.node.processes.launch import check_open_files, launch
from gristmill.node.rundir import RunDirectory

if TYPE_CHECKING:
    from gristmill.node.client.connection import Connection
    from gristmill.node.in_process.world import LocalWorld


NewWorld = Callable[[NodeConfig], "LocalWorld"]
"""Makes a world for a node inside the client's process."""


class Host(Protocol):
    """What a :class:`~gristmill.node.node.Node` stands on."""

    connection: Connection

    @property
    def exit_code(self) -> int | None:
        """What the supervisor ended with, minus a signal's number; None while it runs."""

    def join(self, seconds: float) -> None:
        """Wait for the supervisor's end; kill it after ``seconds``."""

    def kill(self) -> None:
        """Kill the supervisor, and its workers with it."""

    def close(self) -> None:
        """Let go of everything; the supervisor has ended."""


class ProcessHost:
    """A supervisor process, with a fork server and workers below it."""

    def __init__(self, config: NodeConfig, blas_threads: int) -> None:
        check_open_files(config.workers, journaled=bool(config.journal))
        self._run_dir = RunDirectory()
        path: Path = self._run_dir.path
        config = msgspec.structs.replace(config, run_dir=str(path), lock=self._run_dir.lock)
        self._process = launch(config, self._run_dir.lock, blas_threads)
        from gristmill.metrics.tracing import Recorder
        from gristmill.node.client.connection import Connection

        recorder = Recorder(thread=threading.get_ident) if config.trace else None
        self.connection = Connection(
            path, f"ipc://{path}/control", config.transport, owner=True, recorder=recorder
        )
        threading.Thread(target=self._watch, name="gristmill-watch", daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """What the supervisor process ended with, minus a signal's number; None while it runs."""
        return self._process.poll()

    def join(self, seconds: float) -> None:
        """Wait for the supervisor process's end; kill it after ``seconds``."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """Kill the supervisor process; its workers die with it."""
        self._process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of the connection, the process and the run directory."""
        self.connection.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._run_dir.close()

    def _watch(self) -> None:
        code = self._process.wait()
        if not self.connection.wait_until_ended(0.2):
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            self.connection.lost(NodeStoppedError(f"the supervisor process is gone ({how})"))


class LocalHost:
    """The client's own process."""

    def __init__(self, config: NodeConfig, new_world: NewWorld | None = None) -> None:
        from gristmill.node.in_process.client import LocalConnection
        from gristmill.node.in_process.world import LocalWorld, real_sources

        self._run_dir = RunDirectory()  # for arrays, which are shared as among processes
        config = msgspec.structs.replace(config, run_dir=str(self._run_dir.path))
        self._world = new_world(config) if new_world else LocalWorld(config, real_sources())
        self.connection: Connection = LocalConnection(self._world)

    @property
    def exit_code(self) -> int | None:
        """What a supervisor process would have ended with; None while the node runs."""
        return self._world.exit_code

    def join(self, seconds: float) -> None:
        """Run the node until its end, ``seconds`` at most."""
        self._world.run(lambda: self._world.exit_code is not None, seconds)

    def kill(self) -> None:
        """Stop at once: no handler runs any more."""
        self._world.close()

    def close(self) -> None:
        """Let go of everything."""
        self.connection.close()
        self._run_dir.close()
