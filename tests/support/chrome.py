"""Reads a trace as Chrome's trace viewer and Perfetto do, and fails where they would not."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, NamedTuple

from gristmill.metrics.classes import NAMES

Place = tuple[int, int]
_KEYS = {
    "M": {"name", "args"},
    "X": {"name", "cat", "ts", "dur"},
    "s": {"name", "cat", "id", "ts"},
    "f": {"name", "cat", "id", "ts", "bp"},
    "C": {"name", "ts", "args"},
}
"""What each phase must have, besides ``ph``, ``pid`` and ``tid``."""


class Shown(NamedTuple):
    """A slice, as it is drawn."""

    process: str
    thread: str
    name: str
    begin: int
    """ns since the trace's zero."""
    end: int
    parents: tuple[str, ...]
    """The names of the slices around it, the outermost first."""


class Arrow(NamedTuple):
    """An arrow, from one slice to another."""

    start: Shown
    end: Shown
    sent: int
    handled: int


class Chrome:
    """A trace that is well formed, as a viewer shows it."""

    def __init__(self, encoded: bytes) -> None:
        self.document: dict[str, Any] = json.loads(encoded)
        self.events: list[dict[str, Any]] = self.document["traceEvents"]
        for event in self.events:
            wanted = _KEYS[event["ph"]]
            assert wanted <= event.keys(), event
            assert type(event["pid"]) is type(event["tid"]) is int
            assert all(type(event[key]) is float for key in ("ts", "dur") if key in event), event
        timed = [event["ts"] for event in self.events if event["ph"] != "M"]
        assert timed == sorted(timed)
        self.processes = self._named("process_name")
        self.threads = {
            (event["pid"], event["tid"]): event["args"]["name"]
            for event in self._all("thread_name")
        }
        assert len(self.processes) == len(set(self.processes.values()))
        self.slices: list[Shown] = []
        self.arrows: list[Arrow] = []
        self._draw()

    def _all(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["ph"] == "M" and event["name"] == name]

    def _named(self, key: str) -> dict[int, str]:
        return {event["pid"]: event["args"]["name"] for event in self._all(key)}

    def _draw(self) -> None:
        """Stack the slices of each row, and bind arrows to the innermost one that is open."""
        stacks: defaultdict[Place, list[Shown]] = defaultdict(list)
        starts: dict[int, tuple[int, Shown]] = {}
        ended: set[int] = set()
        drawn = [event for event in self.events if event["ph"] not in "MC"]
        for event in sorted(drawn, key=lambda event: (event["ts"], event["ph"] != "X")):
            place, at = (event["pid"], event["tid"]), _ns(event["ts"])
            stack = stacks[place]
            while stack and stack[-1].end <= at and event["ph"] != "f":
                stack.pop()
            if event["ph"] == "X":
                end = at + _ns(event["dur"])
                assert not stack or end <= stack[-1].end, f"{event} reaches over {stack[-1]}"
                stack.append(
                    Shown(
                        self.processes[place[0]],
                        self.threads.get(place, ""),
                        event["name"],
                        at,
                        end,
                        tuple(each.name for each in stack),
                    )
                )
                self.slices.append(stack[-1])
            elif event["ph"] == "s":
                assert event["id"] not in starts
                assert stack, f"an arrow begins outside of every slice: {event}"
                starts[event["id"]] = (at, stack[-1])
            else:
                assert event["bp"] == "e"
                assert event["id"] not in ended, "two ends of an arrow"
                assert stack, f"an arrow ends outside of every slice: {event}"
                assert stack[-1].begin <= at <= stack[-1].end
                sent, start = starts[event["id"]]
                assert sent <= at
                ended.add(event["id"])
                self.arrows.append(Arrow(start, stack[-1], sent, at))
        assert ended == starts.keys(), "arrows without an end"

    def messages(self, process: str = "") -> list[Shown]:
        """Give the slices that are no classes, of one process or of all."""
        return [
            each for each in self.slices if each.name not in NAMES and process in ("", each.process)
        ]

    def counters(self, name: str) -> list[tuple[str, float, float]]:
        """Give process, us and value of every point of a counter."""
        return [
            (self.processes[event["pid"]], event["ts"], *event["args"].values())
            for event in self.events
            if event["ph"] == "C" and event["name"] == name
        ]


def _ns(microseconds: float) -> int:
    return round(microseconds * 1000)
