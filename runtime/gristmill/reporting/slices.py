"""The single messages of a window, as a trace that Perfetto and chrome://tracing open.

A track is a process, with a row for each of its threads. A slice of a message encloses those of the
time classes that it passed through. An arrow leads from where a message was sent to where it was
handled; it is drawn only if both ends were recorded, inside of slices.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gristmill.metrics.classes import COORD, NAMES, TimeClass
from gristmill.metrics.ratios import quotient
from gristmill.metrics.tracing import Backlog, MessageId, ProcessTrace, Record, Sent, Slice
from gristmill.metrics.units import duration

MAILBOXES: Final = ("in mailboxes", "messages")
RATIO: Final = ("compute/coordinate", "ratio")
"""Counters, and what they count."""
_POINTS: Final = 100
"""Into how many parts the ratio's counter divides a window."""
_COMPUTE: Final = TimeClass.COMPUTE.value
_COORD: Final = frozenset(member.value for member in COORD)

_Event = dict[str, Any]
_Place = tuple[int, int]
"""A track and a row of it."""
_Key = tuple[int, int, int]
"""Where an event stands in the file: by time, and what encloses others before them."""


class MessageTrace(msgspec.Struct, frozen=True):
    """What all processes of a node have recorded of a window."""

    node_id: str
    base_ns: int
    """When the node was started: the trace's zero."""
    begin_ns: int
    """When the window begins, as all times on the clock that the processes share."""
    end_ns: int
    processes: tuple[ProcessTrace, ...]
    missing: tuple[str, ...] = ()
    """Processes that have ended in the window, or did not answer: what they recorded is lost."""

    @property
    def slices(self) -> int:
        """How many messages, or calls with several, were handled or sent."""
        return sum(
            isinstance(record, Slice) and isinstance(record.what, str)
            for process in self.processes
            for record in process.records
        )

    @property
    def dropped(self) -> int:
        """How many records were overwritten in rings that do not reach back to the begin."""
        return sum(process.dropped for process in self.processes)

    def write(self, path: str | Path) -> None:
        """Write the trace into a file that https://ui.perfetto.dev opens."""
        Path(path).write_bytes(self.json())

    def json(self) -> bytes:
        """Give Chrome's JSON trace format; times are us since the node was started."""
        window = msgspec.structs.replace(
            self, processes=tuple(_fitted(process, self.begin_ns) for process in self.processes)
        )
        tracks = _Tracks(window)
        document = {
            "traceEvents": [*tracks.names(), *tracks.events()],
            "displayTimeUnit": "ms",
            "otherData": {
                "node": self.node_id,
                "clock": "monotonic, us since the node was started",
                "begin_us": (self.begin_ns - self.base_ns) / 1000,
                "end_us": (self.end_ns - self.base_ns) / 1000,
                "dropped": {process.name: process.dropped for process in self.processes},
                "missing": list(self.missing),
            },
        }
        return msgspec.json.encode(document)

    def summary(self) -> str:
        """Say in a few lines what the trace holds, and what it lacks."""
        window, processes = duration(self.end_ns - self.begin_ns), len(self.processes)
        lines = [f"trace: the last {window}, {self.slices:,} slices of {processes} processes"]
        lines += [
            f"  {process.name}: only the last {duration(self.end_ns - process.oldest)}; "
            f"dropped {process.dropped:,} older events"
            for process in self.processes
            if process.dropped
        ]
        if self.missing:
            lines.append(f"  missing: {', '.join(self.missing)}")
        return "\n".join(lines)


def _fitted(process: ProcessTrace, begin: int) -> ProcessTrace:
    """Let what reaches over the window's begin begin there, and arrows find their slices.

    A viewer binds an arrow to the innermost slice at its time. So the first class of a message
    begins a ns after it: an arrow that ends where the message begins leads to the message.
    """
    heads = {each.begin for each in process.records if isinstance(each, Slice) and each.of}
    records: list[Record] = []
    for record in process.records:
        if isinstance(record, Slice):
            inner = isinstance(record.what, int) and record.begin in heads
            starts = max(record.begin + inner, begin)
            if starts != record.begin:
                record = msgspec.structs.replace(record, begin=starts)  # noqa: PLW2901 - its copy
        records.append(record)
    return msgspec.structs.replace(process, records=records)


