"""Windows between snapshots of a run, and what can't be merged."""

from __future__ import annotations

import msgspec
import pytest

from gristmill.errors import UsageError
from gristmill.metrics import Report, merge, windows
from gristmill.metrics.schema import Edge
from support.reports import RUN, S, process, quote, report


def snapshot(wall_s: float, compute: float, coord: float, messages: int) -> Report:
    """Give what a run of one worker and one type says after ``wall_s`` seconds."""
    row = quote(
        messages=messages,
        items=messages,
        compute_ns=round(compute * S),
        compute_hist={100: messages},
    )
    worker = process(compute=compute, send=coord, wall_s=wall_s, messages=messages, types=(row,))
    found = report(worker, run=msgspec.structs.replace(RUN, wall_ns=round(wall_s * S)))
    return msgspec.structs.replace(found, edges=(Edge("a", "b", messages, 2 * messages, 7),))


FIRST, SECOND = snapshot(1, 0.5, 0.1, 50), snapshot(3, 2, 0.2, 80)


def test_windows_are_the_differences_in_order() -> None:
    one, two = windows([SECOND, FIRST])
    assert one == FIRST
    assert (two.run.t0_unix_ns, two.run.wall_ns) == (S, 2 * S)
    assert two.totals.ratio == pytest.approx(15)
    assert two.totals.messages == 30
    (worker,) = two.workers
    assert (worker.wall_ns, worker.classes["compute"]) == (2 * S, round(1.5 * S))
    assert sum(worker.classes.values()) == 2 * S
    (row,) = two.types
    assert (row.messages, row.compute_ns, row.hist.compute) == (30, round(1.5 * S), {100: 30})
    assert two.edges == (Edge("a", "b", 30, 60, 0),)


def test_windows_add_up_to_the_last_snapshot() -> None:
    one, two = windows([FIRST, SECOND])
    whole = merge([one, two])
    assert whole.totals.classes == SECOND.totals.classes
    assert whole.types[0].hist == SECOND.types[0].hist
    assert whole.run.wall_ns == SECOND.run.wall_ns


def test_one_snapshot_is_one_window_and_a_repeated_one_none() -> None:
    assert windows([FIRST]) == (FIRST,)
    assert windows([FIRST, FIRST]) == (FIRST,)


def test_a_process_that_came_later_has_its_whole_time_in_the_window() -> None:
    later = report(process(compute=1, wall_s=1), process("w1", compute=1, wall_s=1))
    before = report(process(compute=0.25, wall_s=0.5))
    before = msgspec.structs.replace(before, run=msgspec.structs.replace(RUN, wall_ns=S // 2))
    _, window = windows([before, later])
    assert [row.classes["compute"] for row in window.workers] == [0.75 * S, S]


def test_snapshots_must_be_of_one_run() -> None:
    other = msgspec.structs.replace(FIRST, run=msgspec.structs.replace(RUN, id="r2"))
    with pytest.raises(UsageError, match="of 2 runs"):
        windows([FIRST, other])
    with pytest.raises(UsageError, match="give at least one"):
        windows([])


def test_snapshots_of_one_process_are_not_added_up() -> None:
    with pytest.raises(UsageError, match="its time would count twice"):
        merge([FIRST, SECOND])


def test_two_runs_of_one_node_id_follow_one_another() -> None:
    again = msgspec.structs.replace(FIRST, run=msgspec.structs.replace(FIRST.run, t0_unix_ns=5 * S))
    assert merge([FIRST, again]).run.wall_ns == 2 * S
