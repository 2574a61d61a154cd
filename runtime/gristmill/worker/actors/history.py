"""``History``: the journal of one durable incarnation: replay, new events, snapshots."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.errors import UsageError
from gristmill.facets import FACET_RECORDS, FacetRecord
from gristmill.facets.specs import Durable
from gristmill.importing import import_path, resolve

if TYPE_CHECKING:
    from gristmill.durability import JournalStore
    from gristmill.worker.actors.cell import Cell
    from gristmill.worker.actors.host import CellHost
    from gristmill.worker.core import WorkerCore

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[bytes, list[FacetRecord]]).decode
"""A snapshot as the journal keeps it: the actor's state, and what its facets have journaled."""

_log = logging.getLogger("gristmill.worker")


class History:
    """What a durable actor has journaled, and journals.

    Args:
        core: of its worker.
        cell: the actor.
        host: its context's way to the worker.

    Raises:
        UsageError: it has no name, or its node no journal, or it is to take snapshots and can't.
    """

    def __init__(self, core: WorkerCore, cell: Cell, host: CellHost) -> None:
        store = core.delivery.store
        assert cell.spec is not None
        assert cell.actor is not None
        if store is None or not cell.spec.name:
            raise UsageError(
                f"{cell.label} is durable: give it a name, and start its node with "
                "journal=DIRECTORY"
            )
        self._store: JournalStore = store
        self._name = cell.spec.name
        self._actor = cell.actor
        self._codec = core.codec
        self._host = host
        self._every = next(f.snapshot_every for f in cell.spec.facets if isinstance(f, Durable))
        self._since = 0
        """Events since the last snapshot."""
        kind = type(self._actor)
        if self._every and (kind.snapshot is Actor.snapshot or kind.restore is Actor.restore):
            raise UsageError(
                f"{cell.label} is to take snapshots: define snapshot(self) and "
                f"restore(self, state) in {kind.__qualname__}"
            )

    def replay(self) -> None:
        """Give the actor its last snapshot and the events after it."""
        snapshot = self._store.last_snapshot(self._name)
        if snapshot is not None:
            state, records = _decode(snapshot.payload)
            self._actor.restore(self._codec.decoder(resolve(snapshot.kind)).decode(state))
            for record in records:
                self._host.facets.apply(record)
        decoders: dict[str, Any] = {}
        for stored in self._store.replay(self._name):
            self._since += 1
            decoder = decoders.get(stored.kind)
            if decoder is None:
                decoder = decoders[stored.kind] = self._codec.decoder(resolve(stored.kind))
            event = decoder.decode(stored.payload)
            if isinstance(event, FACET_RECORDS):
                self._host.facets.apply(event)
            else:
                self._actor.apply(event)

    def append(self, events: Sequence[tuple[str, bytes]]) -> None:
        """Journal events that the actor has applied: the kind of each, and its payload."""
        self._store.append_all(self._name, events)
        self._since += len(events)

    def snapshot_if_due(self) -> None:
        """Put the actor's state in the place of its events, in the commit of the last of them.

        An actor that can't give its state keeps all events, and is asked again later.
        """
        if not self._every or self._since < self._every:
            return
        self._since = 0
        try:
            state = self._actor.snapshot()
            body = self._codec.encode_in_band(state)
            kind = import_path(type(state))
        except Exception:  # whatever the user's snapshot raises; the events are all there
            _log.exception("%s gives no snapshot; its journal keeps all events", self._name)
            return
        self._store.snapshot(self._name, kind, _encode((body, self._host.facets.journaled())))
