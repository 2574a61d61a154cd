"""Requests that are sent together: how they are grouped, how replies find their places."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill import Request
from gristmill.errors import (
    ActorDied,
    AskTimeoutError,
    GristmillError,
    QuarantinedError,
    ReplyTypeError,
)
from gristmill.node.client.grouping import group
from gristmill.node.client.requests import OPEN, PLACE_BITS, RequestKind, RequestRun
from gristmill.ref import Address
from gristmill.transport.codec import Codec


class One(Request[int]):
    """A request."""

    number: int


class Other(Request[int], idempotent=True):
    """Another one, that may be asked again."""

    number: int


TARGETS = [Address(key, 1 + key % 2, "m:A") for key in range(3)]
plans = st.lists(st.tuples(st.sampled_from(TARGETS), st.sampled_from([One, Other])), min_size=1)


@given(plans)
def test_groups_hold_every_request_once_and_keep_the_order_at_each_actor(
    plan: list[tuple[Address, type[One | Other]]],
) -> None:
    requests = [kind(number) for number, (_, kind) in enumerate(plan)]
    targets = iter([to for to, _ in plan])
    groups = group(lambda _: next(targets), requests)
    assert sorted(p for each in groups for p in each.positions) == list(range(len(plan)))
    for to in TARGETS:
        mine = [r for each in groups if each.to is to for r in each.requests]
        assert mine == [r for r, (target, _) in zip(requests, plan, strict=True) if target is to]
    for each in groups:
        assert [requests[at] for at in each.positions] == each.requests
        assert {type(request) for request in each.requests} == {each.kind}


def run_of(count: int, kind: type[One | Other] = One) -> RequestRun:
    run = RequestRun(TARGETS[0], RequestKind.of(Codec(None), kind), None, count)
    run.number = 7
    return run


def poisoned() -> QuarantinedError:
    return QuarantinedError("poison")


def encoded(*values: object) -> list[bytes]:
    return [msgspec.msgpack.encode(value) for value in values]


def test_replies_come_in_any_order_and_in_parts() -> None:
    run = run_of(4)
    run.expect(2)
    assert not run.answer(0, encoded(0))
    assert not run.done
    assert not run.answer(2, encoded(2, 3))
    assert run.done
    assert run.answer(1, encoded(1))
    assert run.values == [0, 1, 2, 3]


def test_an_error_takes_the_place_of_one_reply() -> None:
    run = run_of(3)
    error = GristmillError("no")
    assert not run.fail(1, error)
    run.expect(1)
    assert run.done
    with pytest.raises(GristmillError, match="no"):
        run.raise_error(1)
    run.raise_error(0)
    assert not run.answer(0, encoded(0))
    assert run.answer(2, encoded(2))


def test_a_reply_of_a_wrong_type_is_an_error_in_its_place() -> None:
    run = run_of(3)
    assert run.answer(0, encoded(0, "x", 2))
    assert run.values == [0, OPEN, 2]
    with pytest.raises(ReplyTypeError, match="answered One with something else"):
        run.raise_error(1)


def test_what_was_answered_is_not_asked_again_and_answers_only_once() -> None:
    run = run_of(3, Other)
    run.keep(encoded(["a"], ["b"], ["c"]))
    run.answer(1, encoded(1))
    again = run.again(lambda _: True, poisoned)
    first = 7 << PLACE_BITS
    assert [(number, body) for _, number, body in again] == [
        (first, encoded(["a"])[0]),
        (first + 2, encoded(["c"])[0]),
    ]
    assert run.answer(0, encoded(0, 100, 2))
    assert run.values == [0, 1, 2]


def test_only_idempotent_requests_are_asked_again_and_not_for_ever() -> None:
    assert run_of(1).again(lambda _: True, poisoned) == []
    run = run_of(1, Other)
    run.keep(encoded(["a"]))
    assert [bool(run.again(lambda _: True, poisoned)) for _ in range(3)] == [True, True, False]


def test_only_the_request_that_was_in_hand_is_quarantined() -> None:
    run = run_of(3, Other)
    run.keep(encoded(["a"], ["b"], ["c"]))
    run.expect(1)
    first = 7 << PLACE_BITS
    for places in ([0, 1, 2], [0, 1, 2], [0, 2], [0, 2]):
        again = run.again(lambda number: number == first + 1, poisoned)
        assert [number - first for _, number, _ in again] == places
    assert run.done
    with pytest.raises(QuarantinedError, match="poison"):
        run.raise_error(1)
    assert run.answer(0, encoded(0, 1, 2))
    assert run.values == [0, OPEN, 2]


def test_the_end_of_the_callee_ends_what_is_open() -> None:
    run = run_of(2)
    run.answer(0, encoded(0))
    run.expect(1)
    run.settle(None, ActorDied("gone"))
    assert run.done
    with pytest.raises(ActorDied, match="gone"):
        run.raise_error(1)
    run.raise_error(0)


def test_a_timeout_names_the_callee_and_the_request() -> None:
    run = run_of(1)
    error = run.kind.timed_out(run.to, 0.5)
    assert isinstance(error, AskTimeoutError)
    assert str(error) == "A#0 is alive and did not answer One in 0.5 s"


@given(st.integers(0, 3), st.lists(st.integers(), max_size=6))
def test_replies_to_places_that_there_are_not_change_nothing(place: int, values: list[int]) -> None:
    run = run_of(2)
    small = [value % 100 for value in values]
    run.answer(place, encoded(*small))
    for at, value in enumerate(run.values):
        sent = small[at - place] if 0 <= at - place < len(small) else OPEN
        assert value == sent or value is sent
