"""The granularity report as plain text: the verdict first, then where the time went."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from gristmill.metrics import advice, batch_rows, histogram
from gristmill.metrics.classes import COORD, OVERHEAD, TimeClass, total, unnamed
from gristmill.metrics.ratios import GOLDEN, IDEAL, Verdict, quotient, verdict
from gristmill.metrics.schema import Report, TypeRow, WorkerRow
from gristmill.metrics.units import duration, multiple, short, shortened, unqualified

MIN_WIDTH: Final = 80
_WIDTH: Final = 100
_FULL_WIDTH: Final = 96  # below it, the tables leave a column out
_MAX_TYPES: Final = 20
_TYPE_HEAD: Final = ("PER TYPE (full cost)", "msgs", "grain us", "coord us", "ratio", "p50/p99 us",
                     "wait p99", f"need {GOLDEN}x / {IDEAL}x")  # fmt: skip
_NARROW_HEAD: Final = ("PER TYPE (us)", "msgs", "grain", "coord", "ratio", "p50/p99", "wait p99",
                       f"need {GOLDEN}x")  # fmt: skip
_TYPE_ALIGNS: Final = "<>>>>>>>"
_MIN_NAME: Final = 10
VERDICTS: Final = {
    Verdict.IDEAL: f"IDEAL, {IDEAL}x or more",
    Verdict.OK: f"OK, {GOLDEN}x or more",
    Verdict.FINE_GRAINED: f"BELOW {GOLDEN}x",
    Verdict.COORDINATION_BOUND: "COORDINATION-BOUND, below 1x",
    Verdict.INSUFFICIENT_DATA: "INSUFFICIENT DATA",
}
"""The verdicts as the report words them."""


def terminal_width() -> int:
    """Give the columns of the terminal, 100 where there is none."""
    return shutil.get_terminal_size((_WIDTH, 0)).columns


def render(report: Report, width: int = _WIDTH) -> str:
    """Give the report as text.

    Args:
        report: what to show.
        width: columns of the text; below 80 it is taken as 80.
    """
    width = max(width, MIN_WIDTH)
    lines = [
        *_flowed(_headline(report), width, "  "),
        *_flowed(_trust(report), width, "    "),
        *_banners(report),
        *_pop(report, width),
        *_workers(report, width),
        *_types(report, width),
        *_batches(report, width),
        *_advice(report, width),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _flowed(parts: Iterable[str], width: int, indent: str) -> list[str]:
    """Set the parts behind one another; a part that does not fit begins a new line."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(f"{indent}{part}" if lines else part)
    return lines


def _headline(report: Report) -> list[str]:
    totals = report.totals
    counts = dict.fromkeys(("worker", "supervisor", "client"), 0)
    for row in report.workers:
        counts[row.kind] += 1
    others = "".join(
        f" + {kind}" if count == 1 else f" + {count} {kind}s"
        for kind, count in counts.items()
        if count and kind != "worker"
    )
    coord = total(unnamed(totals.classes), COORD)
    judged = verdict(totals.classes["compute"], coord, totals.messages)
    ratio, strict = multiple(totals.ratio), multiple(totals.strict_ratio)
    # With the asks that were waited for counted as coordination; said only where it differs.
    also = f" (strict {strict})" if strict != ratio else ""
    return [
        "GRANULARITY",
        f"wall {duration(report.run.wall_ns)}",
        f"workers {counts['worker']}{others}",
        f"messages {totals.messages:,}",
        f"compute/coordinate = {ratio}{also}  {VERDICTS[judged]}",
    ]


