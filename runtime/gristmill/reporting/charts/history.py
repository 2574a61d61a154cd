"""How the ratio went over the run."""

from __future__ import annotations

from collections.abc import Sequence

from gristmill.metrics import Report
from gristmill.metrics.comparison import RUN, Measured, Subject, measured
from gristmill.metrics.ratios import IDEAL
from gristmill.metrics.units import multiple
from gristmill.reporting.charts.models import LIMITS, SERIES, limits
from gristmill.reporting.charts.plot import (
    Chart,
    Linear,
    Log,
    Plot,
    dot,
    picture,
    times,
)
from gristmill.reporting.markup import Markup, Table, join

_TITLE = "The ratio over time"


def history(report: Report, cut: Sequence[Report]) -> Chart:
    """Draw the ratio of the run and of its dearest types, window by window."""
    if len(cut) < 2:
        text = (
            "One report does not know how the run went. Save node.granularity() every second or "
            "so, and give all the files."
        )
        return Chart("history", _TITLE, text, Markup())
    text = "Compute over coordination in each window between two snapshots of the run."
    found = [measured(window) for window in cut]
    subjects = [RUN, *[s for s in measured(report) if s[0] == "type"][: SERIES - 1]]
    ends = [_seconds(report, window) for window in cut]
    shown = [ratio for s in subjects for w in found if (ratio := _ratio(w, s)) is not None]
    plot = Plot(Linear(ends[-1]), Log.around([*shown, 1, IDEAL]), height=300, right=LIMITS)
    marks = [
        plot.axes(("seconds", "{:.3g}".format), ("ratio", times)),
        limits(plot),
        *(_series(plot, subject, number, found, ends) for number, subject in enumerate(subjects)),
    ]
    rows = [
        (f"{end:.2f}", *(multiple(_ratio(window, subject)) for subject in subjects))
        for end, window in zip(ends, found, strict=True)
    ]
    return Chart(
        "history",
        _TITLE,
        text,
        picture("history", _TITLE, text, plot.height, *marks),
        Table(("until, s", *(name for _, name in subjects)), rows),
        [(f"s{number}", name) for number, (_, name) in enumerate(subjects)],
    )


def _seconds(report: Report, window: Report) -> float:
    """Give when a window ends, from the start of the run."""
    return (window.run.t0_unix_ns + window.run.wall_ns - report.run.t0_unix_ns) / 1e9


def _ratio(window: dict[Subject, Measured], subject: Subject) -> float | None:
    times_ = window.get(subject)
    return times_.ratio() if times_ is not None and times_.messages else None


def _series(
    plot: Plot,
    subject: Subject,
    number: int,
    found: Sequence[dict[Subject, Measured]],
    ends: Sequence[float],
) -> Markup:
    points = [
        (end, ratio, window[subject].messages)
        for end, window in zip(ends, found, strict=True)
        if (ratio := _ratio(window, subject)) is not None
    ]
    dots = [
        dot(
            *plot.at(end, ratio),
            3,
            f"s{number} point",
            f"{subject[1]}: {multiple(ratio)} over {messages:,} messages until {end:.2f} s",
        )
        for end, ratio, messages in points
    ]
    return join(plot.path([(end, ratio) for end, ratio, _ in points], f"s{number}"), *dots)
