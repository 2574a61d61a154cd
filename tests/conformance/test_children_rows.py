# ruff: noqa: N802 - named by the conformance row's id
"""Conformance groups 6, 9 and 14: the children of actors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gristmill import ActorCrashed, ActorNotFoundError, Node, Ref
from gristmill.supervision import Crash, Killed, Shutdown, Strategy, SupervisorSpec
from gristmill.transport.codec import Codec
from gristmill.worker.specs import actor_spec, child_spec
from support.actors import read_lines
from support.bonding import heard, monitored, peer
from support.bonds import DieHard, Finish, Keeper, Link, Peer, Ping, SpawnChild, Unlink
from support.processes import kill, worker_pids
from support.waiting import eventually


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file that the actors write to."""
    return tmp_path / "log"


def child(parent: Ref[Any], name: str, place: str = "any", restart: str = "permanent") -> Ref[Any]:
    """Have an actor start a child."""
    return parent.ask(SpawnChild(name, restart, place))


def is_gone(ref: Ref[Any]) -> bool:
    """Tell whether an actor has stopped for good."""
    try:
        ref.ask(Ping())
    except ActorNotFoundError:
        return True
    return False


@pytest.mark.parametrize("place", ["w1", "w2"])
@pytest.mark.parametrize("how", ["bye", "crash", "kill"])
def test_GS29_a_child_ends_with_its_parents_reason(
    node: Node, log: Path, place: str, how: str
) -> None:
    parent = peer(node, log, "gs29", "w1")
    one = child(parent, "gs29-c", place)
    grandchild = child(one, "gs29-g", "w2")
    ended, below = monitored(node, one), monitored(node, grandchild)
    if how == "kill":
        parent.tell(DieHard())
        expected: object = Killed(9)
    else:
        parent.tell(Finish(how))
        expected = Shutdown("bye")
    reason = ended.wait(5.0)
    if how == "crash":
        assert isinstance(reason, Crash)
        assert str(reason.error) == "ValueError: on request"
    else:
        assert reason == expected
    assert below.wait(5.0) == reason
    parent.ask(Ping())
    word = {"bye": "shutdown: bye", "crash": "crash: ValueError: on request"}
    ends = heard(log, "terminate")
    assert f"gs29-g {word.get(how, 'killed by SIGKILL')}" in ends
    if how != "kill" or place == "w2":
        assert f"gs29-c {word.get(how, 'killed by SIGKILL')}" in ends
    assert {"gs29-c", "gs29-g"}.isdisjoint(node.status().names)
    parent.stop()


@pytest.mark.parametrize("how", ["crash", "kill"])
def test_AM07_children_stop_before_their_parent_starts_again(
    node: Node, log: Path, how: str
) -> None:
    parent = peer(node, log, "am07", "w1")
    for n in (1, 2):
        child(parent, f"am07-{n}", "w2")
    before = parent.ask(Ping())
    ended = node.monitor(parent)
    parent.tell(Finish("crash") if how == "crash" else DieHard())
    assert ended.wait(5.0) is not None
    assert parent.ask(Ping()) != before
    lines = read_lines(log)
    again = [place for place, line in enumerate(lines) if line == "start am07"][1]
    stopped = [place for place, line in enumerate(lines) if line.startswith("terminate am07-")]
    assert len(stopped) == 2
    assert max(stopped) < again
    one = child(parent, "am07-1")  # its name is free
    parent.stop()
    assert is_gone(one)


@pytest.mark.parametrize("how", ["crash", "kill"])
def test_AM07_children_that_are_kept(node: Node, log: Path, how: str) -> None:
    parent = peer(node, log, "am07-k", "w1", Keeper)
    one = child(parent, "am07-kc", "w2")
    born, before = one.ask(Ping()), parent.ask(Ping())
    ended = node.monitor(parent)
    parent.tell(Finish("crash") if how == "crash" else DieHard())
    assert ended.wait(5.0) is not None
    assert parent.ask(Ping()) != before
    assert one.ask(Ping()) == born
    other = child(parent, "am07-kd", "w2")
    parent.stop()
    eventually(lambda: is_gone(one) and is_gone(other), "the end of the children")


