"""Dead letters of a living node, read and sent again by its client and by the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import Node
from gristmill.errors import ActorNotFoundError, UsageError
from support.actors import Crash, Fail, Note, Notes, UnheardCommand, Worker
from support.commands import gristmill
from support.waiting import eventually


@pytest.fixture(params=["processes", "in_process"])
def either(request: pytest.FixtureRequest) -> Iterator[Node]:
    """Give a node of each kind, without dead letters."""
    in_process = request.param == "in_process"
    with Node(workers=1, max_restarts=1000, in_process=in_process) as started:
        yield started


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Node]:
    """Give a node with three dead letters: of a crash, of a stranger and of an actor that left."""
    with Node(workers=1, node_id="shop", max_restarts=1000) as node:
        ref = node.spawn(Worker, name="worker")
        ref.tell(Crash("broken"))
        ref.tell(UnheardCommand())
        eventually(lambda: len(node.dead_letters()) == 2, "two dead letters")
        left = node.spawn(Worker, name="left")
        left.stop()
        left.tell(Note(1))
        eventually(lambda: len(node.dead_letters()) == 3, "three dead letters")
        yield node


def test_a_message_is_sent_again_to_the_next_incarnation(either: Node) -> None:
    ref = either.spawn(Worker, name="worker")
    ref.stop()
    ref.tell(Note(7))
    (letter,) = eventually(either.dead_letters, "a dead letter")
    with pytest.raises(ActorNotFoundError, match="dead letter 1: worker does not exist any more"):
        either.resend(letter)
    again = either.spawn(Worker, name="worker")
    either.resend(letter)
    eventually(lambda: again.ask(Notes()) == [7], "the note")
    assert either.dead_letters() == []
    with pytest.raises(UsageError, match="it was sent again"):
        either.resend(letter.number)
    counted = eventually(lambda: c if (c := either.counters()).balanced else None, "at rest")
    assert counted.resent == 1


def test_poison_that_is_sent_again_is_a_dead_letter_again(either: Node) -> None:
    ref = either.spawn(Worker)
    ref.tell(Crash("broken"))
    (letter,) = eventually(either.dead_letters, "a dead letter")
    assert letter.key == ref.address.key
    either.resend(letter)
    (second,) = eventually(
        lambda: [each for each in either.dead_letters() if each.number != letter.number], "another"
    )
    assert second.body == letter.body


def test_a_request_is_handled_and_its_reply_dropped(either: Node) -> None:
    ref = either.spawn(Worker, name="worker")
    with pytest.raises(Exception, match="no luck"):
        ref.ask(Fail("no luck"))
    (letter,) = eventually(either.dead_letters, "a dead letter")
    either.resend(letter)
    eventually(lambda: [x.number for x in either.dead_letters()] == [2], "it crashed again")


def test_the_command_lists_them(shop: Node, tmp_path: Path) -> None:
    listed = gristmill(tmp_path, "dead-letters", "list", "-n", "shop").stdout
    assert "worker Crash w1" in " ".join(listed.split())
    assert "crash: ValueError: broken" in listed
    assert "has no handler for" in listed
    assert "3 dead letters of 3 kept" in listed
    data = json.loads(gristmill(tmp_path, "dead-letters", "list", "--json").stdout)
    assert [each["number"] for each in data] == [1, 2, 3]
    assert data[0]["body"] == ["support.actors:Crash", "broken"]
    assert data[0]["error"]["type"] == "ValueError"
    assert data[2]["target"] == "left"


def test_the_command_shows_one(shop: Node, tmp_path: Path) -> None:
    shown = gristmill(tmp_path, "dead-letters", "show", "1").stdout
    assert "Crash  to worker" in shown
    assert 'body    ["support.actors:Crash","broken"]' in shown
    assert "Traceback" in shown
    one = json.loads(gristmill(tmp_path, "dead-letters", "show", "3", "--json").stdout)
    assert (one["number"], one["target"], one["body"]) == (3, "left", ["support.actors:Note", 1])
    none = gristmill(tmp_path, "dead-letters", "show", "9")
    assert none.returncode == 2
    assert "there is no dead letter 9" in none.stderr


def test_the_command_sends_them_again(shop: Node, tmp_path: Path) -> None:
    refused = gristmill(tmp_path, "dead-letters", "resend", "3")
    assert refused.returncode == 2
    assert "left does not exist any more" in refused.stderr
    left = shop.spawn(Worker, name="left")
    sent = gristmill(tmp_path, "dead-letters", "resend", "3")
    assert sent.returncode == 0
    assert "3  support.actors:Note sent to left" in sent.stdout
    eventually(lambda: left.ask(Notes()) == [1], "the note")
    left.stop()
    rest = json.loads(gristmill(tmp_path, "dead-letters", "resend", "--all", "--json").stdout)
    assert rest == {"sent": [1, 2], "failed": []}
    eventually(lambda: [x.number for x in shop.dead_letters()] == [4, 5], "they fail again")
    nothing = gristmill(tmp_path, "dead-letters", "resend")
    assert nothing.returncode == 2
    assert "give the numbers of dead letters, or --all" in nothing.stderr
