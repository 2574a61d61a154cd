"""The journal's contract, one slot and many."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gristmill.durability import JournalError, Record
from gristmill.durability.journal import open_store, read_journal, slots, take_over
from gristmill.errors import UsageError
from support.waiting import eventually


def records(directory: Path, actor: str) -> list[Record]:
    with read_journal(directory) as reader:
        return list(reader.replay(actor))


def test_events_come_back_in_order(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        assert [store.append("a", "Added", bytes([n])) for n in range(3)] == [1, 2, 3]
        assert store.append("b", "Added", b"") == 1
        store.commit()
        assert list(store.replay("a")) == [Record(n, "Added", bytes([n - 1])) for n in (1, 2, 3)]
        assert store.actors() == ["a", "b"]
        assert [(actor, record.seq) for actor, record in store.all_records()] == [
            ("a", 1), ("a", 2), ("a", 3), ("b", 1),
        ]  # fmt: skip


def test_sequence_continues_after_reopen(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        store.append("a", "Added", b"")
        store.commit()
    with open_store(tmp_path, "w0") as store:
        assert store.last_sequence("a") == 1
        assert store.append("a", "Added", b"") == 2
        assert store.last_sequence("a") == 2


def test_reads_see_only_what_is_committed(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        store.append("a", "Added", b"")
        store.put("a", "key", b"value")
        store.mark("a", "sender", 1)
        store.enqueue("t", b"")
        assert (list(store.replay("a")), store.get_all("a"), store.marks("a")) == ([], {}, {})
        assert list(store.pending()) == []
        store.commit()
        assert len(list(store.replay("a"))) == len(store.get_all("a")) == 1
        assert store.marks("a") == {"sender": 1}
        assert list(store.pending()) == [("t", 1, b"")]


def test_replay_keeps_numbers_of_buffered_events(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        store.append("a", "Added", b"")
        assert list(store.replay("a")) == []
        assert store.append("a", "Added", b"") == 2


def test_close_drops_what_is_not_committed(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        store.append("a", "Added", b"")
    assert records(tmp_path, "a") == []


def test_close_leaves_no_wal_and_can_be_repeated(tmp_path: Path) -> None:
    store = open_store(tmp_path, "w0")
    store.append("a", "Added", b"")
    store.commit()
    store.close()
    store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w0.db", "w0.lock"]
    assert [record.seq for record in records(tmp_path, "a")] == [1]


def test_rollback_gives_every_number_out_again(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        store.append("a", "Added", b"kept")
        store.enqueue("t", b"kept")
        store.commit()
        store.append("a", "Added", b"dropped")
        store.enqueue("t", b"dropped")
        store.put("a", "key", b"dropped")
        store.mark("a", "sender", 1)
        dirty = store.dirty
        store.rollback()
        assert (dirty, store.dirty) == (True, False)
        assert store.append("a", "Added", b"next") == 2
        assert store.enqueue("t", b"next") == 2
        store.commit()
        assert [record.payload for record in store.replay("a")] == [b"kept", b"next"]
        assert (store.get_all("a"), store.marks("a")) == ({}, {})


def test_counters(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        store.commit()
        assert (store.commits, store.rows) == (0, 0)
        store.append("a", "Added", b"")
        store.mark("a", "sender", 1)
        store.mark("a", "sender", 2)
        store.commit()
        assert (store.commits, store.rows) == (1, 2)


def test_actor_that_moves_between_slots_keeps_one_history(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as first, open_store(tmp_path, "w1") as second:
        for turn, store in enumerate([first, second, first, second], start=1):
            assert [record.seq for record in store.replay("a")] == list(range(1, turn))
            store.append("a", "Added", store.slot.encode())
            store.commit()
        assert [r.payload for r in first.replay("a")] == [b"w0", b"w1", b"w0", b"w1"]
    assert slots(tmp_path) == ["w0", "w1"]


def test_a_slot_that_appears_later_is_read_too(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as first:
        assert first.actors() == []
        with open_store(tmp_path, "w1") as second:
            second.append("a", "Added", b"")
            second.commit()
        assert first.actors() == ["a"]


def test_newest_value_wins_across_slots(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as first, open_store(tmp_path, "w1") as second:
        for number in range(5):
            first.put("a", "key", bytes([number]))
        first.commit()
        assert second.get_all("a") == {"key": b"\x04"}
        second.put("a", "key", b"newer")
        second.commit()
        assert first.get_all("a") == {"key": b"newer"}
        first.put("a", "key", b"newest")
        first.commit()
        assert second.get_all("a") == {"key": b"newest"}


def test_deleted_value_stays_deleted_though_another_slot_holds_it(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as first, open_store(tmp_path, "w1") as second:
        first.put("a", "key", b"old")
        first.put("a", "other", b"kept")
        first.commit()
        second.delete("a", "key")
        second.commit()
        assert first.get_all("a") == second.get_all("a") == {"other": b"kept"}


def rows_of(directory: Path, table: str) -> int:
    """Give how many rows a table of slot w0 has."""
    database = sqlite3.connect(directory / "w0.db")
    count = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    database.close()
    return int(count)


def test_delete_leaves_no_row_when_no_other_slot_holds_the_key(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        store.put("a", "key", b"value")
        store.commit()
        store.delete("a", "key")
        store.commit()
    assert rows_of(tmp_path, "value") == 0


@pytest.mark.parametrize("committed", [False, True])
def test_last_write_of_a_turn_wins(tmp_path: Path, committed: bool) -> None:
    with open_store(tmp_path, "w0") as store:
        store.put("a", "deleted", b"1")
        store.put("a", "put", b"1")
        if committed:
            store.commit()
        store.delete("a", "deleted")
        store.delete("a", "put")
        store.put("a", "put", b"2")
        store.commit()
        assert store.get_all("a") == {"put": b"2"}


def test_outbox_forgets_what_is_acknowledged_and_never_reuses_a_number(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        assert [store.enqueue("t", b"%d" % n) for n in range(3)] == [1, 2, 3]
        assert store.enqueue("u", b"other") == 1
        store.commit()
        store.acknowledge("t", 2)
        store.acknowledge("t", 1)
        store.commit()
        assert list(store.pending()) == [("t", 3, b"2"), ("u", 1, b"other")]
        assert list(store.pending("u")) == [("u", 1, b"other")]
        store.acknowledge("t", 3)
        store.commit()
    with open_store(tmp_path, "w0") as store:
        assert list(store.pending("t")) == []
        assert store.enqueue("t", b"") == 4


def test_messages_of_a_commit_are_one_row_until_all_are_acknowledged(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        for n in range(3):
            store.enqueue("t", b"%d" % n)
        store.commit()
        store.acknowledge("t", 2)
        store.commit()
        assert (rows_of(tmp_path, "outbox"), list(store.pending())) == (1, [("t", 3, b"2")])
        store.acknowledge("t", 3)
        store.commit()
        assert rows_of(tmp_path, "outbox") == 0


def test_events_of_a_commit_are_one_row_an_actor(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        for kind in ("Added", "Removed", "Added"):
            store.append("a", kind, b"")
            store.append("b", kind, b"")
        store.commit()
        assert rows_of(tmp_path, "event") == 2
        assert [record.kind for record in store.replay("a")] == ["Added", "Removed", "Added"]


def test_outbox_belongs_to_its_slot(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as first, open_store(tmp_path, "w1") as second:
        first.enqueue("t", b"first")
        assert second.enqueue("t", b"second") == 1
        first.commit()
        second.commit()
        assert list(second.pending()) == [("t", 1, b"second")]


def test_message_acknowledged_in_its_own_turn_leaves_no_trace(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        store.acknowledge("t", store.enqueue("t", b""))
        store.commit()
        assert list(store.pending()) == []
        assert rows_of(tmp_path, "outbox") == 0
        assert store.enqueue("t", b"") == 2


def test_acknowledgement_never_covers_a_later_message(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as store:
        store.enqueue("t", b"1")
        store.commit()
        store.acknowledge("t", 9)
        store.enqueue("t", b"2")
        store.commit()
        assert list(store.pending()) == [("t", 2, b"2")]


def test_marks_are_the_maximum_of_all_slots(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as first, open_store(tmp_path, "w1") as second:
        first.mark("a", "s", 7)
        first.mark("a", "s", 5)
        first.commit()
        first.mark("a", "s", 6)
        second.mark("a", "s", 3)
        second.mark("a", "r", 1)
        first.commit()
        second.commit()
        assert first.marks("a") == second.marks("a") == {"s": 7, "r": 1}


def test_what_a_slot_that_nobody_has_owes_is_taken_over_once(tmp_path: Path) -> None:
    for slot in ("client", "w1", "w2", "w3"):
        with open_store(tmp_path, slot) as store:
            store.enqueue_all("t", [f"{slot}-{n}".encode() for n in (1, 2, 3)])
            store.enqueue("channel://kafka", slot.encode())
            store.commit()
    before = (tmp_path / "w2.db").read_bytes()
    with open_store(tmp_path, "w3") as store:
        store.acknowledge("t", 1)
        store.mark("t", "w2", 2)  # the target of these has handled them, as it says itself
        store.commit()
    expected = [(1, b"w1-1"), (2, b"w1-2"), (3, b"w1-3"), (4, b"w2-3"), (5, b"w3-2"), (6, b"w3-3")]
    for _ in range(2):
        with open_store(tmp_path, "w1") as store:
            take_over(store, {"client", "w1"})
            assert [message[1:] for message in store.pending("t")] == expected
            channel = [payload for _, _, payload in store.pending("channel://kafka")]
            assert channel == [b"w1", b"w2", b"w3"]
            assert store.debtors() == ["client", "w1"]
        (tmp_path / "w2.db").write_bytes(before)  # as if it had died before the acknowledgement
    with open_store(tmp_path, "client") as store:
        assert len(list(store.pending())) == 4


def test_a_slot_that_somebody_still_has_is_not_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    holds = "import sys; from gristmill.durability.journal import open_store as o\n"
    holds += "s = o(sys.argv[1], 'w2'); s.enqueue('t', b''); s.commit(); print(flush=True); input()"
    command = [sys.executable, "-c", holds, str(tmp_path)]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe) as other,
        open_store(tmp_path, "w1") as store,
    ):
        assert other.stdout is not None
        other.stdout.readline()
        take_over(store, {"w1"})
        assert list(store.pending()) == []
        other.communicate(b"\n")
        take_over(store, {"w1"})
        assert list(store.pending()) == [("t", 1, b"")]
    assert "another process is writing it" in caplog.text


def test_schema_of_a_kind_can_not_change(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0") as first, open_store(tmp_path, "w1") as second:
        first.declare("Added", "aaaa")
        first.rollback()
        second.declare("Added", "aaaa")
        second.declare("Added", "aaaa")
        for store in (first, second):
            with pytest.raises(JournalError, match=r"'Added' in .*w0\.db have schema aaaa.*bbbb"):
                store.declare("Added", "bbbb")


def test_directory_is_private(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "journal"
    open_store(directory, "w0").close()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_names_with_odd_characters_are_good_paths(tmp_path: Path) -> None:
    directory = tmp_path / "a b?c#d%e"
    with open_store(directory, "node.1-w0") as store:
        store.append("a", "Added", b"")
        store.commit()
    assert slots(directory) == ["node.1-w0"]
    assert [record.seq for record in records(directory, "a")] == [1]


def test_relative_directory_survives_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("journal", "w0") as store:
        monkeypatch.chdir("/")
        open_store(tmp_path / "journal", "w1").close()
        store.append("a", "Added", b"")
        store.commit()
        assert store.actors() == ["a"]


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("power", 2)])
def test_durability_sets_synchronous(tmp_path: Path, durability: str, synchronous: int) -> None:
    with open_store(tmp_path, "w0", durability=durability) as store:  # type: ignore[arg-type] # a str of that set
        assert store._database.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("slot", ["", "a/b", "..", ".hidden", "a b"])
def test_slot_must_name_a_file(tmp_path: Path, slot: str) -> None:
    with pytest.raises(UsageError, match="can't name a file"):
        open_store(tmp_path, slot)


def test_unknown_durability(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="write 'process' or 'power'"):
        open_store(tmp_path, "w0", durability="full")  # type: ignore[arg-type] # that is the test


def test_slot_is_held_while_open_and_free_afterwards(tmp_path: Path) -> None:
    with open_store(tmp_path, "w0"):
        child = os.fork()
        if child == 0:
            os._exit(_open_in_child(tmp_path))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    child = os.fork()
    if child == 0:
        os._exit(_open_in_child(tmp_path))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _open_in_child(directory: Path) -> int:
    try:
        open_store(directory, "w0")
    except JournalError as error:
        return 3 if "another process is writing it" in str(error) else 4
    return 0


def test_a_thread_moves_the_wal_into_the_file(tmp_path: Path) -> None:
    store = open_store(tmp_path, "w1", threaded=True)
    before = store.path.stat().st_size
    sent = 0

    def moved() -> bool:
        nonlocal sent
        for _ in range(100):
            store.append("a", "kind", bytes(100))
            store.commit()
            sent += 1
        return store.path.stat().st_size > before

    eventually(moved, "the file has grown", 10.0)
    assert any(thread.name == "gristmill-checkpoint-w1" for thread in threading.enumerate())
    store.close()
    assert not any(thread.name == "gristmill-checkpoint-w1" for thread in threading.enumerate())
    assert len(records(tmp_path, "a")) == sent
