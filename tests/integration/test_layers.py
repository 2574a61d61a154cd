"""Layers around handlers: their order, and what answers in the place of a handler."""

from __future__ import annotations

from typing import Any

import pytest

from gristmill import Actor, Context, Node, Ref, Request, guarded, handles, through
from gristmill.errors import ActorCrashed, ProtocolError, Reject
from support.layered import Greet, Layered, Log, Pay, PayLater, Set


@pytest.fixture(params=[Pay, PayLater])
def pay(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def actor(node: Node) -> Ref[Any]:
    return node.spawn(Layered)


def refusal(actor: Ref[Any], request: Any) -> str:
    with pytest.raises(Reject) as caught:
        actor.ask(request)
    return caught.value.code


def test_layers_run_in_order_and_may_answer_instead(actor: Ref[Any], pay: Any) -> None:
    assert actor.ask(pay("k")) == ["run 1"]
    assert actor.ask(Log()) == ["outer in", "inner in", "inner out", "outer out"]
    assert actor.ask(pay("k")) == ["run 1"]
    assert actor.ask(Log())[4:] == ["outer in", "outer out"]
    assert refusal(actor, pay("k", "badly")) == "key_in_use"
    assert actor.ask(pay("other")) == ["run 2"]


def test_what_failed_may_run_again_until_its_breaker_opens(actor: Ref[Any], pay: Any) -> None:
    for _ in range(2):
        with pytest.raises(ActorCrashed, match="the bank is closed"):
            actor.ask(pay("k", "badly"))
    assert actor.ask(Log())[:3] == ["outer in", "inner in", "inner ConnectionError"]
    before = len(actor.ask(Log()))
    assert refusal(actor, pay("other")) == "circuit_open"
    assert actor.ask(Log())[before:] == ["outer in", "outer Reject"]


def test_a_refusal_is_no_failure(actor: Ref[Any], pay: Any) -> None:
    for _ in range(5):
        assert refusal(actor, pay("k", "refused")) == "rejected"
    assert actor.ask(pay("other")) == ["run 6"]


def test_a_layer_of_ones_own(actor: Ref[Any]) -> None:
    assert actor.ask(Greet("Ada")) == "hello Ada, please"
    assert actor.ask(Greet("")) == "nobody is there"
    assert actor.ask(Greet("error")) == "sorry"


def test_a_command_is_carried_out_once(actor: Ref[Any]) -> None:
    for _ in range(3):
        actor.tell(Set("k"))
    assert actor.ask(Log()) == ["set k"]


class Ask(Request[int]):
    """Ask."""


def test_what_can_not_work_is_refused_when_the_class_is_created() -> None:
    with pytest.raises(ProtocolError, match="take \\(self, message, ctx\\)"):

        class NoContext(Actor):
            @handles
            @through(guarded("bank"))
            def ask(self, msg: Ask) -> int:
                return 1

    with pytest.raises(ProtocolError, match="without a layer"):

        class NoLayer(Actor):
            @handles
            @through()
            def ask(self, msg: Ask, ctx: Context) -> int:
                return 1

    with pytest.raises(ProtocolError, match="not a batch"):

        class Batched(Actor):
            @handles(batch=4)
            @through(guarded("bank"))
            def ask(self, msgs: list[Ask], ctx: Context) -> list[int]:
                return [1]
