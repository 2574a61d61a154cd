# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 9: GenServer; GS05 to GS13 and GS24 are among the rows of actors."""

from __future__ import annotations

import os
import signal
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
    Ref,
    Reject,
)
from gristmill.errors import (
    ActorError,
    AlreadyStartedError,
    StartFailedError,
    UnknownMessageError,
    UsageError,
)
from gristmill.supervision import Normal, Shutdown
from support import servers as s
from support.actors import Add, Die, Worker
from support.mailboxes import in_one_go
from support.waiting import eventually


def logged(ref: Ref[Any], text: str) -> list[str]:
    """Wait until a server has noted ``text``; give all its notes."""
    eventually(lambda: text in ref.ask(s.Log()), f"{text} in the log")
    return ref.ask(s.Log())


# --- start ---


def test_GS01_a_start_returns_when_the_server_has_begun(either: Node) -> None:
    assert either.spawn(s.Server).ask(s.Log()) == ["started"]


def test_GS01_a_start_that_stops_is_an_error_with_its_reason(either: Node) -> None:
    with pytest.raises(StartFailedError, match="could not start: shutdown: not today"):
        either.spawn(s.Server, args=("stop",), name="gs01")
    assert "gs01" not in either.status().names


@pytest.mark.parametrize("start", ["raise", "constructor"])
def test_GS02_a_start_that_raises_is_an_error_with_the_exception(either: Node, start: str) -> None:
    with pytest.raises(StartFailedError, match="OSError: no disk") as caught:
        either.spawn(s.Server, args=(start,))
    assert caught.value.error is not None
    assert caught.value.error.type == "OSError"


def test_GS02_a_start_that_gives_something_is_an_error(either: Node) -> None:
    with pytest.raises(StartFailedError, match="returned 17; it returns nothing"):
        either.spawn(s.Server, args=("junk",))


def test_GS04_a_taken_name_is_refused_and_its_owner_unharmed(either: Node) -> None:
    first = either.spawn(s.Server, name="gs04")
    first.tell(s.Note("mine"))
    with pytest.raises(AlreadyStartedError, match=f"taken by actor #{first.address.key} "):
        either.spawn(s.Server, name="gs04")
    assert first.ask(s.Log()) == ["started", "mine"]
    assert either.lookup("gs04") == first
    first.stop()


def test_GS09_a_lost_worker_is_told_apart_from_a_missing_actor(node: Node) -> None:
    ref = node.spawn(Worker, restart="temporary", placement="w2")
    begun = time.monotonic()
    with pytest.raises(ActorDied, match="SIGKILL"):
        ref.ask(Die("kill"), timeout=None)
    with pytest.raises(ActorNotFoundError):
        ref.ask(Add(1, 1), timeout=None)
    assert time.monotonic() - begun < 2.0


# --- continuations ---


def test_GS14_a_continuation_of_the_start_is_before_what_waits(either: Node) -> None:
    server = either.spawn(s.Server, args=("continue",))
    server.tell(s.Fail())
    server.tell(s.Note("waited"))
    assert logged(server, "waited") == ["started", "continued", "waited"]


def test_GS15_the_reply_comes_first_and_the_next_message_last(either: Node, tmp_path: Path) -> None:
    server, gate = either.spawn(s.Server), tmp_path / "gate"
    assert server.ask(s.WorkOn(str(gate))) == "answered"
    server.tell(s.Note("next"))
    gate.touch()
    assert logged(server, "next") == ["started", "continued", "next"]


# --- what nobody handles ---


