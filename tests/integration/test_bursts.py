"""What the handlers of one burst want happens together, and none of it is lost or too early."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import Node, Ref
from gristmill.durability.journal import read_journal
from support.bursts import (
    CHANNEL,
    Add,
    Added,
    Adder,
    AskPeer,
    FlushAndWait,
    Nap,
    Notes,
    Numbers,
    Peer,
)
from support.mailboxes import in_one_go
from support.processes import all_delivered, kill, worker_pids
from support.waiting import eventually


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def node(journal: Path) -> Iterator[Node]:
    with Node(workers=2, journal=journal, max_restarts=1000) as started:
        yield started


@pytest.fixture(params=["w1", "w2"])
def peer(request: pytest.FixtureRequest, node: Node) -> Ref[Peer]:
    """Give a peer on the adder's worker, and one on the other."""
    return node.spawn(Peer, name="peer", placement=request.param)


@pytest.fixture
def adder(node: Node, peer: Ref[Peer]) -> Ref[Adder]:
    return node.spawn(Adder, args=(peer,), name="adder", placement="w1")


def test_a_burst_is_journaled_told_and_published_in_order(
    node: Node, peer: Ref[Peer], adder: Ref[Adder], journal: Path
) -> None:
    with node.subscribe(CHANNEL, Added) as seen:
        with in_one_go(node, adder):
            for number in range(100):
                adder.tell(Add(number), delivery="at_least_once")
        expected = list(range(100))
        eventually(lambda: adder.ask(Numbers()) == expected, "all numbers")
        eventually(lambda: peer.ask(Notes()) == expected, "all notes")
        assert [event.number for event in (seen.get(5.0) for _ in expected)] == expected
    all_delivered(adder)
    with read_journal(journal) as reader:
        snapshot = reader.last_snapshot("adder")
        assert snapshot is not None
        assert snapshot.seq + len(list(reader.replay("adder"))) == 100


@pytest.mark.parametrize("fails", ["crash", "reject"])
def test_a_failure_in_a_burst_takes_only_its_own_effects_with_it(
    node: Node, peer: Ref[Peer], adder: Ref[Adder], fails: str
) -> None:
    with node.subscribe(CHANNEL, Added) as seen:
        with in_one_go(node, adder):
            for number in range(20):
                adder.tell(Add(number, fails if number in {5, 6, 13} else ""))
        expected = [number for number in range(20) if number not in {5, 6, 13}]
        eventually(lambda: adder.ask(Numbers()) == expected, "the numbers of the others")
        eventually(lambda: peer.ask(Notes()) == expected, "their notes")
        assert [event.number for event in (seen.get(5.0) for _ in expected)] == expected
    adder.stop()
    again = node.spawn(Adder, args=(peer,), name="adder", placement="w2")
    assert again.ask(Numbers()) == expected


def test_a_flush_in_a_burst_lets_leave_what_was_finished(
    node: Node, peer: Ref[Peer], adder: Ref[Adder], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with node.subscribe(CHANNEL, Added) as seen:
        with in_one_go(node, adder):
            adder.tell(Add(1))
            adder.tell(Add(2))
            adder.tell(FlushAndWait(str(gate)))
            adder.tell(Add(3))
        assert [seen.get(5.0).number for _ in range(2)] == [1, 2]
        gate.touch()
        assert seen.get(5.0).number == 3
    assert adder.ask(Numbers()) == [1, 2, 3]


def test_a_flush_takes_nothing_of_the_handler_in_progress(
    node: Node, peer: Ref[Peer], adder: Ref[Adder]
) -> None:
    with in_one_go(node, adder):
        adder.tell(Add(1))
        adder.tell(Nap())
        adder.tell(Add(2))  # comes at once, so the nap's timeout is over
    eventually(lambda: 99 in peer.ask(Notes()), "the timer")
    assert adder.ask(Numbers()) == [1, 2, 99]


def test_an_ask_is_behind_what_earlier_handlers_of_the_burst_have_told(
    node: Node, peer: Ref[Peer], adder: Ref[Adder]
) -> None:
    for number in range(0, 30, 3):
        with in_one_go(node, adder):
            for more in range(3):
                adder.tell(Add(number + more))
            asked = adder.request(AskPeer())
        assert asked.result() == list(range(number + 3))


def test_a_kill_in_a_burst_leaves_all_or_nothing_of_each_message(
    node: Node, tmp_path: Path
) -> None:
    peer = node.spawn(Peer, name="peer", placement="w2")
    adder = node.spawn(Adder, args=(peer,), name="adder", placement="w1")
    told = list(range(200))
    with in_one_go(node, adder):
        for number in told[:10]:
            adder.tell(Add(number), delivery="at_least_once")
        adder.tell(FlushAndWait(str(tmp_path / "never")))
        for number in told[10:]:
            adder.tell(Add(number), delivery="at_least_once")
    eventually(lambda: peer.ask(Notes()) == told[:10], "the notes that were flushed")
    kill(worker_pids(node)["w1"])
    all_delivered(adder)
    assert adder.ask(Numbers()) == told
    eventually(lambda: sorted(set(peer.ask(Notes()))) == told, "every note")
