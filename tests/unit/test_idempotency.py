from __future__ import annotations

import msgspec
import pytest

from gristmill.errors import ClaimLapsedError, IdempotencyConflictError, UsageError
from gristmill.facets import IdempotencyTable, InProgress, KeyCompleted, Replay, Run, fingerprint
from gristmill.messages import Command


class Charge(Command):
    order_id: str
    cents: int
    attempt: int = 1
    notes: dict[str, str] = msgspec.field(default_factory=dict)


class Refund(Command):
    order_id: str
    cents: int
    attempt: int = 1
    notes: dict[str, str] = msgspec.field(default_factory=dict)


def test_released_key_may_run_again() -> None:
    table = IdempotencyTable(ttl=60.0)
    table.claim("k", "f", 0.0)
    table.release("k")
    assert table.claim("k", "g", 1.0) == Run()


def test_completed_key_can_be_neither_released_nor_completed() -> None:
    table = IdempotencyTable(ttl=60.0)
    table.claim("k", "f", 0.0)
    table.complete("k", b"1", 1.0)
    with pytest.raises(UsageError, match="release"):
        table.release("k")
    with pytest.raises(UsageError, match="complete"):
        table.complete("k", b"2", 2.0)
    assert table.claim("k", "f", 3.0) == Replay(b"1")


def test_journaled_completions_survive_and_claims_do_not() -> None:
    table = IdempotencyTable(ttl=60.0)
    table.claim("done", "f", 0.0)
    table.claim("open", "f", 0.0)
    wire = msgspec.msgpack.encode(table.complete("done", b"1", 1.0))
    after = IdempotencyTable(ttl=60.0)
    after.apply(msgspec.msgpack.decode(wire, type=KeyCompleted))
    assert after.claim("done", "f", 2.0) == Replay(b"1")
    assert after.claim("open", "f", 2.0) == Run()


def test_applying_a_record_twice_is_applying_it_once() -> None:
    table = IdempotencyTable(ttl=60.0)
    record = KeyCompleted("k", "f", b"1", 50.0)
    table.apply(record)
    table.apply(record)
    assert len(table) == 1
    assert table.records() == (record,)
    assert table.expire(50.0) == 1
    assert len(table) == 0


def test_newer_record_of_a_key_outlives_the_older_ones_end() -> None:
    table = IdempotencyTable(ttl=60.0)
    table.apply(KeyCompleted("k", "f", b"1", 50.0))
    table.apply(KeyCompleted("k", "f", b"2", 90.0))
    assert table.expire(60.0) == 0
    assert table.claim("k", "f", 60.0) == Replay(b"2")


def test_claims_alone_keep_the_table_small() -> None:
    table = IdempotencyTable(ttl=5.0)
    for second in range(100):
        table.claim(f"k{second}", "f", float(second))
        table.complete(f"k{second}", b"", float(second))
        assert len(table) <= 5


def test_running_request_does_not_expire() -> None:
    table = IdempotencyTable(ttl=5.0)
    table.claim("k", "f", 0.0)
    assert table.expire(1e9) == 0
    assert table.claim("k", "f", 1e9) == InProgress()


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan")])
def test_ttl_must_be_positive(ttl: float) -> None:
    with pytest.raises(UsageError, match="ttl"):
        IdempotencyTable(ttl)


def test_fingerprint_tells_content_and_type_apart() -> None:
    charge = Charge("o1", 500)
    assert fingerprint(charge) == fingerprint(Charge("o1", 500))
    assert fingerprint(charge) != fingerprint(Charge("o1", 501))
    assert fingerprint(charge) != fingerprint(Refund("o1", 500))


def test_fingerprint_ignores_the_order_of_a_mapping_and_excluded_fields() -> None:
    one = Charge("o1", 500, 1, {"a": "1", "b": "2"})
    two = Charge("o1", 500, 2, {"b": "2", "a": "1"})
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint(one, exclude=["attempt"]) == fingerprint(two, exclude=["attempt"])
    with pytest.raises(UsageError, match="Charge has no field try"):
        fingerprint(one, exclude=["try"])


def test_a_claim_holds_for_its_lease() -> None:
    table = IdempotencyTable(60.0, lease=5.0)
    first = table.claim("k", "f", 0.0)
    assert table.claim("k", "f", 4.9) == InProgress()
    with pytest.raises(IdempotencyConflictError):
        table.claim("k", "g", 4.9)
    second = table.claim("k", "f", 5.0)
    assert isinstance(first, Run)
    assert isinstance(second, Run)
    assert first != second
    for end in (lambda: table.complete("k", b"1", 6.0, first), lambda: table.release("k", first)):
        with pytest.raises(ClaimLapsedError, match="somebody else has claimed it"):
            end()
    table.complete("k", b"2", 6.0, second)
    assert table.claim("k", "f", 7.0) == Replay(b"2")
    with pytest.raises(ClaimLapsedError):
        table.complete("k", b"1", 8.0, first)


def test_a_lapsed_claim_that_nobody_has_taken_over_can_be_completed() -> None:
    table = IdempotencyTable(60.0, lease=5.0)
    claim = table.claim("k", "f", 0.0)
    assert isinstance(claim, Run)
    table.complete("k", b"late", 100.0, claim)
    assert table.claim("k", "f", 101.0) == Replay(b"late")


def test_a_lease_is_above_zero() -> None:
    with pytest.raises(UsageError, match="lease is 0"):
        IdempotencyTable(60.0, lease=0)
