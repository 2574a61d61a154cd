"""The ledger file: one entry a key, for any number of processes, whatever happens to them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill_orders.ledger import (
    Charge,
    Label,
    Ledger,
    LedgerError,
    Refund,
    read_ledger,
    read_ledgers,
)

CHARGE = Charge("k1", "o1", 100)
REFUND = Refund("r1", "k1", "o1", 40)
LABEL = Label("Swift/k1", "o1", "Swift", "express", "SW1", 499)


def put(ledger: Ledger, *entries: Charge | Refund | Label) -> None:
    with ledger.locked():
        for entry in entries:
            ledger.append(entry)


def test_entries_survive_a_reopen(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    with Ledger(file) as ledger:
        put(ledger, CHARGE, REFUND, LABEL)
    assert read_ledger(file) == (CHARGE, REFUND, LABEL)
    with Ledger(file) as again, again.locked():
        assert again.find("k1") == CHARGE
        assert again.find("nobody") is None
        assert again.refunded("k1") == 40
        with pytest.raises(LedgerError, match="'k1' is already recorded"):
            again.append(CHARGE)


def test_two_owners_see_each_other(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as one, Ledger(tmp_path / "l") as other:
        put(one, CHARGE)
        with other.locked():
            assert other.find("k1") == CHARGE
        put(other, REFUND)
        with one.locked():
            assert one.refunded("k1") == 40


def test_a_folder_of_ledgers_is_read_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with pytest.raises(LedgerError, match="no such folder"):
        read_ledgers(folder)
    with Ledger(folder / "gateway.jsonl") as gateway, Ledger(folder / "carriers.jsonl") as carriers:
        assert read_ledgers(folder) == ()
        put(gateway, CHARGE, REFUND)
        put(carriers, LABEL)
    assert set(read_ledgers(folder)) == {CHARGE, REFUND, LABEL}


def test_the_lock_keeps_others_out_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "l"
    with Ledger(file) as ledger, file.open("rb") as other:
        with ledger.locked(), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("tail", [b'{"entry":"cha', b"\xff"])
def test_a_half_written_line_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    file = tmp_path / "l"
    with Ledger(file) as ledger:
        put(ledger, CHARGE)
    with file.open("ab") as stream:
        stream.write(tail)
    assert read_ledger(file) == (CHARGE,)
    with Ledger(file) as ledger:
        put(ledger, REFUND)
    assert read_ledger(file) == (CHARGE, REFUND)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "l"
    file.write_bytes(b"nonsense\n")
    with pytest.raises(LedgerError, match=r"l: 'nonsense' is no ledger entry"):
        read_ledger(file)
    with Ledger(file) as ledger, pytest.raises(LedgerError, match="nonsense"), ledger.locked():
        pass


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="can't open"):
        Ledger(tmp_path)
    with pytest.raises(LedgerError, match="can't read"):
        read_ledger(tmp_path / "absent")


def test_a_full_disk_records_nothing() -> None:
    with Ledger("/dev/full") as ledger, pytest.raises(LedgerError, match="can't write"):
        ledger.append(CHARGE)


WRITER = """
import sys
from gristmill_orders.ledger import Charge, Ledger
with Ledger(sys.argv[1]) as ledger:
    for number in range(300):
        with ledger.locked():
            if ledger.find(f"k{number}") is None:
                ledger.append(Charge(f"k{number}", sys.argv[2], number))
"""


def test_no_key_is_recorded_twice_by_two_processes(tmp_path: Path) -> None:
    file = tmp_path / "l"
    path = os.pathsep.join(sys.path)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file), name], env=os.environ | {"PYTHONPATH": path}
        )
        for name in ("one", "two")
    ]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    entries = read_ledger(file)
    assert [entry.key for entry in entries] == [f"k{number}" for number in range(300)]