def test_AM07_a_parent_whose_time_to_stop_is_over_waits_for_its_children_all_the_same(
    node: Node, log: Path
) -> None:
    codec = Codec(None)
    specs = [
        child_spec(
            actor_spec(codec, Peer, args=(str(log),), name=name, placement="w1"), name, shutdown=0.1
        )
        for name in ("late-p", "late-s")
    ]
    group = SupervisorSpec("late", Strategy.ONE_FOR_ALL, max_restarts=9, children=tuple(specs))
    parent, sibling = node.start_supervisor(group)
    parent.ask(SpawnChild("late-c", placement="w2", stops_in=0.5))
    before = parent.ask(Ping())
    ended = node.monitor(parent)
    sibling.tell(Finish("crash"))
    assert ended.wait(5.0) == Shutdown()
    assert parent.ask(Ping()) != before
    lines = read_lines(log)
    again = [place for place, line in enumerate(lines) if line == "start late-p"][1]
    assert lines.index("stopped") < again


def test_a_child_is_restarted_alone(node: Node, log: Path) -> None:
    parent = peer(node, log, "alone", "w1")
    one, other = child(parent, "alone-1", "w1"), child(parent, "alone-2", "w2")
    before = [ref.ask(Ping()) for ref in (parent, one, other)]
    one.tell(Finish("crash"))
    eventually(lambda: one.ask(Ping()) != before[1], "a restart")
    kill(worker_pids(node)["w2"])
    eventually(lambda: _other_than(other, before[2]), "a restart")
    assert parent.ask(Ping()) == before[0]
    parent.stop()


def _other_than(ref: Ref[Any], before: int) -> bool:
    try:
        return bool(ref.ask(Ping()) != before)
    except Exception:  # its worker died with the question
        return False


def test_a_parent_ends_when_its_children_are_restarted_too_often(node: Node, log: Path) -> None:
    parent = peer(node, log, "often", "w1")
    one = child(parent, "often-c", "w2")
    ended = node.monitor(parent)
    for _ in range(4):
        one.tell(Finish("crash"))
    assert ended.wait(5.0) == Shutdown("its children were restarted too often")
    parent.ask(Ping())
    assert is_gone(one)
    parent.stop()


def test_a_temporary_child_ends_alone(node: Node, log: Path) -> None:
    parent = peer(node, log, "alone", "w1")
    one = child(parent, "alone-t", restart="temporary")
    one.tell(Finish("crash"))
    eventually(lambda: is_gone(one), "its end")
    parent.ask(Ping())
    assert child(parent, "alone-t").ask(Ping())
    parent.stop()


def test_a_parent_and_its_sibling_that_die_together_cost_one_restart(log: Path) -> None:
    with Node(workers=2, max_restarts=1, within=60.0) as own:
        parent, sibling = peer(own, log, "pair-p", "w1"), peer(own, log, "pair-s", "w1")
        child(parent, "pair-c", "w2")
        ends = [own.monitor(parent), own.monitor(sibling)]
        kill(worker_pids(own)["w1"])
        assert [end.wait(5.0) for end in ends] == [Killed(9), Killed(9)]
        parent.ask(Ping())
        sibling.ask(Ping())


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        (SpawnChild("cannot-c", placement="nowhere"), "UsageError: placement 'nowhere' is unknown"),
        (SpawnChild("cannot"), "AlreadyStartedError: the name 'cannot' is taken by actor #"),
        (SpawnChild("cannot-c", restart="often"), "UsageError: restart is 'often'"),
        (SpawnChild("cannot-c", start_timeout=-1.0), "UsageError: start_timeout is -1.0"),
    ],
)
def test_a_child_that_cannot_start_is_an_error_in_its_parent(
    node: Node, log: Path, request_: SpawnChild, what: str
) -> None:
    parent = peer(node, log, "cannot", "w1")
    before = parent.ask(Ping())
    with pytest.raises(ActorCrashed, match=what):
        parent.ask(request_)
    assert parent.ask(Ping()) != before
    assert "cannot-c" not in node.status().names
    parent.stop()


def test_SD09_a_child_that_has_unlinked_itself_is_stopped_all_the_same(
    node: Node, log: Path
) -> None:
    parent = peer(node, log, "sd09", "w1")
    one = child(parent, "sd09-c", "w2")
    one.ask(Link(parent))
    one.ask(Unlink(parent))
    parent.stop(timeout=2.0)
    assert is_gone(one)
