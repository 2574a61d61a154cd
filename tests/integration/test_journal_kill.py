"""A writer that is SIGKILLed: every turn is there as a whole or not at all.

The writer is a real process. It reports through a pipe what it has committed, and where in a
transaction it stands, so nothing here depends on time.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from gristmill.durability.journal import open_store, read_journal

BATCH = 20

WRITER = """
import sys
from gristmill.durability.journal import open_store

directory, batch, stop_turn, stop_statement = sys.argv[1:]
batch, stop_turn = int(batch), int(stop_turn)
store = open_store(directory, "w0")

def say(line):
    sys.stdout.write(line + "\\n")
    sys.stdout.flush()

def watch(statement):
    if statement.startswith(stop_statement):
        say("stopped")
        sys.stdin.read()  # until killed

turn = 0
while True:
    turn += 1
    for _ in range(batch):
        store.append("a", "Added", turn.to_bytes(4, "big") * 50)
    if turn % 3 == 0:
        store.snapshot("a", "State", b"%d" % turn)
    store.mark("a", "sender", turn)
    store.put("a", "turn", b"%d" % turn)
    store.enqueue("t", b"%d" % turn)
    store.acknowledge("t", turn - 1)
    store.delete("a", "none")
    if turn == stop_turn:
        store._database.set_trace_callback(watch)
    store.commit()
    say(f"committed {turn}")
"""


@contextmanager
def writer(directory: Path, batch: int, *, turn: int = 0, statement: str = "") -> Iterator[IO[str]]:
    """Run a writer that stops before a statement of a turn's commit, and SIGKILL it at the end."""
    command = [sys.executable, "-c", WRITER, str(directory), str(batch), str(turn), statement]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.stdin.close()
        process.stdout.close()


def check_whole_turns(directory: Path, batch: int) -> int:
    """Check that everything a turn wrote is there for the same turns; give the last turn."""
    with read_journal(directory) as reader:
        records = list(reader.replay("a"))
        snapshot = reader.last_snapshot("a")
        covered = snapshot.seq if snapshot is not None else 0
        last = covered + len(records)
        turns, rest = divmod(last, batch)
        assert rest == 0
        assert covered == turns // 3 * 3 * batch
        assert snapshot is None or snapshot.payload == b"%d" % (covered // batch)
        for record in records:
            assert record.payload == ((record.seq - 1) // batch + 1).to_bytes(4, "big") * 50
        assert reader.marks("a") == {"sender": turns}
        assert reader.get_all("a") == {"turn": b"%d" % turns}
    with open_store(directory, "w0") as store:
        assert list(store.pending()) == [("t", turns, b"%d" % turns)]
        assert store.enqueue("t", b"") == turns + 1
        assert store.append("a", "Added", b"") == last + 1
    return turns


@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN",
        "REPLACE INTO snapshot",
        "DELETE FROM event",
        "INSERT INTO mark",
        "INSERT INTO outbox_last",
        "DELETE FROM outbox",
        "INSERT INTO outbox ",
        "REPLACE INTO value",
        "DELETE FROM value",
        "COMMIT",
    ],
)
def test_killed_inside_a_transaction(tmp_path: Path, statement: str) -> None:
    with writer(tmp_path, BATCH, turn=6, statement=statement) as output:
        lines = [output.readline() for _ in range(6)]
        assert lines[-1] == "stopped\n"
    assert check_whole_turns(tmp_path, BATCH) == 5


def test_killed_while_events_are_written(tmp_path: Path) -> None:
    with writer(tmp_path, BATCH, turn=4, statement="INSERT INTO event") as output:
        lines = [output.readline() for _ in range(4)]
        assert lines[-1] == "stopped\n"
    assert check_whole_turns(tmp_path, BATCH) == 3


@pytest.mark.parametrize("reported", [1, 3, 10])
@pytest.mark.parametrize("batch", [1, 2000])
def test_killed_wherever_it_happens_to_be(tmp_path: Path, reported: int, batch: int) -> None:
    with writer(tmp_path, batch) as output:
        for _ in range(reported):
            output.readline()
    assert check_whole_turns(tmp_path, batch) >= reported


def test_killed_again_and_again_by_turns_on_two_slots(tmp_path: Path) -> None:
    for _ in range(2):
        with writer(tmp_path, 1, turn=3, statement="INSERT INTO mark") as output:
            lines = [output.readline() for _ in range(3)]
        assert lines[-1] == "stopped\n"
        with open_store(tmp_path, "w1") as store:
            before = len(list(store.replay("a")))
            assert store.append("a", "Added", b"") == before + 1
            store.commit()
    with read_journal(tmp_path) as reader:
        assert [record.seq for record in reader.replay("a")] == [1, 2, 3, 4, 5, 6]
