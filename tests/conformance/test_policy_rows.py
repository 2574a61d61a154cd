# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 14: what an actor class makes of its own exceptions, stash, dead letters."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gristmill import (
    Actor,
    ActorCrashed,
    ActorNotFoundError,
    Backoff,
    FailurePolicy,
    Ignore,
    Mailbox,
    Node,
    Ref,
    Reject,
)
from gristmill.errors import ProtocolError, UsageError
from gristmill.testing import Simulation
from gristmill.worker.turns.dead_letter_log import LIMIT, PAUSE, DeadLetterLog
from support import policies as p
from support.actors import Note, Notes, read_lines
from support.processes import all_delivered
from support.waiting import eventually


@pytest.fixture(scope="module", params=["processes", "in_process"])
def either(
    request: pytest.FixtureRequest, own_temporary_directory: object, nothing_is_left: None
) -> Iterator[Node]:
    """Give a node of each kind that allows no restart: those here cost nothing."""
    with Node(workers=2, max_restarts=0, in_process=request.param == "in_process") as started:
        yield started


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file that the actors write to."""
    return tmp_path / "log"


def breaks(ref: Ref[Any], error: str, message: Any = p.Break) -> None:
    """Have an actor fail on a request."""
    with pytest.raises(ActorCrashed, match=f"{error}: .?broken"):
        ref.ask(message(error))


def lives(log: Path) -> list[str]:
    """Give what happened, without the times."""
    return [
        " ".join(x.split()[:2]) if not x.startswith("start") else "start" for x in read_lines(log)
    ]


# --- AM03 ---


@pytest.mark.parametrize("message", [p.Break, p.BreakLater])
def test_AM03_a_resumed_actor_keeps_its_state(either: Node, log: Path, message: Any) -> None:
    ref = either.spawn(p.Fragile, args=(str(log),))
    assert ref.ask(p.Count()) == 1
    for _ in range(5):
        breaks(ref, "KeyError", message)
    assert ref.ask(p.Count()) == 2
    assert lives(log) == ["start"]
    ref.stop()


@pytest.mark.parametrize("message", [p.Break, p.BreakLater])
def test_AM03_a_restarted_actor_begins_anew(either: Node, log: Path, message: Any) -> None:
    ref = either.spawn(p.Fragile, args=(str(log),))
    assert ref.ask(p.Count()) == 1
    for _ in range(5):
        breaks(ref, "ValueError", message)
        assert ref.ask(p.Count()) == 1
    ref.stop()


def test_AM03_a_stopped_actor_does_not_come_back(either: Node, log: Path) -> None:
    ref = either.spawn(p.Fragile, args=(str(log),), name="am03-stopped")
    breaks(ref, "PermissionError")
    with pytest.raises(ActorNotFoundError):
        ref.ask(p.Count())
    eventually(lambda: "am03-stopped" not in either.status().names, "its name is free")
    assert lives(log) == ["start", "terminate crash:"]


def test_AM03_the_nearest_base_of_the_exception_decides(either: Node, log: Path) -> None:
    ref = either.spawn(p.Fragile, args=(str(log),))
    breaks(ref, "LookupError")
    assert ref.ask(p.Count()) == 1
    breaks(ref, "IndexError")  # a LookupError with a policy of its own
    with pytest.raises(ActorNotFoundError):
        ref.ask(p.Count())


def test_AM03_an_exception_without_a_policy_stops_the_incarnation_and_the_supervisor_decides(
    log: Path,
) -> None:
    with Node(workers=1, max_restarts=1) as node:
        kept = node.spawn(p.Fragile, args=(str(log),))
        breaks(kept, "ZeroDivisionError")
        assert kept.ask(p.Count()) == 1
        temporary = node.spawn(p.Fragile, args=(str(log),), restart="temporary")
        breaks(temporary, "ZeroDivisionError")
        with pytest.raises(ActorNotFoundError):
            temporary.ask(p.Count())
        assert node.status().tree.restarts_in_window == 1


def test_AM03_what_waits_behind_the_failure_is_handled(either: Node, log: Path) -> None:
    ref = either.spawn(p.Fragile, args=(str(log),))
    with ThreadPoolExecutor(8) as threads:
        for error in ("KeyError", "ValueError", "KeyError"):
            ref.tell(p.BreakTold(error))
        counted = [threads.submit(ref.ask, p.Count()) for _ in range(8)]
        assert sorted(future.result(5) for future in counted) == list(range(1, 9))
    ref.stop()


def test_AM03_an_actor_that_stops_itself_is_not_resumed(tmp_path: Path, log: Path) -> None:
    with Node(workers=1) as node:
        ref = node.spawn(p.Fragile, args=(str(log),), restart="temporary")
        breaks(ref, "KeyError", p.BreakStopping)
        eventually(lambda: lives(log) == ["start", "terminate crash:"], "its end")


def test_AM03_a_machine_resumes_in_its_state(either: Node) -> None:
    ref = either.spawn(p.Gate)
    breaks(ref, "KeyError")
    assert ref.ask(p.Count()) == 1
    breaks(ref, "KeyError")
    assert ref.ask(p.Count()) == 2
    ref.stop()


def test_AM03_a_durable_actor_never_keeps_what_is_not_in_its_journal(tmp_path: Path) -> None:
    with Node(workers=1, max_restarts=0, journal=tmp_path / "journal") as node:
        ref = node.spawn(p.Accountant, name="accountant")
        ref.tell(Note(1))
        with pytest.raises(ActorCrashed, match="KeyError"):
            ref.ask(p.PersistThen(2, "KeyError"))
        assert ref.ask(Notes()) == [1]
        ref.tell(Note(13))  # raises before it persists anything
        assert ref.ask(Notes()) == [1]
        eventually(lambda: node.status().actor_restarts == 1, "the restart is counted")


def test_AM03_an_at_least_once_message_is_tried_again_by_a_resumed_actor_too(
    tmp_path: Path,
) -> None:
    with Node(workers=1, max_restarts=0, journal=tmp_path / "journal") as node:
        ref = node.spawn(p.Accountant, name="accountant")
        for number in (1, 13, 2):
            ref.tell(Note(number), delivery="at_least_once")
        all_delivered(ref)
        assert ref.ask(Notes()) == [1, 2]
        (letter,) = eventually(node.dead_letters, "the poison")
        assert "thirteen" in letter.reason
        assert node.status().actor_restarts == 0


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ([ValueError], "on_failure is"),
        ({"ValueError": FailurePolicy.stop()}, "no exception class"),
        ({BaseException: FailurePolicy.stop()}, "no exception class"),
        ({Reject: FailurePolicy.stop()}, "an answer and no failure"),
        ({Ignore: FailurePolicy.stop()}, "an answer and no failure"),
        ({ValueError: "stop"}, r"write FailurePolicy\.resume"),
    ],
)
def test_AM03_a_wrong_policy_is_refused_when_the_class_is_made(entries: Any, what: str) -> None:
    with pytest.raises(ProtocolError, match=what):
        type("Wrong", (Actor,), {"on_failure": entries})


# --- AM04 ---


def test_AM04_one_restart_too_many_in_the_window_stops_the_actor(log: Path) -> None:
    with Simulation(1, max_restarts=0) as node:
        ref = node.spawn(p.Fragile, args=(str(log),))
        for _ in range(2):
            breaks(ref, "ConnectionError")
            assert ref.ask(p.Count()) == 1
        breaks(ref, "ConnectionError")
        with pytest.raises(ActorNotFoundError):
            ref.ask(p.Count())
        assert lives(log)[-2:] == ["start", "terminate crash:"]


def test_AM04_restarts_leave_the_window_one_by_one(log: Path) -> None:
    with Simulation(1, max_restarts=0) as node:
        ref = node.spawn(p.Fragile, args=(str(log),))
        for pause in (0.0, 6.0, 6.0, 6.0, 6.0):
            node.advance(pause)
            breaks(ref, "ConnectionError")
            assert ref.ask(p.Count()) == 1
        node.advance(1.0)
        breaks(ref, "ConnectionError")
        with pytest.raises(ActorNotFoundError):
            ref.ask(p.Count())


def test_AM04_a_limit_of_none_stops_at_the_first_failure(either: Node, log: Path) -> None:
    ref = either.spawn(p.Fragile, args=(str(log),))
    breaks(ref, "UnicodeError")
    with pytest.raises(ActorNotFoundError):
        ref.ask(p.Count())


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": -1},
        {"limit": 1.5},
        {"limit": True},
        {"within": 0.0},
        {"within": float("inf")},
        {"backoff": 3.0},
        {"backoff": Backoff(2.0, 1.0)},
        {"backoff": Backoff(1.0, 2.0, reset_after=-1.0)},
    ],
)
def test_AM04_numbers_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        FailurePolicy.restart(**wrong)


# --- AM05 ---


def gaps(log: Path) -> list[float]:
    """Give the seconds between one start and the next."""
    at = [float(x.split()[1]) for x in read_lines(log) if x.startswith("start")]
    return [later - earlier for earlier, later in itertools.pairwise(at)]


def test_AM05_delays_double_up_to_the_longest(log: Path) -> None:
    with Simulation(2, max_restarts=0) as node:
        ref = node.spawn(p.Fragile, args=(str(log),))
        for _ in range(6):
            breaks(ref, "TimeoutError")
            assert ref.ask(p.Count(), timeout=60) == 1  # it waited in the mailbox
    assert gaps(log) == pytest.approx([1, 2, 4, 8, 8, 8], abs=0.1)


def test_AM05_delays_begin_anew_after_a_quiet_time(log: Path) -> None:
    with Simulation(2, max_restarts=0) as node:
        ref = node.spawn(p.Fragile, args=(str(log),))
        for quiet in (0.0, 0.0, 19.0, 21.0, 0.0):
            node.advance(quiet)
            breaks(ref, "TimeoutError")
            assert ref.ask(p.Count(), timeout=60) == 1
    assert gaps(log) == pytest.approx([1, 2, 19 + 4, 21 + 1, 2], abs=0.1)


def test_AM05_jitter_lengthens_a_delay_by_its_share_at_most() -> None:
    backoff = Backoff(1.0, 8.0, jitter=0.5)
    assert [backoff.delay(n, 0.0) for n in range(5)] == [1, 2, 4, 8, 8]
    assert [backoff.delay(n, 0.999) for n in (0, 3)] == pytest.approx([1.5, 12.0], rel=1e-3)


# --- AM08 ---


def test_AM08_each_end_runs_one_hook_before_a_restart_or_at_a_stop(either: Node, log: Path) -> None:
    ref = either.spawn(p.Fragile, args=(str(log),))
    breaks(ref, "ValueError")
    ref.ask(p.Count())
    ref.stop()
    assert lives(log) == ["start", "before restart", "start", "terminate shutdown"]


def test_AM08_the_hook_before_a_restart_cleans_up_as_a_stop_does(either: Node, log: Path) -> None:
    ref = either.spawn(p.Frail, args=(str(log),))
    breaks(ref, "ValueError")
    ref.ask(p.Count())
    ref.stop()
    assert lives(log) == ["start", "terminate crash:", "start", "terminate shutdown"]


# --- AM09 ---


def test_AM09_a_start_that_raises_under_immediate_restarts_is_the_supervisors_business(
    log: Path, tmp_path: Path
) -> None:
    hindrance = tmp_path / "hindrance"
    with Node(workers=1, max_restarts=2, within=60.0) as node:
        args = (str(log), str(hindrance), "ValueError")
        ref = node.spawn(p.Fragile, args=args)
        hindrance.touch()
        breaks(ref, "ValueError")
        eventually(lambda: node.error is not None, "it gives up")
        assert "restart intensity exceeded" in str(node.error)
    assert lives(log) == ["start", "before restart", *["no start"] * 3]


def test_AM09_a_start_that_raises_under_backoff_is_tried_again_later_and_later(
    log: Path, tmp_path: Path
) -> None:
    hindrance = tmp_path / "hindrance"
    with Simulation(3, max_restarts=0) as node:
        ref = node.spawn(p.Fragile, args=(str(log), str(hindrance), "TimeoutError"))
        hindrance.touch()
        breaks(ref, "TimeoutError")
        for after, tries in ((0.9, 0), (0.2, 1), (1.8, 1), (0.2, 2), (3.8, 2), (0.2, 3)):
            node.advance(after)
            assert lives(log).count("no start") == tries
        hindrance.unlink()
        assert ref.ask(p.Count(), timeout=60) == 1
    assert gaps(log) == pytest.approx([15.0], abs=0.2)


def test_AM09_a_first_start_that_raises_is_told_to_who_spawns(either: Node, log: Path) -> None:
    with pytest.raises(Exception, match="TimeoutError: hindered"):
        either.spawn(p.Fragile, args=(str(log), str(log.parent), "TimeoutError"))
    assert lives(log) == ["no start"]


# --- AM10 ---


def put(threads: ThreadPoolExecutor, ref: Ref[p.Stash], *numbers: int) -> list[Any]:
    """Have numbers wait in the stash, in this order; give what will be answered."""
    asked = []
    for number in numbers:
        asked.append(threads.submit(ref.ask, p.Put(number), timeout=20))
        eventually(lambda: ref.ask(p.Tried())[-1:] == [number], "it was looked at")  # noqa: B023 - now
    return asked


def test_AM10_what_was_stashed_comes_back_in_its_order(node: Node) -> None:
    ref = node.spawn(p.Stash)
    with ThreadPoolExecutor(4) as threads:
        asked = put(threads, ref, 3, 1, 2)
        ref.tell(p.Open(3))
        assert [future.result(5) for future in asked] == [1, 2, 3]
    assert ref.ask(p.Kept()) == [3, 1, 2]
    ref.stop()


def test_AM10_what_is_stashed_again_is_not_tried_again_in_the_same_pass(node: Node) -> None:
    ref = node.spawn(p.Stash)
    with ThreadPoolExecutor(4) as threads:
        asked = put(threads, ref, 3, 1, 2)
        ref.tell(p.Open(1))
        assert asked[1].result(5) == 1
        assert ref.ask(p.Tried()) == [3, 1, 2]  # each of them once
        ref.tell(p.Open(3))
        assert [asked[0].result(5), asked[2].result(5)] == [2, 3]
        assert ref.ask(p.Tried()) == [3, 2]
    assert ref.ask(p.Kept()) == [1, 3, 2]
    ref.stop()


def test_AM10_a_full_stash_refuses_the_next_one_and_keeps_the_rest(node: Node) -> None:
    ref = node.spawn(p.Stash, mailbox=Mailbox(capacity=2))
    with ThreadPoolExecutor(4) as threads:
        asked = put(threads, ref, 1, 2)
        with pytest.raises(Reject, match="has 2 messages postponed") as refused:
            ref.ask(p.Put(3))
        assert refused.value.code == "mailbox_full"
        ref.tell(p.Open(3))
        assert [future.result(5) for future in asked] == [1, 2]
    assert ref.ask(p.Kept()) == [1, 2]
    ref.stop()


# --- AM14 ---


class Clock:
    """A time that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_AM14_a_storm_is_throttled_and_then_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    letters = DeadLetterLog(logging.getLogger("am14"), clock)
    for _ in range(1000):
        letters.tell("m:Loud", "nobody is there")
    assert len(caplog.messages) == LIMIT
    assert caplog.messages[0] == "dead letter: m:Loud: nobody is there"
    assert caplog.messages[-1].endswith(f"the next ones are not logged for {PAUSE:g} s")
    clock.now = PAUSE
    letters.tell("m:Loud", "nobody is there")
    assert len(caplog.messages) == LIMIT + 1
    assert f"and {1000 - LIMIT} before it that were not logged" in caplog.messages[-1]