def _trust(report: Report) -> list[str]:
    checks = report.checks
    contentions = [r.contention for r in report.workers if r.contention is not None]
    worst = f"{min(contentions):.2f} " if contentions else ""
    sampled = f"1/{report.run.sample_n}" if report.run.mode == "sampled" else "no"
    probe = "-" if checks.probe_pct is None else f"{checks.probe_pct:.1f}%"
    parts = [
        f"  accounting: classes/wall {_percent(checks.sum_over_wall, 3)}",
        f"probe {probe}",
        f"contention {worst}{'ok' if checks.contention_ok else 'CONTENDED'}",
        f"sampled: {sampled}",
    ]
    killed = [shortened(row.id, 12) for row in report.workers if not row.complete]
    if killed:
        more = f" and {len(killed) - 4} more" if len(killed) > 4 else ""
        parts.append(f"killed, last flush kept: {', '.join(killed[:4])}{more}")
    return parts


def _banners(report: Report) -> list[str]:
    if report.checks.contention_ok:
        return []
    return ["  CPU contended: wall-based compute is inflated"]


def _pop(report: Report, width: int) -> list[str]:
    pop = report.totals.pop
    if pop is None:
        return ["  POP: no workers"]
    balance = "-" if pop.lb is None else f"{pop.lb:.2f}"
    first, *others = (f"{name} {abs(value):.3f}" for name, value in pop.loss.items())
    return [
        f"  POP: parallel eff {pop.pe:.2f} = load balance {balance} x comm eff {pop.comm_e:.2f}",
        *_flowed([f"       lost: {first}", *others], width, "             "),
    ]


def _workers(report: Report, width: int) -> list[str]:
    if not report.workers:
        return []
    head = ("PER WORKER", "compute", "coord", "ask", "io", "idle", "gc", "other", "|", "ratio",
            "msgs", "msgs/s", "top coord")  # fmt: skip
    rows = [head, *map(_worker_cells, report.workers)]
    if width >= _FULL_WIDTH:
        return table(rows, "<>>>>>>><>>><", width)
    rate = head.index("msgs/s")
    return table([(*row[:rate], *row[rate + 1 :]) for row in rows], "<>>>>>>><>><", width)


def _worker_cells(row: WorkerRow) -> tuple[str, ...]:
    classes = unnamed(row.classes)
    shares = [
        [TimeClass.COMPUTE],
        COORD,
        [TimeClass.ASK_WAIT],
        [TimeClass.IO_WAIT],
        [TimeClass.IDLE],
        [TimeClass.GC_USER],
        OVERHEAD,
    ]
    top = max(COORD, key=lambda member: (classes[member], -member))
    busy = advice.busy_share(row)
    bottleneck = row.kind != "worker" and busy > advice.BOTTLENECK_SHARE
    rate = quotient(row.messages * 1e9, row.wall_ns)
    return (
        f"  {row.id}",
        *(_percent(quotient(total(classes, which), row.wall_ns), 1) for which in shares),
        "|",
        multiple(row.ratio) if row.classes["compute"] else "-",
        short(row.messages),
        "-" if rate is None else short(rate),
        (
            f"{top.name.lower()} {_percent(quotient(classes[top], row.wall_ns), 1)}"
            if classes[top]
            else "-"
        )
        + (f" <- {busy:.0%} busy" if bottleneck else ""),
    )


def _types(report: Report, width: int) -> list[str]:
    if not report.types:
        return ["PER TYPE  no messages"]
    shown = report.types[:_MAX_TYPES]
    lines = _type_table(shown, width)
    rest = report.types[_MAX_TYPES:]
    if rest:
        coord = sum(row.coord_ns.total() for row in rest)
        types = "1 more type" if len(rest) == 1 else f"{len(rest)} more types"
        lines.append(f"  ({types}, coord {duration(coord)} in all; see the JSON)")
    unattributed = report.checks.unattributed_pct
    if unattributed is not None:
        lines.append(f"  (unattributed)  {unattributed:.1f}% of busy")
    return lines


