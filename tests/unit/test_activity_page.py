from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.worker.telemetry.activity import ACTOR, MESSAGE, SINCE, Activity, read_activity
from gristmill.worker.telemetry.traces import look


def test_what_runs_is_seen_by_others_at_once(tmp_path: Path) -> None:
    path = tmp_path / "w1.1.activity"
    activity = Activity.create(path)
    activity.cells[MESSAGE] = activity.number("GetQuote")
    activity.cells[SINCE] = 5
    activity.cells[ACTOR] = 7
    sight = read_activity(path)
    assert sight is not None
    assert sight[:3] == (7, "GetQuote", 5)
    activity.cells[ACTOR] = 0
    sight = read_activity(path)
    assert sight is not None
    assert (sight.actor, sight.message) == (0, "")


def test_more_types_than_fit_have_no_name(tmp_path: Path) -> None:
    path = tmp_path / "w1.1.activity"
    activity = Activity.create(path)
    activity.cells[ACTOR] = 1
    names = {}
    for number in range(400):
        name = f"{number:060d}"
        activity.cells[MESSAGE] = activity.number(name)
        sight = read_activity(path)
        assert sight is not None
        names[name] = sight.message
    shown = [name for name, seen in names.items() if seen == name]
    assert len(shown) > 100
    assert {seen for name, seen in names.items() if seen != name} == {"a message"}


def test_a_missing_or_foreign_file_is_nothing(tmp_path: Path) -> None:
    assert read_activity(tmp_path / "none") is None
    (tmp_path / "short").write_bytes(b"x")
    assert read_activity(tmp_path / "short") is None
    assert look(tmp_path / "w1.1.page") == (None, ())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(alphabet="abcé", max_size=900), max_size=60))
def test_the_last_lines_are_kept_whole(texts: list[str]) -> None:
    activity = Activity()
    lines = [f"{number}:{text}" for number, text in enumerate(texts)]
    for line in lines:
        activity.keep(f"{line}\n".encode())
    kept = activity.sight().lines
    assert kept == tuple(lines[len(lines) - len(kept) :])
    if sum(len(line.encode()) + 1 for line in lines) < 4096:
        assert len(kept) == min(10, len(lines))


def test_a_line_longer_than_the_ring_keeps_its_end() -> None:
    activity = Activity()
    activity.keep(b"x" * 10_000 + b"end\n")
    (line,) = activity.sight().lines
    assert line.endswith("xend")
