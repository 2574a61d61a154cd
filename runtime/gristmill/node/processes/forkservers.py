"""``ForkServers``: the fork server in use, the one that replaces it, and those that are leaving."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from gristmill.node.processes import forkserver as f
from gristmill.node.processes.wire import FrameSocket
from gristmill.worker.config import WorkerConfig

_encode = msgspec.msgpack.encode


class _Server:
    def __init__(
        self, channel: FrameSocket, pid: int, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.channel = channel
        self.pid = pid
        self.process = process
        self.workers: set[int] = set()

    def say(self, request: f.ToForkServer) -> None:
        self.channel.send(_encode(request))

    def close(self) -> None:
        """Let go of it: it ends, and kills what workers it has left."""
        self.channel.close()
        if self.process is not None:
            self.process.wait()
        else:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


class ForkServers:
    """Talks to the fork servers of a node.

    Args:
        run_dir: the run's directory.
        lock: descriptor of its lock, which every process of the run inherits.
        close: descriptors that a forked server must not keep.
    """

    def __init__(self, run_dir: Path, lock: int, close: tuple[int, ...]) -> None:
        self._run_dir = run_dir
        self._lock = lock
        self._current = _Server(*f.start(run_dir, close))
        self._fresh: _Server | None = None
        self._leaving: list[_Server] = []
        self.watch: Callable[[int, bool], None] = lambda _descriptor, _wanted: None
        """Begins to watch a descriptor, or ends that."""

    def begin(self, preload: f.Preload) -> None:
        """Have the first server load the code."""
        self.watch(self._current.channel.fileno(), True)
        self._current.say(preload)

    # --- a new one ---

    def load(self, preload: f.Preload) -> None:
        """Start a server of its own that loads the code as it is now."""
        server = self._fresh = _Server(*f.launch(self._run_dir, self._lock))
        self.watch(server.channel.fileno(), True)
        server.say(preload)

    def adopt(self) -> None:
        """From now on the new server forks; the one before leaves behind its last worker."""
        assert self._fresh is not None
        self._current.say(f.Leave())
        self._leaving.append(self._current)
        self._current, self._fresh = self._fresh, None

    def discard(self) -> None:
        """Do without the new server."""
        server, self._fresh = self._fresh, None
        if server is not None:
            server.say(f.Leave())
            self._end(server)

    # --- what they do ---

    def fork(self, config: WorkerConfig, *, fresh: bool) -> None:
        """Ask for a worker, from the new server if ``fresh``."""
        server = self._fresh if fresh and self._fresh is not None else self._current
        server.say(f.Fork(config))

    def signal(self, pid: int, number: int) -> None:
        """Have a worker's server send a signal: it knows whether the process is still its child."""
        for server in self._all():
            if pid in server.workers:
                server.say(f.Signal(pid, number))

    def receive(self) -> Iterator[tuple[f.FromForkServer, bool]]:
        """Give what they have said, and whether it was the new one that has not been adopted."""
        for server in self._all():
            for frame in server.channel.receive():
                message = f.decode_from_fork_server(frame)
                if isinstance(message, f.Forked):
                    server.workers.add(message.pid)
                elif isinstance(message, f.Reaped):
                    server.workers.discard(message.pid)
                yield message, server is self._fresh
            if not server.channel.open and server in self._all():
                yield from self._gone(server)

    def _gone(self, server: _Server) -> Iterator[tuple[f.FromForkServer, bool]]:
        if server in self._leaving and not server.workers:
            self._leaving.remove(server)
            self._end(server)
        elif server is self._fresh and not server.workers:
            self._fresh = None
            self._end(server)
            yield f.Died(), True
        else:
            yield f.Died(), False

    def _all(self) -> list[_Server]:
        fresh = [self._fresh] if self._fresh is not None else []
        return [self._current, *fresh, *self._leaving]

    def _end(self, server: _Server) -> None:
        self.watch(server.channel.fileno(), False)
        server.close()

    def close(self) -> None:
        """Let go of all of them."""
        for server in self._all():
            server.close()
