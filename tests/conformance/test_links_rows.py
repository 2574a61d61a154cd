# ruff: noqa: N802 - named by the conformance row's id
"""Conformance groups 9 and 12: links and exit signals."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gristmill import Node, supervision
from gristmill.supervision import Crash, Killed, NoProc, Shutdown
from support.bonding import PLACES, heard, in_background, monitored, peer
from support.bonds import (
    DieHard,
    Finish,
    GetRef,
    Link,
    LinkAndSleep,
    LinkTo,
    Ping,
    SayAndEnd,
    SendBoth,
    SendExit,
    Sleeper,
    Trapper,
    Unlink,
    Wait,
)
from support.processes import kill, worker_pids
from support.waiting import eventually

TEMPORARY: dict[str, Any] = {"restart": "temporary"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file that the actors write to."""
    return tmp_path / "log"


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("by", ["the one that linked", "the other one"])
def test_LM01_linked_twice_and_unlinked_once_is_unlinked(
    node: Node, log: Path, places: tuple[str, str], by: str
) -> None:
    one = peer(node, log, "lm01-a", places[0])
    other = peer(node, log, "lm01-b", places[1])
    one.ask(Link(other))
    one.ask(Link(other))
    other.ask(Link(one))
    if by == "the other one":
        one, other = other, one
    one.ask(Unlink(other))
    before = one.ask(Ping())
    other.tell(Finish("crash"))
    other.ask(Ping())
    assert one.ask(Ping()) == before
    before = other.ask(Ping())
    one.tell(Finish("crash"))
    one.ask(Ping())
    assert other.ask(Ping()) == before
    one.stop()
    other.stop()


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("dies", ["the one that linked", "the other one"])
def test_LM02_a_linked_actor_dies_with_the_same_reason(
    node: Node, log: Path, places: tuple[str, str], dies: str
) -> None:
    one = peer(node, log, "lm02-a", places[0], **TEMPORARY)
    other = peer(node, log, "lm02-b", places[1], **TEMPORARY)
    one.ask(Link(other))
    first, second = (one, other) if dies == "the one that linked" else (other, one)
    ended = monitored(node, second)
    first.tell(Finish("crash"))
    reason = ended.wait(5.0)
    assert isinstance(reason, Crash)
    assert str(reason.error) == "ValueError: on request"
    assert heard(log, "terminate")[-1].endswith("crash: ValueError: on request")


def test_LM02_a_long_chain_ends_together(node: Node, log: Path) -> None:
    """Also where each of them waits, and so is ended by its predecessor's end."""
    chain = node.spawn_many(Sleeper, [(str(log),)] * 400, placement="w1", restart="temporary")
    for one, other in pairwise(chain):
        one.tell(LinkAndSleep(other))
    chain[-1].ask(Ping())
    ends = [node.monitor(one) for one in (chain[0], chain[-2], chain[-1])]
    chain[-1].tell(Finish("bye"))
    assert [end.wait(5.0) for end in ends] == [Shutdown("bye")] * 3


@pytest.mark.parametrize("places", PLACES)
def test_LM02_a_handler_that_waits_is_cut_short(
    node: Node, log: Path, tmp_path: Path, places: tuple[str, str]
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    waits = peer(node, log, "lm02-w", places[0], **TEMPORARY)
    other = peer(node, log, "lm02-b", places[1], **TEMPORARY)
    waits.ask(Link(other))
    ended = monitored(node, waits)
    asked = in_background(waits, Wait(str(gate)))
    eventually(lambda: not gate.exists(), "the handler has begun")
    other.tell(Finish("bye"))
    assert ended.wait(5.0) == Shutdown("bye")
    with pytest.raises(Exception, match="lm02-w ended before it answered: shutdown: bye"):
        asked()


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_LM02_the_worker_of_a_linked_actor_dies(node: Node, log: Path, how: str) -> None:
    survivor = peer(node, log, "lm02-a", "w1", **TEMPORARY)
    other = peer(node, log, "lm02-b", "w2", **TEMPORARY)
    other.ask(Link(survivor))
    ended = monitored(node, survivor)
    other.tell(DieHard(how))
    assert ended.wait(5.0) == (Killed(9) if how == "kill" else supervision.Exited(7))


@pytest.mark.parametrize("places", PLACES)
def test_LM03_a_normal_end_leaves_a_linked_actor_alone(
    node: Node, log: Path, places: tuple[str, str]
) -> None:
    one = peer(node, log, "lm03-a", places[0])
    other = peer(node, log, "lm03-b", places[1])
    before = one.ask(Ping())
    one.ask(Link(other))
    other.tell(SayAndEnd(one, 1, "normal"))
    other.ask(Ping())
    eventually(lambda: heard(log, "lm03-a") == ["got 0"], "what it sent before")
    assert one.ask(Ping()) == before
    one.stop()
    other.stop()


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("normal", "normal"),
        ("bye", "shutdown: bye"),
        ("crash", "crash: ValueError: on request"),
    ],
)
def test_LM04_a_trapping_actor_gets_one_message(
    node: Node, log: Path, places: tuple[str, str], how: str, reason: str
) -> None:
    trapper = peer(node, log, "lm04", places[0], Trapper)
    other = peer(node, log, "lm04-t", places[1])
    before = trapper.ask(Ping())
    trapper.ask(Link(other))
    other.tell(SayAndEnd(trapper, 2, how))
    other.ask(Ping())
    expected = ["got 0", "got 1", f"exited lm04-t {reason}"]
    eventually(lambda: heard(log, "lm04") == expected, "an exit message behind the others")
    assert trapper.ask(Ping()) == before
    trapper.stop()
    other.stop()