def _type_table(types: Sequence[TypeRow], width: int) -> list[str]:
    """Lay the types out; where their full names don't fit, actors get lines of their own."""
    rows = [_TYPE_HEAD, *((f"  {advice.label(row)}", *_type_cells(row)) for row in types)]
    if width < _FULL_WIDTH:
        narrow = ((*row[:-1], row[-1].partition(" / ")[0]) for row in rows[1:])
        rows = [_NARROW_HEAD, *narrow]
    if _natural_width(rows) <= width:
        return table(rows, _TYPE_ALIGNS, width)
    names = [f"   {unqualified(row.message)}" for row in types]
    head, *lines = table(
        [rows[0], *((name, *row[1:]) for name, row in zip(names, rows[1:], strict=True))],
        _TYPE_ALIGNS,
        width,
    )
    actor, found = "", [head]
    for row, line in zip(types, lines, strict=True):
        if row.actor != actor:
            actor = row.actor
            found.append(f"  {shortened(unqualified(actor), width - 2)}")
        found.append(line)
    return found


def _type_cells(row: TypeRow) -> tuple[str, ...]:
    coord = quotient(row.coord_ns.total(), row.messages)
    wait = histogram.percentile(row.hist.mailbox_wait, 99)
    median, tail = (histogram.percentile(row.hist.compute, p) for p in (50, 99))
    spread = "-" if median is None or tail is None else f"{_us_short(median)}/{_us_short(tail)}"
    return (
        f"{row.messages:,}" if row.messages < 10_000_000 else short(row.messages),
        _us(row.grain_ns),
        _us(coord),
        multiple(row.ratio) if row.messages else "-",
        spread,
        "-" if wait is None else duration(wait),
        " / ".join(_need(row.grain_ns, coord, target) for target in (GOLDEN, IDEAL)),
    )


def _batches(report: Report, width: int) -> list[str]:
    rows = [row for row in report.types if row.batches][:_MAX_TYPES]
    if not rows:
        return []
    lines = [(f"  {advice.label(row)}", *batch_rows.cells(row)) for row in rows]
    return table([batch_rows.HEAD, *lines], batch_rows.ALIGNS, width)


def _need(grain: float | None, coord: float | None, target: int) -> str:
    if grain is None or coord is None:
        return "-"
    return "ok" if grain >= target * coord else duration(target * coord)


def _us(ns: float | None) -> str:
    if ns is None:
        return "-"
    return f"{ns / 1000:,.1f}" if ns < 1e8 else f"{ns / 1000:,.0f}"


def _us_short(ns: int) -> str:
    return short(ns / 1000)


def _percent(share: float | None, digits: int) -> str:
    return "-" if share is None else f"{share:.{digits}%}"


def _advice(report: Report, width: int) -> list[str]:
    lines: list[str] = []
    for number, found in enumerate(advice.ranked(report), 1):
        lines += textwrap.wrap(
            found.text,
            width,
            initial_indent=f"  {number} ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
    return ["ADVICE", *lines] if lines else []


def _natural_width(rows: Sequence[Sequence[str]]) -> int:
    """Give the columns that a table needs with nothing cut, one blank between two cells."""
    return sum(max(map(len, column)) + 1 for column in zip(*rows, strict=True)) - 1


def table(rows: Sequence[Sequence[str]], aligns: str, width: int) -> list[str]:
    """Align the cells; the first column gives way if the table is too wide."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    gaps = len(widths) - 1
    gap = 2 if sum(widths) + 2 * gaps <= width else 1
    widths[0] = max(_MIN_NAME, min(widths[0], width - sum(widths[1:]) - gap * gaps))
    title = rows[0][0]
    names = [
        title if len(title) <= widths[0] else title.partition(" (")[0],
        *(shortened(row[0], widths[0]) for row in rows[1:]),
    ]
    lines = []
    for name, row in zip(names, rows, strict=True):
        cells = zip((name, *row[1:]), aligns, widths, strict=True)
        line = (" " * gap).join(f"{cell:{align}{size}}" for cell, align, size in cells).rstrip()
        lines.append(line if len(line) <= width else f"{line[: width - 1]}\u2026")
    return lines
