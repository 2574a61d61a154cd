# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 12: monitors."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill import Backoff, MonitorRef, Node
from gristmill.supervision import Crash, Killed, NoProc, Normal, Shutdown
from support.bonding import PLACES, heard, in_background, peer
from support.bonds import (
    Block,
    DieHard,
    Finish,
    Forget,
    Peer,
    Ping,
    SayAndDie,
    SayAndEnd,
    WaitThenForget,
    Watch,
)
from support.processes import kill, worker_pids
from support.waiting import eventually


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file that the actors write to."""
    return tmp_path / "log"


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("normal", "normal"),
        ("bye", "shutdown: bye"),
        ("crash", "crash: ValueError: on request"),
    ],
)
def test_LM09_one_down_with_the_true_reason(
    node: Node, log: Path, places: tuple[str, str], how: str, reason: str
) -> None:
    watcher = peer(node, log, "lm09", places[0])
    target = peer(node, log, "lm09-t", places[1])
    watcher.ask(Watch(target))
    target.tell(Finish(how))
    eventually(lambda: heard(log, "lm09"), "a down")
    again = target.ask(Ping())  # the next incarnation: a monitor is of one
    target.tell(Finish(how))
    eventually(lambda: target.ask(Ping()) != again, "another restart")
    watcher.ask(Ping())
    assert heard(log, "lm09") == [f"down lm09-t {reason}"]
    target.stop()
    watcher.stop()


@pytest.mark.parametrize(
    ("how", "reason"), [("kill", "killed by SIGKILL"), ("exit", "exited with code 7")]
)
def test_LM09_the_worker_of_the_target_dies(node: Node, log: Path, how: str, reason: str) -> None:
    watcher = peer(node, log, "lm09", "w1")
    targets = [peer(node, log, f"lm09-{n}", "w2") for n in range(3)]
    for target in (*targets, targets[0]):
        watcher.ask(Watch(target))
    targets[1].tell(DieHard(how))
    eventually(lambda: len(heard(log, "lm09")) >= 4, "a down for each monitor")
    node.status()  # its answer comes behind the news of the death
    for target in targets:
        target.ask(Ping())
    expected = [f"down lm09-{n} {reason}" for n in (0, 0, 1, 2)]
    assert sorted(heard(log, "lm09")) == expected
    for target in (*targets, watcher):
        target.stop()


@pytest.mark.parametrize("places", PLACES)
def test_LM10_nobody_there_is_told_at_once(node: Node, log: Path, places: tuple[str, str]) -> None:
    watcher = peer(node, log, "lm10", places[0])
    dead = peer(node, log, "lm10-t", places[1])
    dead.stop()
    alone = node.spawn(Peer, args=(str(log),), name="lm10-d", placement="dedicated")
    alone.stop()
    for target in (dead, alone):
        watcher.ask(Watch(target))
    expected = ["down lm10-d no such actor", "down lm10-t no such actor"]
    eventually(lambda: sorted(heard(log, "lm10")) == expected, "two downs", within=1.0)
    watcher.stop()


def test_LM10_an_actor_that_is_down_before_its_restart(node: Node, log: Path) -> None:
    watcher = peer(node, log, "lm10", "w1")
    target = peer(node, log, "lm10-b", "w2", backoff=Backoff(30.0, 30.0))
    ended = node.monitor(target)
    target.tell(Finish("crash"))
    assert isinstance(ended.wait(5.0), Crash)
    watcher.ask(Watch(target))
    eventually(lambda: heard(log, "lm10") == ["down lm10-b no such actor"], "a down", within=1.0)
    target.stop()
    watcher.stop()


@pytest.mark.parametrize("places", PLACES)
def test_LM12_no_down_after_demonitor(node: Node, log: Path, places: tuple[str, str]) -> None:
    watcher = peer(node, log, "lm12", places[0])
    target = peer(node, log, "lm12-t", places[1])
    watcher.ask(Forget(watcher.ask(Watch(target))))
    kept = watcher.ask(Watch(target))
    target.tell(Finish("crash"))
    eventually(lambda: heard(log, "lm12"), "the down of the other monitor")
    watcher.ask(Forget(kept))
    assert heard(log, "lm12") == ["down lm12-t crash: ValueError: on request"]
    target.stop()
    watcher.stop()


@pytest.mark.parametrize(("flush", "expected"), [(True, 0), (False, 1)])
def test_LM12_flush_takes_a_waiting_down_out(
    node: Node, log: Path, tmp_path: Path, *, flush: bool, expected: int
) -> None:
    watcher = peer(node, log, "lm12", "w1")
    target = peer(node, log, "lm12-t", "w1", restart="temporary")
    monitor = watcher.ask(Watch(target))
    gate = tmp_path / "gate"
    gate.touch()
    forgotten = in_background(watcher, WaitThenForget(str(gate), monitor, flush))
    eventually(lambda: not gate.exists(), "the handler has begun")
    seen = node.monitor(target)
    target.tell(Finish("normal"))
    assert seen.wait(5.0) == Normal()  # told after the watcher, of the same worker, was
    gate.touch()
    forgotten()
    watcher.ask(Ping())
    assert heard(log, "lm12") == ["down lm12-t normal"] * expected
    watcher.stop()


def test_LM13_demonitor_twice_or_of_another_actor(node: Node, log: Path) -> None:
    one = peer(node, log, "lm13-a", "w1")
    other = peer(node, log, "lm13-b", "w1")
    target = peer(node, log, "lm13-t", "w2")
    of_one, of_other = one.ask(Watch(target)), other.ask(Watch(target))
    one.ask(Forget(of_one))
    one.ask(Forget(of_one))
    one.ask(Forget(of_other))
    one.ask(Forget(MonitorRef(of_one.watcher, of_other.number)))
    target.tell(Finish("normal"))
    eventually(lambda: heard(log, "lm13-b") == ["down lm13-t normal"], "the other's down")
    assert heard(log, "lm13-a") == []
    for ref in (one, other, target):
        ref.stop()


@pytest.mark.parametrize("how", ["stop", "crash", "kill"])
def test_LM15_the_watcher_dies_first(node: Node, log: Path, how: str) -> None:
    watcher = peer(node, log, "lm15", "w1")
    target = peer(node, log, "lm15-t", "w2")
    watcher.ask(Watch(target))
    before = target.ask(Ping())
    seen = node.monitor(watcher)
    if how == "stop":
        watcher.stop()
    elif how == "crash":
        watcher.tell(Finish("crash"))
    else:
        kill(worker_pids(node)["w1"])
    assert seen.wait(5.0) is not None
    assert target.ask(Ping()) == before
    if how != "stop":
        watcher.ask(Ping())
    target.tell(Finish("normal"))
    eventually(lambda: target.ask(Ping()) != before, "the target's end")
    assert heard(log, "lm15") == []
    target.stop()
    if how != "stop":
        watcher.stop()


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("how", ["normal", "crash"])
def test_LM17_what_the_target_sent_comes_before_its_down(
    node: Node, log: Path, places: tuple[str, str], how: str
) -> None:
    watcher = peer(node, log, "lm17", places[0])
    target = peer(node, log, "lm17-t", places[1])
    for _ in range(5):
        watcher.ask(Watch(target))
        target.tell(SayAndEnd(watcher, 300, how))
        eventually(lambda: "down" in "".join(heard(log, "lm17")[-1:]), "a down")
        lines = heard(log, "lm17")
        assert lines[:-1] == [f"got {n}" for n in range(300)]
        log.unlink()
        target.ask(Ping())
    target.stop()
    watcher.stop()


def test_LM17_all_that_has_arrived_of_a_lost_worker_comes_before_its_down(
    node: Node, log: Path
) -> None:
    watcher = peer(node, log, "lm17", "w1")
    target = peer(node, log, "lm17-t", "w2", restart="temporary")
    watcher.ask(Watch(target))
    target.tell(SayAndDie(watcher, 900, watcher))
    eventually(lambda: "down lm17-t killed by SIGKILL" in heard(log, "lm17"), "the down")
    watcher.ask(Ping())
    expected = [*(f"got {n}" for n in range(900)), "down lm17-t killed by SIGKILL"]
    assert heard(log, "lm17") == expected
    watcher.stop()


def test_LM17_nothing_of_a_lost_worker_comes_after_its_down(
    node: Node, log: Path, tmp_path: Path
) -> None:
    watcher = peer(node, log, "lm17", "w1")
    target = peer(node, log, "lm17-t", "w2", restart="temporary")
    watcher.ask(Watch(target))
    gate = tmp_path / "gate"
    gate.touch()
    computing = in_background(watcher, Block(str(gate)))  # what arrives waits in the pipe
    eventually(lambda: not gate.exists(), "the handler has begun")
    seen = node.monitor(target)
    target.tell(SayAndDie(watcher, 900))
    assert seen.wait(5.0) == Killed(9)
    gate.touch()
    computing()
    eventually(lambda: "down lm17-t killed by SIGKILL" in heard(log, "lm17"), "the down")
    watcher.ask(Ping())
    lines = heard(log, "lm17")
    assert lines == [*(f"got {n}" for n in range(len(lines) - 1)), lines[-1]]
    assert lines[-1] == "down lm17-t killed by SIGKILL"
    watcher.stop()


def test_a_client_watches_too(node: Node, log: Path) -> None:
    target = peer(node, log, "client-t", "w1")
    first, closed = node.monitor(target), node.monitor(target)
    closed.close()
    assert first.wait(0.01) is None
    target.tell(Finish("bye"))
    assert first.wait(5.0) == Shutdown("bye")
    target.ask(Ping())
    second = node.monitor(target)
    target.tell(DieHard())
    assert second.wait(5.0) == Killed(9)
    target.stop()
    assert node.monitor(target).wait(5.0) == NoProc()
    assert closed.reason is None
