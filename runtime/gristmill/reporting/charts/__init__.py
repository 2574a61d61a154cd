"""The seven charts of a report; each says what it shows, and has a table beside it."""

from __future__ import annotations

from collections.abc import Sequence

from gristmill.metg.curves import Measurement
from gristmill.metrics import Report, windows
from gristmill.reporting.charts.edges import edges
from gristmill.reporting.charts.efficiency import efficiency
from gristmill.reporting.charts.history import history
from gristmill.reporting.charts.models import batching
from gristmill.reporting.charts.plot import Chart
from gristmill.reporting.charts.processes import processes
from gristmill.reporting.charts.types import grains, scatter

__all__ = ["Chart", "charts"]


def charts(snapshots: Sequence[Report], measured: Measurement | None = None) -> tuple[Chart, ...]:
    """Draw the charts of one run.

    Args:
        snapshots: reports of the run at one or more times; the last one is drawn, and the ratio
            over time needs several.
        measured: what ``gristmill metg`` found on the machine; else its curve is estimated.

    Raises:
        UsageError: there is none, or they are not of one run.
    """
    cut = windows(snapshots)
    report = max(snapshots, key=lambda snapshot: snapshot.run.wall_ns)
    return (
        processes(report),
        scatter(report),
        grains(report),
        batching(report),
        efficiency(report, measured),
        history(report, cut),
        edges(report),
    )
