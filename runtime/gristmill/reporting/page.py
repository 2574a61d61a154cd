"""A report as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

from gristmill.metg.curves import Measurement
from gristmill.metrics import Report, batch_rows, encode, render
from gristmill.metrics.advice import label, ranked
from gristmill.metrics.classes import COORD, total, unnamed
from gristmill.metrics.gate import Limits, distrust
from gristmill.metrics.ratios import verdict
from gristmill.metrics.text import VERDICTS
from gristmill.metrics.units import duration, multiple
from gristmill.reporting.charts import Chart, charts
from gristmill.reporting.charts.types import COLOURS
from gristmill.reporting.markup import Markup, Table, element, join, table

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def page(snapshots: Sequence[Report], measured: Measurement | None = None) -> str:
    """Write the report of a run as an HTML document.

    Args:
        snapshots: what ``node.granularity()`` gave at one or more times of the run. The last is
            shown; several show how the ratio went over time.
        measured: what ``gristmill metg`` found on the machine, if it was run there.

    Raises:
        UsageError: there is none, or they are not of one run.
    """
    drawn = charts(snapshots, measured)
    report = max(snapshots, key=lambda snapshot: snapshot.run.wall_ns)
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("title", f"Granularity of {report.run.id}"),
        element("style", Markup(stylesheet("charts.css") + stylesheet("page.css"))),
    )
    body = element(
        "body",
        element("header", *_header(report)),
        element("main", *_main(report, drawn)),
        element("footer", _link(report)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def stylesheet(name: str) -> str:
    """Give one of the style sheets of this package: ``charts.css`` or ``page.css``."""
    return files(__package__).joinpath(name).read_text("utf-8")


def _header(report: Report) -> Iterator[Markup]:
    run, totals = report.run, report.totals
    began = datetime.fromtimestamp(run.t0_unix_ns / 1e9, UTC)
    yield element("h1", f"Granularity of {run.id}")
    parts = [
        f"{began:%Y-%m-%d %H:%M:%S} UTC",
        f"{run.host}, {run.cpus} cores",
        f"Python {run.python}",
        f"gristmill {run.runtime_version}",
    ]
    if run.git:
        parts.append(f"revision {run.git}")
    yield element("p", " \u00b7 ".join(parts), class_="muted")
    coord = total(unnamed(totals.classes), COORD)
    judged = verdict(totals.classes["compute"], coord, totals.messages)
    words = f"compute/coordinate = {multiple(totals.ratio)}: {VERDICTS[judged]}"
    yield element("p", words, class_=f"verdict {COLOURS[judged][0]}")
    yield element("p", f"over {totals.messages:,} messages in {duration(run.wall_ns)}")
    doubts = list(distrust(report, Limits()))
    if doubts:
        yield element("p", f"Don't rely on these figures: {'; '.join(doubts)}.", class_="doubt")
    yield element("dl", *_facts(report), class_="facts")


def _facts(report: Report) -> Iterator[Markup]:
    totals, checks = report.totals, report.checks
    contentions = [row.contention for row in report.workers if row.contention is not None]
    facts = {
        "workers": str(sum(row.kind == "worker" for row in report.workers)),
        "strict ratio": multiple(totals.strict_ratio),
        "efficiency": _share(totals.efficiency),
        "parallel efficiency": _share(totals.pop.pe if totals.pop else None),
        "load balance": _share(totals.pop.lb if totals.pop else None),
        "classes/wall": _share(checks.sum_over_wall),
        "accounting itself": "-" if checks.probe_pct is None else f"{checks.probe_pct:.1f}%",
        "CPU per busy time": f"{min(contentions):.2f}" if contentions else "-",
        "sampled": f"1/{report.run.sample_n}" if report.run.mode == "sampled" else "no",
    }
    for name, value in facts.items():
        yield element("div", element("dt", name), element("dd", value))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _main(report: Report, drawn: Sequence[Chart]) -> Iterator[Markup]:
    found = ranked(report)
    if found:
        yield element("h2", "Advice")
        yield element("ol", *(element("li", entry.text) for entry in found))
    batched = [row for row in report.types if row.batches]
    if batched:
        rows = [(label(row), *batch_rows.cells(row)) for row in batched]
        yield element("h2", "Batches")
        yield table(Table(("type", *batch_rows.HEAD[1:]), rows))
    yield element("h2", "Charts")
    yield element("div", *map(_figure, drawn), class_="charts")
    yield element("h2", "As text")
    yield element("pre", render(report, 120), tabindex="0")


def _figure(chart: Chart) -> Markup:
    caption = element("figcaption", element("h3", chart.title), element("p", chart.text))
    parts = [caption, chart.picture]
    if chart.legend:
        names = (element("li", element("span", name), class_=mark) for mark, name in chart.legend)
        parts.append(element("ul", *names, class_="legend"))
    if chart.table is not None:
        parts.append(element("details", element("summary", "Table"), table(chart.table)))
    return element("figure", *parts)


def _link(report: Report) -> Markup:
    data = base64.b64encode(encode(report)).decode()
    name = f"granularity-{report.run.id}.json"
    return element(
        "p",
        join("The figures: "),
        element("a", name, href=f"data:application/json;base64,{data}", download=name),
    )
