from __future__ import annotations

import math
from typing import Any
from unittest.mock import create_autospec

import msgspec
import pytest

from gristmill.behaviours.context import Context
from gristmill.transport.codec import Codec
from gristmill.worker.turns import functions
from gristmill.worker.turns.bodies import Bodies
from gristmill.worker.turns.functions import BatchResult, FunctionRunner, RunBatch, types_of
from support.actors import Quote
from support.functions import blank, dearer, divide, power, total


def run(function: str, *calls: list[Any]) -> BatchResult:
    context = create_autospec(Context, instance=True)
    context._host.codec = Codec(None)
    bodies = Bodies()
    for call in calls:
        bodies.append(msgspec.msgpack.encode((call, {})))
    return FunctionRunner().run(RunBatch(f"support.functions:{function}", bodies), context)


def test_arguments_become_what_the_annotations_say() -> None:
    plain = {"sku": "a", "cents": 3}
    assert types_of(dearer).convert([plain, 2]) == [Quote("a", 3), 2]
    assert types_of(dearer).convert_keywords({"quote": plain}) == {"quote": Quote("a", 3)}
    assert types_of(total).convert([1, 2, 3]) == [1, 2, 3]
    assert types_of(total).convert_keywords({"any": 4}) == {"any": 4}
    assert types_of(power).result is int


@pytest.mark.parametrize("function", [math.sqrt, max, Quote])
def test_a_function_without_usable_annotations_takes_anything(function: Any) -> None:
    assert types_of(function).convert(["x"]) == ["x"]
    assert types_of(function).result is Any


def test_a_batch_ends_at_its_first_error() -> None:
    result = run(divide.__name__, [1.0, 2.0], [1.0, 0.0], [1.0, 4.0])
    assert [bytes(value) for value in result.values.near] == [b"\xcb?\xe0\0\0\0\0\0\0"]
    assert result.error is not None
    assert result.error.type == "ZeroDivisionError"


def test_wrong_arguments_and_unknown_functions_are_errors_of_the_batch() -> None:
    for result, told in (
        (run(power.__name__, ["two"]), "ValidationError"),
        (run(power.__name__, []), "TypeError"),
        (run("nothing", [1]), "ActorTypeError"),
    ):
        assert result.error is not None
        assert told in result.error.type


def test_without_shared_memory_a_batch_ends_where_its_message_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(functions, "ROOM", 1000)
    monkeypatch.setattr(functions, "MOST", 2000)
    result = run(blank.__name__, [900], [900], [150], [10])
    sizes = [len(msgspec.msgpack.decode(value)) for value in result.values]
    assert (sizes, result.error) == ([900, 900, 150, 10], None)
    result = run(blank.__name__, [900], [900], [250], [10])
    assert [len(msgspec.msgpack.decode(value)) for value in result.values] == [900, 900]
    assert result.error is not None
    assert result.error.type == "gristmill.errors.PayloadTooLargeError"
    assert "support.functions:blank has returned 252 bytes" in result.error.message
