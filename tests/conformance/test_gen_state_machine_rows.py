# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 10: GenStateMachine. SM20 is also among the rows of facets, and a table's own
refusals in the unit tests of transitions."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill import (
    ActorCrashed,
    ActorDied,
    ActorNotFoundError,
    AskTimeoutError,
    Node,
    Ref,
)
from gristmill.errors import (
    AlreadyStartedError,
    InvalidStateTransition,
    StartFailedError,
    UsageError,
)
from gristmill.supervision import Shutdown
from support import machines as m
from support.mailboxes import in_one_go
from support.waiting import eventually

BEGUN = ["started", "a>a", "first in a"]
"""The log of a machine that has begun."""


@pytest.fixture
def machine(either: Node) -> Iterator[Ref[m.Machine]]:
    ref = either.spawn(m.Machine)
    yield ref
    ref.stop()


def since(ref: Ref[Any]) -> list[str]:
    """Give what a machine has noted since it began."""
    log = ref.ask(m.Log())
    assert log[: len(BEGUN)] == BEGUN
    return log[len(BEGUN) :]


def noted(node: Node, ref: Ref[Any], text: str) -> list[str]:
    """Wait for a note, without a message to the machine; give what was noted since it began."""
    eventually(lambda: text in node.state_of(ref)["log"], f"a note: {text}")
    log: list[str] = node.state_of(ref)["log"]
    return log[len(BEGUN) :]


def _letters_to(node: Node, name: str) -> list[str]:
    """Give the types of the dead letters to an actor."""
    return sorted(letter.message_type for letter in node.dead_letters() if letter.target == name)


# --- postponed and inserted messages ---


def test_SM01_postponed_messages_are_tried_again_in_order_before_newer_ones(
    either: Node, machine: Ref[m.Machine]
) -> None:
    with in_one_go(either, machine):
        for message in (m.Hold("1"), m.Note("x"), m.Hold("2")):
            machine.tell(message)
        pending = machine.request(m.Go("b"))
        machine.tell(m.Note("newer"))
    assert pending.result() == "a"
    assert since(machine) == ["x in a", "a>b", "1 in b", "2 in b", "newer in b"]


def test_SM03_inserted_then_postponed_then_the_mailbox(
    either: Node, machine: Ref[m.Machine]
) -> None:
    with in_one_go(either, machine):
        machine.tell(m.Hold("p"))
        machine.request(m.Go("b", insert=("i1", "i2")))
        machine.tell(m.Note("m"))
    assert since(machine) == ["a>b", "i1 in b", "i2 in b", "p in b", "m in b"]


def test_SM03_a_message_may_be_postponed_by_the_handler_that_changes_the_state(
    machine: Ref[m.Machine],
) -> None:
    machine.tell(m.Hold("1"))
    assert machine.ask(m.HoldAndGo()) == "b"
    assert since(machine) == ["held and gone", "a>b", "1 in b"]


def test_SM01_postponed_messages_of_a_crashed_machine_are_dead_letters(either: Node) -> None:
    machine = either.spawn(m.Machine, name="sm01")
    machine.tell(m.Hold("1"))
    with pytest.raises(ActorCrashed):
        machine.ask(m.OnlyInB())
    machine.ask(m.Go("b"))
    assert since(machine) == ["a>b"]
    types = eventually(
        lambda: len(x := _letters_to(either, "sm01")) == 2 and x, "both are dead letters"
    )
    assert types == ["OnlyInB", "support.machines:Hold"]
    machine.stop()


def test_SM04_inserted_messages_of_every_kind_come_as_what_they_are(
    machine: Ref[m.Machine],
) -> None:
    machine.tell(m.InsertAll())
    assert since(machine) == ["note in a", "heard in a", "inside in a", "due due in a"]


@pytest.mark.parametrize("message", [m.Inside("x"), m.Due("state")])
def test_SM04_an_internal_message_can_only_come_from_the_machine(
    either: Node, machine: Ref[m.Machine], message: Any
) -> None:
    before = either.status().dead_letters
    machine.tell(message)
    assert since(machine) == []
    eventually(lambda: either.status().dead_letters == before + 1, "the dead letter")
    assert "is internal" in either.dead_letters()[-1].reason


