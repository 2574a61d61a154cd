# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 11: GenEvent."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill import Node, Ref, Reject
from gristmill.behaviours.gen_event import (
    AddHandler,
    CallHandler,
    DeleteHandler,
    ListHandlers,
    SwapHandler,
    SyncNotify,
    add_handler,
)
from gristmill.testing import Simulation
from support import managers as m
from support.waiting import eventually


@pytest.fixture
def manager(either: Node) -> Iterator[Ref[m.Manager]]:
    """Give a manager on the first worker."""
    ref = either.spawn(m.Manager, placement="w1")
    yield ref
    ref.stop()


def add(manager: Ref[Any], *names: str, how: str = "") -> None:
    for name in names:
        manager.ask(add_handler(name, m.Recorder, name, how))


def handlers(manager: Ref[Any]) -> list[str]:
    found: list[str] = manager.ask(ListHandlers())
    return found


def log(manager: Ref[Any]) -> list[str]:
    found: list[str] = manager.ask(m.Log())
    return found


# --- add, delete, call ---


def test_GE01_a_handler_is_installed_or_its_error_is_given(manager: Ref[m.Manager]) -> None:
    add(manager, "a")
    with pytest.raises(Reject, match="'b' could not start: OSError") as caught:
        add(manager, "b", how="bad init")
    assert caught.value.code == "init_failed"
    with pytest.raises(Reject, match="'b' could not be made"):
        manager.ask(AddHandler("b", "support.managers:Recorder", (1, 2, 3, 4)))
    with pytest.raises(Reject, match="no EventHandler"):
        manager.ask(AddHandler("b", "support.managers:Manager"))
    assert handlers(manager) == ["a"]
    manager.ask(SyncNotify(m.Rang(1)))
    assert log(manager) == ["a 1"]


def test_GE02_instances_under_ids_are_independent(manager: Ref[m.Manager]) -> None:
    add(manager, "a", "b")
    with pytest.raises(Reject) as caught:
        add(manager, "a")
    assert caught.value.code == "already_exists"
    manager.ask(SyncNotify(m.Rang(1)))
    assert manager.ask(DeleteHandler("a")) == "seen by a: [1]"
    manager.ask(SyncNotify(m.Rang(2)))
    assert manager.ask(CallHandler("b", "x")) == ["x", 1, 2]


def test_GE03_the_newest_handler_is_first(manager: Ref[m.Manager]) -> None:
    add(manager, "a", "b", "c")
    assert handlers(manager) == ["c", "b", "a"]
    manager.ask(SyncNotify(m.Rang(1)))
    assert log(manager) == ["c 1", "b 1", "a 1"]


def test_GE04_deleting_gives_what_terminate_gives(manager: Ref[m.Manager]) -> None:
    add(manager, "a")
    assert manager.ask(DeleteHandler("a")) == "seen by a: []"
    assert log(manager) == ["a deleted"]
    with pytest.raises(Reject, match=r"no handler 'a' \(handlers: none\)") as caught:
        manager.ask(DeleteHandler("a"))
    assert caught.value.code == "not_found"


def test_GE05_a_handler_whose_terminate_raises_is_gone_all_the_same(
    manager: Ref[m.Manager],
) -> None:
    add(manager, "a")
    add(manager, "b", how="bad end")
    with pytest.raises(Reject, match="RuntimeError") as caught:
        manager.ask(DeleteHandler("b"))
    assert caught.value.code == "handler_failed"
    assert handlers(manager) == ["a"]


def test_GE11_one_handler_is_called_or_missing(manager: Ref[m.Manager]) -> None:
    add(manager, "a", "b")
    assert manager.ask(CallHandler("a", "x")) == ["x"]
    with pytest.raises(Reject, match="no handler 'c'") as caught:
        manager.ask(CallHandler("c", "x"))
    assert caught.value.code == "not_found"
    with pytest.raises(Reject, match="KeyError"):
        manager.ask(CallHandler("a", "raise"))
    assert handlers(manager) == ["b"]


# --- events ---


