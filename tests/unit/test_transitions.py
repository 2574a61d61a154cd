from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from gristmill.errors import InvalidStateTransition, UsageError
from gristmill.facets import TransitionTable


class Door(StrEnum):
    SHUT = "shut"
    OPEN = "open"
    BROKEN = "broken"


class Kick:
    """A message class as a trigger."""


DOOR = TransitionTable[Door](
    {
        Door.SHUT: {"pull": Door.OPEN, Kick: Door.BROKEN},
        Door.OPEN: {"push": Door.SHUT},
    },
    initial=Door.SHUT,
    terminal=[Door.BROKEN],
)


def test_next_follows_the_table() -> None:
    assert DOOR.next(Door.SHUT, "pull") is Door.OPEN
    assert DOOR.next(Door.SHUT, Kick) is Door.BROKEN
    assert DOOR.states == (Door.SHUT, Door.OPEN, Door.BROKEN)
    assert DOOR.triggers(Door.SHUT) == ("pull", Kick)
    assert DOOR.triggers(Door.BROKEN) == ()


def test_refusal_names_state_trigger_and_alternatives() -> None:
    with pytest.raises(InvalidStateTransition, match="allowed: push -> shut") as caught:
        DOOR.next(Door.OPEN, Kick)
    assert (caught.value.source, caught.value.target) == ("open", "Kick")
    with pytest.raises(InvalidStateTransition, match="broken is terminal"):
        DOOR.next(Door.BROKEN, "push")


def test_check_refuses_what_allows_denies() -> None:
    DOOR.check(Door.OPEN, Door.SHUT)
    with pytest.raises(InvalidStateTransition, match="from open to broken"):
        DOOR.check(Door.OPEN, Door.BROKEN)
    assert not DOOR.allows(Door.SHUT, Door.SHUT)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], True),
        ([Door.SHUT], True),
        ([Door.SHUT, Door.OPEN, Door.SHUT, Door.BROKEN], True),
        ([Door.OPEN, Door.SHUT], False),
        ([Door.SHUT, Door.OPEN, Door.BROKEN], False),
        ([Door.SHUT, Door.BROKEN, Door.SHUT], False),
    ],
)
def test_is_path(states: list[Door], expected: bool) -> None:
    assert DOOR.is_path(states) is expected


@pytest.mark.parametrize(
    ("table", "terminal", "complaint"),
    [
        ({"b": {"go": "b"}}, [], "initial state a"),
        ({"a": {"go": "c"}}, [], "unknown state c"),
        ({"a": {"go": "b"}, "b": {}}, [], "b has no exits"),
        ({"a": {"go": "b"}, "b": {"go": "a"}}, ["b"], "terminal state b has exits"),
        ({"a": {"go": "a"}, "b": {"go": "a"}}, [], "to b"),
        ({"a": {"go": "a"}}, ["z"], "to z"),
    ],
)
def test_table_is_checked_when_made(
    table: dict[str, dict[Any, str]], terminal: list[str], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        TransitionTable(table, initial="a", terminal=terminal)


def test_later_changes_to_the_given_mapping_do_not_matter() -> None:
    given: dict[str, dict[str, str]] = {"a": {"go": "a"}}
    table = TransitionTable(given, initial="a")
    given["a"]["leave"] = "nowhere"
    assert table.triggers("a") == ("go",)


def test_draw() -> None:
    assert DOOR.draw().splitlines() == [
        "> shut",
        "    pull -> open",
        "    Kick -> broken",
        "  open",
        "    push -> shut",
        "* broken",
    ]
