"""The folder of a run: what replaces an earlier run, what is left alone, and who may write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.durability import JournalError
from gristmill_orders.records import RunFolder, RunRecord, RunRecordError
from gristmill_orders.replay import journal_events

EARLIER = RunRecord(input="earlier", seed=0, workers=1, compute=False)
NEW = RunRecord(input="new", seed=0, workers=1, compute=False)
REPORTS = {"summary.json", "granularity.json", "granularity.txt", "audit-log.jsonl"}


def files(path: Path) -> dict[str, bytes]:
    found = (file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in found}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Give a folder with a finished run, and a file that is none of its own."""
    made = RunFolder(tmp_path / "out")
    with made.replaced(EARLIER):
        made.journal.mkdir()
        (made.journal / "w1.db").write_text("decided")
    (made.ledger / "gateway.jsonl").write_text("charged")
    made.write_events([])
    for name in REPORTS:
        (made.path / name).write_text("earlier")
    (made.path / "notes.txt").write_text("mine")
    return made


def start(folder: RunFolder) -> None:
    folder.journal.mkdir()
    (folder.journal / "w1.db").write_text("begun")
    (folder.ledger / "carrier.jsonl").write_text("begun")


def fail(folder: RunFolder) -> None:
    start(folder)
    raise RuntimeError


def test_a_run_that_cannot_start_leaves_an_earlier_one_as_it_was(folder: RunFolder) -> None:
    before = files(folder.path)
    with pytest.raises(RuntimeError), folder.replaced(NEW):
        fail(folder)
    assert files(folder.path) == before


def test_a_first_run_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    with pytest.raises(RuntimeError), folder.held(), folder.replaced(NEW):
        fail(folder)
    assert not list(tmp_path.iterdir())


def test_a_run_that_has_started_leaves_nothing_of_an_earlier_one(folder: RunFolder) -> None:
    with folder.replaced(NEW):
        start(folder)
    names = {"run.json", "journal/w1.db", "ledger/carrier.jsonl", "notes.txt"}
    assert set(files(folder.path)) == names
    assert folder.read() == NEW
    assert (folder.journal / "w1.db").read_text() == "begun"


def test_an_earlier_run_outlives_a_kill_while_the_next_one_starts(folder: RunFolder) -> None:
    before = files(folder.path)
    killed = folder.replaced(NEW)
    killed.__enter__()
    start(folder)
    assert files(folder.path) != before
    with pytest.raises(RuntimeError), folder.replaced(NEW):
        raise RuntimeError
    assert files(folder.path) == before


def test_an_earlier_run_outlives_a_kill_while_it_is_put_aside(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(folder.path)
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path.name == "ledger":
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt), folder.replaced(NEW):
            pass
    assert files(folder.path) != before
    with pytest.raises(RuntimeError), folder.replaced(NEW):
        raise RuntimeError
    assert files(folder.path) == before


def no_record(path: Path) -> None:
    (path / "run.json").unlink()


def foreign_record(path: Path) -> None:
    (path / "run.json").write_text('{"laps": 12}')


def newer_record(path: Path) -> None:
    record = path / "run.json"
    record.write_text(record.read_text().replace("orders-run/1", "orders-run/2"))


def unreadable_record(path: Path) -> None:
    (path / "run.json").unlink()
    (path / "run.json").mkdir()


@pytest.mark.parametrize("change", [no_record, foreign_record, newer_record, unreadable_record])
def test_what_is_no_run_is_not_replaced(folder: RunFolder, change: Callable[[Path], None]) -> None:
    change(folder.path)
    before = files(folder.path)
    with pytest.raises(RunRecordError, match="choose another folder") as caught:
        folder.replaced(NEW).__enter__()
    assert str(folder.path) in str(caught.value)
    assert files(folder.path) == before


def test_empty_folders_are_nobodys(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.journal.mkdir()
    folder.ledger.mkdir()
    with folder.replaced(NEW):
        pass
    assert folder.read() == NEW


def test_one_run_writes_to_a_folder_at_a_time(folder: RunFolder) -> None:
    second = RunFolder(folder.path)
    error = f"another run writes to {folder.path}"
    with folder.held(), pytest.raises(RunRecordError, match=error), second.held():
        pass
    with second.held():
        assert second.read() == EARLIER


def test_events_that_are_cut_off_are_told(folder: RunFolder) -> None:
    for file in (*folder.journal.iterdir(), *folder.ledger.iterdir()):
        file.unlink()
    (folder.path / "events.msgpack").write_bytes(b"\xdd\x00")
    with pytest.raises(RunRecordError, match=r"can't read the events in .*events\.msgpack: "):
        folder.audit()


@pytest.mark.parametrize("inside", ["", "journal"])
def test_an_empty_folder_is_no_journal(tmp_path: Path, inside: str) -> None:
    (tmp_path / inside).mkdir(exist_ok=True)
    with pytest.raises(JournalError, match=f"there is no journal at {tmp_path / inside}"):
        next(journal_events(str(tmp_path)))
