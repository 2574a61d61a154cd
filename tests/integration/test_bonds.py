"""Monitors and links where processes come and go, and in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill import Node
from gristmill.supervision import Crash, Killed, NoProc, Shutdown
from support.bonding import heard, monitored, peer
from support.bonds import (
    Chooser,
    Finish,
    Link,
    Observe,
    Ping,
    SayAndEnd,
    SendExit,
    SpawnChild,
    Trapper,
    Watch,
)
from support.processes import kill, worker_pids
from support.waiting import eventually


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file that the actors write to."""
    return tmp_path / "log"


def test_a_worker_that_was_replaced_knows_who_has_gone(node: Node, log: Path) -> None:
    gone = peer(node, log, "gone", "dedicated")
    gone.stop()
    watcher = peer(node, log, "heir", "w1")
    eventually(lambda: len(worker_pids(node)) == 2, "the end of the dedicated worker")
    ended = node.monitor(watcher)
    kill(worker_pids(node)["w1"])
    assert ended.wait(5.0) == Killed(9)
    watcher.ask(Watch(gone))
    eventually(lambda: heard(log, "heir") == ["down gone no such actor"], "a down", within=1.0)
    watcher.stop()


def test_monitors_and_links_through_many_deaths_of_workers(node: Node, log: Path) -> None:
    trapper = peer(node, log, "many", "w1", Trapper)
    targets = [peer(node, log, f"many-{n}", "w2") for n in range(5)]
    for turn in range(1, 6):
        for target in targets:
            trapper.ask(Watch(target))
            trapper.ask(Link(target))
        ended = node.monitor(targets[0])
        kill(worker_pids(node)["w2"])
        assert ended.wait(5.0) == Killed(9)
        for target in targets:
            target.ask(Ping())
        eventually(lambda: len(heard(log, "many")) >= 10 * turn, "all ends")  # noqa: B023 - at once
    trapper.ask(Ping())
    each = [f"{what} many-{n} killed by SIGKILL" for n in range(5) for what in ("down", "exited")]
    assert sorted(heard(log, "many")) == sorted(each * 5)
    for ref in (*targets, trapper):
        ref.stop()


def test_a_down_that_nobody_handles_is_a_dead_letter(node: Node, log: Path, tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    switch.write_text("run\n")
    deaf = node.spawn(Chooser, args=(str(switch), "on_start"), name="deaf")
    dead = peer(node, log, "dead")
    dead.stop()
    deaf.ask(Watch(dead))
    reason = "deaf has no handler for Down"

    def refused() -> bool:
        letters = [letter for letter in node.dead_letters() if letter.target == "deaf"]
        return any(letter.reason.startswith(reason) for letter in letters)

    eventually(refused, "a dead letter")
    assert deaf.ask(Ping()) == 1
    deaf.stop()


def test_everything_in_one_process(log: Path) -> None:
    with Node(workers=2, in_process=True) as node:
        trapper = peer(node, log, "local", "w1", Trapper)
        for place in ("w1", "w2"):
            target = peer(node, log, "local-t", place, restart="temporary")
            trapper.ask(Watch(target))
            trapper.ask(Link(target))
            ended = node.monitor(target)
            target.tell(SayAndEnd(trapper, 2, "bye"))
            assert ended.wait(5.0) == Shutdown("bye")
            assert node.monitor(target).wait(5.0) == NoProc()
        once = ["got 0", "got 1", "down local-t shutdown: bye", "exited local-t shutdown: bye"]
        eventually(lambda: heard(log, "local") == once * 2, "all of both")
        child = trapper.ask(SpawnChild("local-c", placement="w2"))
        ended = node.monitor(child)
        trapper.tell(Finish("crash"))
        assert isinstance(ended.wait(5.0), Crash)
        trapper.ask(Ping())
        other = peer(node, log, "local-o", "w2")
        ended = monitored(node, trapper)
        other.ask(SendExit(trapper, "kill"))
        assert ended.wait(5.0) == Killed(9)


@pytest.mark.parametrize("place", ["w1", "w2"])
def test_an_end_can_come_as_an_event_of_ones_own(node: Node, log: Path, place: str) -> None:
    watcher = peer(node, log, f"observer-{place}", "w1")
    target = peer(node, log, f"observed-{place}", place)
    watcher.ask(Observe(target))
    watcher.ask(Observe(target, broken=True))
    target.stop()
    watcher.ask(Observe(target))
    ends = ["observed shutdown", "observed no such actor"]
    eventually(lambda: heard(log, f"observer-{place}") == ends, "both events")
    assert watcher.ask(Ping()), "an event that could not be made has harmed nobody"
    watcher.stop()


def test_the_death_of_a_worker_comes_as_an_event_too(node: Node, log: Path) -> None:
    watcher, target = peer(node, log, "observer", "w1"), peer(node, log, "observed", "w2")
    watcher.ask(Observe(target))
    kill(worker_pids(node)["w2"])
    eventually(lambda: heard(log, "observer") == ["observed killed by SIGKILL"], "the event")
    watcher.stop()
    target.stop()