@pytest.mark.parametrize("places", PLACES)
def test_LM05_a_kill_ends_a_trapping_actor_and_is_seen_as_killed(
    node: Node, log: Path, places: tuple[str, str]
) -> None:
    victim = peer(node, log, "lm05", places[0], Trapper, **TEMPORARY)
    linked = peer(node, log, "lm05-l", places[1], Trapper)
    dies = peer(node, log, "lm05-d", places[1], **TEMPORARY)
    linked.ask(Link(victim))
    dies.ask(Link(victim))
    seen, other = monitored(node, victim), monitored(node, dies)
    linked.ask(SendExit(victim, "kill"))
    assert (seen.wait(5.0), other.wait(5.0)) == (Killed(9), Killed(9))
    expected = ["exited lm05 killed by SIGKILL"]
    eventually(lambda: heard(log, "lm05-l") == expected, "the exit of the victim")
    assert [line for line in heard(log, "terminate") if line.startswith("lm05 ")] == []
    linked.stop()


@pytest.mark.parametrize("places", PLACES)
def test_LM07_a_link_to_nobody_gives_noproc(node: Node, log: Path, places: tuple[str, str]) -> None:
    dead = peer(node, log, "lm07-t", places[1])
    gone = peer(node, log, "lm07-g", "dedicated")
    dead.stop()
    gone.stop()
    trapper = peer(node, log, "lm07", places[0], Trapper)
    for target in (dead, gone):
        trapper.ask(Link(target))
    expected = ["exited lm07-g no such actor", "exited lm07-t no such actor"]
    eventually(lambda: sorted(heard(log, "lm07")) == expected, "two messages")
    for target in (dead, gone):  # its name is free only when the supervisor process has heard
        plain = peer(node, log, f"{target.name}-p", places[0], **TEMPORARY)
        ended = node.monitor(plain)
        plain.tell(LinkTo(target))
        assert ended.wait(5.0) == NoProc()
    trapper.stop()


@pytest.mark.parametrize("places", PLACES)
def test_LM08_no_exit_message_after_unlink(node: Node, log: Path, places: tuple[str, str]) -> None:
    trapper = peer(node, log, "lm08", places[0], Trapper)
    other = peer(node, log, "lm08-t", places[1])
    trapper.ask(Link(other))
    trapper.ask(Unlink(other))
    other.tell(SayAndEnd(trapper, 1, "crash"))
    other.ask(Ping())
    eventually(lambda: heard(log, "lm08") == ["got 0"], "what it sent before")
    trapper.ask(Ping())
    assert heard(log, "lm08") == ["got 0"]
    trapper.stop()
    other.stop()


def test_LM18_the_first_of_two_exit_signals_counts(node: Node, log: Path, tmp_path: Path) -> None:
    victim = peer(node, log, "lm18", "w1", **TEMPORARY)
    sender = peer(node, log, "lm18-s", "w2")
    ended = monitored(node, victim)
    sender.tell(SendBoth(victim, "first", "second"))
    assert ended.wait(5.0) == Shutdown("first")
    assert heard(log, "terminate")[-1] == "lm18 shutdown: first"
    sender.stop()


def test_an_exit_signal_with_normal_does_nothing_unless_trapped(node: Node, log: Path) -> None:
    plain, trapper = peer(node, log, "plain", "w1"), peer(node, log, "trapper", "w1", Trapper)
    sender = peer(node, log, "sender", "w2")
    before = plain.ask(Ping())
    for target in (plain, trapper):
        sender.ask(SendExit(target, "normal"))
    eventually(lambda: heard(log, "trapper") == ["exited sender normal"], "a message")
    assert plain.ask(Ping()) == before
    for ref in (plain, trapper, sender):
        ref.stop()


def test_a_link_to_oneself_is_none(node: Node, log: Path) -> None:
    one = peer(node, log, "self", "w1", Trapper, **TEMPORARY)
    one.ask(Link(one.ask(GetRef())))
    ended = node.monitor(one)
    one.tell(Finish("bye"))
    assert ended.wait(5.0) == Shutdown("bye")


def test_a_link_does_not_outlive_an_incarnation(node: Node, log: Path) -> None:
    one = peer(node, log, "once", "w1", Trapper)
    other = peer(node, log, "once-t", "w2")
    one.ask(Link(other))
    for _ in range(2):
        other.tell(Finish("crash"))
        other.ask(Ping())
    eventually(lambda: heard(log, "once"), "an exit message")
    ended = node.monitor(other)
    kill(worker_pids(node)["w2"])
    assert ended.wait(5.0) == Killed(9)
    other.ask(Ping())
    one.ask(Ping())
    assert heard(log, "once") == ["exited once-t crash: ValueError: on request"]
    one.stop()
    other.stop()


def test_GS30_a_server_that_traps_goes_on(node: Node, log: Path) -> None:
    server = peer(node, log, "gs30", "w1", Trapper)
    before = server.ask(Ping())
    linked = [peer(node, log, f"gs30-{n}", f"w{n}", **TEMPORARY) for n in (1, 2)]
    for other in linked:
        other.ask(Link(server))
        other.tell(Finish("crash"))
    expected = [f"exited gs30-{n} crash: ValueError: on request" for n in (1, 2)]
    eventually(lambda: sorted(heard(log, "gs30")) == expected, "both messages")
    assert server.ask(Ping()) == before
    server.stop()