# --- timeouts ---


def test_SM05_leaving_the_state_cancels_its_timeout(either: Node, machine: Ref[m.Machine]) -> None:
    with in_one_go(either, machine):
        machine.tell(m.Arm({"state": 0.05, "x": 0.15}))
        machine.request(m.Go("b"))
    assert noted(either, machine, "due x in b") == ["a>b", "due x in b"]


def test_SM05_one_that_is_due_and_waits_is_cancelled_too(
    either: Node, machine: Ref[m.Machine]
) -> None:
    with in_one_go(either, machine):
        machine.tell(m.Arm({"state": 0}))
        machine.request(m.Go("b"))
    assert since(machine) == ["a>b"]


def test_SM07_other_messages_leave_a_state_timeout_alone(
    either: Node, machine: Ref[m.Machine]
) -> None:
    with in_one_go(either, machine):
        machine.tell(m.Arm({"state": 0.05}))
        machine.tell(m.Note("x"))
        machine.request(m.Go("a"))
        machine.request(m.Again())
    log = noted(either, machine, "due state in a")
    assert log == ["x in a", "a>a", "due state in a"]


def test_SM07_arming_a_state_timeout_again_restarts_it(
    either: Node, machine: Ref[m.Machine]
) -> None:
    with in_one_go(either, machine):
        machine.tell(m.Arm({"state": 0.05, "x": 0.15}))
        machine.tell(m.Arm({"state": 0.25}))
    assert noted(either, machine, "due state in a") == ["due x in a", "due state in a"]


@pytest.mark.parametrize("how", ["external", "inserted", "retried", "timeout"])
def test_SM08_any_message_cancels_an_event_timeout(
    either: Node, machine: Ref[m.Machine], how: str
) -> None:
    with in_one_go(either, machine):
        machine.tell(m.Arm({"last": 0.25}))
        match how:
            case "external":
                machine.tell(m.Arm({"event": 0.1}))
                machine.tell(m.Note("x"))
            case "inserted":
                machine.request(m.Go("a", insert=("x",), arm={"event": 0.1}))
            case "retried":
                machine.tell(m.Hold("x"))
                machine.request(m.Go("b", arm={"event": 0.1}))
            case "timeout":
                machine.tell(m.Arm({"event": 0.1, "other": 0.01}))
    state = "b" if how == "retried" else "a"
    log = noted(either, machine, f"due last in {state}")
    assert not any("due event" in text for text in log)


def test_SM08_an_event_timeout_comes_when_nothing_else_does(
    either: Node, machine: Ref[m.Machine]
) -> None:
    machine.tell(m.Arm({"event": 0.02, "last": 0.1}))
    assert noted(either, machine, "due last in a") == ["due event in a", "due last in a"]


def test_SM09_named_timeouts_survive_a_change_of_state(
    either: Node, machine: Ref[m.Machine]
) -> None:
    with in_one_go(either, machine):
        machine.tell(m.Arm({"x": 0.05, "y": 0.1}))
        machine.request(m.Go("b"))
        machine.request(m.Go("a"))
    assert noted(either, machine, "due y in a") == ["a>b", "b>a", "due x in a", "due y in a"]


def test_SM09_arming_one_again_restarts_only_that_one(
    either: Node, machine: Ref[m.Machine]
) -> None:
    with in_one_go(either, machine):
        machine.tell(m.Arm({"x": 0.05, "y": 0.1}))
        machine.tell(m.Arm({"x": 0.2}))
    assert noted(either, machine, "due x in a") == ["due y in a", "due x in a"]


@pytest.mark.parametrize("seconds", [None, math.inf])
def test_SM09_infinity_and_a_cancellation_remove_it(
    either: Node, machine: Ref[m.Machine], seconds: float | None
) -> None:
    with in_one_go(either, machine):
        machine.tell(m.Arm({"x": 0.03, "state": 0.03, "y": 0.1}))
        machine.tell(m.Arm({"x": seconds, "state": seconds}))
    assert noted(either, machine, "due y in a") == ["due y in a"]


