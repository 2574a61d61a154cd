"""What the journal says and keeps when its files or its disk are no good."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gristmill.durability import JournalError
from gristmill.durability.journal import open_store, read_journal
from gristmill.durability.writer import SqliteStore


def fill(directory: Path, slot: str, events: int) -> None:
    with open_store(directory, slot) as store:
        for _ in range(events):
            store.append("a", "Added", bytes(1000))
        store.commit()


def test_full_disk_keeps_the_buffer(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        pages = store._database.execute("PRAGMA page_count").fetchone()[0]
        store._database.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(50):
            store.append("a", "Added", bytes(1000))
        store.enqueue("t", b"")
        with pytest.raises(JournalError, match=r"w0\.db: .*full; free some space"):
            store.commit()
        assert store.dirty
        assert store.commits == 0
        assert (store.actors(), list(store.pending())) == ([], [])
        store._database.execute("PRAGMA max_page_count = 1000")
        store.commit()
        assert len(list(store.replay("a"))) == 50
        assert list(store.pending()) == [("t", 1, b"")]


def test_file_that_can_not_be_written_keeps_the_buffer(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        store._database.execute("PRAGMA query_only = ON")
        store.append("a", "Added", b"")
        with pytest.raises(JournalError, match=r"w0\.db: .*readonly.*this user may write there"):
            store.commit()
        store._database.execute("PRAGMA query_only = OFF")
        store.commit()
        assert store.actors() == ["a"]


def test_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"file/w0\.db: .*this user may write there"):
        open_store(tmp_path / "file", "w0")


@pytest.mark.parametrize("slot", ["w0", "w1"])
def test_file_that_is_no_database(tmp_path: Path, slot: str) -> None:
    (tmp_path / "w0.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(JournalError, match=r"w0\.db: .*damaged: restore it"):
        open_store(tmp_path, slot)
    with pytest.raises(JournalError, match=r"w0\.db: .*damaged: restore it"):
        read_journal(tmp_path)


def test_failed_open_gives_the_slot_back(tmp_path: Path) -> None:
    (tmp_path / "w1.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(JournalError):
        open_store(tmp_path, "w0")
    (tmp_path / "w1.db").unlink()
    fill(tmp_path, "w0", 1)


def test_damage_in_the_middle_of_a_file(tmp_path: Path) -> None:
    fill(tmp_path, "w0", 500)
    with (tmp_path / "w0.db").open("r+b") as file:
        file.seek(100_000)
        file.write(b"\xff" * 100_000)
    with (
        read_journal(tmp_path) as reader,
        pytest.raises(JournalError, match=r"w0\.db: .*damaged: restore it"),
    ):
        list(reader.replay("a"))


def test_missing_file_is_a_gap_and_not_a_shorter_history(tmp_path: Path) -> None:
    fill(tmp_path, "w0", 2)
    fill(tmp_path, "w1", 2)
    (tmp_path / "w0.db").unlink()
    with (
        read_journal(tmp_path) as reader,
        pytest.raises(JournalError, match=r"'a' in .* has event 3 but not 1.*missing"),
    ):
        list(reader.all_records())


def test_two_incarnations_on_two_slots_are_found(tmp_path: Path) -> None:
    """Though their batches don't end at the same number."""
    fill(tmp_path, "w0", 2)
    with open_store(tmp_path, "w0") as first, open_store(tmp_path, "w1") as second:
        for store, events in ((first, 3), (second, 2)):
            for _ in range(events):
                store.append("a", "Added", b"")
        first.commit()
        second.commit()
        with pytest.raises(JournalError, match=r"'a' in .* has event 3 twice"):
            list(first.replay("a"))


def copy_events(source: Path, target: Path) -> None:
    """Write what another incarnation wrote into a slot that is held."""
    database = sqlite3.connect(target)
    with database:
        database.execute("ATTACH ? AS source", (str(source),))
        database.execute("INSERT INTO event SELECT * FROM source.event")
    database.close()


@pytest.mark.parametrize("mine", [1, 2, 3])
def test_two_incarnations_on_one_slot_are_refused(tmp_path: Path, mine: int) -> None:
    """Whether their batches are the same, or one reaches beyond the other."""
    fill(tmp_path / "elsewhere", "w0", 2)
    with open_store(tmp_path, "w0") as store:
        for _ in range(mine):
            store.append("a", "Added", b"mine")
        copy_events(tmp_path / "elsewhere" / "w0.db", store.path)
        with pytest.raises(JournalError, match=r"another incarnation.*roll back and replay"):
            store.commit()
        store.rollback()
        assert len(list(store.replay("a"))) == 2
        assert store.append("a", "Added", b"mine") == 3


@pytest.mark.parametrize(
    ("version", "written_by", "remedy"),
    [(99, "a newer gristmill", "upgrade gristmill"), (1, "an older gristmill", "move it away")],
)
@pytest.mark.parametrize("slot", ["w0", "w1"])
def test_other_format_is_refused(
    tmp_path: Path, slot: str, version: int, written_by: str, remedy: str
) -> None:
    fill(tmp_path, "w0", 1)
    database = sqlite3.connect(tmp_path / "w0.db")
    database.execute(f"PRAGMA user_version = {version}")
    database.close()
    expected = rf"w0\.db was written by {written_by} \(journal format {version}, .*{remedy}"
    with pytest.raises(JournalError, match=expected):
        open_store(tmp_path, slot)
    with pytest.raises(JournalError, match=expected):
        read_journal(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        "batch = substr(batch, 1, length(batch) - 1)",
        "batch = X'C1'",
        "batch = X'9290919200C400'",  # the event's kind stands at place 0, but there is none
        "first = first - 1",
    ],
)
def test_batch_that_can_not_be_read(tmp_path: Path, damage: str) -> None:
    with open_store(tmp_path, "w0") as store:
        store.append("a", "Added", b"")
        store.enqueue("t", b"")
        store.commit()
        for table, read in (("event", store.replay("a")), ("outbox", store.pending())):
            store._database.execute(f"UPDATE {table} SET {damage}")
            with pytest.raises(JournalError, match=r"w0\.db: .*; the file is damaged: restore it"):
                list(read)


def test_slot_whose_worker_has_not_made_the_tables_yet_is_empty(tmp_path: Path) -> None:
    fill(tmp_path, "w0", 1)
    (tmp_path / "w1.db").touch()
    with read_journal(tmp_path) as reader:
        assert reader.actors() == ["a"]
        fill(tmp_path, "w1", 1)
        assert len(list(reader.replay("a"))) == 2


def test_no_journal(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        read_journal(tmp_path / "missing")


def test_closed_store_says_so(tmp_path: Path) -> None:
    store: SqliteStore = open_store(tmp_path, "w0")
    store.append("a", "Added", b"")
    store.close()
    with pytest.raises(JournalError, match="not after close"):
        store.commit()