def test_GE06_notify_returns_before_and_sync_notify_after_the_handling(
    node: Node, tmp_path: Path
) -> None:
    manager, gate = node.spawn(m.Manager), tmp_path / "gate"
    manager.ask(add_handler("a", m.Recorder, "a", "", str(gate)))
    manager.tell(m.Rang(1))
    pending = manager.request(SyncNotify(m.Rang(2)))
    assert not pending.wait(0.05)
    gate.touch()
    pending.result()
    assert log(manager) == ["a 1", "a 2"]


@pytest.mark.parametrize("how", ["raise", "junk"])
def test_GE08_GE09_a_handler_that_fails_is_removed_alone(manager: Ref[m.Manager], how: str) -> None:
    add(manager, "a")
    add(manager, "b", how=how)
    add(manager, "c")
    manager.ask(SyncNotify(m.Rang(1)))
    error = {"raise": "RuntimeError", "junk": "TypeError"}[how]
    assert log(manager) == ["c 1", "b 1", f"b error {error}", "a 1"]
    assert handlers(manager) == ["c", "a"]
    manager.tell(m.Rang(2))
    assert log(manager) == ["c 2", "a 2"]


def test_GE10_a_handler_asks_for_its_removal(manager: Ref[m.Manager]) -> None:
    add(manager, "a")
    add(manager, "b", how="leave")
    manager.ask(SyncNotify(m.Rang(1)))
    assert log(manager) == ["b 1", "b asked", "a 1"]
    assert handlers(manager) == ["a"]


def test_GE19_a_plain_message_goes_to_every_handler(
    manager: Ref[m.Manager],
) -> None:
    add(manager, "a")
    for name in ("b", "c"):
        manager.ask(add_handler(name, m.Listener, name))
    manager.tell(m.Knock("hello"))
    manager.tell(m.Ignored())
    assert log(manager) == ["c hello", "b hello"]
    manager.tell(m.Knock("raise"))
    assert log(manager) == [
        "c raise",
        "c error RuntimeError",
        "b raise",
        "b error RuntimeError",
    ]
    assert handlers(manager) == ["a"]


