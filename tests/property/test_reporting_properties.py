"""Every face takes every report."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.metrics import (
    Coordination,
    Report,
    RunInfo,
    TypeSnapshot,
    WorkerSnapshot,
    build_report,
    merge,
    render,
    windows,
)
from gristmill.metrics.classes import COUNT
from gristmill.metrics.comparison import compare
from gristmill.metrics.gate import Limits, check
from gristmill.metrics.snapshot import merge as merge_snapshots
from gristmill.reporting import badge, exposition, junit, markdown, page, trace
from gristmill.reporting.charts import charts

times = st.integers(0, 2**50) | st.sampled_from([0, 1])
counts = st.integers(0, 10**6)
names = st.sampled_from(["m:A", "m:<&>\"'\n", "", "x" * 99])
buckets = st.dictionaries(st.integers(0, 479), st.integers(1, 99), max_size=4)
types = st.builds(
    TypeSnapshot,
    actor=names,
    message=names,
    messages=counts,
    items=counts,
    compute_ns=times,
    coord_ns=st.builds(Coordination, *[times] * 6),
    ask_wait_ns=times,
    compute_hist=buckets,
    wait_hist=buckets,
)
classes = st.lists(times, min_size=COUNT, max_size=COUNT).map(tuple)
processes = classes.flatmap(
    lambda spent: st.builds(
        WorkerSnapshot,
        id=names,
        pid=counts,
        kind=st.sampled_from(["worker", "supervisor", "client"]),
        wall_ns=st.just(sum(spent)),
        cpu_ns=times,
        classes=st.just(spent),
        probe_ns=times,
        messages=counts,
        complete=st.booleans(),
        types=st.lists(types, max_size=3).map(tuple),
    )
)


def snapshots(windows_of: list[tuple[int, list[WorkerSnapshot]]]) -> list[Report]:
    """Give the snapshots of a run in which all that happened, window after window."""
    found = []
    wall, happened = 0, list[WorkerSnapshot]()
    for lasted, rows in windows_of:
        wall += lasted
        happened = merge_snapshots([*happened, *rows])
        found.append(build_report(RunInfo("r", 0, wall, "h", 2, "3.11", "0.1"), happened))
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 10**10), st.lists(processes, max_size=3)), min_size=1, max_size=3
    )
)
def test_every_face_takes_every_report(run: list[tuple[int, list[WorkerSnapshot]]]) -> None:
    found = snapshots(run)
    for width in (80, 100, 200):
        assert max(map(len, render(found[-1], width).splitlines())) <= width
    assert page(found).startswith("<!doctype html>")
    for chart in charts(found):
        if chart.picture:
            assert "nan" not in ET.fromstring(chart.picture).attrib["viewBox"]
            assert not {"nan", "inf"} & set(chart.picture.replace('"', " ").split())
    assert json.loads(trace(found))["otherData"]["windows"] == len(found)
    assert exposition(found[-1]).endswith("\n")
    assert compare(found[0], found[-1])[0].kind == "run"
    checked = check(found[-1:], Limits(min_messages=1), found[:1])
    assert ET.fromstring(junit(checked)).get("name") == "granularity"
    assert markdown(checked)
    assert json.loads(badge(checked))["schemaVersion"] == 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 10**10), st.lists(processes, max_size=3)), min_size=1, max_size=3
    )
)
def test_windows_add_up_to_the_run(run: list[tuple[int, list[WorkerSnapshot]]]) -> None:
    found = snapshots([(lasted, [_unprobed(row) for row in rows]) for lasted, rows in run])
    cut = windows(found)
    whole = found[-1]
    for name, value in whole.totals.classes.items():
        assert value == sum(window.totals.classes[name] for window in cut)
    assert whole.run.wall_ns == sum(window.run.wall_ns for window in cut)
    assert {(row.actor, row.message): row.messages for row in whole.types} == {
        (row.actor, row.message): row.messages for row in merge(cut).types
    }


def _unprobed(row: WorkerSnapshot) -> WorkerSnapshot:
    """Take the probes away: their share of each class is estimated anew in each snapshot."""
    return WorkerSnapshot(
        row.id, row.pid, row.kind, row.wall_ns, row.cpu_ns, row.classes, types=row.types
    )
