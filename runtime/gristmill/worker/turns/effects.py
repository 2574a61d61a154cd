"""``Effects``: what a handler has decided happens when it has finished, and not if it fails.

What the handlers of one burst journal, send at least once and publish happens together: before
anything leaves the worker, and at the end of the burst at the latest. So the journal and the wire
get it in runs. Anything else happens as soon as its handler has finished.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gristmill.ref import Address
from gristmill.transport.envelope import TELL
from gristmill.worker.actors.cell import RECORD, REMINDER, Cell, Entry

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

JOURNAL: Final = 0
"""An event is journaled: its kind, its payload."""
SEND: Final = 1
"""A message is sent at least once: its target, its body."""
PUBLISH: Final = 2
"""An event is published in memory: its channel, its body."""


class Effects:
    """Lets the effects of handlers happen, on behalf of a worker's core.

    An effect is one of the three above, or something to be called with the actor. A handler in
    progress has its own in ``cell.effects``.
    """

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._cell: Cell | None = None
        """Whose effects are held; None if none are."""
        self._held: list[tuple[Any, ...]] = []
        """The effects of handlers that have finished."""
        self.handled: dict[int, int] = {}
        """The highest at-least-once number that they have dealt with, by sending process."""
        self._prompt = False
        """Whether a handler that has not finished wants something that waits for no others."""

    def add(self, cell: Cell, act: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401 - what it is called with
        """Have something called as soon as the handler in progress has finished."""
        cell.own("effects").append((act, *arguments))
        self._prompt = True

    @property
    def holding(self) -> bool:
        """Whether finished handlers want something that has not happened."""
        return self._cell is not None

    def has_persisted(self, cell: Cell) -> bool:
        """Tell whether the handler in progress has persisted an event, which waits for its end."""
        return any(what == JOURNAL for what, *_ in cell.effects)

    # --- the end of a handler ---

    def hold(self, cell: Cell, entry: Entry) -> None:
        """A handler has finished: what it wants happens with what the next ones want."""
        if self._cell is not cell:
            self.settle()
            self._cell = cell
        if cell.effects:
            self._held += cell.effects
            cell.effects = []
        if entry.kind == TELL:
            if entry.number:
                self._core.showing.journaled_is_done()
                if cell.attempts:
                    cell.attempts.pop((entry.source, entry.number), None)
                self.handled[entry.source] = entry.number
        elif entry.kind == RECORD:
            self._core.records.handled(cell, entry)
        elif entry.kind == REMINDER:
            self.settle()
            self._core.reminding.handled(cell, entry)
        if self._prompt:
            self._prompt = False
            self.settle()

    def release(self, cell: Cell, entry: Entry) -> None:
        """A message has been dealt with, and nothing follows: what is held happens now."""
        self.hold(cell, entry)
        self.settle()

    def release_all(self, cell: Cell) -> None:
        """Let what an actor has in progress happen now: its start or end, or a batch, is over."""
        self.settle()
        if cell.effects:
            self._cell, self._held, cell.effects = cell, cell.effects, []
            self.settle()

    def end_burst(self, cell: Cell) -> None:
        """Let what is held happen, and take a snapshot of the actor's state if one is due.

        Not while a handler is under way, whose events the state has and the journal has not.
        """
        self.settle()
        if cell.history is not None and cell.current is None:
            cell.history.snapshot_if_due()

    # --- what happens ---

    def settle(self) -> None:
        """Let happen what finished handlers want: something is about to leave, or they are done."""
        cell = self._cell
        if cell is None:
            return
        held, handled = self._held, self.handled
        self._cell, self._held, self.handled = None, [], {}
        events: list[tuple[str, bytes]] = []
        told: dict[str, tuple[Address, list[bytes]]] = {}
        published: dict[str, list[bytes]] = {}
        others = []
        for effect in held:
            what = effect[0]
            if what == JOURNAL:
                events.append(effect[1:])
            elif what == SEND:
                _, to, body = effect
                told.setdefault(to.name, (to, []))[1].append(body)
            elif what == PUBLISH:
                published.setdefault(effect[1], []).append(effect[2])
            else:
                others.append(effect)
        if events:
            assert cell.history is not None
            cell.history.append(events)
        delivery = self._core.delivery
        for to, bodies in told.values():
            delivery.send(cell, to, bodies)
        for channel, bodies in published.items():
            self._core.publishing.send(cell, channel, bodies)
        for source, number in handled.items():
            delivery.handled(cell, source, number)
        for act, *arguments in others:
            act(cell, *arguments)