def test_SM13_an_absolute_timeout_is_due_at_its_instant(
    either: Node, machine: Ref[m.Machine]
) -> None:
    begun = time.monotonic()
    machine.tell(m.Arm({"x": 0.1, "state": 0.05, "past": -5}, absolute=True))
    log = noted(either, machine, "due x in a")
    assert time.monotonic() - begun >= 0.1
    assert log == ["due past in a", "due state in a", "due x in a"]


# --- enter ---


def test_SM14_the_first_state_is_entered_before_any_message(machine: Ref[m.Machine]) -> None:
    assert machine.ask(m.Log()) == BEGUN


def test_SM15_enter_runs_before_what_is_inserted_and_postponed(machine: Ref[m.Machine]) -> None:
    machine.tell(m.Hold("p"))
    machine.ask(m.Go("b", insert=("i",)))
    assert since(machine) == ["a>b", "i in b", "p in b"]


def test_SM16_staying_enters_nothing_and_repeating_does(machine: Ref[m.Machine]) -> None:
    machine.ask(m.Go("a"))
    assert since(machine) == []
    assert machine.ask(m.Again()) == "a"
    assert since(machine) == ["a>a"]


def test_SM17_enter_changes_data_replies_and_arms(either: Node) -> None:
    machine = either.spawn(m.Machine)
    either.replace_state(machine, m.arms_on_entry)
    pending = machine.request(m.Later())
    machine.ask(m.Go("b"))
    machine.ask(m.Go("c"))
    assert pending.result() == "c"
    log = noted(either, machine, "due state in c")
    assert log == ["a>b", "b>c", "due state in c"]
    machine.stop()


@pytest.mark.parametrize(
    ("how", "why"), [("become", "on_enter can't change the state"), ("give", "on_enter gave 17")]
)
def test_SM17_enter_can_do_nothing_else(either: Node, how: str, why: str) -> None:
    machine = either.spawn(m.Meddler, args=(how,))
    machine.ask(m.Go("b"))  # the reply leaves before the state is entered
    eventually(lambda: any(why in x.reason for x in either.dead_letters()), "the crash")
    assert either.state_of(machine)["state"] == "a"
    machine.stop()


# --- what goes wrong ---


def test_SM19_a_message_without_a_clause_crashes_with_state_and_data(
    either: Node, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    machine = either.spawn(m.Machine, args=(str(seen),))
    machine.ask(m.Go("c"))
    with pytest.raises(ActorCrashed, match=r"no clause for OnlyInB in state c \(it has in: b\)"):
        machine.ask(m.OnlyInB())
    assert machine.ask(m.Log()) == BEGUN
    assert "UnhandledMessageError" in seen.read_text()
    assert seen.read_text().endswith(f"| c | {[*BEGUN, 'a>c']}")
    machine.stop()


def test_SM20_an_undeclared_transition_changes_nothing(
    either: Node, machine: Ref[m.Machine]
) -> None:
    machine.ask(m.Go("c"))
    machine.tell(m.Arm({"state": 0.05}))
    with pytest.raises(InvalidStateTransition, match="from c to b"):
        machine.ask(m.Go("c", fail="b", arm={"state": 60, "x": 0}))
    assert noted(either, machine, "due state in c") == ["a>c", "due state in c"]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("return", "answered Misbehave with a str, but it declares int"),
        ("return and go", "answered Misbehave with a str, but it declares int"),
        ("state", r"Machine has no state 'nowhere' \(states: a, b, c\)"),
        ("timeout", "not -1"),
        ("not a number", "not 'soon'"),
        ("no clause", r"no clause for Talker\(\), which is to be due"),
        ("no message", "no clause for None, which is to be due"),
        ("insert", "no handler for Talker, which it sends to itself"),
    ],
)
def test_SM21_a_bad_result_crashes_by_name_and_the_caller_gets_it(
    machine: Ref[m.Machine], how: str, why: str
) -> None:
    with pytest.raises(ActorCrashed, match=why):
        machine.ask(m.Misbehave(how), timeout=None)
    assert machine.ask(m.Log()) == BEGUN


def test_SM21_a_command_that_gives_something_is_a_crash(
    either: Node, machine: Ref[m.Machine]
) -> None:
    pending = machine.request(m.Later())
    machine.tell(m.MisbehaveQuietly())
    with pytest.raises(ActorCrashed, match="misbehave_quietly gave 17, but nothing waits"):
        pending.result()


