"""The gate and the comparison of two runs."""

from __future__ import annotations

import msgspec
import pytest

from gristmill.errors import UsageError
from gristmill.metrics import Report
from gristmill.metrics.comparison import compare
from gristmill.metrics.gate import Checked, Limits, Outcome, check
from support.reports import S, process, quote, report


def run(compute: float = 8, coord: float = 1, **changes: object) -> Report:
    """Give a run of 1,000 messages of one type, all of whose time is that type's."""
    row = quote(
        compute_ns=round(compute * S),
        coord_ns=msgspec.structs.replace(quote().coord_ns, peer=round(coord * S)),
        **changes,
    )
    return report(process(compute=compute, dispatch=coord, types=(row,)))


def judged(*reports: Report, **limits: object) -> Checked:
    return check(reports, msgspec.convert(limits, Limits))


def test_a_run_at_its_minimum_passes_and_one_below_does_not() -> None:
    assert judged(run(), minimum=8.0).outcome is Outcome.PASSED
    found = judged(run(), minimum=8.1)
    assert found.outcome is Outcome.BELOW
    assert found.verdict == "BELOW: run 8x over 1,000 messages, needs 8.1x (minimum)"
    assert judged(run()).outcome is Outcome.BELOW  # ten, unless said otherwise
    assert judged(run(), minimum=2.0).verdict.startswith("OK: run 8x over 1,000 messages")


def test_types_have_limits_of_their_own() -> None:
    found = judged(run(), minimum=1.0, types={"Pricer.*": 9.0})
    assert [(f.name, f.passed) for f in found.findings] == [
        ("run", True),
        ("Pricer.GetQuote", False),
    ]
    assert found.outcome is Outcome.BELOW
    assert judged(run(), minimum=1.0, types={"Pricer.GetQuote": 7.0}).outcome is Outcome.PASSED
    with pytest.raises(UsageError, match="'Pricr'; its types: Pricer"):
        judged(run(), types={"Pricr": 1.0})


def test_waiting_for_answers_counts_if_strict() -> None:
    waiting = report(process(compute=8, dispatch=0.5, ask_wait=0.5))
    assert judged(waiting).outcome is Outcome.PASSED
    assert judged(waiting, strict=True).outcome is Outcome.BELOW


def test_of_several_runs_the_median_counts() -> None:
    runs = [run(compute=compute) for compute in (3, 8, 9)]
    assert judged(*runs, minimum=8.0).outcome is Outcome.PASSED
    assert judged(*runs, minimum=8.1).outcome is Outcome.BELOW
    assert judged(*runs).findings[0].messages == 3000


def test_a_baseline_may_be_lost_only_in_part() -> None:
    for compute, outcome in ((6.41, Outcome.PASSED), (6.39, Outcome.BELOW)):
        found = check([run(compute)], Limits(minimum=1), [run(8)])
        assert found.outcome is outcome
        assert [finding.name for finding in found.findings] == ["run", "run", "Pricer.GetQuote"]
    rare = check([run(4, messages=5)], Limits(minimum=1), [run(8, messages=5)])
    assert [finding.name for finding in rare.findings] == ["run", "run"]
    doubtful = report(process(compute=8, dispatch=1, cpu_s=4))
    assert check([run(8)], Limits(minimum=1), [doubtful]).verdict == (
        "UNTRUSTWORTHY: baseline: CPU contended on w0: 0.44 (limit 0.95)"
    )


OFF = msgspec.structs.replace(process(compute=8), wall_ns=11 * S)
PROBED = msgspec.structs.replace(process(compute=8), probe_ns=S)


@pytest.mark.parametrize(
    ("doubtful", "says"),
    [
        (report(OFF), "the time classes add up to 90.9% of wall"),
        (report(), "the time classes add up to nothing"),
        (report(PROBED), "the accounting itself took 10.0% (limit 2%)"),
        (report(process(compute=8, other=0.2)), "2.0% of the time is in no class (limit 1%)"),
        (report(process(compute=8, cpu_s=7)), "CPU contended on w0: 0.88 (limit 0.95)"),
        (report(process(compute=8, messages=29)), "only 29 messages (at least 30 are needed)"),
        (report(process(compute=0.009)), "only 9.00 ms of compute (at least 10.0 ms)"),
    ],
)
def test_what_can_not_be_trusted_never_passes(doubtful: Report, says: str) -> None:
    found = judged(doubtful, minimum=0.0)
    assert found.outcome is Outcome.UNTRUSTWORTHY
    assert says in found.verdict
    assert int(found.outcome) == 2


def test_contention_can_be_allowed_and_too_few_messages_of_a_type_can_not() -> None:
    contended = report(process(compute=8, cpu_s=7))
    assert judged(contended, minimum=1.0, allow_contended=True).outcome is Outcome.PASSED
    others = msgspec.structs.replace(process(compute=6, other=2, cpu_s=6), stood_still_ns=2 * S)
    assert judged(report(others), minimum=1.0, allow_contended=True).outcome is Outcome.PASSED
    found = judged(run(messages=5), minimum=1.0, types={"Pricer.*": 1.0})
    assert found.verdict == "UNTRUSTWORTHY: type Pricer.*: fewer than 30 messages"


@pytest.mark.parametrize(
    "limits",
    [{"minimum": -1}, {"minimum": float("nan")}, {"types": {"A.B": -2}}, {"tolerance": 1.5}],
)
def test_senseless_limits_are_refused(limits: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="must be"):
        Limits(**limits)  # type: ignore[arg-type]  # that is what is tested


def test_nothing_to_check_is_refused() -> None:
    with pytest.raises(UsageError, match="give at least one"):
        judged()


def test_comparing_puts_the_worst_first() -> None:
    base = report(
        process("w0", compute=8, dispatch=1, types=(quote(), quote(message="m:Gone"))),
        process("w1", compute=2, dispatch=1),
    )
    new = report(
        process("w0", compute=8, dispatch=1, types=(quote(compute_ns=10_000_000),)),
        process("w1", compute=1, dispatch=1),
    )
    found = compare(base, new)
    assert [(change.kind, change.name) for change in found] == [
        ("run", "run"), ("worker", "w1"), ("worker", "w0"),
        ("type", "Pricer.GetQuote"), ("type", "Pricer.Gone"),
    ]  # fmt: skip
    assert [change.change for change in found] == pytest.approx([-0.1, -0.5, 0, -0.5, None])
    assert (found[0].base_ratio, found[0].ratio) == (5, 4.5)
    assert (found[-1].ratio, found[-1].messages, found[-1].base_messages) == (None, 0, 1000)
