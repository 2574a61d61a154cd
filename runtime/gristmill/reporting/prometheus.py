"""A report in the text format that Prometheus reads, version 0.0.4.

Times are seconds. What grows over a run is a counter, so a scrape of ``node.granularity()`` gives
rates; a saved report fits the text file collector of node_exporter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from gristmill.metrics import Report, histogram
from gristmill.metrics.schema import TypeRow

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_OCTAVES: Final = range(10, 35)
"""Buckets end below 2**10 ns (1 us) to 2**34 ns (17 s): buckets of the report end there too."""
_PERCENTILES: Final = (50, 90, 99)

Sample = tuple[str, Mapping[str, str], float]
"""Suffix of the name, labels, value."""


def exposition(report: Report) -> str:
    """Write a report for Prometheus, ready to be served as ``text/plain; version=0.0.4``."""
    return "".join(
        line
        for name, kind, text, samples in _families(report)
        for line in _family(f"gristmill_{name}", kind, text, samples)
    )


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}\n"
    yield f"# TYPE {name} {kind}\n"
    for suffix, labels, value in samples:
        inner = ",".join(f'{key}="{label.translate(_ESCAPES)}"' for key, label in labels.items())
        braces = f"{{{inner}}}" if inner else ""
        yield f"{name}{suffix}{braces} {_number(value)}\n"


def _number(value: float) -> str:
    return repr(value) if isinstance(value, float) else str(value)


_Family = tuple[str, Literal["counter", "gauge", "histogram"], str, Iterable[Sample]]


def _families(report: Report) -> Iterator[_Family]:
    rows, types = report.workers, [(row, _type(row)) for row in report.types]
    yield (
        "time_seconds_total",
        "counter",
        "Wall time of a process by time class.",
        [
            ("", {"process": row.id, "kind": row.kind, "class": name}, time / 1e9)
            for row in rows
            for name, time in row.classes.items()
        ],
    )
    yield (
        "cpu_seconds_total",
        "counter",
        "CPU time of a process since its startup.",
        [("", {"process": row.id, "kind": row.kind}, row.cpu_ns / 1e9) for row in rows],
    )
    yield (
        "messages_total",
        "counter",
        "Messages handled.",
        [("", labels, row.messages) for row, labels in types],
    )
    yield (
        "coordination_seconds_total",
        "counter",
        "Coordination of messages at both ends by time class.",
        [
            ("", {**labels, "class": name}, getattr(row.coord_ns, name) / 1e9)
            for row, labels in types
            for name in row.coord_ns.__struct_fields__
        ],
    )
    yield (
        "ask_wait_seconds_total",
        "counter",
        "Time in which handlers waited for answers.",
        [("", labels, row.ask_wait_ns / 1e9) for row, labels in types],
    )
    yield (
        "received_bytes_total",
        "counter",
        "Size of the messages handled.",
        [("", labels, row.bytes_in) for row, labels in types],
    )
    yield (
        "compute_seconds",
        "histogram",
        "Compute of single messages.",
        [sample for row, labels in types for sample in _histogram(row, labels)],
    )
    yield (
        "mailbox_wait_seconds",
        "gauge",
        "Percentiles of the time that messages waited in a mailbox.",
        [
            ("", {**labels, "quantile": f"{percent / 100:g}"}, wait / 1e9)
            for row, labels in types
            for percent in _PERCENTILES
            if (wait := histogram.percentile(row.hist.mailbox_wait, percent)) is not None
        ],
    )
    if report.totals.ratio is not None:
        text = "Compute over coordination of the whole run."
        yield "ratio", "gauge", text, [("", {}, report.totals.ratio)]


def _type(row: TypeRow) -> dict[str, str]:
    return {"actor": row.actor, "message": row.message}


def _histogram(row: TypeRow, labels: Mapping[str, str]) -> Iterator[Sample]:
    """Give cumulative buckets; the report's are whole ns, so one ends a ns below its octave."""
    counts = row.hist.compute
    for octave in _OCTAVES:
        end = histogram.bucket(1 << octave)
        below = sum(count for bucket, count in counts.items() if bucket < end)
        yield "_bucket", {**labels, "le": repr(((1 << octave) - 1) / 1e9)}, below
    total = sum(counts.values())
    yield "_bucket", {**labels, "le": "+Inf"}, total
    yield "_sum", labels, row.compute_ns / 1e9
    yield "_count", labels, total
