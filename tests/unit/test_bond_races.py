"""Signals that arrive in a rare order, given to the core of a worker as they would come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill import Node, Ref, Reject
from gristmill.behaviours.gen_event import DeleteHandler, ListHandlers, SwapHandler, add_handler
from gristmill.node.hosting import LocalHost
from gristmill.supervision import Killed, Normal
from gristmill.transport.control import PeerInfo
from gristmill.transport.envelope import SIGNAL, pack, pack_frame
from gristmill.transport.signals import Ended, Exit, Join, Signal, Watch, signal_envelope
from gristmill.worker.core import WorkerCore
from support import managers as m
from support.bonding import heard, peer
from support.bonds import Finish, Link, Observe, Ping, Trapper
from support.bonds import Watch as AskToWatch


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file that the actors write to."""
    return tmp_path / "log"


@pytest.fixture
def node() -> Iterator[Node]:
    """Give a node in this process."""
    with Node(workers=2, in_process=True) as started:
        yield started


def core_of(node: Node, worker: int) -> WorkerCore:
    """Give the core of a worker in this process."""
    assert isinstance(node._host, LocalHost)
    return node._host._world.workers[worker].core


def receive(node: Node, ref: Ref[Any], source: int, incarnation: int, signal: Signal) -> None:
    """Have the actor's worker take in a signal from a process, and let it act on it."""
    envelope = signal_envelope(ref.address.key, signal)
    core_of(node, ref.address.home).intake.on_frame(
        pack_frame(source, incarnation, 1, [envelope], 0)
    )
    ref.ask(Ping())


def announce(core: WorkerCore, address: int, incarnation: int) -> None:
    """Have a worker know of the next incarnation of another one."""
    core.directory.peer_up(PeerInfo(address, incarnation, "", f"w{address}"))


def test_a_link_from_the_successor_of_a_worker_whose_last_words_are_awaited(
    node: Node, log: Path
) -> None:
    one, other = peer(node, log, "one", "w1", Trapper), peer(node, log, "other", "w2")
    one.ask(Link(other))
    announce(core_of(node, 1), 2, 2)
    receive(node, one, 2, 2, Join(other.address, 2))
    assert heard(log, "one") == ["exited other lost with node w2"]
    core_of(node, 1).bonds.process_died(2, 1, Killed(9), final=False)  # settled late
    one.ask(Ping())
    one.ask(Ping())
    assert heard(log, "one") == ["exited other lost with node w2"]
    receive(node, one, 2, 2, Exit(other.address, Normal(), linked=True))  # of the new link
    assert heard(log, "one")[1:] == ["exited other normal"]


def test_the_death_of_a_watchers_worker_leaves_the_monitors_of_its_successor(
    node: Node, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = peer(node, log, "one", "w1", Trapper)
    old, new = (1 << 40) + 77, (2 << 40) + 77
    core = core_of(node, 1)
    receive(node, one, 2, 1, Watch(old))
    announce(core, 2, 2)
    receive(node, one, 2, 2, Watch(new))
    core.bonds.process_died(2, 1, Killed(9), final=False)
    posted: list[bytes] = []
    post = core.shell.post

    def seen(address: int, envelope: bytes) -> None:
        posted.append(envelope)
        post(address, envelope)

    monkeypatch.setattr(core.shell, "post", seen)
    born = one.ask(Ping())
    one.ask(Ping())
    one.tell(Finish("normal"))
    assert one.ask(Ping()) != born
    assert signal_envelope(0, Ended(new, Normal())) in posted
    assert signal_envelope(0, Ended(old, Normal())) not in posted


def test_a_second_end_of_the_same_monitor_is_nothing(node: Node, log: Path) -> None:
    one, other = peer(node, log, "one", "w1", Trapper), peer(node, log, "other", "w2")
    monitor = one.ask(AskToWatch(other))
    for _ in range(2):
        receive(node, one, 2, 1, Ended(monitor.number, Normal()))
    assert heard(log, "one") == ["down other normal"]


def test_an_exit_of_a_link_that_is_not_there_is_nothing(node: Node, log: Path) -> None:
    one, other = peer(node, log, "one", "w1", Trapper), peer(node, log, "other", "w2")
    receive(node, one, 2, 1, Exit(other.address, Killed(9), linked=True))
    assert heard(log, "one") == []


def test_a_malformed_signal_is_a_dead_letter(node: Node, log: Path) -> None:
    one = peer(node, log, "one", "w1", Trapper)
    frame = pack_frame(2, 1, 1, [pack((SIGNAL, one.address.key, b"junk"))], 0)
    core_of(node, 1).intake.on_frame(frame)
    one.ask(Ping())
    (letter,) = node.dead_letters()
    assert letter.reason.startswith("malformed envelope")


def test_watchers_that_have_ended_leave_nothing(node: Node, log: Path) -> None:
    target = peer(node, log, "target", "w1", Trapper)
    for number, place in enumerate(["w1", "w2"] * 3):
        watcher = peer(node, log, f"watcher-{number}", place)
        watcher.ask(Observe(target))
        watcher.ask(AskToWatch(target))
        watcher.stop()
    target.ask(Ping())
    assert [len(core_of(node, worker).bonds._monitors) for worker in (1, 2)] == [0, 0]


def test_a_link_that_is_read_behind_the_death_of_its_maker_is_broken(node: Node, log: Path) -> None:
    one, other = peer(node, log, "one", "w1", Trapper), peer(node, log, "other", "w2")
    core_of(node, 1).bonds.process_died(2, 1, Killed(9), final=False)
    one.ask(Ping())
    receive(node, one, 2, 1, Join(other.address, 1))
    assert heard(log, "one") == ["exited other lost with node w2"]


def test_event_handlers_that_have_left_leave_nothing(node: Node) -> None:
    manager = node.spawn(m.Manager, placement="w1")
    adder = node.spawn(m.Adder, placement="w2")
    for name in ("a", "b"):
        adder.ask(m.Act(manager, "add", name))
    adder.ask(m.Act(manager, "swap", "a", "c"))
    adder.ask(m.Act(manager, "take over", "b", "d"))
    assert [len(core_of(node, worker).bonds._monitors) for worker in (1, 2)] == [2, 1]
    adder.ask(m.Act(manager, "add", "e"))
    with pytest.raises(Reject, match="no disk"):
        manager.ask(SwapHandler("e", add_handler("bad", m.Recorder, "bad", "bad init")))
    for name in ("c", "d"):
        manager.ask(DeleteHandler(name))
    adder.ask(m.Log())
    assert [len(core_of(node, worker).bonds._monitors) for worker in (1, 2)] == [0, 0]
    assert manager.ask(ListHandlers()) == []
