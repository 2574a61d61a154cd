"""What the behaviours refuse when a class is created."""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar

import pytest

from gristmill import (
    Command,
    Context,
    Event,
    EventHandler,
    GenEvent,
    GenServer,
    GenStateMachine,
    Request,
    handles,
    on,
)
from gristmill.errors import ProtocolError
from gristmill.facets.transitions import TransitionTable


class Happened(Event):
    pass


class Other(Event):
    pass


class Go(Command):
    pass


class Which(Request[int]):
    pass


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


SIDES = TransitionTable(
    {Side.LEFT: {Go: Side.RIGHT}, Side.RIGHT: {Go: Side.LEFT}}, initial=Side.LEFT
)


class Watcher(EventHandler):
    def handle_event(self, event: Happened | Other, ctx: Context) -> None:
        """Do nothing."""


class Everything(EventHandler):
    def handle_event(self, event: Event, ctx: Context) -> None:
        """Do nothing."""


def test_the_protocol_of_a_manager_has_the_events_of_its_handlers() -> None:
    class Manager(GenServer, GenEvent):
        handlers: ClassVar = {"w": Watcher, "all": Everything}

        @handles
        def which(self, msg: Which) -> int:
            return 1

    assert {Happened, Other, Which} <= set(Manager.__protocol__.handlers)
    assert Event not in Manager.__protocol__.handlers


def test_an_event_has_one_way_to_be_handled() -> None:
    with pytest.raises(ProtocolError, match="Happened to its event handlers and to its method own"):

        class Manager(GenServer, GenEvent):
            handlers: ClassVar = {"w": Watcher}

            @handles
            def own(self, msg: Happened) -> None:
                """Do nothing."""


def test_a_manager_takes_only_events() -> None:
    with pytest.raises(ProtocolError, match="is no event type"):

        class Manager(GenEvent):
            events = (Go,)  # type: ignore[assignment]  # what is tested


@pytest.mark.parametrize("annotation", [None, int, Go])
def test_an_event_handler_says_what_it_takes(annotation: Any) -> None:
    def handle_event(self: Any, event: Any, ctx: Any) -> None:
        """Do nothing."""

    handle_event.__annotations__ = {} if annotation is None else {"event": annotation}
    with pytest.raises(ProtocolError, match="annotate 'event' with the event types"):
        type("Handler", (EventHandler,), {"handle_event": handle_event})


def test_an_event_handler_is_a_plain_method() -> None:
    with pytest.raises(ProtocolError, match="is async"):

        class Handler(EventHandler):
            async def handle_event(self, event: Happened, ctx: Context) -> None:  # type: ignore[override]  # what is tested
                """Do nothing."""


def test_a_machine_declares_its_table() -> None:
    with pytest.raises(ProtocolError, match="declares no transitions"):

        class Machine(GenStateMachine):
            pass


def test_a_clause_names_states_of_the_table() -> None:
    with pytest.raises(ProtocolError, match=r"'middle' is no state of the table"):

        class Machine(GenStateMachine):
            table = SIDES

            @on("middle")
            def go(self, msg: Go) -> None:
                """Do nothing."""

    with pytest.raises(ProtocolError, match="say in which states"):

        class Other(GenStateMachine):
            table = SIDES

            @on()
            def go(self, msg: Go) -> None:
                """Do nothing."""


def test_a_state_has_one_clause_for_a_message() -> None:
    with pytest.raises(
        ProtocolError, match=r"two clauses for Go in state Side.LEFT: first and sec"
    ):

        class Machine(GenStateMachine):
            table = SIDES

            @on(Side.LEFT, Side.RIGHT)
            def first(self, msg: Go) -> None:
                """Do nothing."""

            @on(Side.LEFT)
            def second(self, msg: Go) -> None:
                """Do nothing."""


def test_a_clause_is_checked_like_any_handler() -> None:
    with pytest.raises(ProtocolError, match="answered by int"):

        class Machine(GenStateMachine):
            table = SIDES

            @on(Side.LEFT)
            def which(self, msg: Which) -> str:
                return ""


def test_enter_is_a_plain_method() -> None:
    with pytest.raises(ProtocolError, match="on_enter is async"):

        class Machine(GenStateMachine):
            table = SIDES

            async def on_enter(self, old: Any, ctx: Context) -> None:  # type: ignore[override]  # what is tested
                """Do nothing."""


def test_clauses_of_a_base_class_are_inherited() -> None:
    class Base(GenStateMachine):
        table = SIDES

        @on(Side.LEFT)
        def go(self, msg: Go) -> None:
            self.fire(Go)

    class Derived(Base):
        @handles
        def which(self, msg: Which) -> int:
            return 1

    assert {Go, Which} == set(Derived.__protocol__.handlers)
