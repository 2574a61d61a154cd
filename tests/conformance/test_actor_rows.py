# ruff: noqa: N802 - named by the conformance row's id
from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gristmill import (
    ActorCrashed,
    ActorDied,
    ActorNotFoundError,
    AskTimeoutError,
    Node,
    Reject,
)
from gristmill.errors import MailboxFullError
from support.actors import (
    Add,
    Alarms,
    Arm,
    AskSelf,
    BadDelay,
    Clock,
    Compute,
    Crash,
    Die,
    Disarm,
    Fail,
    Forgetful,
    Hold,
    Note,
    Noted,
    Notes,
    Pump,
    Speaker,
    Strict,
    Witness,
    Worker,
    read_lines,
)
from support.waiting import eventually


def test_GS05_the_server_finishes_a_request_whose_caller_has_given_up(
    node: Node, tmp_path: Path
) -> None:
    seen, gate = tmp_path / "seen", tmp_path / "gate"
    ref = node.spawn(Witness, args=(str(seen),), name="gs05")
    with pytest.raises(AskTimeoutError):
        ref.ask(Compute(str(gate)), timeout=0.05)
    gate.touch()
    ref.tell(Note(1))
    eventually(lambda: read_lines(seen) == ["start gs05", "note 1"], "it goes on, not restarted")


def test_GS06_a_late_reply_never_answers_a_later_call(node: Node, tmp_path: Path) -> None:
    ref = node.spawn(Worker)
    for number in range(20):
        gate = tmp_path / f"gate-{number}"
        with pytest.raises(AskTimeoutError):
            ref.ask(Hold(str(gate)), timeout=0.01)
        gate.touch()
        assert ref.ask(Add(number, 1_000_000)) == 1_000_000 + number


def test_GS08_a_call_to_nobody_fails_at_once(node: Node) -> None:
    ref = node.spawn(Worker, name="gs08")
    ref.stop()
    begun = time.monotonic()
    with pytest.raises(ActorNotFoundError):
        ref.ask(Add(1, 1), timeout=None)
    with pytest.raises(ActorNotFoundError):
        node.lookup("gs08")
    assert time.monotonic() - begun < 0.5


@pytest.mark.parametrize("how", ["raise", "kill", "segv", "exit"])
def test_GS10_a_server_that_dies_in_mid_call_tells_why_at_once(node: Node, how: str) -> None:
    ref = node.spawn(Worker)
    begun = time.monotonic()
    with pytest.raises((ActorCrashed, ActorDied)) as caught:
        ref.ask(Fail("the reason") if how == "raise" else Die(how), timeout=None)
    assert time.monotonic() - begun < 1.0
    reasons = {"raise": "the reason", "kill": "SIGKILL", "segv": "SIGSEGV", "exit": "code 7"}
    assert reasons[how] in str(caught.value)


def test_GS12_a_call_to_oneself_fails_at_once(node: Node) -> None:
    ref = node.spawn(Worker)
    with pytest.raises(Reject, match="asks itself"):
        ref.ask(AskSelf(), timeout=None)


def test_GS13_a_cast_never_fails_nor_blocks(node: Node) -> None:
    living, dead = node.spawn(Worker), node.spawn(Worker)
    dead.stop()
    begun = time.monotonic()
    for ref in (living, dead):
        ref.tell(Note(1))
        ref.tell(Noted(1))
    assert time.monotonic() - begun < 1.0


def test_GS24_a_raising_handler_terminates_with_the_reason_and_one_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen = tmp_path / "seen"
    with Node(workers=1) as node:
        ref = node.spawn(Witness, args=(str(seen),), name="gs24")
        ref.tell(Crash("the reason"))
        eventually(lambda: read_lines(seen).count("start gs24") == 2, "a restart")
    assert "terminate gs24 crash: ValueError: the reason" in read_lines(seen)
    errors = [line for line in capfd.readouterr().err.splitlines() if "ERROR" in line]
    assert len(errors) == 1
    assert "gs24 crashed while handling Crash: ValueError: the reason" in errors[0]