def test_GS17_a_message_that_nobody_handles_is_logged_and_dropped(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Node(workers=1) as node:
        server = node.spawn(s.Server, name="gs17")
        server.tell(s.Unwanted())
        assert server.ask(s.Log()) == ["started"]
        eventually(lambda: node.status().dead_letters == 1, "the dead letter")
        assert node.status().actor_restarts == 0
    lines = [x for x in capfd.readouterr().err.splitlines() if "no handler for" in x]
    assert len(lines) == 1
    assert "WARNING" in lines[0]
    assert "gs17 has no handler for support.servers:Unwanted" in lines[0]


def test_GS18_a_call_that_nobody_handles_fails_at_once_and_harms_nobody(either: Node) -> None:
    server = either.spawn(s.Server)
    with pytest.raises(UnknownMessageError, match=r"no handler for support\.actors:Add"):
        server.ask(Add(1, 1), timeout=None)
    assert server.ask(s.Log()) == ["started"]


def test_GS18_a_continuation_that_nobody_handles_is_a_crash(either: Node) -> None:
    server = either.spawn(s.Server)
    server.tell(s.Note("lost"))
    with pytest.raises(ActorCrashed, match="no handler for Unwanted, which it sends to itself"):
        server.ask(s.LoseThread(), timeout=None)
    assert server.ask(s.Log()) == ["started"]


def test_SM04_GS18_an_internal_message_is_refused_from_elsewhere(either: Node) -> None:
    server = either.spawn(s.Server, name="internal")
    server.tell(s.GoOn("/"))
    (letter,) = eventually(
        lambda: [x for x in either.dead_letters() if x.target == "internal"], "the dead letter"
    )
    assert "GoOn is internal, only the actor itself can send it" in letter.reason
    assert server.ask(s.Log()) == ["started"]
    server.stop()


# --- idle timeout ---


def noted(node: Node, ref: Ref[Any]) -> list[str]:
    """Wait for the note "later" and give all of them, without a message to the server."""
    eventually(lambda: "later" in node.state_of(ref)["log"], "the last note")
    log: list[str] = node.state_of(ref)["log"]
    return log


def test_GS20_an_idle_timeout_comes_once_when_nothing_else_does(either: Node) -> None:
    server = either.spawn(s.Server)
    with in_one_go(either, server):
        server.tell(s.Mark(0.2, "later"))
        server.tell(s.Silence(0.02))
    assert noted(either, server) == ["started", "silent", "later"]


@pytest.mark.parametrize("canceller", [s.Note("other"), s.Silence(None), s.Silence(60)])
def test_GS20_any_message_cancels_an_idle_timeout(either: Node, canceller: Any) -> None:
    server = either.spawn(s.Server)
    with in_one_go(either, server):
        server.tell(s.Mark(0.15, "later"))
        server.tell(s.Silence(0.05))
        server.tell(canceller)
    assert "silent" not in noted(either, server)


def test_GS20_a_timer_cancels_an_idle_timeout_too(either: Node) -> None:
    server = either.spawn(s.Server)
    with in_one_go(either, server):
        server.tell(s.Mark(0.02, "due"))
        server.tell(s.Mark(0.3, "later"))
        server.tell(s.Silence(0.15))
    assert noted(either, server) == ["started", "due", "later"]


def test_GS20_it_counts_from_the_end_of_the_handler_and_not_against_what_waits(
    either: Node,
) -> None:
    server = either.spawn(s.Server)
    with in_one_go(either, server):
        server.tell(s.Mark(0.3, "later"))
        server.tell(s.Silence(0.01, computing=0.05))
        server.tell(s.Note("waited"))
    assert noted(either, server) == ["started", "waited", "later"]


@pytest.mark.parametrize(
    ("seconds", "why"), [(-1, "not -1"), (float("nan"), "not nan"), (1, "no handler for Unwanted")]
)
def test_GS20_an_idle_timeout_that_is_none_is_refused(
    either: Node, seconds: float, why: str
) -> None:
    with pytest.raises(ActorCrashed, match=why):
        either.spawn(s.Server).ask(s.BadSilence(seconds))


# --- replies ---


def test_GS21_another_process_answers_and_the_second_answer_is_ignored(either: Node) -> None:
    server = either.spawn(s.Server, placement="w1")
    other = either.spawn(s.Server, placement="w2")
    for helper in (other, server):
        assert list(server.ask_many([s.HandOver(helper)] * 3)) == [7, 7, 7]


def test_GS21_a_client_answers_in_the_place_of_a_server(either: Node) -> None:
    server = either.spawn(s.Server)
    pending = server.request(s.Later())
    reply = server.ask(s.TakeReply())
    assert not pending.done
    reply(5)
    reply(6)
    assert pending.result() == 5
    assert server.ask(s.Log()) == ["started"]


def test_GS21_a_crash_of_who_deferred_comes_before_a_late_answer(either: Node) -> None:
    server = either.spawn(s.Server)
    pending = server.request(s.Later())
    reply = server.ask(s.TakeReply())
    server.tell(s.Fail())
    with pytest.raises(ActorCrashed, match="ended before it answered: crash: ValueError"):
        pending.result()
    reply(5)
    assert server.ask(s.Log()) == ["started"]


def test_GS23_a_reply_of_another_type_is_a_crash_that_terminate_sees(
    either: Node, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    server = either.spawn(s.Witnessed, args=("", str(seen)))
    server.tell(s.Note("good"))
    with pytest.raises(ActorCrashed, match="answered Junk with a str, but it declares int"):
        server.ask(s.Junk(), timeout=None)
    assert server.ask(s.Log()) == ["started"]
    assert seen.read_text().startswith("crash: gristmill.errors.ReplyTypeError")
    assert seen.read_text().endswith("| ['good']")


# --- the end ---


@pytest.mark.parametrize(("how", "reports"), [("", 0), ("enough", 0), ("crash", 1)])
def test_GS25_an_ordered_end_is_not_reported_and_any_other_once(
    capfd: pytest.CaptureFixture[str], how: str, reports: int
) -> None:
    with Node(workers=1) as node:
        server = node.spawn(s.Server, name="gs25", restart="transient")
        pending = server.request(s.Later())
        server.tell(s.End(how))
        with pytest.raises(ActorError, match="ended before it answered"):
            pending.result()
        if reports:
            eventually(lambda: server.ask(s.Log()), "a restart")
        else:
            eventually(lambda: "gs25" not in node.status().names, "its end")
    assert capfd.readouterr().err.count("gs25") == reports


@pytest.mark.parametrize("reason", [None, Shutdown("tidy"), Normal()])
def test_GS27_GS28_a_stop_without_terminate_keeps_its_reason(either: Node, reason: Any) -> None:
    server = either.spawn(s.Server)
    pending = server.request(s.Later())
    server.tell(s.Note("before"))
    server.stop(reason=reason)
    told = {None: "shutdown$", Normal(): "normal$"}.get(reason, "shutdown: tidy$")
    with pytest.raises(ActorDied, match=f"ended before it answered: {told}"):
        pending.result()
    with pytest.raises(ActorNotFoundError):
        server.ask(s.Log())


def test_GS28_terminate_sees_the_reason_of_a_stop(either: Node, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    server = either.spawn(s.Witnessed, args=("", str(seen)))
    server.stop(reason=Shutdown("tidy"))
    assert seen.read_text() == "shutdown: tidy | []"


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon"])
def test_GS28_a_stop_with_a_timeout_that_is_none_harms_nobody(either: Node, timeout: Any) -> None:
    server = either.spawn(s.Server)
    with pytest.raises(UsageError, match="a timeout is a number of seconds"):
        server.stop(timeout=timeout)
    assert server.ask(s.Log()) == ["started"]


def test_GS31_the_death_of_a_caller_is_nothing_to_the_server(node: Node, tmp_path: Path) -> None:
    server = node.spawn(s.Server, placement="w1")
    asker = node.spawn(s.Asker, placement="w2", name="gs31")
    gate = tmp_path / "gate"
    pending = asker.request(s.AskFor(server, str(gate)))
    eventually(Path(f"{gate}.begun").exists, "the server has begun")
    os.kill(next(w.pid for w in node.status().workers if w.name == "w2"), signal.SIGKILL)
    with pytest.raises(ActorDied):
        pending.result()
    gate.touch()
    assert logged(server, "waited") == ["started", "waiting", "waited"]
    gate.unlink()
    again = asker.request(s.AskFor(server, str(gate)))
    gate.touch()
    assert again.result() == "waited"


# --- requests that are fetched later ---


def test_GS32_a_request_can_be_polled_waited_for_and_fetched(either: Node) -> None:
    server = either.spawn(s.Server)
    pending = server.request(s.Later())
    assert not pending.wait(0)
    assert not pending.wait(0.01)
    assert not pending.done
    server.tell(s.Answer(7))
    eventually(lambda: pending.done, "a poll sees the reply")
    assert pending.wait()
    assert pending.result(0) == pending.result() == 7


def test_GS32_a_receive_that_times_out_abandons_the_request(either: Node) -> None:
    server = either.spawn(s.Server)
    pending = server.request(s.Later())
    with pytest.raises(AskTimeoutError, match=r"did not answer Later in 0\.01 s"):
        pending.result(0.01)
    server.tell(s.Answer(7))
    assert server.ask(s.Log()) == ["started"]
    assert not pending.wait(0)
    with pytest.raises(AskTimeoutError):
        pending.result()
    other = server.request(s.Later())
    other.abandon()
    with pytest.raises(AskTimeoutError, match="was abandoned"):
        other.result()


def test_GS32_an_actor_can_poll_wait_and_abandon_too(either: Node) -> None:
    server = either.spawn(s.Server, placement="w1")
    for place in ("w1", "w2"):
        asker = either.spawn(s.Asker, placement=place)
        asker.tell(s.Open(server))
        assert not asker.ask(s.Poll(0))
        assert not asker.ask(s.Poll(0.01))
        server.tell(s.Answer(7))
        assert asker.ask(s.Poll(5))
        assert asker.ask(s.Fetch(0)) == 7
        asker.tell(s.Open(server))
        assert asker.ask(s.Fetch(0.01)) == -1
        server.tell(s.Answer(7))
        assert server.ask(s.Log()) == ["started"]
        assert asker.ask(s.Fetch(0)) == -1


def test_GS32_a_request_fails_as_an_ask_does(node: Node) -> None:
    ref = node.spawn(Worker)
    pending = ref.request(Die("kill"))
    with pytest.raises(ActorDied):
        pending.result()
    assert ref.request(Add(1, 2)).result() == 3
    ref.stop()
    with pytest.raises(ActorNotFoundError):
        ref.request(Add(1, 2)).result()


def test_GS34_a_multi_ask_gives_the_replies_and_the_rest(node: Node) -> None:
    good = [node.spawn(s.Voter, placement=place) for place in ("w1", "w2")]
    slow = node.spawn(s.Voter, args=("hang",), placement="w1", shutdown="brutal_kill")
    dying = node.spawn(s.Voter, args=("die",), placement="dedicated")
    gone = node.spawn(s.Voter)
    gone.stop()
    begun = time.monotonic()
    outcome = node.multi_ask([*good, slow, dying, gone], s.Vote(), timeout=0.3)
    assert time.monotonic() - begun < 2.0
    assert outcome.replies == [(ref, 1) for ref in good]
    assert [(ref, type(error)) for ref, error in outcome.failed] == [
        (slow, AskTimeoutError),
        (dying, ActorDied),
        (gone, ActorNotFoundError),
    ]
    asker = node.spawn(s.Asker)
    names = ["AskTimeoutError", "ActorDied", "ActorNotFoundError"]
    asked = s.AskAll([*good, slow, dying, gone], 0.3)
    assert asker.ask(asked) == ([1, 1], names)
    for ref in (slow, dying):
        ref.stop()


def test_GS34_in_one_process(either: Node) -> None:
    good = [either.spawn(s.Voter, placement=place) for place in ("w1", "w2")]
    slow = either.spawn(s.Voter, args=("hang",), shutdown="brutal_kill")
    outcome = either.multi_ask([slow, *good], s.Vote(), timeout=0.1)
    assert outcome.replies == [(ref, 1) for ref in good]
    assert [ref for ref, _ in outcome.failed] == [slow]
    assert either.spawn(s.Asker).ask(s.AskAll(good, 1.0)) == ([1, 1], [])
    slow.stop()


def test_GS35_a_long_queue_does_not_slow_its_owners_asks(node: Node) -> None:
    voter = node.spawn(s.Voter, placement="w1")
    asker = node.spawn(s.Asker, placement="w2", shutdown="brutal_kill")
    asker.ask(s.TimeAsks(voter, 200, 0), timeout=20)
    empty = asker.ask(s.TimeAsks(voter, 200, 0), timeout=20)
    # fewer than in the row, which takes long to fill; a scan of them would show as well
    full = asker.ask(s.TimeAsks(voter, 200, 100_000), timeout=30)
    assert full < 10 * empty
    asker.stop()


# --- inspections ---


def test_GS36_state_is_read_behind_what_was_sent_before(either: Node) -> None:
    server = either.spawn(s.Server)
    server.tell(s.Note("a"))
    state = either.state_of(server)
    assert state["log"] == ["started", "a"]
    server.request(s.Later())
    assert either.state_of(server)["open"][0].ticket.key == server.address.key


def test_GS36_state_is_replaced_or_left_as_it_was(either: Node) -> None:
    server = either.spawn(s.Server)
    either.replace_state(server, s.doubled)
    assert server.ask(s.Log()) == ["started", "started"]
    for bad, why in ((s.half_way, "RuntimeError: half way|half way"), (s.no_state, "it gave 4")):
        with pytest.raises(Reject, match=why) as caught:
            either.replace_state(server, bad)
        assert caught.value.code == "replace_failed"
        assert server.ask(s.Log()) == ["started", "started"]


def test_GS36_a_suspended_server_answers_inspections_only(either: Node) -> None:
    server = either.spawn(s.Server)
    either.suspend(server)
    server.tell(s.Note("kept"))
    pending = server.request(s.Log())
    assert either.state_of(server)["log"] == ["started"]
    either.replace_state(server, s.doubled)
    assert not pending.wait(0.05)
    either.resume(server)
    assert pending.result() == ["started", "started", "kept"]


def test_GS36_a_suspended_server_can_be_stopped(either: Node, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    server = either.spawn(s.Witnessed, args=("", str(seen)))
    either.suspend(server)
    pending = server.request(s.Log())
    server.stop(reason=Shutdown("tidy"))
    assert seen.read_text() == "shutdown: tidy | []"
    with pytest.raises(ActorNotFoundError):
        pending.result()
    with pytest.raises(ActorNotFoundError):
        either.state_of(server)


def test_GS36_an_inspection_survives_a_crash(either: Node) -> None:
    server = either.spawn(s.Server)
    either.suspend(server)
    server.tell(s.Fail())
    with ThreadPoolExecutor(1) as threads:
        either.resume(server)
        state = threads.submit(either.state_of, server).result(10)
    assert state["log"] == ["started"]
