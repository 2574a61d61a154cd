"""What a run leaves in its folder, and the audit of it.

``run.json`` holds what is known from outside, ``journal/`` what the actors decided, ``ledger/``
the externals' books, ``events.msgpack`` the events that the driver saw; the rest are reports.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from gristmill.durability.journal import read_journal
from gristmill.errors import GristmillError
from gristmill.importing import resolve
from gristmill.messages import Event
from gristmill.metrics import encode, render
from gristmill_orders import events as ev
from gristmill_orders.app import AUDIT_LOG_FILE
from gristmill_orders.audit import AuditResult, RunFacts, audit
from gristmill_orders.digest import outcome_digest
from gristmill_orders.inventory import SHORT_SHARE, StockLevel
from gristmill_orders.ledger import read_ledgers
from gristmill_orders.messages import AnyOrderEvent
from gristmill_orders.summary import Summary

SCHEMA = "orders-run/1"
_RECORD = "run.json"
_NAMES = (
    "journal",
    "ledger",
    "events.msgpack",
    AUDIT_LOG_FILE,
    "summary.json",
    "granularity.json",
    "granularity.txt",
)
"""What a run leaves beside its record."""


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
        self._record = self.path / _RECORD
        self._events = self.path / "events.msgpack"
        self._earlier = self.path / ".earlier"
        """An earlier run, until it is known that the new one can start."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out of the folder during the block; it is made if need be.

        Raises:
            RunRecordError: another run writes there, or the folder can't be made.
        """
        made = not self.path.exists()
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunRecordError(
                    f"another run writes to {self.path}; wait for its end, or choose another folder"
                ) from None
            yield
        finally:
            if made:
                with suppress(OSError):  # it holds the run
                    self.path.rmdir()
            os.close(lock)

    @contextmanager
    def replaced(self, record: RunRecord) -> Iterator[None]:
        """Make the folder ready for a new run, which is started in the block.

        An earlier run is removed when the block ends, and is back in its place if it raises.

        Raises:
            RunRecordError: it can't be written, or holds something else than a run.
        """
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            self._bring_back()  # whoever put it aside was killed before it had started
            self._refuse_other_things()
            self._put_aside()
        try:
            with self._writing():
                self.ledger.mkdir(mode=0o700)
                self.write(record)
            yield
        except BaseException:
            with self._writing():
                self._remove()
                self._bring_back()
            raise
        with self._writing():
            self._forget()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunRecordError(f"can't write to {self.path}: {error}") from error

    def _refuse_other_things(self) -> None:
        """Make sure that whatever would be replaced is of a run."""
        if self._record.exists():
            try:
                self.read()
            except RunRecordError as error:
                raise RunRecordError(
                    f"{self.path} holds a {_RECORD} that is no order run's, so nothing there is "
                    f"replaced ({error.__cause__ or error}); choose another folder"
                ) from error
            return
        others = [name for name in _NAMES if _is_something(self.path / name)]
        if others:
            raise RunRecordError(
                f"{self.path} holds {' and '.join(others)} and no {_RECORD}, so it is no order "
                "run's; choose another folder"
            )

    def _put_aside(self) -> None:
        self._earlier.mkdir(mode=0o700)
        for name in (*_NAMES, _RECORD):  # the record last: it says that all are there
            with suppress(FileNotFoundError):
                (self.path / name).rename(self._earlier / name)

    def _bring_back(self) -> None:
        if not self._earlier.exists():
            return
        if (self._earlier / _RECORD).exists():
            self._remove()
        for name in (_RECORD, *_NAMES):  # the record first: what is back is not removed again
            with suppress(FileNotFoundError):
                (self._earlier / name).rename(self.path / name)
        self._earlier.rmdir()

    def _remove(self) -> None:
        for name in (*_NAMES, _RECORD):
            _delete(self.path / name)

    def _forget(self) -> None:
        gone = self.path / ".removed"  # a name that nothing is brought back from
        _delete(gone)
        self._earlier.rename(gone)
        _delete(gone)

    def write(self, record: RunRecord) -> None:
        """Write ``run.json``."""
        _replace(self._record, msgspec.json.format(msgspec.json.encode(record)))

    def write_events(self, events: Sequence[ev.OrderEvent]) -> None:
        """Keep the events that the driver saw."""
        _replace(self._events, msgspec.msgpack.encode(events))

    def write_reports(self, summary: Summary) -> None:
        """Write what people and programs read of a finished run."""
        granularity = summary.granularity
        _replace(self.path / "granularity.json", encode(granularity))
        _replace(self.path / "granularity.txt", render(granularity).encode())
        _replace(self.path / "summary.json", msgspec.json.format(msgspec.json.encode(summary)))

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
        try:
            return list(msgspec.msgpack.decode(self._events.read_bytes(), type=list[AnyOrderEvent]))
        except (OSError, msgspec.MsgspecError) as error:
            raise RunRecordError(f"can't read the events in {self._events}: {error}") from error


def _is_something(path: Path) -> bool:
    """Tell whether there is more than an empty folder."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _replace(path: Path, data: bytes) -> None:
    """Write a file; whoever is killed in the middle leaves it as it was."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
