"""A server of a third party, for a test session: never an orphan, and not a trace of a node."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gristmill.node.processes.linux import die_with_parent
from support.waiting import eventually


def free_port() -> int:
    """Give a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """One server on 127.0.0.1, with its data in a folder of its own."""

    name: str
    start_seconds = 10.0

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """Give the command line."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Tell whether it serves."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, with the data that it had, and wait until it serves."""
        environment = {k: v for k, v in os.environ.items() if k != "TMPDIR"}  # no mark of ours
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.folder,
                preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - it takes no lock
            )
        try:
            eventually(self._serves, f"{self.name} serves", self.start_seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-3000:]}") from None

    def log(self) -> str:
        """Give what it has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def _serves(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self.name} has ended with {self._process.returncode}")
        return self.answers()

    def kill(self) -> None:
        """Kill it; its data stays."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self, seconds: float) -> None:
        """Let it stand still for a while."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, and remove what it has written."""
        if self._process is not None:
            pid = self._process.pid
            self.kill()
            assert not Path(f"/proc/{pid}").exists(), f"{self.name} is still there"
        shutil.rmtree(self.folder)
