"""Idle timeouts: a message to oneself that is due when no other one comes for a while.

An actor that waits for one looks its handlers up in a dictionary that cancels the timeout, so
that all other actors pay nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gristmill.behaviours.protocol import Handler
from gristmill.messages import Command, Event, Message

if TYPE_CHECKING:
    from gristmill.worker.actors.cell import Cell


class _WhileIdle(dict[type[Message], Handler]):
    """An actor's handlers; the first look-up cancels the timeout and puts the real ones back."""

    __slots__ = ("_cell", "_real", "timer")

    def __init__(self, cell: Cell, real: dict[type[Message], Handler]) -> None:
        super().__init__(real)
        self._cell = cell
        self._real = real
        self.timer: Any = None

    def get(self, kind: Any, default: Any = None) -> Any:  # noqa: ANN401 - as dict.get
        """Find the handler of a message that has come."""
        self.cancel()
        return self._real.get(kind, default)

    def cancel(self) -> None:
        """Wait no longer."""
        self._cell.handlers = self._real
        self.timer.cancel()


def arm_idle_timeout(cell: Cell, seconds: float, message: Command | Event) -> None:
    """Have ``message`` handled after ``seconds`` unless another one is before (an effect)."""
    cancel_idle_timeout(cell)
    assert cell.context is not None
    waiting = _WhileIdle(cell, cell.handlers)
    waiting.timer = cell.context.send_after(seconds, message)
    cell.handlers = waiting


def cancel_idle_timeout(cell: Cell) -> None:
    """Wait no longer, if the actor does (an effect)."""
    if isinstance(cell.handlers, _WhileIdle):
        cell.handlers.cancel()
