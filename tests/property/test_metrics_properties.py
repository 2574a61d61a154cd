"""What holds for any account: conservation, additivity, bounded error."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.metrics import (
    Meter,
    RunInfo,
    SentSnapshot,
    TimeClass,
    TypeSnapshot,
    TypeStats,
    WorkerSnapshot,
    attributed,
    build_report,
    decode,
    encode,
    histogram,
    merge,
    render,
)
from gristmill.metrics.attribution import fitted, shared
from gristmill.metrics.classes import COUNT
from gristmill.metrics.cpu_time import CpuTime
from gristmill.metrics.meter import move_probes

durations = st.integers(0, 2**50)
vectors = st.lists(st.integers(0, 10**12), min_size=COUNT, max_size=COUNT).map(tuple)


@given(st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, 10**9)), max_size=50))
def test_the_classes_always_add_up_to_wall_time(steps: list[tuple[int, int]]) -> None:
    now = 1000
    meter = Meter(lambda: now)
    expected = [0] * COUNT
    for state, lasts in steps:
        meter.switch(state)
        now += lasts
        expected[state] += lasts
        assert sum(meter.read()) == now - 1000
    assert meter.read() == tuple(expected)


@given(vectors, st.integers(0, 10**13))
def test_moving_probes_keeps_the_sum_and_makes_nothing_negative(
    classes: tuple[int, ...], probe_ns: int
) -> None:
    moved = move_probes(classes, probe_ns)
    assert sum(moved) == sum(classes)
    assert min(moved) >= 0


@given(durations)
def test_a_bucket_holds_its_durations_and_is_narrow(ns: int) -> None:
    index = histogram.bucket(ns)
    low, high = histogram.lower(index), histogram.lower(index + 1)
    assert low <= ns < high
    assert high - low <= max(1, low / 8)


def test_buckets_are_contiguous() -> None:
    edges = [histogram.lower(index) for index in range(histogram.BUCKETS)]
    assert all(a < b for a, b in pairwise(edges))
    assert [histogram.bucket(edge) for edge in edges] == list(range(histogram.BUCKETS))


@given(st.lists(durations, min_size=1), st.integers(1, 100))
def test_a_percentile_is_near_the_exact_one(values: list[int], percent: int) -> None:
    counts = histogram.empty()
    for value in values:
        counts[histogram.bucket(value)] += 1
    found = histogram.percentile(histogram.sparse(counts), percent)
    exact = sorted(values)[-(-len(values) * percent // 100) - 1]
    assert found is not None
    assert abs(found - exact) <= exact / 8


@given(st.lists(st.tuples(*[durations] * 6), max_size=20))
def test_the_hot_path_agrees_with_the_histogram(calls: list[tuple[int, ...]]) -> None:
    stats = TypeStats("a", "m")
    for call in calls:
        stats.record(*call)
    found = stats.snapshot()
    assert found.messages == len(calls)
    assert found.compute_ns == sum(call[0] for call in calls)
    assert found.coord_ns.total() == sum(sum(call[1:4]) for call in calls)
    for column, counted in ((0, found.compute_hist), (5, found.wait_hist)):
        single = ({histogram.bucket(call[column]): 1} for call in calls)
        assert counted == histogram.merged(single)


shares_of_octaves = st.lists(st.integers(1, 16), min_size=13, max_size=13)
"""Sixteenths of each octave from 4 us to 16 ms that handlers are on a CPU."""


@given(st.lists(st.integers(4_096, 2**24), min_size=1), shares_of_octaves, st.data())
def test_cpu_time_is_known_from_one_handler_of_each_octave(
    times: list[int], shares: list[int], data: st.DataObject
) -> None:
    counts, cpu_time, exact = histogram.empty(), CpuTime(), 0.0
    measured: set[int] = set()
    for wall in data.draw(st.permutations(times)):
        cpu = wall * shares[wall.bit_length() - 13] // 16
        counts[histogram.bucket(wall)] += 1
        exact += cpu
        if wall.bit_length() not in measured or data.draw(st.booleans()):
            measured.add(wall.bit_length())
            cpu_time.add(cpu, wall)
    assert cpu_time.of_all(sum(times), counts) == pytest.approx(exact, rel=0.13)


@given(st.lists(st.integers(1, 2**50), min_size=1), st.data())
def test_who_never_waits_is_on_a_cpu_all_the_time(times: list[int], data: st.DataObject) -> None:
    counts, cpu_time = histogram.empty(), CpuTime()
    for wall in times:
        counts[histogram.bucket(wall)] += 1
    assert cpu_time.of_all(sum(times), counts) == 0
    for wall in data.draw(st.lists(st.sampled_from(times), min_size=1)):
        cpu_time.add(wall, wall)
    assert cpu_time.of_all(sum(times), counts) == pytest.approx(sum(times))


sent_rows = st.builds(
    SentSnapshot,
    st.sampled_from(["client", "A"]),
    st.sampled_from(["a:A", "b:B"]),
    st.sampled_from(["m:M", "m:N"]),
    messages=st.integers(0, 10**6),
    bytes=st.integers(0, 10**9),
    ser_ns=durations,
    deser_ns=durations,
    replies=st.integers(0, 10**6),
)


@st.composite
def snapshots(draw: st.DrawFn) -> WorkerSnapshot:
    classes = draw(vectors)
    types = draw(
        st.lists(
            st.builds(
                TypeSnapshot,
                st.sampled_from(["a:A", "b:B"]),
                st.sampled_from(["m:M", "m:N"]),
                st.integers(0, 10**6),
                st.integers(0, 10**6),
                durations,
                replies=st.integers(0, 10**6),
                ask_wait_ns=durations,
                compute_hist=st.dictionaries(st.integers(0, 479), st.integers(1, 99), max_size=3),
            ),
            max_size=3,
        )
    )
    return WorkerSnapshot(
        draw(st.sampled_from(["w0", "w1", "x"])),
        1,
        draw(st.sampled_from(["worker", "supervisor", "client"])),
        sum(classes),
        draw(durations),
        classes,
        draw(st.integers(0, 10**6)),
        draw(st.integers(0, 10**9)),
        draw(st.integers(0, 10**6)),
        draw(st.booleans()),
        tuple(types),
    )


@given(st.lists(st.integers(0, 10**6)), st.integers(0, 10**12))
def test_what_is_shared_out_is_all_there(weights: list[int], whole: int) -> None:
    parts = shared(weights, whole)
    assert sum(parts) == (whole if sum(weights) else 0)
    assert min(parts, default=0) >= 0
    small = fitted(weights, whole)
    assert sum(small) == min(sum(weights), whole)


@given(snapshots(), st.lists(sent_rows, max_size=4))
def test_types_and_what_was_sent_get_no_more_than_the_process_has(
    row: WorkerSnapshot, sent: list[SentSnapshot]
) -> None:
    found = attributed(msgspec.structs.replace(row, sent=tuple(sent)))
    for name in ("deser", "ser", "dispatch", "recv", "send"):
        own = sum(getattr(kind.coord_ns, name) for kind in found.types)
        others = sum(getattr(one, f"{name}_ns", 0) for one in found.sent)
        assert own + others <= row.classes[TimeClass[name.upper()]]
    assert sum(kind.ask_wait_ns for kind in found.types) <= row.classes[TimeClass.ASK_WAIT]
    assert [kind.messages for kind in found.types] == [kind.messages for kind in row.types]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(snapshots(), max_size=3), min_size=1, max_size=3))
def test_reports_add_up_in_any_grouping(parts: list[list[WorkerSnapshot]]) -> None:
    reports = [
        build_report(RunInfo(f"r{number}", 0, 10**10, "h", 2, "3.11", "0.1"), part)
        for number, part in enumerate(parts)
    ]
    whole = merge(reports)
    assert merge([merge(reports[:1]), *reports[1:]]) == whole
    assert decode(encode(whole)) == whole
    rows = [row for report in reports for row in report.workers]
    for name, value in whole.totals.classes.items():
        assert value == sum(row.classes[name] for row in rows)
    messages = sum(row.messages for report in reports for row in report.types)
    assert sum(row.messages for row in whole.types) == messages
    assert render(whole)
