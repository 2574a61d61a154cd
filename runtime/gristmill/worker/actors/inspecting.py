"""What the worker answers about its actors: their state, a suspension."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from gristmill.behaviours.actor import Actor
from gristmill.errors import ActorNotFoundError, GristmillError, Reject
from gristmill.importing import resolve
from gristmill.transport.inspection import GetState, Inspection, ReplaceState, Resume, Suspend
from gristmill.worker.actors.cell import INSPECTION, Cell, Entry, State

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class Inspecting:
    """Answers inspections on behalf of a worker's core."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._decode = core.codec.decoder(Inspection).decode

    def take(self, source: int, target: int, number: int, body: bytes) -> None:
        """Put an inspection behind the messages of its actor, or answer it at once."""
        inspection = self._decode(body)
        core = self._core
        entry = Entry(INSPECTION, source, 0, number, 0.0, body, inspection, core.meter.last)
        cell = core.cells.get(target)
        if cell is None:
            gone = ActorNotFoundError(f"actor #{target} does not run")
            core.failures.answer(entry, gone)
        elif cell.state is State.SUSPENDED:
            self.answer(cell, entry)
        else:
            cell.own("queue").append(entry)
            core.schedule(cell)

    def answer(self, cell: Cell, entry: Entry) -> None:
        """Do what an inspection asks."""
        try:
            value = self._carry_out(cell, entry.message)
        except GristmillError as error:
            self._core.failures.answer(entry, error)
        else:
            body = self._core.codec.encode(value)
            self._core.replying.reply(entry.source, entry.number, body)

    def _carry_out(self, cell: Cell, inspection: object) -> object:
        assert cell.actor is not None
        match inspection:
            case GetState():
                state = cell.actor.__state__()
                return {n: v if self._travels(v) else repr(v) for n, v in state.items()}
            case ReplaceState(function):
                self._replace(cell.actor, function)
            case Suspend() if cell.state is State.RUNNING:
                cell.state = State.SUSPENDED
            case Resume() if cell.state is State.SUSPENDED:
                cell.state = State.RUNNING
                self._core.schedule(cell)
        return None

    def _replace(self, actor: Actor, path: str) -> None:
        state = actor.__state__()
        # copied as far as possible, so that a function that fails half way has changed nothing
        given = {n: copy.deepcopy(v) if self._travels(v) else v for n, v in state.items()}
        try:
            replacement = resolve(path)(given)
            if not isinstance(replacement, dict):
                raise TypeError(f"it gave {replacement!r}; it gives a dict of attributes")
            actor.__set_state__(replacement)
        except Exception as error:  # whatever the user's function raises
            raise Reject(
                f"{path} can't replace the state, which is as it was: {error!r}",
                code="replace_failed",
            ) from error

    def _travels(self, value: Any) -> bool:  # noqa: ANN401 - an attribute
        try:
            self._core.codec.encode(value)
        except (GristmillError, TypeError, ValueError, ArithmeticError, RecursionError):
            return False
        return True
