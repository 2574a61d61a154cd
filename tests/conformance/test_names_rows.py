# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 13: names, and timers of actors that end."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill import ActorCrashed, ActorNotFoundError, Backoff, Node
from support.actors import read_lines
from support.bonding import in_background, peer
from support.bonds import Finish, Ping, Remind, SpawnChild, TimersLeft
from support.waiting import eventually


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file that the actors write to."""
    return tmp_path / "log"


def test_NT01_one_of_two_workers_gets_the_name(node: Node, log: Path) -> None:
    for _ in range(10):
        racers = [peer(node, log, f"nt01-{n}", f"w{n}", on_restart="drop") for n in (1, 2)]
        asked = [in_background(racer, SpawnChild("nt01")) for racer in racers]
        lost = []
        for wait in asked:
            try:
                wait()
            except ActorCrashed as error:
                lost.append(str(error))
        holder = node.lookup("nt01")
        assert len(lost) == 1
        assert f"the name 'nt01' is taken by actor #{holder.address.key}" in lost[0]
        holder.ask(Ping())
        for racer in racers:
            racer.stop()
        with pytest.raises(ActorNotFoundError):
            node.lookup("nt01")


def test_NT03_only_its_holders_end_frees_a_name(node: Node, log: Path) -> None:
    former = peer(node, log, "nt03", "w1")
    former.stop()
    holder = peer(node, log, "nt03", "w2")
    with pytest.raises(ActorNotFoundError):
        former.stop()
    assert node.lookup("nt03") == holder
    assert node.lookup("nt03").ask(Ping()) == holder.ask(Ping())
    holder.stop()


def test_NT03_who_has_heard_of_its_end_finds_the_name_free(node: Node, log: Path) -> None:
    for _ in range(100):
        holder = peer(node, log, "nt03-again", "w1", restart="temporary")
        ended = node.monitor(holder)
        holder.tell(Finish("normal"))
        assert ended.wait(5.0) is not None


def test_NT04_a_lookup_during_a_restart_never_gives_the_dead_one(node: Node, log: Path) -> None:
    ref = peer(node, log, "nt04", "w1", backoff=Backoff(0.2, 0.2))
    before = ref.ask(Ping())
    ended = node.monitor(ref)
    ref.tell(Finish("crash"))
    assert ended.wait(5.0) is not None
    found = node.lookup("nt04")
    assert node.monitor(found).wait(1.0) is not None  # none lives yet
    assert found.ask(Ping()) != before
    ref.stop()


def test_NT08_timers_fire_in_the_order_of_their_deadlines(node: Node, log: Path) -> None:
    ref = peer(node, log, "nt08", "w1")
    delays = [0.06, 0.02, 0.1, 0.04, 0.08, 0.0]
    ref.tell(Remind(tuple((delay, f"after {delay}") for delay in delays)))
    expected = [f"after {delay}" for delay in sorted(delays)]
    eventually(lambda: read_lines(log)[1:] == expected, "all lines in order")
    ref.stop()


@pytest.mark.parametrize("how", ["normal", "crash"])
def test_NT09_the_timers_of_a_dead_actor_are_freed(node: Node, log: Path, how: str) -> None:
    ref = peer(node, log, "nt09", "w1")
    other = peer(node, log, "nt09-o", "w1")
    before = ref.ask(Ping())
    left = other.ask(TimersLeft())
    ref.tell(Remind(tuple((delay, "from the dead") for delay in (0.1, 0.2, 3600.0))))
    ref.ask(Ping())
    assert other.ask(TimersLeft()) == left + 3
    ref.tell(Finish(how))
    eventually(lambda: ref.ask(Ping()) != before, "a restart")
    assert other.ask(TimersLeft()) == left
    ref.tell(Remind(((0.3, "alive"),)))
    eventually(lambda: "alive" in read_lines(log), "the line of the living")
    assert "from the dead" not in read_lines(log)
    ref.stop()
    other.stop()
