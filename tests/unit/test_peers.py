"""Other processes, as a worker sees them come and go, also in a rare order."""

from __future__ import annotations

from collections.abc import Iterator

import msgpack
import pytest

from gristmill import Actor, Node, Ref, Request, handles
from gristmill.durability import JournalError
from gristmill.node.hosting import LocalHost
from gristmill.ref import Address
from gristmill.supervision import Exited, Killed
from gristmill.transport.control import News, PeerInfo, Registered, encode_control
from gristmill.transport.envelope import ASK, HEADER, pack, pack_frame
from gristmill.worker.core import WorkerCore
from gristmill.worker.instructions import carry_out


class Count(Request[int]):
    """How many were there, this one included?"""

    number: int


class Counter(Actor):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    @handles
    def take(self, msg: Count) -> int:
        self.numbers.append(msg.number)
        return len(self.numbers)


@pytest.fixture
def node() -> Iterator[Node]:
    with Node(workers=2, in_process=True) as started:
        yield started


@pytest.fixture
def ref(node: Node) -> Ref[Counter]:
    return node.spawn(Counter, placement="w1")


@pytest.fixture
def core(node: Node) -> WorkerCore:
    assert isinstance(node._host, LocalHost)
    return node._host._world.workers[1].core


@pytest.fixture
def connected(core: WorkerCore, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[int]]]:
    """Give to which incarnations of w2 there was a way, and what had been handled by then."""
    found: list[tuple[int, list[int]]] = []
    monkeypatch.setattr(
        core.shell, "connect", lambda peer: found.append((peer.incarnation, handled(core)))
    )
    return found


def handled(core: WorkerCore) -> list[int]:
    """Give the numbers that the actor was asked with."""
    ((cell),) = core.cells.values()
    assert isinstance(cell.actor, Counter)
    return list(cell.actor.numbers)


def asks(ref: Ref[Counter], core: WorkerCore, incarnation: int, number: int, news: int = 0) -> None:
    """Have w1 take in an ask of an incarnation of w2, and let it act on it."""
    body = core.codec.encode(Count(number))
    envelope = pack((ASK, ref.address.key, 0, 0.0, number, (body,)))
    frame = pack_frame(2, incarnation, 0, [envelope], 0, 1, news)
    core.inlet.take_in_alone(core.intake.read(frame))


def down(core: WorkerCore, incarnation: int) -> None:
    core.peers.down(2, "w2", Killed(9), final=False)
    core.bonds.process_died(2, incarnation, Killed(9), final=False)


def up(core: WorkerCore, incarnation: int) -> None:
    core.peers.up(PeerInfo(2, incarnation, "", "w2"))
    core.turn()


def test_an_ask_that_overtakes_the_news_is_handled_when_there_is_a_way_to_its_sender(
    ref: Ref[Counter], core: WorkerCore, connected: list[tuple[int, list[int]]]
) -> None:
    asks(ref, core, 2, 7)
    down(core, 1)
    assert handled(core) == []
    up(core, 2)
    assert connected == [(2, [])]
    assert handled(core) == [7]
    assert ref.ask(Count(8)) == 2


def test_each_incarnation_waits_for_news_of_its_own(
    ref: Ref[Counter], core: WorkerCore, connected: list[tuple[int, list[int]]]
) -> None:
    for incarnation, number in [(1, 10), (3, 30), (2, 20), (3, 31)]:
        asks(ref, core, incarnation, number)
    assert handled(core) == [10]
    for incarnation in (1, 2):
        down(core, incarnation)
        up(core, incarnation + 1)
    assert connected == [(2, [10]), (3, [10, 20])]
    assert handled(core) == [10, 20, 30, 31]


def test_what_relies_on_news_waits_for_them_with_all_behind_it(
    ref: Ref[Counter], core: WorkerCore
) -> None:
    heard = core.peers._news
    for number, news in [(1, heard), (2, heard + 1), (3, heard + 1), (4, heard + 3)]:
        asks(ref, core, 1, number, news)
    assert handled(core) == [1]
    for news, expected in [(1, [1, 2, 3]), (2, [1, 2, 3]), (3, [1, 2, 3, 4])]:
        core.peers.heard(heard + news)
        core.turn()
        assert handled(core) == expected


def test_news_that_cannot_be_followed_keep_no_frame_back(
    ref: Ref[Counter], core: WorkerCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise JournalError("the disk is gone")

    monkeypatch.setattr(core.delivery, "located", fail)
    number = core.peers._news + 1
    asks(ref, core, 1, 1, number)
    news = News(number, Registered(Address(999, 2, "", "somebody")))
    with pytest.raises(JournalError):
        carry_out(core, encode_control(news))
    core.turn()
    assert handled(core) == [1]


def test_a_header_with_something_else_than_numbers_is_malformed(
    node: Node, core: WorkerCore
) -> None:
    for header in [(HEADER, 2, "next", 0, 1, 0, 0, 0), (HEADER, 2, 1, 0, 1, 0, 0, "all")]:
        assert core.intake.read(msgpack.packb([header, (ASK,)])) == []
    letters = node.dead_letters()
    assert len(letters) == 2
    assert all(letter.reason.startswith("malformed envelope") for letter in letters)


def test_a_client_that_has_gone_leaves_its_number_and_nothing_else(
    ref: Ref[Counter], core: WorkerCore
) -> None:
    def known() -> list[int]:
        directory, plane = core.directory, core.shell.plane  # type: ignore[attr-defined]  # a LocalWorker's
        found = [directory._processes, directory._incarnations, directory._reachable]
        return [len(each) for each in (*found, core.bonds._died, plane._outbound, plane._sent)]

    ref.ask(Count(1))
    before, gone = known(), len(core.directory.gone)
    for address in range(2000, 2020):
        core.peers.up(PeerInfo(address, 1, "", f"client-{address}"))
        body = core.codec.encode(Count(address))
        envelope = pack((ASK, ref.address.key, 0, 0.0, 1, (body,)))
        core.intake.on_frame(pack_frame(address, 1, 0, [envelope], 0, 1))
        core.turn()
        core.peers.down(address, f"client-{address}", Exited(0), final=True)
        core.bonds.process_died(address, 1, Exited(0), final=True)
    assert len(handled(core)) == 21
    assert known() == before
    assert len(core.directory.gone) == gone + 20