class _Tracks:
    """The events of a trace. Numbers are their own: processes of a node may share a pid."""

    def __init__(self, trace: MessageTrace) -> None:
        self._trace = trace
        self._numbers = {id(process): at for at, process in enumerate(trace.processes, 1)}
        self._rows: dict[tuple[int, int], int] = {}
        """The number of each thread, by its process's and its own."""
        self._covered: dict[_Place, _Cover] = {}

    def names(self) -> Iterator[_Event]:
        for process in self._trace.processes:
            track = self._numbers[id(process)]
            facts = {"name": process.name, "labels": f"{process.kind}, pid {process.pid}"}
            for key, value in facts.items():
                yield _named(f"process_{key}", track, track, {key: value})
            yield _named("process_sort_index", track, track, {"sort_index": track})
            for thread, name in (process.threads or {0: "handlers"}).items():
                yield _named("thread_name", track, self._row(track, thread), {"name": name})

    def events(self) -> list[_Event]:
        """Give slices, arrows and counters, in the order of time."""
        found: list[tuple[_Key, _Event]] = []
        for process in self._trace.processes:
            found += self._slices(process)
            found += self._counters(process)
        found += self._arrows()
        found.sort(key=lambda entry: entry[0])
        return [event for _, event in found]

    def _slices(self, process: ProcessTrace) -> Iterator[tuple[_Key, _Event]]:
        track = self._numbers[id(process)]
        whole: defaultdict[_Place, list[tuple[int, int]]] = defaultdict(list)
        for record in process.records:
            if isinstance(record, Slice):
                place = (track, self._row(track, record.thread))
                whole[place].append((record.begin, record.end))
                yield self._slice(record, place)
        self._covered |= {place: _Cover(times) for place, times in whole.items()}

    def _slice(self, record: Slice, place: _Place) -> tuple[_Key, _Event]:
        is_class = isinstance(record.what, int)
        event = self._event("X", record.begin, place) | {
            "name": NAMES[record.what] if isinstance(record.what, int) else record.what,
            "cat": "class" if is_class else "message",
            "dur": (record.end - record.begin) / 1000,
        }
        if record.of:
            event["args"] = {"messages": len(record.of)}
            if record.waited >= 0:
                event["args"]["waited_us"] = record.waited / 1000
        return _key(record, 2 if is_class else 0), event

    def _arrows(self) -> Iterator[tuple[_Key, _Event]]:
        """Pair what was handled with where it was sent; the numbers of arrows are their own."""
        sendings = _Sendings(self._trace.processes)
        arrows = 0
        for process in self._trace.processes:
            track = self._numbers[id(process)]
            for record in process.records:
                if not isinstance(record, Slice):
                    continue
                for message in record.of:
                    found = sendings.of(message, record.begin)
                    if found is None:
                        continue
                    sender, sent = found
                    begin = self._numbers[id(sender)]
                    start = (begin, self._row(begin, sent.thread))
                    if start not in self._covered or sent.at not in self._covered[start]:
                        continue
                    arrows += 1
                    common = {"name": "message", "cat": "message", "id": arrows}
                    yield (sent.at, 0, 3), self._event("s", sent.at, start) | common
                    end = self._event("f", record.begin, (track, self._row(track, record.thread)))
                    yield _key(record, 1), end | common | {"bp": "e"}

    def _counters(self, process: ProcessTrace) -> Iterator[tuple[_Key, _Event]]:
        track = self._numbers[id(process)]
        points = [
            (record.at, MAILBOXES, float(record.messages))
            for record in process.records
            if isinstance(record, Backlog)
        ]
        if process.kind == "worker":
            points += ((at, RATIO, value) for at, value in self._ratios(process))
        for at, (name, what), value in points:
            event = self._event("C", at, (track, track)) | {"name": name, "args": {what: value}}
            yield (at, 0, 4), event

    def _ratios(self, process: ProcessTrace) -> Iterator[tuple[int, float]]:
        """Give the ratio of each part of the window, at its begin."""
        begin = self._trace.begin_ns
        part = max((self._trace.end_ns - begin) // _POINTS, 1)
        sums = [[0, 0] for _ in range(_POINTS + 1)]
        for record in process.records:
            if not isinstance(record, Slice) or isinstance(record.what, str):
                continue
            if record.what != _COMPUTE and record.what not in _COORD:
                continue
            at = record.begin
            while at < record.end:
                number = min((at - begin) // part, _POINTS)
                until = record.end if number == _POINTS else begin + (number + 1) * part
                sums[number][record.what != _COMPUTE] += min(record.end, until) - at
                at = until
        for number, (compute, coordination) in enumerate(sums):
            yield begin + number * part, round(quotient(compute, coordination) or 0.0, 3)

    def _event(self, phase: str, at: int, place: _Place) -> _Event:
        track, row = place
        return {"ph": phase, "pid": track, "tid": row, "ts": (at - self._trace.base_ns) / 1000}

    def _row(self, track: int, thread: int) -> int:
        """Give a number for a thread; that of a process's first one is the process's own."""
        known = self._rows.get((track, thread))
        if known is None:
            first = track not in self._rows.values()
            known = track if first else len(self._numbers) + len(self._rows) + 1
            self._rows[track, thread] = known
        return known


class _Sendings:
    """Where every message was sent."""

    def __init__(self, processes: Iterable[ProcessTrace]) -> None:
        self._found: defaultdict[MessageId, list[tuple[ProcessTrace, Sent]]] = defaultdict(list)
        for process in processes:
            for record in process.records:
                if isinstance(record, Sent):
                    step = 1 if record.first > 0 else -1
                    for offset in range(record.count):
                        key = (process.address, record.first + step * offset)
                        self._found[key].append((process, record))

    def of(self, message: MessageId, before: int) -> tuple[ProcessTrace, Sent] | None:
        """Give who has sent a message, last before a time: some are sent more than once."""
        found = [pair for pair in self._found.get(message, ()) if pair[1].at <= before]
        return max(found, key=lambda pair: pair[1].at) if found else None


class _Cover:
    """The times in which there is a slice on a row."""

    def __init__(self, times: Sequence[tuple[int, int]]) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in sorted(times):
            if self._ends and begin <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._begins.append(begin)
                self._ends.append(end)

    def __contains__(self, at: int) -> bool:
        place = bisect_right(self._begins, at) - 1
        return place >= 0 and at < self._ends[place]


def _key(record: Slice, rank: int) -> _Key:
    return record.begin, record.begin - record.end, rank


def _named(name: str, track: int, row: int, facts: dict[str, Any]) -> _Event:
    return {"ph": "M", "name": name, "pid": track, "tid": row, "args": facts}
