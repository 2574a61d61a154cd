# ruff: noqa: N802 - named by the conformance row's id
"""Group 20: a message that kills its worker every time is not tried for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gristmill import ActorDied, Command, Node, Request
from gristmill.errors import QuarantinedError
from support import poison as p
from support.actors import Die, Note, Notes, Pid, read_lines
from support.processes import all_delivered, kill, worker_pids
from support.waiting import eventually

RESTARTS: dict[str, Any] = {"max_restarts": 100, "within": 60.0}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file that the actors write to."""
    return tmp_path / "log"


@pytest.mark.parametrize("make", [Note, p.NoteLater])
def test_PR21_an_at_least_once_message_is_quarantined_after_three_deaths(
    tmp_path: Path, log: Path, make: type[Command], capfd: pytest.CaptureFixture[str]
) -> None:
    with Node(workers=2, journal=tmp_path / "journal", **RESTARTS) as node:
        ref = node.spawn(p.Scale, args=(str(log),), name="scale", placement="w1")
        for number in (1, 13, 2):
            ref.tell(make(number), delivery="at_least_once")
        all_delivered(ref, 20.0)
        (letter,) = eventually(node.dead_letters, "a dead letter")
        assert node.status().worker_restarts == 3
    assert [x for x in read_lines(log) if x != "note 1"] == [*["note 13"] * 3, "note 2"]
    name = f"{make.__module__}:{make.__qualname__} number 2 from client to scale"
    assert f"{name} is quarantined: its worker has died 3 times with it in hand" in letter.reason
    assert "killed by SIGKILL" in letter.reason
    assert letter.error is not None
    assert letter.error.type == "gristmill.errors.QuarantinedError"
    assert "is quarantined" in capfd.readouterr().err


def test_PR21_a_durable_actor_goes_on_behind_a_quarantined_message(
    tmp_path: Path, log: Path
) -> None:
    with Node(workers=1, journal=tmp_path / "journal", **RESTARTS) as node:
        ref = node.spawn(p.Book, args=(str(log),), name="book")
        for letters, numbers in ((1, (1, 2, 13, 3)), (2, (13, 4))):
            for number in numbers:
                ref.tell(Note(number), delivery="at_least_once")
            all_delivered(ref, 20.0)
            eventually(lambda: len(node.dead_letters()) == letters, "each is one")  # noqa: B023 - now
        assert ref.ask(Notes()) == [1, 2, 3, 4]
        assert node.status().worker_restarts == 6
    with Node(workers=1, journal=tmp_path / "journal") as node:
        ref = node.spawn(p.Book, args=(str(log),), name="book")
        ref.tell(Note(5), delivery="at_least_once")
        all_delivered(ref)
        assert ref.ask(Notes()) == [1, 2, 3, 4, 5]


def test_PR21_two_of_them_behind_each_other_are_both_quarantined(tmp_path: Path, log: Path) -> None:
    with Node(workers=1, journal=tmp_path / "journal", **RESTARTS) as node:
        ref = node.spawn(p.Book, args=(str(log),), name="book")
        for number in (1, 13, 2, 13, 13, 3):
            ref.tell(Note(number), delivery="at_least_once")
        all_delivered(ref, 20.0)
        assert ref.ask(Notes()) == [1, 2, 3]
        assert node.status().worker_restarts == 9


@pytest.mark.parametrize("make", [p.Weigh, p.WeighLater])
def test_PR21_an_idempotent_request_is_quarantined_after_three_deaths(
    log: Path, make: type[Request[int]]
) -> None:
    with Node(workers=2, **RESTARTS) as node:
        ref = node.spawn(p.Scale, args=(str(log),), name="scale", placement="w1")
        with pytest.raises(QuarantinedError) as caught:
            ref.ask(make(13), timeout=None)  # type: ignore[call-arg]  # both have a number
        assert str(caught.value).startswith(f"{make.__name__} to scale is quarantined: ")
        assert "died 3 times with it in hand" in str(caught.value)
        assert caught.value.death is not None
        assert caught.value.actor == "scale"
        assert ref.ask(make(5)) == 5  # type: ignore[call-arg]  # as above
        assert node.status().worker_restarts == 3
    assert read_lines(log) == [*["weigh 13"] * 3, "weigh 5"]


def test_PR21_requests_that_wait_behind_the_poison_are_not_blamed(log: Path) -> None:
    with Node(workers=1, **RESTARTS) as node, ThreadPoolExecutor(12) as threads:
        ref = node.spawn(p.Scale, args=(str(log),), name="scale")
        ref.ask(Pid())
        numbers = (1, 13, 2, 13, 3, 13, 4)
        asked = [threads.submit(ref.ask, p.Weigh(number), timeout=None) for number in numbers]
        for number, future in zip(numbers, asked, strict=True):
            if number == 13:
                assert isinstance(future.exception(20), QuarantinedError)
            else:
                assert future.result(20) == number
    assert read_lines(log).count("weigh 13") == 9


def test_PR21_of_requests_that_were_sent_together_only_the_poison_fails(log: Path) -> None:
    with Node(workers=1, **RESTARTS) as node:
        ref = node.spawn(p.Scale, args=(str(log),), name="scale")
        replies = ref.ask_many([p.Weigh(number) for number in (1, 2, 13, 3)], timeout=None)
        assert [next(replies), next(replies)] == [1, 2]
        with pytest.raises(QuarantinedError):
            next(replies)
        assert node.status().worker_restarts == 3
        numbers = [n % 12 for n in range(500)]
        assert list(ref.ask_many([p.Weigh(n) for n in numbers], timeout=None)) == numbers


def test_PR21_an_actor_that_asks_is_told_the_same(log: Path) -> None:
    with Node(workers=2, **RESTARTS) as node:
        ref = node.spawn(p.Scale, args=(str(log),), name="scale", placement="w1")
        asker = node.spawn(p.Scale, args=(str(log),), placement="w2")
        told = asker.ask(p.WeighFor(ref, 13), timeout=None)
        assert told.startswith("QuarantinedError: Weigh to scale is quarantined")
        assert asker.ask(p.WeighFor(ref, 5), timeout=None) == "5"


def test_PR21_the_deaths_of_others_do_not_count(tmp_path: Path, log: Path) -> None:
    with Node(workers=1, journal=tmp_path / "journal", **RESTARTS) as node:
        ref = node.spawn(p.Scale, args=(str(log),), name="scale")
        other = node.spawn(p.Scale, args=(str(log),))
        for number in range(1, 6):
            with pytest.raises(ActorDied):
                other.ask(Die("kill"), timeout=None)
            ref.tell(Note(number), delivery="at_least_once")
            pid = eventually(lambda: worker_pids(node).get("w1"), "it is back")
            all_delivered(ref)
            kill(pid)  # between two messages
            eventually(lambda: worker_pids(node).get("w1") not in (None, 0, pid), "it is back")  # noqa: B023 - now
        all_delivered(ref)
        assert not [x for x in node.dead_letters() if "quarantined" in x.reason]