def test_GE19_a_handler_that_knows_no_plain_message_logs_it_and_stays(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Node(workers=1) as node:
        manager = node.spawn(m.Manager, name="ge19")
        add(manager, "a")
        manager.tell(m.Knock("hello"))
        assert handlers(manager) == ["a"]
    lines = [x for x in capfd.readouterr().err.splitlines() if "handle_info" in x]
    assert len(lines) == 1
    assert "Recorder has no handle_info and drops Knock" in lines[0]


def test_GE20_an_earlier_notify_is_handled_before_a_sync_notify(manager: Ref[m.Manager]) -> None:
    add(manager, "a", "b")
    manager.tell(m.Rang(1))
    manager.ask(SyncNotify(m.Rang(2)))
    assert log(manager) == ["b 1", "a 1", "b 2", "a 2"]


def test_GE18_every_handler_ends_once_with_its_manager(either: Node) -> None:
    manager = either.spawn(m.Manager, placement="w1")
    other = either.spawn(m.Survivor, placement="w1")
    add(manager, "a", "b")
    manager.stop()
    assert log(other) == ["b stop shutdown", "a stop shutdown"]
    other.stop()


# --- swaps and supervision ---


@pytest.mark.parametrize("new", ["a", "b"])
def test_GE13_a_successor_gets_what_terminate_gives(manager: Ref[m.Manager], new: str) -> None:
    add(manager, "a")
    manager.ask(SyncNotify(m.Rang(1)))
    manager.ask(SwapHandler("a", add_handler(new, m.Recorder, new)))
    assert log(manager) == ["a 1", "a swapped", f"{new} got seen by a: [1]"]
    assert handlers(manager) == [new]
    with pytest.raises(Reject) as caught:
        manager.ask(SwapHandler("gone", add_handler("c", m.Recorder, "c")))
    assert caught.value.code == "not_found"


@pytest.fixture(params=["w1", "w2"])
def adder(either: Node, request: pytest.FixtureRequest) -> Iterator[Ref[m.Adder]]:
    """Give an actor beside the manager, or on another worker."""
    ref = either.spawn(m.Adder, placement=request.param, restart="transient")
    yield ref
    ref.stop()


def told(adder: Ref[m.Adder], *notices: str) -> None:
    eventually(lambda: len(adder.ask(m.Log())) >= len(notices), "the adder is told")
    assert adder.ask(m.Log()) == list(notices)


@pytest.mark.parametrize(
    ("how", "reason"), [(m.Leave(), "normal"), (m.Crash(), "crash: ValueError: as told")]
)
def test_GE15_a_supervised_handler_leaves_when_its_adder_ends(
    manager: Ref[m.Manager], adder: Ref[m.Adder], how: Any, reason: str
) -> None:
    add(manager, "other")
    for name in ("a", "b"):
        adder.ask(m.Act(manager, "add", name))
    assert handlers(manager) == ["b", "a", "other"]
    adder.tell(how)
    eventually(lambda: handlers(manager) == ["other"], "the handlers leave")
    assert log(manager) == [f"a stop {reason}", f"b stop {reason}"]


def test_GE15_also_when_the_adder_is_killed_with_its_worker(node: Node) -> None:
    manager = node.spawn(m.Manager, placement="w1")
    adder = node.spawn(m.Adder, placement="w2")
    adder.ask(m.Act(manager, "add", "a"))
    os.kill(next(w.pid for w in node.status().workers if w.name == "w2"), signal.SIGKILL)
    eventually(lambda: handlers(manager) == [], "the handler leaves")
    (line,) = log(manager)
    assert line == "a stop killed by SIGKILL"
    assert adder.ask(m.Log()) == []
    adder.ask(m.Act(manager, "add", "again"))
    adder.stop()
    eventually(lambda: handlers(manager) == [], "the handler of the next incarnation leaves")


@pytest.mark.parametrize("seed", range(6))
def test_GE15_the_end_of_an_adder_removes_no_handler_of_the_next_incarnation(seed: int) -> None:
    with Simulation(seed) as node:
        manager = node.spawn(m.Manager, placement="w2")
        node.spawn(m.Starter, args=(manager,), name="adder", placement="w1")
        node.advance(1.0)
        node.pause("w2", 0.5)
        node.kill("w1")
        node.advance(5.0)
        assert len(handlers(manager)) == 1


def test_GE16_the_adder_is_told_how_its_handler_leaves(either: Node, adder: Ref[m.Adder]) -> None:
    manager = either.spawn(m.Manager, placement="w1")
    adder.ask(m.Act(manager, "add", "a"))
    manager.ask(DeleteHandler("a"))
    told(adder, "a deleted")
    adder.ask(m.Act(manager, "add", "b"))
    with pytest.raises(Reject):
        manager.ask(CallHandler("b", "raise"))
    told(adder, "a deleted", "b error KeyError")
    adder.ask(m.Act(manager, "add", "c"))
    manager.stop()
    told(adder, "a deleted", "b error KeyError", "c stop shutdown")


def test_GE13_supervision_is_carried_over_in_a_swap(
    either: Node, manager: Ref[m.Manager], adder: Ref[m.Adder]
) -> None:
    adder.ask(m.Act(manager, "add", "a"))
    manager.ask(SwapHandler("a", add_handler("b", m.Recorder, "b")))
    assert adder.ask(m.Log()) == []
    manager.ask(DeleteHandler("b"))
    told(adder, "b deleted")


def test_GE13_another_actor_may_take_the_supervision_over(
    either: Node, manager: Ref[m.Manager], adder: Ref[m.Adder]
) -> None:
    other = either.spawn(m.Adder, restart="temporary")
    adder.ask(m.Act(manager, "add", "a"))
    other.ask(m.Act(manager, "take over", "a", "b"))
    told(adder, "a swapped")
    adder.tell(m.Leave())
    other.tell(m.Leave())
    eventually(lambda: handlers(manager) == [], "the handler leaves")
    assert "b stop normal" in log(manager)


def test_GE15_a_client_can_supervise_nothing(manager: Ref[m.Manager]) -> None:
    with pytest.raises(Reject, match="add it from an actor") as caught:
        manager.ask(add_handler("a", m.Recorder, "a", supervised=True))
    assert caught.value.code == "no_adder"
    assert handlers(manager) == []


def test_GS36_the_state_of_a_manager_has_its_handlers(
    either: Node, manager: Ref[m.Manager]
) -> None:
    add(manager, "a")
    manager.tell(m.Rang(1))
    assert either.state_of(manager)["handlers"]["a"]["seen"] == [1]
