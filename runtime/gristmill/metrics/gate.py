"""The gate: whether reports reach the ratios that were asked for, and whether to believe them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from fnmatch import fnmatchcase
from math import inf
from statistics import median
from typing import Final

import msgspec

from gristmill.errors import UsageError
from gristmill.metrics import advice, ratios
from gristmill.metrics.comparison import RUN, Measured, Subject, measured
from gristmill.metrics.schema import Report
from gristmill.metrics.units import duration, multiple

SUM_TOLERANCE: Final = 0.01
MAX_PROBE_PCT: Final = 2.0
MAX_OTHER_SHARE: Final = 0.01

_Run = Mapping[Subject, Measured]


class Outcome(IntEnum):
    """How a check ends; the value is the exit code of ``gristmill report check``."""

    PASSED = 0
    BELOW = 1
    UNTRUSTWORTHY = 2


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a report."""

    minimum: float = ratios.GOLDEN
    """Least ratio of compute to coordination of the whole run."""
    types: Mapping[str, float] = {}
    """Least ratio by name of the type, ``Actor.Message``; ``*`` and ``?`` stand for anything."""
    strict: bool = False
    """Whether the time in which actors wait for answers counts as coordination."""
    tolerance: float = 0.2
    """Part of a baseline's ratio that may be lost."""
    min_messages: int = ratios.MIN_MESSAGES
    """Fewer messages say nothing."""
    allow_contended: bool = False
    """Whether to believe a report although others took the workers' cores."""

    def __post_init__(self) -> None:
        wrong = [value for value in (self.minimum, *self.types.values()) if not value >= 0]
        if wrong:
            raise UsageError(f"the least ratio is {wrong[0]:g}; it must be 0 or more")
        if not 0 <= self.tolerance <= 1:
            raise UsageError(f"the tolerance is {self.tolerance:g}; it must be from 0 to 1")


class Finding(msgspec.Struct, frozen=True):
    """One ratio, held against one limit."""

    name: str
    """``run``, or the type."""
    messages: int
    ratio: float | None
    """None: nothing was spent on coordination."""
    needed: float
    source: str
    """Where the limit comes from."""

    @property
    def passed(self) -> bool:
        """Whether the limit is reached."""
        return self.ratio is None or self.ratio >= self.needed

    def share(self) -> float:
        """Give the part of the limit that is reached."""
        return inf if self.ratio is None or not self.needed else self.ratio / self.needed

    def __str__(self) -> str:
        return (
            f"{self.name} {multiple(self.ratio)} over {self.messages:,} messages, "
            f"needs {multiple(self.needed)} ({self.source})"
        )


class Checked(msgspec.Struct, frozen=True):
    """What a check found."""

    findings: tuple[Finding, ...]
    doubts: tuple[str, ...]
    """Why the reports can't be trusted; empty if they can."""

    @property
    def outcome(self) -> Outcome:
        """How it ends; what can't be trusted has not passed, whatever its ratios are."""
        if self.doubts:
            return Outcome.UNTRUSTWORTHY
        passed = all(finding.passed for finding in self.findings)
        return Outcome.PASSED if passed else Outcome.BELOW

    @property
    def verdict(self) -> str:
        """The result in one line; of several ratios that are too small, the worst."""
        if self.outcome is Outcome.UNTRUSTWORTHY:
            return f"UNTRUSTWORTHY: {'; '.join(self.doubts)}"
        below = sorted((f for f in self.findings if not f.passed), key=Finding.share)
        shown = below or self.findings
        more = f"; and {len(shown) - 1} more" if len(shown) > 1 else ""
        return f"{'BELOW' if below else 'OK'}: {shown[0]}{more}"


