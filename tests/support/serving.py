"""``gristmill orders serve`` as a program of its own, for the tests of its faces."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from gristmill.cli.nodes import attached
from gristmill.node.status import NodeStatus
from gristmill.transport.control import GetStatus
from support.scripts import Script

SERVE = ["-m", "gristmill_orders.cli", "serve"]
BASIC: dict[str, dict[str, Any]] = {
    "node": {"workers": 2},
    "order_processor": {"retry_seconds": [0.1, 0.2]},
}


def free_port() -> int:
    """Give a port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Served:
    """A running service; ``http`` and ``grpc`` are its ports."""

    def __init__(self, script: Script, http: int, grpc: int) -> None:
        self.script = script
        self.http, self.grpc = http, grpc
        self.url = f"http://127.0.0.1:{http}"
        self.banner: list[str] = []

    def workers(self) -> list[int]:
        """Give the process ids of its workers that live."""
        with attached(f"serve-{self.http}") as (node, _):
            status: NodeStatus = node.call(GetStatus(), NodeStatus)
        return [worker.pid for worker in status.workers if worker.pid]

    def terminate(self) -> int:
        """Send SIGTERM, if it still runs, and wait for its end; give the exit code."""
        with suppress(ProcessLookupError):
            os.kill(self.script.pid, signal.SIGTERM)
        return self.script.wait(30)


def settings_of(changes: dict[str, dict[str, Any]], http: int, grpc: int) -> bytes:
    """Write a release.toml."""
    sections = {name: dict(values) for name, values in BASIC.items()}
    for name, values in changes.items():
        sections.setdefault(name, {}).update(values)
    sections.setdefault("api", {})["http_port"] = http
    sections["node"] |= {"node_id": f"serve-{http}", "grpc_port": grpc}
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {msgspec.json.encode(v).decode()}" for key, v in values.items()]
    return "\n".join(lines).encode()


@contextmanager
def serving(folder: Path, **changes: dict[str, Any]) -> Iterator[Served]:
    """Run the service in ``folder`` until the end of the block; ``changes`` are settings."""
    http, grpc = free_port(), free_port()
    (folder / "release.toml").write_bytes(settings_of(changes, http, grpc))
    script = Script(SERVE, folder)
    try:
        served = Served(script, http, grpc)
        while not (line := script.line()).startswith("ready"):
            served.banner.append(line)
        yield served
        served.terminate()
    finally:
        script.end()
