"""``Hearing``: waits until processes have taken in what the supervisor process has sent them.

A process answers in the order in which it hears. So its answer also comes behind everything that it
had to say before.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from gristmill.node.supervisor.shell import SupervisorShell

_WITHIN = 1.0
"""Seconds after which a process that computes, and so has not answered yet, is not waited for."""


@dataclass(slots=True)
class _Open:
    """Some processes have not answered yet."""

    processes: set[int]
    then: Callable[[], None]
    timer: int


class Hearing:
    """Numbers what processes are to answer with :class:`~gristmill.transport.control.Heard`.

    Args:
        shell: the process around it.
    """

    def __init__(self, shell: SupervisorShell) -> None:
        self._shell = shell
        self._numbers = itertools.count(1)
        self._open: dict[int, _Open] = {}

    def begin(self, processes: set[int], then: Callable[[], None]) -> int:
        """Give the number that these processes are to answer with; call back when all have."""
        number = next(self._numbers)
        timer = self._shell.call_at(self._shell.now() + _WITHIN, lambda: self._end(number))
        self._open[number] = _Open(set(processes), then, timer)
        self._look(number)
        return number

    def heard(self, number: int, process: int) -> None:
        """A process has answered."""
        waiting = self._open.get(number)
        if waiting is not None:
            waiting.processes.discard(process)
            self._look(number)

    def process_down(self, process: int) -> None:
        """A process has ended: it is not waited for."""
        for number in list(self._open):
            self.heard(number, process)

    def _look(self, number: int) -> None:
        if not self._open[number].processes:
            self._end(number)

    def _end(self, number: int) -> None:
        waiting = self._open.pop(number, None)
        if waiting is not None:
            self._shell.cancel(waiting.timer)
            waiting.then()
