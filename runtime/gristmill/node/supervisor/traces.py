"""``Traces``: what the workers have recorded of their messages, as somebody asks for it."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.slots import Slot, Slots
from gristmill.transport import control as c

_GRACE: Final = 5.0
"""Seconds to wait for a worker that computes, or has much to tell."""
_ENDS: Final = 1000
"""Ends of workers that are remembered."""

_Process = tuple[int, int]
"""A worker's address and its incarnation."""


class _Question(NamedTuple):
    begin: int
    awaited: dict[_Process, str]
    traces: list[bytes]
    done: Callable[[c.CollectedTrace], None]


class Traces:
    """Asks the workers, and knows whose records are gone.

    Args:
        shell: of the supervisor process.
        slots: the workers.
    """

    def __init__(self, shell: SupervisorShell, slots: Slots) -> None:
        self._shell = shell
        self._slots = slots
        self._numbers = itertools.count(1)
        self._open: dict[int, _Question] = {}
        self._ends: deque[tuple[int, str]] = deque(maxlen=_ENDS)
        """When workers ended, and their names."""

    def collect(self, begin: int, done: Callable[[c.CollectedTrace], None]) -> None:
        """Call ``done`` once all workers have told what they recorded since ``begin``, or died."""
        number = next(self._numbers)
        slots = self._slots.ready()
        awaited = {(slot.address, slot.incarnation): _name(slot) for slot in slots}
        self._open[number] = _Question(begin, awaited, [], done)
        for slot in slots:
            self._shell.send(slot.identity, c.ReportTrace(number, begin))
        self._shell.call_at(self._shell.now() + _GRACE, lambda: self._finish(number))
        if not awaited:
            self._finish(number)

    def heard(self, slot: Slot, number: int, trace: bytes) -> None:
        """A worker has told."""
        question = self._open.get(number)
        if question is None or question.awaited.pop((slot.address, slot.incarnation), None) is None:
            return
        question.traces.append(trace)
        if not question.awaited:
            self._finish(number)

    def ended(self, slot: Slot) -> None:
        """A worker has ended, and with it what it had recorded."""
        self._ends.append((self._shell.now_ns(), _name(slot)))
        for number, question in list(self._open.items()):
            question.awaited.pop((slot.address, slot.incarnation), None)
            if not question.awaited:
                self._finish(number)

    def _finish(self, number: int) -> None:
        question = self._open.pop(number, None)
        if question is not None:
            gone = [name for at, name in self._ends if at >= question.begin]
            leaving = [_name(s.former) for s in self._slots.ready() if s.former is not None]
            missing = list(dict.fromkeys([*gone, *leaving, *question.awaited.values()]))
            question.done(c.CollectedTrace(question.traces, missing))


def _name(slot: Slot) -> str:
    return f"{slot.name}.{slot.incarnation}"
