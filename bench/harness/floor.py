"""The floor: a raw pyzmq PUSH/PULL pair, one message a frame, in two pinned processes of its own.

Run as a script this is one of the two processes: ``floor.py echo|drive DIRECTORY CORE``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from statistics import median
from types import TracebackType
from typing import Self

import zmq


class RawPair:
    """Two processes that do with plain sockets what a client and a worker do with messages.

    Args:
        driver_core: the core of the one that sends and measures.
        echo_core: the core of the one that answers.
        body: what each message holds.
    """

    def __init__(self, driver_core: int, echo_core: int, body: bytes) -> None:
        self._cores = {"drive": driver_core, "echo": echo_core}
        self._body = body
        self._directory = tempfile.TemporaryDirectory(prefix="floor-")
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        for role, core in self._cores.items():
            command = [sys.executable, __file__, role, self._directory.name, str(core)]
            pipe = subprocess.PIPE
            self._processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        self._ask_driver(f"body {self._body.hex()}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        self._directory.cleanup()

    def pipelined(self, count: int, window: int) -> float:
        """Give echoes a second, with ``window`` of them under way."""
        return count / self._ask_driver(f"pipelined {count} {window}")

    def latency(self, count: int) -> float:
        """Give the median round trip of one message at a time, in us."""
        return self._ask_driver(f"latency {count}") * 1e6

    def one_way(self, count: int) -> float:
        """Give messages a second that arrive, without an answer."""
        return count / self._ask_driver(f"one_way {count}")

    def bulk(self, size: int, count: int = 1) -> float:
        """Give the ms until ``size`` bytes in one message have arrived and were answered.

        Args:
            size: bytes.
            count: how often; the median counts.
        """
        return self._ask_driver(f"bulk {size} {count}") * 1e3

    @property
    def pids(self) -> list[int]:
        """The ids of both processes."""
        return [process.pid for process in self._processes]

    def _ask_driver(self, line: str) -> float:
        driver = self._processes[0]
        assert driver.stdin is not None
        assert driver.stdout is not None
        driver.stdin.write(line + "\n")
        driver.stdin.flush()
        return float(driver.stdout.readline())


class _Wire:
    """One process's two sockets."""

    def __init__(self, directory: str, mine: str, other: str) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.pull = context.socket(zmq.PULL)
        self.pull.bind(f"ipc://{directory}/{mine}")
        self.push = context.socket(zmq.PUSH)
        self.push.connect(f"ipc://{directory}/{other}")


def _echo(wire: _Wire) -> None:
    """Do what each order says: ``echo COUNT``, or ``take COUNT`` and answer once."""
    receive, send = wire.pull.recv, wire.push.send
    while True:
        order, count = receive().split()
        if order == b"echo":
            for _ in range(int(count)):
                send(receive())
        else:
            for _ in range(int(count)):
                receive()
            send(b"taken")


def _drive(wire: _Wire) -> None:
    body = b""
    for line in sys.stdin:
        order, *arguments = line.split()
        if order == "body":
            body = bytes.fromhex(arguments[0])
            seconds = 0.0
        elif order == "pipelined":
            seconds = _pipelined(wire, body, int(arguments[0]), int(arguments[1]))
        elif order == "latency":
            seconds = _latency(wire, body, int(arguments[0]))
        elif order == "bulk":
            bulk = bytes(int(arguments[0]))
            seconds = median(_one_way(wire, bulk, 1) for _ in range(int(arguments[1])))
        else:
            seconds = _one_way(wire, body, int(arguments[0]))
        print(seconds, flush=True)


def _pipelined(wire: _Wire, body: bytes, count: int, window: int) -> float:
    receive, send = wire.pull.recv, wire.push.send
    send(b"echo %d" % count)
    begin = time.perf_counter()
    for _ in range(window):
        send(body)
    for _ in range(count - window):
        receive()
        send(body)
    for _ in range(window):
        receive()
    return time.perf_counter() - begin


def _latency(wire: _Wire, body: bytes, count: int) -> float:
    receive, send, clock = wire.pull.recv, wire.push.send, time.perf_counter
    send(b"echo %d" % count)
    times = []
    for _ in range(count):
        begin = clock()
        send(body)
        receive()
        times.append(clock() - begin)
    return median(times)


def _one_way(wire: _Wire, body: bytes, count: int) -> float:
    send = wire.push.send
    begin = time.perf_counter()
    send(b"take %d" % count)
    for _ in range(count):
        send(body)
    wire.pull.recv()
    return time.perf_counter() - begin


def _main(role: str, directory: str, core: str) -> None:
    os.sched_setaffinity(0, {int(core)})  # before the context, so that its threads are there too
    if role == "echo":
        _echo(_Wire(directory, "echo", "drive"))
    else:
        _drive(_Wire(directory, "drive", "echo"))


if __name__ == "__main__":
    _main(*sys.argv[1:])
