"""GenServer, GenEvent, GenStateMachine and hybrids, over real processes and in one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from gristmill import ActorCrashed, Node, Ref, Reject
from gristmill.behaviours.gen_event import (
    AddHandler,
    CallHandler,
    DeleteHandler,
    ListHandlers,
    SwapHandler,
    SyncNotify,
    add_handler,
)
from gristmill.errors import ActorDied, ActorError, InvalidStateTransition, UnknownMessageError
from gristmill_orders.states import INITIAL, TERMINAL, TRANSITIONS, OrderState
from support import behaviours as b
from support.waiting import eventually


@pytest.fixture(scope="module", params=["processes", "in_process"])
def node(
    request: pytest.FixtureRequest, own_temporary_directory: object, nothing_is_left: None
) -> Iterator[Node]:
    """Give a node of both kinds."""
    with Node(
        workers=2, max_restarts=1000, within=1.0, in_process=request.param == "in_process"
    ) as started:
        yield started


# --- GenServer ---


def test_continuations_run_before_the_first_message_and_behind_the_reply(node: Node) -> None:
    server = node.spawn(b.Server)
    assert server.ask(b.GetLog()) == ["load first", "load second"]
    answers = list(server.ask_many([b.Work(), b.Work()]))
    assert answers == [3, 5]
    assert server.ask(b.GetLog())[2:] == ["work", "load after", "work", "load after"]


def test_a_deferred_reply_comes_once(node: Node) -> None:
    server = node.spawn(b.Server)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.ask(b.Later())))
    thread.start()
    eventually(lambda: (server.tell(b.Answer(7)), bool(answers))[1], "the deferred reply")
    thread.join(5)
    assert answers == [7]


def test_the_asker_of_a_deferred_reply_is_told_of_the_crash(node: Node) -> None:
    server = node.spawn(b.Server)
    replies = server.ask_many([b.Later(), b.Later()], timeout=None)
    failure: list[BaseException] = []

    def wait() -> None:
        try:
            list(replies)
        except ActorError as error:
            failure.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: (server.tell(b.Burst()), bool(failure))[1], "the asker is told")
    thread.join(5)
    assert isinstance(failure[0], ActorCrashed)
    assert "ended before it answered: crash: ValueError: burst" in str(failure[0])


def test_the_asker_of_a_handler_that_was_cut_off_is_told(node: Node) -> None:
    server = node.spawn(b.Server, shutdown="brutal_kill")
    failure: list[BaseException] = []

    def wait() -> None:
        try:
            server.ask(b.Hang(), timeout=None)
        except ActorError as error:
            failure.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: node.status().actors and thread.is_alive(), "the ask is under way")
    server.stop(timeout=5)
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(failure[0], ActorDied) or "no actor" in str(failure[0])


def test_stop_with_a_reply(node: Node) -> None:
    server = node.spawn(b.Server, name="leaver", restart="transient")
    assert server.ask(b.StopWith()) == "bye"
    eventually(lambda: "leaver" not in node.status().names, "the actor has ended")
    with pytest.raises(ActorError):
        server.ask(b.GetLog())


# --- GenEvent ---


def drained(manager: Ref[b.Manager]) -> list[str]:
    return manager.ask(b.GetLog())


@pytest.fixture
def manager(node: Node) -> Iterator[Ref[b.Manager]]:
    ref = node.spawn(b.Manager, placement="w1")
    drained(ref)
    yield ref
    ref.stop()


def test_events_go_to_the_newest_handler_first(manager: Ref[b.Manager]) -> None:
    manager.ask(add_handler("third", b.Recorder, "third"))
    assert manager.ask(ListHandlers()) == ["third", "second", "first"]
    manager.ask(SyncNotify(b.Rang(1)))
    assert drained(manager) == ["third 1", "second 1", "recorder 1"]


def test_sync_notify_comes_behind_an_earlier_notify(manager: Ref[b.Manager]) -> None:
    manager.tell(b.Rang(1))
    manager.ask(SyncNotify(b.Broke()))
    assert drained(manager) == ["second 1", "recorder 1", "second broke", "recorder broke"]


def test_a_taken_id_and_a_failing_init(manager: Ref[b.Manager]) -> None:
    with pytest.raises(Reject, match="'first' already") as caught:
        manager.ask(add_handler("first", b.Recorder))
    assert caught.value.code == "already_exists"
    with pytest.raises(Reject, match="could not start: OSError") as caught:
        manager.ask(add_handler("new", b.Recorder, "unable"))
    assert caught.value.code == "init_failed"
    with pytest.raises(Reject, match="could not be made"):
        manager.ask(AddHandler("new", "support.behaviours:Recorder", (1, 2, 3)))
    with pytest.raises(Reject, match="no EventHandler"):
        manager.ask(AddHandler("new", "support.behaviours:Manager"))
    assert manager.ask(ListHandlers()) == ["second", "first"]


def test_delete_call_and_swap_by_id(manager: Ref[b.Manager]) -> None:
    manager.ask(SyncNotify(b.Rang(4)))
    assert manager.ask(CallHandler("first", "seen")) == [4]
    assert manager.ask(DeleteHandler("second")) == [4]
    for unknown in (DeleteHandler("second"), CallHandler("second", 0)):
        with pytest.raises(Reject, match=r"no handler 'second' \(handlers: first\)") as caught:
            manager.ask(unknown)
        assert caught.value.code == "not_found"
    manager.ask(SwapHandler("first", add_handler("heir", b.Recorder, "heir")))
    assert manager.ask(CallHandler("heir", "seen")) == [4]
    assert manager.ask(ListHandlers()) == ["heir"]


def test_a_raising_handler_leaves_and_the_others_get_the_event(manager: Ref[b.Manager]) -> None:
    manager.ask(add_handler("fragile", b.Fragile))
    manager.ask(add_handler("junk", b.Junk))
    manager.ask(SyncNotify(b.Rang(2)))
    assert drained(manager) == ["fragile error RuntimeError", "second 2", "recorder 2"]
    assert manager.ask(ListHandlers()) == ["second", "first"]
    with pytest.raises(Reject, match="KeyError"):
        manager.ask(CallHandler("second", "raise"))
    assert manager.ask(ListHandlers()) == ["first"]


def test_a_handler_asks_for_its_removal(manager: Ref[b.Manager]) -> None:
    manager.ask(add_handler("third", b.Recorder, "third"))
    manager.ask(DeleteHandler("second"))
    drained(manager)
    manager.ask(SyncNotify(b.Rang(99)))
    assert drained(manager) == ["third 99", "third asked", "recorder 99", "recorder asked"]
    assert manager.ask(ListHandlers()) == []


def test_every_handler_ends_with_its_manager(node: Node) -> None:
    manager = node.spawn(b.Manager, placement="w1")
    other = node.spawn(b.Manager, placement="w1")
    drained(other)
    manager.stop()
    assert drained(other) == ["second stop", "recorder stop"]
    other.stop()


def test_unknown_events_are_refused(manager: Ref[b.Manager]) -> None:
    with pytest.raises(Reject, match="takes these events: Rang, Broke"):
        manager.ask(SyncNotify(b.Press()))


def test_a_hybrid_answers_and_takes_events_from_a_channel(node: Node) -> None:
    hybrid = node.spawn(b.Hybrid, placement="w2")
    eventually(
        lambda: (node.publish("bells", b.Rang(5)), hybrid.ask(b.Tail()))[1] == "recorder 5",
        "the event has come",
    )
    hybrid.stop()


# --- GenStateMachine ---


@pytest.fixture
def lamp(node: Node) -> Iterator[Ref[b.LampMachine]]:
    ref = node.spawn(b.LampMachine)
    yield ref
    ref.stop()


def test_enter_runs_at_the_start_on_change_and_on_repeat(lamp: Ref[b.LampMachine]) -> None:
    assert lamp.ask(b.GetLog()) == ["off>off"]
    lamp.tell(b.Press())
    lamp.tell(b.Enter())
    assert lamp.ask(b.GetState()) == "on"
    assert lamp.ask(b.GetLog()) == ["off>off", "off>on", "on>on"]


def test_a_transition_that_is_not_drawn_is_refused(lamp: Ref[b.LampMachine]) -> None:
    assert lamp.ask(b.Smash()) == "off"
    assert lamp.ask(b.GetState()) == "broken"
    with pytest.raises(InvalidStateTransition, match="from broken to off") as caught:
        lamp.ask(b.Mend())
    assert (caught.value.source, caught.value.target) == ("broken", "off")
    assert lamp.ask(b.GetState()) == "broken"
    assert lamp.ask(b.GetLog()) == ["off>off", "off>broken", "mending"]


def test_a_refusal_undoes_the_transition_before_it(lamp: Ref[b.LampMachine]) -> None:
    with pytest.raises(InvalidStateTransition, match="from broken to on"):
        lamp.ask(b.Mend())
    assert lamp.ask(b.GetState()) == "off"


def test_postponed_messages_are_tried_again_behind_enter(lamp: Ref[b.LampMachine]) -> None:
    answers = lamp.ask_many([b.Blink(), b.Blink()], timeout=None)
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.extend(answers))
    thread.start()
    eventually(lambda: (lamp.tell(b.Press()), len(got) == 2)[1], "both are answered")
    thread.join(5)
    log = lamp.ask(b.GetLog())
    assert log.count("blink") == 2
    assert log[log.index("blink") - 1] == "off>on"


def test_a_state_timeout_ends_with_its_state(lamp: Ref[b.LampMachine]) -> None:
    lamp.tell(b.Timed(0.0))  # due at once, and cancelled by the next message
    lamp.tell(b.Press())
    lamp.tell(b.Timed(3600.0))
    lamp.tell(b.Timed(0.001))
    eventually(lambda: lamp.ask(b.GetState()) == "off", "the timeout of the state")
    log = lamp.ask(b.GetLog())
    assert log in (
        ["off>off", "off>on", "expired", "on>off"],
        ["off>off", "expired off", "off>on", "expired", "on>off"],
    )


def test_an_event_without_a_clause_crashes_and_is_named(
    node: Node, lamp: Ref[b.LampMachine]
) -> None:
    lamp.tell(b.Odd())
    assert lamp.ask(b.GetLog()) == ["off>off"]
    letter = eventually(
        lambda: next((x for x in node.dead_letters() if "no clause for Odd" in x.reason), None),
        "the dead letter",
    )
    assert "in state off (it has in: on)" in letter.reason
    with pytest.raises(UnknownMessageError):
        lamp.ask(b.Tail())


def test_the_order_table_is_a_state_machine(node: Node) -> None:
    for path in order_paths():
        machine = node.spawn(b.OrderMachine)
        for event in path:
            machine.ask(b.Advance(event))
        state = machine.ask(b.GetState())
        assert OrderState(state) in TERMINAL
        with pytest.raises(InvalidStateTransition, match="is terminal"):
            machine.ask(b.Advance("OrderCancelled"))
        machine.stop()


def order_paths() -> list[list[str]]:
    """Give the events of every way from the first state to a last one."""
    paths: list[list[str]] = []
    open_ways: list[tuple[OrderState, list[str]]] = [(INITIAL, [])]
    while open_ways:
        state, events = open_ways.pop()
        if state in TERMINAL:
            paths.append(events)
        open_ways += [(to, [*events, str(event)]) for event, to in TRANSITIONS[state].items()]
    assert len(paths) == 6
    assert all(a != b for a, b in pairwise(sorted(paths)))
    return paths
