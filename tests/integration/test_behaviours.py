"""GenServer, GenEvent, GenStateMachine and hybrids, over real processes and in one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from gristmill import Node, Ref, Reject
from gristmill.behaviours.gen_event import (
    SyncNotify,
)
from gristmill.errors import (
    ActorDied,
    ActorError,
    ActorNotFoundError,
    InvalidStateTransition,
)
from gristmill_orders.states import INITIAL, TERMINAL, TRANSITIONS, OrderState
from support import behaviours as b
from support.waiting import eventually


@pytest.fixture(scope="module")
def node(either: Node) -> Node:
    """Give a node of both kinds."""
    return either


# --- GenServer ---


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
    assert isinstance(failure[0], ActorDied | ActorNotFoundError)  # the stop may overtake the ask


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
