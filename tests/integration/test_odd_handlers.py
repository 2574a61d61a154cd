"""Handlers that raise what is hard to tell, and handlers that use their task and its context."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from gristmill import ActorCrashed, ActorDied, Mailbox, Node, Reject
from gristmill.errors import StartFailedError, UsageError
from support.odd import (
    ODD,
    CancelYourself,
    Contextual,
    Exit,
    Odd,
    Raise,
    RaiseLater,
    Refuse,
    Tenant,
    Use,
)


@pytest.mark.parametrize("how", ODD)
def test_whatever_a_handler_raises_is_a_crash_that_its_asker_is_told_of(
    either: Node, how: str
) -> None:
    ref = either.spawn(Odd)
    assert ref.ask(Raise("")) == 1
    with pytest.raises(ActorCrashed):
        ref.ask(Raise(how))
    assert ref.ask(Raise("")) == 1, "it has been restarted"
    ref.stop()


@pytest.mark.parametrize("how", [how for how in ODD if how != "generator"])
def test_so_is_what_it_raises_behind_an_await(either: Node, how: str) -> None:
    ref = either.spawn(Odd)
    with pytest.raises(ActorCrashed):
        ref.ask(RaiseLater(how))
    assert ref.ask(Raise("")) == 1
    ref.stop()


@pytest.mark.parametrize("when", ["start", "late"])
@pytest.mark.parametrize("how", [how for how in ODD if how != "generator"])
def test_a_start_that_raises_it_fails(either: Node, how: str, when: str) -> None:
    with pytest.raises(StartFailedError):
        either.spawn(Odd, kwargs={when: how})


@pytest.mark.parametrize(("how", "said"), [("code", "no such order"), ("reason", "'order'")])
def test_a_refusal_says_what_it_can(either: Node, how: str, said: str) -> None:
    ref = either.spawn(Odd)
    with pytest.raises(Reject) as caught:
        ref.ask(Refuse(how))
    assert (str(caught.value), caught.value.code) == (
        said,
        "404" if how == "code" else "rejected",
    )
    ref.stop()


def test_a_handler_that_exits_ends_its_worker_with_that_status(node: Node) -> None:
    ref = node.spawn(Odd)
    with pytest.raises(ActorDied, match="exited with code 3"):
        ref.ask(Exit(3))
    ref.stop()


def test_each_message_to_an_async_handler_has_a_context_of_its_own(either: Node) -> None:
    one, other = either.spawn(Contextual), either.spawn(Contextual, placement="w1")
    assert one.ask(Use("set")) == "acme"
    assert one.ask(Use("reset")) == "nobody"
    assert one.ask(Use("decimal")) == "0.333"
    assert one.ask(Use("first")) == "acme"
    assert [ref.ask(Tenant()) for ref in (one, other)] == ["nobody", "nobody"]
    one.stop()
    other.stop()


def test_a_handler_may_cancel_itself_before_it_waits(either: Node) -> None:
    ref = either.spawn(Contextual)
    for _ in range(3):
        assert ref.ask(CancelYourself()) == "cancelled"
        assert ref.ask(Tenant()) == "nobody"
    ref.stop()


def test_a_node_in_this_process_ends_without_a_word(tmp_path: Path) -> None:
    source = """
        from gristmill import Node
        from support.odd import Contextual, Tenant

        with Node(workers=1, in_process=True) as node:
            print(node.spawn(Contextual).ask(Tenant()))
    """
    tests = Path(__file__).parents[1]
    script = tmp_path / "script.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(tests)!r})\n{dedent(source)}")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("nobody\n", "")


@pytest.mark.parametrize(
    "options",
    [
        {"name": 7},
        {"mailbox": Mailbox(2.5)},  # type: ignore[arg-type]  # the point of it
        {"shutdown": "brutal"},
        {"facets": ["durable"]},
        {"supervisor": 5},
    ],
    ids=str,
)
def test_an_argument_of_a_wrong_type_is_refused_at_once(
    either: Node, options: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match="wrong type"):
        either.spawn(Odd, **options)  # type: ignore[arg-type]  # the point of it


def test_what_is_no_request_and_what_is_no_timeout(either: Node) -> None:
    ref = either.spawn(Odd)
    with pytest.raises(UsageError, match="with a Request, and this is a dict"):
        ref.ask({"how": ""})  # type: ignore[arg-type]  # the point of it
    for timeout in ("5", -1.0, float("nan")):
        with pytest.raises(UsageError, match="a timeout is a number of seconds"):
            ref.ask(Raise(""), timeout=timeout)  # type: ignore[arg-type]  # the point of it
    ref.stop()
