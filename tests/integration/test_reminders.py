"""Reminders: kept in the journal, armed again by the next incarnation, handled once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import Durable, Node, Reminders
from gristmill.errors import ActorCrashed, UsageError
from gristmill.node.building.node_builder import NodeBuilder
from gristmill.testing import Simulation
from support.reminding import DueIn, Forget, Keeper, Notes, Remind
from support.waiting import eventually


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    journal = tmp_path_factory.mktemp("journal")
    with Node(workers=1, journal=journal, max_restarts=100) as started:
        yield started


def kill_worker(node: Node) -> None:
    before = node.status().worker_restarts
    os.kill(node.status().workers[0].pid, signal.SIGKILL)
    eventually(lambda: node.status().worker_restarts > before, "the worker starts again")


def test_a_reminder_is_handled_when_it_is_due_and_not_before(node: Node) -> None:
    keeper = node.spawn(Keeper, name="due")
    assert keeper.ask(Remind("soon", 0.05))
    assert keeper.ask(Remind("later", 600.0))
    assert 590.0 < keeper.ask(DueIn("later")) <= 600.0
    eventually(lambda: keeper.ask(Notes()) == ["noted"], "it is due")
    assert keeper.ask(DueIn("soon")) == -1.0


def test_a_reminder_survives_the_death_of_its_worker(node: Node) -> None:
    keeper = node.spawn(Keeper, name="survives")
    keeper.ask(Remind("soon", 0.5))
    keeper.ask(Remind("gone", 0.5, "cancelled"))
    assert keeper.ask(Forget("gone"))
    assert not keeper.ask(Forget("gone"))
    kill_worker(node)
    eventually(lambda: keeper.ask(Notes()) == ["noted"], "it is due")


def test_a_reminder_survives_the_node_and_comes_late(tmp_path: Path) -> None:
    with Node(workers=1, journal=tmp_path) as node:
        keeper = node.spawn(Keeper, name="keeper")
        keeper.ask(Remind("tomorrow", 600.0))
        keeper.ask(Remind("soon", 0.05))
        node.stop(0)
    with Node(workers=1, journal=tmp_path) as node:
        keeper = node.spawn(Keeper, name="keeper")
        eventually(lambda: keeper.ask(Notes()) == ["noted"], "what was due meanwhile is handled")
        assert keeper.ask(DueIn("tomorrow")) > 500.0
    with Node(workers=1, journal=tmp_path) as node:
        keeper = node.spawn(Keeper, name="keeper")
        assert keeper.ask(Notes()) == ["noted"]


def test_a_later_reminder_takes_the_place_of_one_with_its_name(node: Node) -> None:
    keeper = node.spawn(Keeper, name="replaces")
    keeper.ask(Remind("it", 0.0, "at once"))
    eventually(lambda: keeper.ask(Notes()) == ["at once"], "it is due")
    keeper.ask(Remind("it", 0.3, "old"))
    keeper.ask(Remind("it", 0.05, "new"))
    eventually(lambda: keeper.ask(Notes()) == ["at once", "new"], "the new one is due")
    keeper.ask(Remind("end", 0.4, "end"))
    eventually(lambda: "end" in keeper.ask(Notes()), "time has passed")
    assert keeper.ask(Notes()) == ["at once", "new", "end"]


def test_a_handler_that_fails_has_set_no_reminder(node: Node) -> None:
    keeper = node.spawn(Keeper, name="fails")
    with pytest.raises(ActorCrashed):
        keeper.ask(Remind("it", 600.0, fails=True))
    assert keeper.ask(DueIn("it")) == -1.0


def test_a_reminder_whose_worker_dies_is_handled_once(node: Node, tmp_path: Path) -> None:
    keeper = node.spawn(Keeper, name="dies", args=(str(tmp_path / "died"),))
    before = node.status().worker_restarts
    keeper.ask(Remind("it", 0.05, "die"))
    eventually(lambda: node.status().worker_restarts > before, "the worker dies")
    eventually(lambda: keeper.ask(Notes()) == ["die"], "it is handled by the next one")
    assert keeper.ask(DueIn("it")) == -1.0


def test_a_reminder_that_crashes_its_actor_is_given_up(node: Node, tmp_path: Path) -> None:
    tries, before = tmp_path / "tries", node.status().dead_letters
    keeper = node.spawn(Keeper, name="crashes", args=(str(tries),))
    keeper.ask(Remind("it", 0.05, "crash"))
    eventually(lambda: tries.exists() and tries.read_text() == "xxx", "it is tried three times")
    eventually(lambda: node.status().dead_letters > before, "it becomes a dead letter")
    assert keeper.ask(DueIn("it")) == -1.0
    kill_worker(node)
    assert keeper.ask(Notes()) == []
    assert tries.read_text() == "xxx"


def test_reminders_are_part_of_snapshots(node: Node) -> None:
    facets = [Durable(snapshot_every=2), Reminders()]
    keeper = node.spawn(Keeper, name="snapshots", facets=facets)
    keeper.ask(Remind("later", 600.0))
    for _ in range(4):
        before = len(keeper.ask(Notes()))
        keeper.ask(Remind("soon", 0.0))
        eventually(lambda: len(keeper.ask(Notes())) > before, "it is due")  # noqa: B023 - at once
    kill_worker(node)
    assert keeper.ask(Notes()) == ["noted"] * 4
    assert keeper.ask(DueIn("later")) > 500.0


def test_messages_are_accounted_for(node: Node) -> None:
    keeper = node.spawn(Keeper, name="accounted")
    for number in range(3):
        keeper.ask(Remind(f"r{number}", 0.0))
    eventually(lambda: len(keeper.ask(Notes())) == 3, "they are due")
    keeper.stop()
    eventually(lambda: node.status().messages.balanced, "sent = handled + the rest")


def test_a_bad_reminder_is_refused_where_it_is_set(node: Node) -> None:
    with pytest.raises(UsageError, match="add Durable"):
        node.spawn(Keeper, name="volatile", facets=[Reminders()])
    plain = node.spawn(Keeper, name="plain", facets=[Durable()])
    with pytest.raises(ActorCrashed, match="no reminders; start it with"):
        plain.ask(DueIn("it"))
    keeper = node.spawn(Keeper, name="bad")
    for name, seconds in (("", 1.0), ("it", -1.0), ("it", float("inf"))):
        with pytest.raises(ActorCrashed, match="reminder"):
            keeper.ask(Remind(name, seconds))


def test_a_simulation_keeps_reminders(tmp_path: Path) -> None:
    with Simulation.of(NodeBuilder().workers(1).journal(tmp_path), 1) as simulation:
        keeper = simulation.spawn(Keeper, name="keeper")
        keeper.ask(Remind("it", 3600.0))
        simulation.advance(3599.0)
        assert keeper.ask(Notes()) == []
        simulation.advance(2.0)
        assert keeper.ask(Notes()) == ["noted"]
