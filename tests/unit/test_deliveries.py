"""Adding up what processes have counted: wires, tallies of the living and the dead."""

from __future__ import annotations

from pathlib import Path

from gristmill.metrics.wires import Wire, Wires, read_wires
from gristmill.node.deliveries import DeliveryBook, Tally
from gristmill.transport.envelope import (
    ARRAYS,
    ASK,
    CREDIT,
    EVENT,
    REPLY,
    TELL,
    count_messages,
    pack,
)
from gristmill.worker.telemetry.counters import NAMES


def tally(address: int, *wires: Wire, incarnation: int = 1, **counted: int) -> Tally:
    return Tally(address, incarnation, dict.fromkeys(NAMES, 0) | counted, wires)


def test_wires_outlive_their_process_and_see_what_is_missing(tmp_path: Path) -> None:
    wires = Wires(tmp_path / "w.wires")
    wires.sent(2, 1, 5)
    wires.received(2, 1, 0, 3)
    wires.received(2, 1, 3, 1)
    wires.received(2, 1, 6, 2)
    wires.sent(2, 2, 1)
    expected = (Wire(2, 1, 5, 6, 2), Wire(2, 2, 1, 0, 0))
    assert wires.read() == read_wires(tmp_path / "w.wires") == expected
    assert read_wires(tmp_path / "none") == ()
    (tmp_path / "short").write_bytes(b"GRISTWR1")
    assert read_wires(tmp_path / "short") == ()


def test_more_peers_than_there_are_rows_share_the_last_one(tmp_path: Path) -> None:
    wires = Wires(tmp_path / "w.wires")
    for incarnation in range(1, 5001):
        wires.sent(1, incarnation, 1)
        wires.sent(1, incarnation, 1)
    read = read_wires(tmp_path / "w.wires")
    assert len(read) == 4096
    assert read[-1].address == 0
    assert sum(wire.sent for wire in read) == 10_000


def test_only_what_goes_to_actors_and_subscribers_is_a_message() -> None:
    body = b"body"
    envelopes = [
        pack((TELL, 1, 0, 0, body)),
        pack((ASK, 1, 0, 1, 0.0, body)),
        pack((EVENT, "channel", [1, 2], 0, 0, [body])),
        pack((REPLY, 1, body)),
        pack((CREDIT, 1, 2)),
        pack((ARRAYS, (TELL, 1, 0, 0, body), body)),
        pack((ARRAYS, (REPLY, 1, body), body)),
    ]
    assert count_messages(envelopes, [1] * len(envelopes)) == 4
    assert [count_messages([each], [3]) for each in envelopes] == [3, 3, 3, 0, 0, 3, 0]


def test_what_is_in_living_processes_and_between_them_waits() -> None:
    client = tally(1001, Wire(1, 1, 10, 0, 0), sent=10)
    worker = tally(1, Wire(1001, 1, 0, 7, 1), handled=4)
    counted = DeliveryBook().read([client, worker])
    assert (counted.sent, counted.handled, counted.waiting) == (10, 4, 5)
    assert counted.dropped == {"lost_on_wire": 1}
    assert not counted.balanced


def test_what_was_in_a_dead_process_is_lost_or_in_doubt() -> None:
    book = DeliveryBook()
    book.close(tally(1, Wire(1001, 1, 0, 7, 0), handled=2, rejected=1, dead_lettered=1, in_hand=1))
    counted = book.read([tally(1001, Wire(1, 1, 10, 0, 0), sent=10)])
    assert counted.dropped == {"lost_with_process": 2, "lost_on_wire": 3}
    assert (counted.in_doubt, counted.waiting, counted.balanced) == (1, 0, True)
    assert "in doubt 1" in str(counted)


def test_what_two_dead_processes_exchanged_is_settled_whoever_died_first() -> None:
    sender = tally(1, Wire(2, 1, 10, 0, 0), sent=10)
    receiver = tally(2, Wire(1, 1, 0, 6, 0), handled=6)
    for order in ((sender, receiver), (receiver, sender)):
        book = DeliveryBook()
        for dead in order:
            book.close(dead)
        assert not book._open
        counted = book.read([])
        assert (counted.dropped, counted.balanced) == ({"lost_on_wire": 4}, True)


def test_counts_can_be_taken_from_each_other() -> None:
    book = DeliveryBook()
    before = book.read([tally(1, sent=3, handled=3)])
    since = book.read([tally(1, sent=5, handled=4, overflow=1)]) - before
    assert (since.sent, since.handled, since.dropped) == (2, 1, {"overflow": 1})
    assert since.balanced