def test_AM01_messages_of_one_sender_keep_their_order(node: Node) -> None:
    target = node.spawn(Worker, placement="w1")
    senders = [node.spawn(Worker, placement=place) for place in ("w1", "w2")]
    for sender in senders:
        sender.tell(Pump(target, 500))
    for number in range(1, 501):
        target.tell(Note(number))
    eventually(lambda: len(target.ask(Notes())) == 1500, "all are there")
    heard = target.ask(Notes())
    for sender_share in _shares(heard):
        assert sender_share == list(range(1, 501))


def _shares(heard: list[int]) -> list[list[int]]:
    """Split an interleaving of equal sequences; fails unless each of them is in order."""
    shares: list[list[int]] = [[], [], []]
    for number in heard:
        share = next(s for s in shares if len(s) + 1 == number)
        share.append(number)
    return shares


def test_AM02_a_message_that_crashed_its_actor_is_not_redelivered(
    node: Node, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    ref = node.spawn(Witness, args=(str(seen),), name="am02")
    ref.tell(Crash("once"))
    ref.tell(Note(1))
    eventually(lambda: "note 1" in read_lines(seen), "it goes on")
    assert read_lines(seen).count("start am02") == 2
    assert read_lines(seen).count("terminate am02 crash: ValueError: once") == 1


def test_AM12_a_message_to_a_stopped_actor_is_a_dead_letter(node: Node) -> None:
    ref = node.spawn(Worker, name="am12")
    key = ref.address.key
    ref.stop()
    ref.tell(Note(12))
    # it may have come before its worker heard that the name is gone for good
    reasons = (f"no actor #{key}", "am12 has stopped")
    letters = eventually(
        lambda: [x for x in node.dead_letters() if any(reason in x.reason for reason in reasons)],
        "a dead letter",
    )
    assert letters[0].message_type == "support.actors:Note"
    assert letters[0].worker in ("w1", "w2")


def test_AM15_a_full_mailbox_follows_its_policy_and_counts(node: Node, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    strict, forgetful = node.spawn(Strict, name="am15-s"), node.spawn(Forgetful, name="am15-f")
    with ThreadPoolExecutor(2) as threads:
        held = [
            threads.submit(ref.ask, Compute(str(gate)), timeout=20) for ref in (strict, forgetful)
        ]
        eventually(lambda: len(strict._post._pending) == 2, "both compute")  # type: ignore[attr-defined]  # ours
        failed = 0
        for number in range(10):
            forgetful.tell(Note(number))
            try:
                strict.tell(Note(number))
            except MailboxFullError:
                failed += 1
        gate.touch()
        for future in held:
            future.result(5)
    assert failed >= 6

    def dropped() -> int:
        return sum(x.target == "am15-f" for x in node.dead_letters())

    eventually(lambda: dropped() + len(forgetful.ask(Notes())) == 10, "each is kept or recorded")


def test_NT05_a_timer_fires_once_and_not_before_its_time(node: Node) -> None:
    clock = node.spawn(Clock)
    clock.ask(Arm([0.05]))
    (after,) = eventually(lambda: clock.ask(Alarms()), "it fires")
    assert after >= 0.05
    clock.ask(Arm([0.05]))
    eventually(lambda: len(clock.ask(Alarms())) == 2, "the next one fires, the first one not again")


def test_NT06_cancelling_tells_whether_it_was_in_time(node: Node) -> None:
    clock = node.spawn(Clock)
    clock.ask(Arm([0]))
    eventually(lambda: clock.ask(Alarms()), "it fires")
    assert clock.ask(Disarm()) == [True, False, False]


@pytest.mark.parametrize("delay", [-1, -0.001, math.nan, "soon"])
def test_NT10_a_delay_that_is_none_is_refused(node: Node, delay: Any) -> None:
    clock = node.spawn(Clock)
    assert clock.ask(BadDelay(delay)).startswith("UsageError: a delay is a number of seconds")


def test_CH01_a_slow_subscriber_is_bounded(node: Node) -> None:
    speaker = node.spawn(Speaker)
    with node.subscribe("numbers", Noted, capacity=5) as slow:
        with node.subscribe("numbers", Noted) as fast:
            speaker.tell(Pump(speaker, 100))
            assert [fast.get(5).number for _ in range(100)] == list(range(1, 101))
        assert len(slow.drain()) == 5
        assert slow.dropped == 95
