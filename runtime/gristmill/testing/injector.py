"""``FaultInjector``: kills and stops the worker processes of a real node, now or by plan."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Self

from gristmill.errors import GristmillError, UsageError
from gristmill.node.node import Node


class FaultInjector:
    """Sends signals to workers. Use it in a ``with`` block: at its end nobody stands still.

    Args:
        node: whose workers.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._timers: list[threading.Timer] = []
        self._stopped: set[int] = set()

    def kill(self, worker: str, *, after: float = 0.0) -> None:
        """Kill a worker by SIGKILL, ``after`` seconds from now.

        Raises:
            UsageError: there is no such worker.
        """
        self._at(worker, after, signal.SIGKILL)

    def stop(self, worker: str, *, after: float = 0.0) -> None:
        """Have a worker stand still, until :meth:`go_on`."""
        self._at(worker, after, signal.SIGSTOP)

    def go_on(self, worker: str, *, after: float = 0.0) -> None:
        """Let a worker go on."""
        self._at(worker, after, signal.SIGCONT)

    def delay(self, worker: str, seconds: float, *, after: float = 0.0) -> None:
        """Have a worker stand still for ``seconds``: whatever it does is late by that."""
        self.stop(worker, after=after)
        self.go_on(worker, after=after + seconds)

    def close(self) -> None:
        """Forget what is planned, and let everybody go on."""
        for timer in self._timers:
            timer.cancel()
        for timer in self._timers:
            timer.join()
        for pid in self._stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._timers.clear()
        self._stopped.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _at(self, worker: str, after: float, number: signal.Signals) -> None:
        names = [found.name for found in self._node.status().workers]
        if worker not in names:
            known = ", ".join(names)
            raise UsageError(f"no worker is named {worker!r} (workers: {known})")
        if after <= 0:
            self._send(worker, number)
            return
        timer = threading.Timer(after, self._send_late, (worker, number))
        self._timers.append(timer)
        timer.start()

    def _send_late(self, worker: str, number: signal.Signals) -> None:
        with suppress(GristmillError):  # the node has ended meanwhile
            self._send(worker, number)

    def _send(self, worker: str, number: signal.Signals) -> None:
        for found in self._node.status().workers:
            if found.name == worker and found.pid:
                with suppress(ProcessLookupError):
                    os.kill(found.pid, number)
                if number is signal.SIGSTOP:
                    self._stopped.add(found.pid)
                elif number is signal.SIGCONT:
                    self._stopped.discard(found.pid)
