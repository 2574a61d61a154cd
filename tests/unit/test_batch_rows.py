"""What reports say of batches: in text, on the page, in JSON, when merged and cut into windows."""

from __future__ import annotations

import pytest

from gristmill.metrics import Governed, TypeSnapshot, decode, encode, merge, render, windows
from gristmill.metrics.governor import Limit
from gristmill.metrics.snapshot import merge_types
from gristmill.reporting import page
from support.reports import process, quote, report


def governed(limit: Limit = Limit.TARGET, ratio: float = 11.0, messages: int = 900) -> Governed:
    return Governed(
        size=24, limit=limit, target=10.0, wanted=40, waits=True, wait_ns=2_000_000, ratio=ratio,
        predicted_ratio=10.5, messages=messages,
    )  # fmt: skip


def batched(found: Governed | None, **changes: object) -> TypeSnapshot:
    return quote(batches=50, governed=found, **changes)


def test_the_text_and_the_page_show_what_the_governor_decided() -> None:
    found = report(process(compute=5, dispatch=1, types=(batched(governed()),)))
    line = next(line for line in render(found).splitlines() if "stands at" in line)
    assert line.split() == [
        "BATCHES", "calls", "mean", "size", "stands", "at", "waits", "measured", "predicted",
        "target",
    ]  # fmt: skip
    row = render(found).splitlines()[render(found).splitlines().index(line) + 1]
    assert row.split() == [
        "Pricer.GetQuote", "50", "20.0", "24", "target", "2.00", "ms", "11x", "10x", "10x"
    ]  # fmt: skip
    html = page([found])
    assert "<h2>Batches</h2>" in html
    assert "<td>target</td>" in html


def test_a_fixed_batch_is_shown_and_types_without_batches_are_not() -> None:
    fixed = report(process(compute=5, dispatch=1, types=(batched(None),)))
    assert "fixed" in render(fixed)
    plain = report(process(compute=5, dispatch=1, types=(quote(),)))
    assert "BATCHES" not in render(plain)
    assert "<h2>Batches</h2>" not in page([plain])


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (Limit.PAYLOAD, "let one message ask for more"),
        (Limit.LATENCY, "24 messages fit into the bound of 2.00 ms and it takes 40: raise batch"),
        (Limit.FILL, "it takes batches of 40 and no more than 24 messages come within 2.00 ms"),
        (Limit.MAILBOX, "the mailbox holds 24: enlarge it"),
    ],
)
def test_the_advice_says_why_the_target_was_not_reached(limit: Limit, told: str) -> None:
    found = report(process(compute=5, types=(batched(governed(limit, 4.0)),)))
    (advice,) = found.types[0].advice
    assert told in advice.text


@pytest.mark.parametrize("limit", [Limit.TARGET, Limit.LEARNING, Limit.GROWTH])
def test_a_governor_that_is_at_work_or_has_reached_its_target_needs_no_advice(
    limit: Limit,
) -> None:
    found = report(process(compute=5, types=(batched(governed(limit, 4.0)),)))
    assert found.types[0].advice == ()
    reached = report(process(compute=5, types=(batched(governed(Limit.FILL)),)))
    assert reached.types[0].advice == ()


def test_the_fixed_cost_of_a_batched_type_is_that_of_a_call() -> None:
    alone = report(process(types=(quote(),))).types[0].fit.o_f_ns
    in_batches = report(process(types=(batched(None),))).types[0].fit.o_f_ns
    assert alone is not None
    assert in_batches == pytest.approx(20 * alone)


def test_batches_add_up_and_the_busiest_governor_speaks() -> None:
    (row,) = merge_types([batched(governed(messages=10)), batched(governed(Limit.FILL))])
    assert row.batches == 100
    assert row.governed is not None
    assert row.governed.limit is Limit.FILL


def test_they_survive_json_merging_and_windows() -> None:
    found = report(process(compute=5, dispatch=1, types=(batched(governed()),)))
    assert decode(encode(found)) == found
    other = report(process("w1", compute=5, dispatch=1, types=(batched(governed()),)))
    merged = merge([found, other])
    assert merged.types[0].batches == 100
    assert merged.types[0].governor == governed()
    assert windows([found])[0].types[0].batches == 50
