"""Bounded mailboxes: who waits, who fails, what is dropped, and that it is counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gristmill import Node, Ref
from gristmill.errors import ActorNotFoundError, MailboxFullError
from support.actors import (
    Add,
    Compute,
    Forgetful,
    ForwardWithin,
    Ledger,
    Narrow,
    Note,
    Notes,
    Pump,
    Strict,
    Worker,
)
from support.transports import transport  # noqa: F401 - a fixture, used by all tests
from support.waiting import eventually


@contextmanager
def held(ref: Ref[Any], gate: Path) -> Iterator[None]:
    """Keep the actor in a handler for the length of the block."""
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(ref.ask, Compute(str(gate)), timeout=20)
        eventually(lambda: ref._post._pending, "the actor is asked")  # type: ignore[attr-defined]  # ours
        try:
            yield
        finally:
            gate.touch()
            future.result(5)


def tell_all(ref: Ref[Narrow], numbers: Iterable[int]) -> None:
    for number in numbers:
        ref.tell(Note(number))


def test_a_client_waits_for_room(node: Node, tmp_path: Path) -> None:
    ref = node.spawn(Narrow)
    with ThreadPoolExecutor(1) as threads:
        with held(ref, tmp_path / "gate"):
            for number in range(3):
                ref.tell(Note(number))
            with pytest.raises(MailboxFullError, match="got no room in time"):
                ref.ask(Add(1, 1), timeout=0.1)
            told = threads.submit(tell_all, ref, range(3, 50))
            assert not told.done()
        told.result(5)
    assert ref.ask(Notes()) == list(range(50))


def test_the_fail_policy_tells_the_sender(node: Node, tmp_path: Path) -> None:
    ref = node.spawn(Strict)
    told = 3
    with held(ref, tmp_path / "gate"):
        for number in range(told):
            ref.tell(Note(number))
        with pytest.raises(MailboxFullError, match="no room"):
            ref.tell(Note(told))
    eventually(lambda: _notes(ref) == list(range(told)), "what was told is there")


def _notes(ref: Ref[Strict]) -> list[int]:
    try:
        return ref.ask(Notes())
    except MailboxFullError:
        return []


def test_drop_oldest_keeps_the_newest_and_records_the_rest(node: Node) -> None:
    ref = node.spawn(Forgetful, name="forgetful")
    node.suspend(ref)  # its worker goes on taking in what comes
    for number in range(20):
        ref.tell(Note(number))

    def dropped() -> int:
        letters = [x for x in node.dead_letters() if x.target == "forgetful"]
        assert all("mailbox full" in x.reason for x in letters)
        return len(letters)

    eventually(lambda: dropped() == 16, "all but the newest are recorded")
    node.resume(ref)
    assert ref.ask(Notes()) == [16, 17, 18, 19]


def test_what_a_durable_actor_told_in_vain_is_a_dead_letter(tmp_path: Path) -> None:
    # its messages leave when the handler has finished, so there is nobody left to raise for
    with Node(workers=2, journal=tmp_path / "journal") as node:
        ledger = node.spawn(Ledger, name="ledger")
        strict = node.spawn(Strict, name="strict")
        with held(strict, tmp_path / "gate"):
            ledger.tell(Pump(strict, 20))
            assert ledger.ask(Notes()) == []
        eventually(lambda: len(_notes(strict)) + len(node.dead_letters()) == 20, "each is counted")
        assert len(node.dead_letters()) >= 15
        assert all("is full" in letter.reason for letter in node.dead_letters())


@pytest.mark.parametrize("placement", ["w1", "w2", "dedicated"])
def test_who_tells_one_that_has_stopped_goes_on(node: Node, placement: str) -> None:
    gone, teller = node.spawn(Narrow, placement=placement), node.spawn(Worker, placement="w2")
    gone.stop()
    for _ in range(5):
        teller.tell(Pump(gone, 10))
    assert teller.ask(Add(1, 1)) == 2
    for number in range(20):
        gone.tell(Note(number))
    with pytest.raises(ActorNotFoundError):
        gone.ask(Add(1, 1))


def test_places_in_a_mailbox_are_given_back_when_its_actor_stops(node: Node) -> None:
    ref = node.spawn(Worker, placement="w1")
    for _ in range(3):
        ref.ask(Add(1, 1))
    ref.stop()
    post = node._connected().post
    assert post.wait_until(lambda: ref.address.key not in post._credit.places(1), 5.0)


def test_the_time_limit_of_an_actors_ask_holds_where_there_is_no_room(
    node: Node, tmp_path: Path
) -> None:
    ref = node.spawn(Narrow, placement="w1")
    asker = node.spawn(Worker, placement="w2")
    with held(ref, tmp_path / "gate"):
        asker.tell(Pump(ref, 4))
        answer = asker.ask(ForwardWithin(ref, 0.1), timeout=10.0)
        assert answer.startswith("MailboxFullError: "), answer
        assert "got no room in time" in answer
    assert asker.ask(ForwardWithin(ref, 5.0)) == "answered"
