"""What a run leaves in its folder, and the audit of it.

``run.json`` holds what is known from outside, ``journal/`` what the actors decided, ``ledger/``
the externals' books, ``events.msgpack`` the events that the driver saw.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gristmill.durability.journal import read_journal
from gristmill.errors import GristmillError
from gristmill.importing import resolve
from gristmill.messages import Event
from gristmill_orders import events as ev
from gristmill_orders.audit import AuditResult, RunFacts, audit
from gristmill_orders.digest import outcome_digest
from gristmill_orders.inventory import SHORT_SHARE, StockLevel
from gristmill_orders.ledger import read_ledgers
from gristmill_orders.messages import AnyOrderEvent

SCHEMA = "orders-run/1"


class RunRecordError(GristmillError):
    """A folder holds no run that can be audited, or no run can be written there."""

    exit_code = 2


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``run.json``: what is known of a run from outside."""

    schema: str = SCHEMA
    input: str
    seed: int
    workers: int
    compute: bool
    repeat: int = 1
    cancel_share: float = 0.0
    kill_every: float | None = None
    short_share: float = SHORT_SHARE
    ledger: str = ""
    """The folder of the externals' books, if it is not the run's own."""
    sent: int | None = None
    """How many orders were sent; None if the run was cut off."""
    finished: bool = False
    """Everything that was sent has come to its end."""
    cancelled_midway: tuple[str, ...] = ()
    """Orders whose cancellation is sent in the middle of their saga; the digest leaves them out."""
    subscribers_behind: dict[str, int] = {}
    """How many events each subscriber had not handled at the end; empty without subscribers."""
    stock_levels: dict[str, tuple[int, int, int, int]] = {}
    """What the inventory said that it holds: initial, available, reserved, shipped."""


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.journal = self.path / "journal"
        self.ledger = self.path / "ledger"
        self._record = self.path / "run.json"
        self._events = self.path / "events.msgpack"

    def prepare(self, record: RunRecord) -> None:
        """Make the folder ready for a new run; the files of an earlier run are replaced.

        Raises:
            RunRecordError: it can't be written, or holds a journal of something else.
        """
        try:
            if self.journal.exists() and not self._record.exists():
                raise RunRecordError(
                    f"{self.path} holds a journal that is no order run's; choose another folder"
                )
            self.path.mkdir(parents=True, exist_ok=True)
            for folder in (self.journal, self.ledger):
                if folder.exists():
                    shutil.rmtree(folder)
            self.ledger.mkdir(mode=0o700)
            self._events.unlink(missing_ok=True)
            self.write(record)
        except OSError as error:
            raise RunRecordError(f"can't write to {self.path}: {error}") from error

    def write(self, record: RunRecord) -> None:
        """Write ``run.json``."""
        self._record.write_bytes(msgspec.json.format(msgspec.json.encode(record)))

    def write_events(self, events: Sequence[ev.OrderEvent]) -> None:
        """Keep the events that the driver saw."""
        self._events.write_bytes(msgspec.msgpack.encode(events))

    def read(self) -> RunRecord:
        """Read ``run.json``.

        Raises:
            RunRecordError: it is missing, or something else.
        """
        try:
            record = msgspec.json.decode(self._record.read_bytes(), type=RunRecord)
        except OSError as error:
            raise RunRecordError(
                f"{self.path} holds no run to audit ({self._record.name}: {error.strerror}); give "
                "the folder that was given to `gristmill orders run --report`"
            ) from error
        except msgspec.MsgspecError as error:
            raise RunRecordError(f"{self._record} is no record of a run: {error}") from error
        if record.schema != SCHEMA:
            raise RunRecordError(f"{self._record} has schema {record.schema!r}, not {SCHEMA!r}")
        return record

    def audit(self) -> tuple[AuditResult, str]:
        """Check the invariants of the run that lies here; give the outcome digest too.

        Raises:
            RunRecordError: there is no run here.
            JournalError: the journal can't be read.
            LedgerError: the ledger can't be read.
        """
        record = self.read()
        events = list(self._journal_events())
        sent = record.sent
        if sent is None:
            sent = sum(isinstance(e, ev.OrderCreated | ev.OrderRefused) for _, e in events)
        facts = RunFacts(
            sent=sent,
            stock_seed=record.seed,
            short_share=record.short_share,
            finished=record.finished,
            observed={"the driver": self._observed()},
            subscribers_behind=record.subscribers_behind,
            stock_levels={sku: StockLevel(*level) for sku, level in record.stock_levels.items()},
        )
        found = audit(events, read_ledgers(record.ledger or self.ledger), facts)
        return found, outcome_digest(found.outcomes, record.cancelled_midway)

    def _journal_events(self) -> Iterator[tuple[str, Event]]:
        decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {}
        with read_journal(self.journal) as journal:
            for actor, record in journal.all_records():
                decoder = decoders.get(record.kind)
                if decoder is None:
                    kind = resolve(record.kind)
                    decoder = decoders[record.kind] = msgspec.msgpack.Decoder(kind)
                event = decoder.decode(record.payload)
                if isinstance(event, Event):
                    yield actor, event

    def _observed(self) -> list[ev.OrderEvent]:
        if not self._events.exists():
            return []
        return list(msgspec.msgpack.decode(self._events.read_bytes(), type=list[AnyOrderEvent]))