def check(reports: Sequence[Report], limits: Limits, baseline: Sequence[Report] = ()) -> Checked:
    """Hold runs against limits.

    Args:
        reports: one run, or several of the same job: then the median of their ratios counts.
        limits: what is asked for.
        baseline: earlier runs of the same job that the ratios are held against too.

    Raises:
        UsageError: there is no report, or a type that the limits name is in none.
    """
    if not reports:
        raise UsageError("there is no report to check; give at least one")
    runs = [measured(report) for report in reports]
    findings = [_finding(runs, RUN, limits, limits.minimum, "minimum")]
    doubts = [doubt for report in reports for doubt in distrust(report, limits)]
    for pattern, needed in limits.types.items():
        subjects = [s for s in _matching(runs, pattern) if _enough(runs, s, limits)]
        findings += [_finding(runs, s, limits, needed, f"type {pattern}") for s in subjects]
        if not subjects:
            doubts.append(f"type {pattern}: fewer than {limits.min_messages:,} messages")
    if baseline:
        findings += _against_baseline(runs, [measured(report) for report in baseline], limits)
        doubts += [f"baseline: {doubt}" for old in baseline for doubt in distrust(old, limits)]
    return Checked(tuple(findings), tuple(dict.fromkeys(doubts)))


def _finding(
    runs: Sequence[_Run], subject: Subject, limits: Limits, needed: float, source: str
) -> Finding:
    messages = sum(run[subject].messages for run in runs if subject in run)
    ratio = _median_ratio(runs, subject, strict=limits.strict)
    return Finding(subject[1], messages, ratio, needed, source)


def _median_ratio(runs: Sequence[_Run], subject: Subject, *, strict: bool) -> float | None:
    ratios_found = [run[subject].ratio(strict=strict) for run in runs if subject in run]
    known = [ratio for ratio in ratios_found if ratio is not None]
    return median(known) if known else None


def _matching(runs: Sequence[_Run], pattern: str) -> list[Subject]:
    types = dict.fromkeys(subject for run in runs for subject in run if subject[0] == "type")
    found = [subject for subject in types if fnmatchcase(subject[1], pattern)]
    if not found:
        known = ", ".join(name for _, name in types) or "none"
        raise UsageError(f"no type of the report is named {pattern!r}; its types: {known}")
    return found


def _enough(runs: Sequence[_Run], subject: Subject, limits: Limits) -> bool:
    return all(subject in run and run[subject].messages >= limits.min_messages for run in runs)


def _against_baseline(
    runs: Sequence[_Run], baseline: Sequence[_Run], limits: Limits
) -> Iterable[Finding]:
    """Judge the run, and each type that every run of both sides has enough of."""
    everything = (*runs, *baseline)
    for subject in runs[0]:
        if subject[0] == "worker" or not _enough(everything, subject, limits):
            continue
        before = _median_ratio(baseline, subject, strict=limits.strict)
        if before is not None:
            needed = before * (1 - limits.tolerance)
            yield _finding(runs, subject, limits, needed, f"baseline {multiple(before)}")


def distrust(report: Report, limits: Limits) -> Iterable[str]:
    """Say why the figures of a report prove nothing; gives nothing if they do."""
    checks, totals = report.checks, report.totals
    if checks.sum_over_wall is None or abs(checks.sum_over_wall - 1) > SUM_TOLERANCE:
        share = "nothing" if checks.sum_over_wall is None else f"{checks.sum_over_wall:.1%} of wall"
        yield f"the time classes add up to {share}"
    probe = checks.probe_pct or 0
    if probe > MAX_PROBE_PCT:
        yield f"the accounting itself took {probe:.1f}% (limit {MAX_PROBE_PCT:g}%)"
    # what a client does outside of our calls is its own affair
    metered = [row for row in report.workers if row.kind != "client"]
    wall = sum(row.wall_ns for row in metered)
    unknown = sum(row.classes["other"] - row.stood_still_ns for row in metered)
    other = ratios.quotient(unknown, wall) or 0
    if other > MAX_OTHER_SHARE:
        yield f"{other:.1%} of the time is in no class (limit {MAX_OTHER_SHARE:.0%})"
    contended = [row for row in report.workers if advice.contended(row)]
    if contended and not limits.allow_contended:
        worst = min(row.contention or 0 for row in contended)
        names = advice.listed(contended)
        yield f"CPU contended on {names}: {worst:.2f} (limit {advice.CONTENDED})"
    if totals.messages < limits.min_messages:
        yield f"only {totals.messages:,} messages (at least {limits.min_messages:,} are needed)"
    compute = totals.classes["compute"]
    if compute < ratios.MIN_COMPUTE_NS:
        yield f"only {duration(compute)} of compute (at least {duration(ratios.MIN_COMPUTE_NS)})"
