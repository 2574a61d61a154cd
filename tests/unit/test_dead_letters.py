"""What the supervisor process keeps of dead letters, and for how long."""

from __future__ import annotations

import pytest

from gristmill.errors import UsageError
from gristmill.node.supervisor.dead_letters import DeadLetters
from gristmill.transport.control import DeadLetter


def letter(body: bytes = b"body") -> DeadLetter:
    return DeadLetter("crash", "actor", "m:Type", body)


def test_the_oldest_give_way_and_are_counted() -> None:
    letters = DeadLetters(kept=3)
    for _ in range(5):
        letters.keep(letter())
    assert [each.number for each in letters.all()] == [3, 4, 5]
    assert (letters.count, letters.evicted) == (5, 2)


def test_large_bodies_give_way_too() -> None:
    letters = DeadLetters(kept_bytes=100)
    for _ in range(3):
        letters.keep(letter(b"x" * 40))
    assert [each.number for each in letters.all()] == [2, 3]
    letters.keep(letter(b"x" * 101))
    assert letters.all() == []
    assert letters.evicted == 4
    letters.keep(letter(b"x" * 100))
    assert len(letters.all()) == 1


def test_what_is_not_kept_is_said_to_be_gone_or_to_never_have_been() -> None:
    letters = DeadLetters()
    letters.keep(letter())
    assert letters.find(1).number == 1
    letters.remove(1)
    letters.remove(1)
    with pytest.raises(UsageError, match="no dead letter 1: it was sent again, or gave way"):
        letters.find(1)
    with pytest.raises(UsageError, match="no dead letter 2: there never was one"):
        letters.find(2)
