"""The page of all figures: what was measured, a chart and a table for each bench script."""

from __future__ import annotations

from collections.abc import Sequence

from harness.comparison import FLOOR, LEGEND, OURS, by_peer_and_job, matrix
from harness.report import Bench, Result, number
from harness.svg import Bar, Kind, Panel

_INTRODUCTION = """\
# Performance

`make bench` measures and writes this page; each script of `bench/` also runs alone, and has
`--quick`. Figures belong to the machine that they were measured on, and to what else it did: what
to compare is **ours / floor**, of which both sides were measured in the same run. The accounting of
gristmill is on in every figure.
"""


_KINDS: dict[str, Kind] = {OURS: "ours", FLOOR: "floor"}


def page(benches: Sequence[tuple[Bench, str]]) -> str:
    """Write the page as Markdown.

    Args:
        benches: each bench with its description, in the order of the page.
    """
    sections, told = [], set()
    for bench, text in benches:
        sections.append(_section(bench, "The same." if text in told else text))
        told.add(text)
    return "\n".join([_INTRODUCTION, *sections])


def panels(bench: Bench) -> list[Panel]:
    """Arrange the figures of a bench for a chart: what shares a unit shares a scale."""
    return _peers(bench.results) if bench.bench == "peers" else _pairs(bench.results)


def image(bench: Bench) -> str:
    """Name the file of a bench's chart."""
    return f"bench-{bench.bench}.svg"


def _section(bench: Bench, description: str) -> str:
    title, _, more = description.partition("\n\n")
    rows = matrix(bench.results) if bench.bench == "peers" else _rows(bench.results)
    machine, versions = bench.host.lines()
    parts = [
        f"## {_heading(bench)}",
        title,
        *([more] if more else []),
        f"![{bench.bench}](images/{image(bench)})",
        _table(rows),
        *([f"{LEGEND}."] if bench.bench == "peers" else []),
        f"{bench.date}: {machine}; {versions}.",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _heading(bench: Bench) -> str:
    """Give the script's name, and its options in brackets."""
    script = bench.script.capitalize()
    return f"{script} ({', '.join(bench.options)})" if bench.options else script


def _table(rows: Sequence[Sequence[str]]) -> str:
    heading, *body = rows
    rule = ["---", *("---:" for _ in heading[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *body))


def _rows(results: Sequence[Result]) -> list[list[str]]:
    rows = [["", "unit", "median", "min", "max", "floor", "ours / floor"]]
    for result in results:
        figures = (result.median, result.min, result.max, result.floor, result.ratio)
        rows.append([result.name, result.unit, *map(number, figures)])
    return rows


def _pairs(results: Sequence[Result]) -> list[Panel]:
    units: dict[str, list[Bar]] = {}
    names = {result.name for result in results}
    for result in results:
        bars = units.setdefault(result.unit, [])
        ours, _, peer = result.name.partition(", ")
        if peer and ours in names:  # another library's, behind ours with the same floor
            bars.append(Bar(peer, result.median, number(result.median), "other"))
            continue
        bars.append(Bar(result.name, result.median, number(result.median), "ours"))
        if result.floor is not None:
            bars.append(Bar("floor", result.floor, number(result.floor), "floor"))
    return [Panel(unit, bars) for unit, bars in units.items()]


def _peers(results: Sequence[Result]) -> list[Panel]:
    jobs: dict[str, list[Bar]] = {}
    for (peer, job), result in by_peer_and_job(results).items():
        better = "more is better" if result.unit == "1/s" else "less is better"
        bars = jobs.setdefault(f"{job}, {result.unit} ({better})", [])
        bars.append(Bar(peer, result.median, number(result.median), _KINDS.get(peer, "other")))
    return [Panel(title, bars) for title, bars in jobs.items()]