def test_SM21_a_timeout_before_the_start_is_an_error() -> None:
    with pytest.raises(UsageError, match="from on_start on"):
        m.Machine().state_timeout(1, m.Due("state"))


# --- replies and the end ---


def test_SM22_every_reply_is_delivered_before_the_end_is_seen(either: Node) -> None:
    machine = either.spawn(m.Machine, restart="temporary", name="sm22")
    pending = [machine.request(m.Later()) for _ in range(3)]
    last = machine.request(m.StopAll())
    eventually(lambda: "sm22" not in either.status().names, "its end")
    assert [each.wait(1.0) and each.result(0) for each in pending] == ["stopping"] * 3
    assert last.result(0) == "stopped"


def test_SM23_a_call_of_one_state_is_answered_from_another(machine: Ref[m.Machine]) -> None:
    pending = [machine.request(m.Later())]
    machine.ask(m.Go("b"))
    pending.append(machine.request(m.Later()))
    assert not any(each.done for each in pending)
    machine.ask(m.Go("c"))
    assert [each.result() for each in pending] == ["c", "c"]


def test_SM25_a_call_that_times_out_is_late_or_for_nobody(either: Node) -> None:
    machine = either.spawn(m.Machine)
    with pytest.raises(AskTimeoutError):
        machine.ask(m.Later(), timeout=0.05)
    machine.ask(m.Go("c"))
    assert since(machine) == ["a>c"]
    machine.stop()
    begun = time.monotonic()
    with pytest.raises(ActorNotFoundError):
        machine.ask(m.Log(), timeout=None)
    assert time.monotonic() - begun < 0.5


@pytest.mark.parametrize(
    ("how", "why"),
    [("raise", "OSError: no disk"), ("stop", "shutdown: not today"), ("junk", "returned 17")],
)
def test_SM26_a_start_that_fails(either: Node, how: str, why: str) -> None:
    with pytest.raises(StartFailedError, match=why):
        either.spawn(m.Stopper, args=(how,))


def test_SM26_a_taken_name_and_a_stop_with_a_reason(either: Node, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    machine = either.spawn(m.Machine, args=(str(seen),), name="sm26")
    with pytest.raises(AlreadyStartedError):
        either.spawn(m.Machine, name="sm26")
    pending = machine.request(m.Later())
    with pytest.raises(UsageError):
        machine.stop(timeout=-1)
    machine.stop(reason=Shutdown("tidy"))
    with pytest.raises(ActorDied, match="shutdown: tidy"):
        pending.result()
    assert seen.read_text().startswith("shutdown: tidy | a |")


def test_SM27_no_timeout_of_an_earlier_incarnation_comes(either: Node) -> None:
    machine = either.spawn(m.Machine)
    with in_one_go(either, machine):
        machine.tell(m.Arm({"state": 0.05, "event": 60, "x": 0.05}))
        pending = machine.request(m.Misbehave("state"))
    with pytest.raises(ActorCrashed):
        pending.result()
    machine.tell(m.Arm({"y": 0.15}))
    assert noted(either, machine, "due y in a") == ["due y in a"]
    machine.stop()


def test_SM28_the_replies_leave_before_enter_runs(either: Node) -> None:
    machine = either.spawn(m.Meddler, args=("raise",), name="sm28")
    assert machine.ask(m.Go("b", insert=("never",))) == "a"
    assert machine.ask(m.Log()) == ["started", "first in a"]
    (letter,) = eventually(
        lambda: [x for x in either.dead_letters() if x.target == "sm28"], "the crash"
    )
    assert letter.reason == "crash: RuntimeError: no entry"
    machine.stop()


def test_SM28_timeouts_are_armed_before_enter_which_may_arm_them_otherwise(either: Node) -> None:
    machine = either.spawn(m.Machine)
    either.replace_state(machine, m.arms_on_entry)
    machine.ask(m.Go("b", arm={"state": 60, "x": 0.2}))
    assert noted(either, machine, "due x in b") == ["a>b", "due state in b", "due x in b"]
    machine.stop()