def test_AM14_few_dead_letters_are_all_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    letters = DeadLetterLog(logging.getLogger("am14"), clock)
    for number in range(50):
        clock.now = number * PAUSE / (LIMIT - 2)
        letters.tell("m:Loud", "nobody is there")
    assert len(caplog.messages) == 50


def test_AM14_a_worker_logs_the_first_of_a_storm_and_none_of_a_suppressed_type(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Node(workers=1) as node:
        ref = node.spawn(p.Stash, name="am14")
        for _ in range(100):
            ref.tell(p.Quiet())
            ref.tell(p.Loud())
        eventually(lambda: node.status().dead_letters == 200, "all are kept and counted")
    lines = [x for x in capfd.readouterr().err.splitlines() if "dead letter:" in x]
    assert len(lines) == LIMIT
    assert all("policies:Loud" in line and "am14" in line for line in lines)


def test_AM14_a_client_logs_too_what_it_sends_to_nobody(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    ref = node.spawn(p.Stash, placement="dedicated")
    ref.stop()
    eventually(lambda: ref.address.home in node._connected().post.peers.gone, "it is known")
    for _ in range(2):
        ref.tell(p.Quiet())
        ref.tell(p.Loud())
    logged = [x for x in caplog.messages if x.startswith("dead letter: support.policies:")]
    assert len(logged) == 2
    assert all("Loud" in x and "has stopped" in x for x in logged)
