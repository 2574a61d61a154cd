"""Messages, import paths and handler protocols: what is checked when a class is created."""

from __future__ import annotations

import functools
import json
import math
import random
from typing import Annotated, Any

import msgspec
import numpy as np
import pytest

from gristmill import Actor, Command, Context, Event, Request, handles
from gristmill.behaviours.protocol import check_reply
from gristmill.errors import ActorTypeError, MessageTypeError, ProtocolError, UsageError
from gristmill.importing import import_path, resolve
from gristmill.messages import reply_type, schema_hash, tag_of
from gristmill.placement.ring import HashRing
from support.actors import Add, GetQuote, Note, Quote, Worker
from support.array_actors import (
    First,
    Hit,
    Hits,
    Mean,
    Peak,
    Positive,
    Statistician,
    Summarise,
)
from support.functions import Corner, Till, power


def test_a_message_is_frozen_and_tagged_by_its_import_path() -> None:
    message = GetQuote("a", 2)
    assert tag_of(GetQuote) == "support.actors:GetQuote"
    with pytest.raises(AttributeError):
        message.sku = "b"  # type: ignore[misc]  # the point of it
    packed = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(packed) == ["support.actors:GetQuote", "a", 2]
    assert msgspec.msgpack.decode(packed, type=GetQuote | Add) == message


def test_fields_may_be_appended() -> None:
    packed = msgspec.msgpack.encode(["support.actors:GetQuote", "a"])
    assert msgspec.msgpack.decode(packed, type=GetQuote) == GetQuote("a", 1)


def test_a_request_knows_its_reply() -> None:
    assert reply_type(GetQuote) is Quote
    assert schema_hash(GetQuote) != schema_hash(Add)
    with pytest.raises(UsageError, match="does not say what answers it"):
        type("Vague", (Request,), {"__module__": __name__, "__qualname__": "Vague"})


def test_import_paths_lead_back() -> None:
    assert import_path(Worker) == "support.actors:Worker"
    assert resolve("support.actors:Worker") is Worker
    for path in ("support.actors:Nobody", "no_such_module:X", "junk", ":", "support.actors:"):
        with pytest.raises(ActorTypeError, match="unknown here"):
            resolve(path)
    with pytest.raises(UsageError, match="lambda"):
        import_path(lambda: None)


def test_a_function_that_its_path_does_not_lead_to_has_none() -> None:
    for function, told in (
        (functools.wraps(power)(lambda base: base), "a decorator's wrapper"),
        (Till(3).price, "bound to a Till"),
        (random.Random(1).gauss, "bound to a Random"),
        (Corner.opened, "inherited by Corner"),
        (functools.lru_cache(power), "a decorator's wrapper"),
    ):
        with pytest.raises(UsageError, match=told) as refused:
            import_path(function)
        assert f"{function.__module__}.{function.__qualname__} can't" in str(refused.value)
    known = [power, Till.opened, Till.closed, Till.price, math.sqrt, np.sin, json.dumps]
    assert [resolve(import_path(function)) for function in known] == known


def test_the_check_of_a_path_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "__module__", "support.broken_module")
    with pytest.raises(UsageError, match=r"broken_module\.power can't be called"):
        import_path(power)


def test_a_protocol_lists_its_handlers_and_inherits_them() -> None:
    class Child(Worker):
        @handles
        def quote(self, msg: GetQuote) -> Quote:
            return Quote("child", 0)

    handlers = Child.__protocol__.handlers
    assert handlers[GetQuote].function is Child.quote
    assert handlers[Add].name == "add"
    assert handlers[Add].is_async is False


def _bad(function: Any) -> None:
    type("Bad", (Actor,), {"__module__": __name__, "handler": handles(function)})


def test_handlers_that_make_no_sense() -> None:
    def no_annotation(self: Any, msg) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - the point of it
        pass

    def no_message(self: Any) -> None:
        pass

    def three(self: Any, msg: Note, ctx: Context, more: int) -> None:
        pass

    def number(self: Any, msg: int) -> None:
        pass

    def no_reply(self: Any, msg: Add) -> None:
        pass

    def command_reply(self: Any, msg: Note) -> int:
        return 1

    for function, match in (
        (no_annotation, "annotate 'msg'"),
        (no_message, r"\(self, message\)"),
        (three, r"\(self, message, ctx\)"),
        (number, "no message type"),
        (no_reply, "answered by int"),
        (command_reply, r"make it a Request\[int\]"),
    ):
        with pytest.raises(ProtocolError, match=match):
            _bad(function)


def test_a_reply_is_what_the_request_declares_or_numpys_counterpart() -> None:
    answer = Statistician.__protocol__.handlers
    for kind, value, wrong in (
        (Positive, np.True_, ""),
        (Positive, np.int64(1), "with a int64, but it declares bool"),
        (Positive, True, ""),
        (Peak, np.uint8(3), ""),
        (Peak, np.float32(3), "with a float32, but it declares int"),
        (Peak, np.timedelta64(3, "ns"), "with a timedelta64, but it declares int"),
        (Mean, np.float16(0.5), ""),
        (Mean, np.int8(2), ""),
        (Mean, np.longdouble(2), "with a longdouble, but it declares"),
        (Summarise, {"mean": 1.0}, ""),
        (Summarise, [1.0], "with a list, but it declares Summary"),
        (First, np.float32(1), ""),
    ):
        told = check_reply(answer[kind], Statistician, value)
        assert told.endswith(wrong) if wrong == "" else wrong in told
        assert bool(told) == bool(wrong)


def test_classes_of_one_name_are_told_apart() -> None:
    other = type("Quote", (), {"__module__": "elsewhere", "__qualname__": "Quote"})
    told = check_reply(Worker.__protocol__.handlers[GetQuote], Worker, other())
    assert "with a elsewhere.Quote, but it declares support.actors.Quote" in told


def test_forward_references_in_reply_types_are_resolved() -> None:
    assert reply_type(Hits) == list[Hit]
    assert reply_type(Mean) == Annotated[float, "metres"]

    class Unknown(Request[list["Nowhere"]]):  # type: ignore[name-defined]  # noqa: F821 - the mistake
        pass

    with pytest.raises(MessageTypeError, match="Nowhere"):
        reply_type(Unknown)


def test_commands_and_events_are_no_requests() -> None:
    assert not issubclass(Command, Request)
    assert not issubclass(Event, Request)


def test_a_ring_moves_only_the_share_of_what_came_or_went() -> None:
    keys = [f"order-{n}" for n in range(2000)]
    before = HashRing(["a", "b", "c"])
    after = HashRing(["a", "b", "c", "d"])
    moved = [key for key in keys if before.owner(key) != after.owner(key)]
    assert all(after.owner(key) == "d" for key in moved)
    assert 0.1 < len(moved) / len(keys) < 0.45
    with pytest.raises(UsageError, match="at least one member"):
        HashRing([])
