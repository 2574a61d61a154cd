"""Histograms, per-type counters, snapshots and the counter page."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from gristmill.errors import UsageError
from gristmill.metrics import (
    Coordination,
    CounterPage,
    CounterPageError,
    Meter,
    TypeStats,
    WorkerSnapshot,
    histogram,
)
from gristmill.metrics.shared_page import FIELDS
from gristmill.metrics.snapshot import merge


def test_bucket_edges() -> None:
    assert [histogram.bucket(ns) for ns in (-3, 0, 1, 7, 8, 15, 16, 17, 18)] == [
        0, 0, 1, 7, 8, 15, 16, 16, 17,
    ]  # fmt: skip
    assert histogram.bucket(10**30) == histogram.BUCKETS - 1


def test_percentile_of_nothing_and_of_one() -> None:
    assert histogram.percentile({}, 50) is None
    assert histogram.percentile({5: 1}, 99) == 5


def test_percentiles_split_where_they_should() -> None:
    counts = {histogram.bucket(1000): 99, histogram.bucket(10**6): 1}
    assert histogram.percentile(counts, 99) == pytest.approx(1000, rel=0.125)
    assert histogram.percentile(counts, 99.5) == pytest.approx(10**6, rel=0.125)


def test_record_counts_one_message() -> None:
    stats = TypeStats("m:Pricer", "m:GetQuote")
    stats.record(21_000, 600, 900, 400, 132, 50_000)
    stats.record(3, 1, 1, 1, 8, 0)
    stats.peer_ns += 77
    stats.extra_items += 3
    found = stats.snapshot()
    assert (found.messages, found.items, found.bytes_in) == (2, 5, 140)
    assert found.compute_ns == 21_003
    assert found.coord_ns == Coordination(deser=601, dispatch=901, ser=401, peer=77)
    assert found.compute_hist == {3: 1, histogram.bucket(21_000): 1}
    assert found.wait_hist == {0: 1, histogram.bucket(50_000): 1}


def test_a_batch_counts_each_message_and_loses_no_time() -> None:
    stats = TypeStats("a", "m")
    stats.record_batch(1001, 30, 20, 10, 300, [5, 6, 1000])
    found = stats.snapshot()
    assert (found.messages, found.compute_ns, found.bytes_in) == (3, 1001, 300)
    assert found.compute_hist == {histogram.bucket(333): 3}
    assert sum(found.wait_hist.values()) == 3


def test_snapshots_cross_the_wire() -> None:
    stats = TypeStats("a", "m")
    stats.record(1, 2, 3, 4, 5, 6)
    sent = WorkerSnapshot("w0", 7, "worker", 9, 8, Meter().read(), types=(stats.snapshot(),))
    wire = msgspec.msgpack.encode(sent)
    assert msgspec.msgpack.decode(wire, type=WorkerSnapshot) == sent


def test_incarnations_of_a_worker_become_one_row() -> None:
    def incarnation(pid: int, *, complete: bool) -> WorkerSnapshot:
        stats = TypeStats("a", "m")
        stats.record(10, 1, 1, 1, 1, 1)
        return WorkerSnapshot(
            "w0", pid, "worker", 100, 50, (1,) * 15, 6, 12, 3, complete, (stats.snapshot(),),
            stood_still_ns=1,
        )  # fmt: skip

    other = WorkerSnapshot("w0", 3, "client", 1, 1, (0,) * 15)
    rows = merge([incarnation(1, complete=False), other, incarnation(2, complete=True)])
    assert [(row.id, row.kind) for row in rows] == [("w0", "worker"), ("w0", "client")]
    row = rows[0]
    assert (row.pid, row.wall_ns, row.cpu_ns, row.messages) == (2, 200, 100, 6)
    assert (row.classes, row.transitions, row.probe_ns) == ((2,) * 15, 12, 24)
    assert row.stood_still_ns == 2
    assert not row.complete
    assert [(kind.messages, kind.compute_ns) for kind in row.types] == [(2, 20)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w0.page"


def values(start: int) -> list[int]:
    return list(range(start, start + len(FIELDS)))


def test_a_page_shows_the_last_write_and_the_counters(path: Path) -> None:
    with CounterPage.create(path, ["sent", "handled"]) as page:
        reader = CounterPage.open(path)
        assert set(reader.read().values()) == {0}
        for start in (100, 200, 300):
            page.write(values(start))
            assert list(reader.read().values())[: len(FIELDS)] == values(start)
        page.counters[1] = 42
    assert reader.names == ("sent", "handled")
    assert (reader.read()["sent"], reader.read()["handled"]) == (0, 42)
    reader.close()


def test_a_page_without_counters(path: Path) -> None:
    CounterPage.create(path, []).close()
    with CounterPage.open(path) as page:
        assert tuple(page.read()) == FIELDS


def write_until_killed(path: Path, parent: int) -> None:
    page = CounterPage.create(path, ["sent"])
    start = 0
    while os.getppid() == parent:
        page.write(values(start))
        page.counters[0] = 1
        start += 1000


def test_a_page_outlives_a_kill_in_the_middle_of_a_write(path: Path) -> None:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            write_until_killed(path, parent)
        finally:
            os._exit(1)
    writing = False
    while not writing and os.waitpid(pid, os.WNOHANG) == (0, 0):
        with suppress(FileNotFoundError, CounterPageError), CounterPage.open(path) as page:
            writing = page.read()["sent"] == 1
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with CounterPage.open(path) as page:
        found = list(page.read().values())
    assert found[:-1] == values(found[0])
    assert found[-1] == 1


def test_a_killed_worker_is_described_by_its_page(path: Path) -> None:
    with CounterPage.create(path, ["sent"]) as page:
        page.write([*range(15), 9, 600, 100, 33, 330, 5, 450, 12])
        found = WorkerSnapshot.of_page("w0", 77, "worker", page.read())
    assert found == WorkerSnapshot(
        "w0", 77, "worker", 500, 450, tuple(range(15)), 33, 330, 12, complete=False,
        stood_still_ns=5,
    )  # fmt: skip


def test_a_page_is_for_its_user_only_and_never_overwritten(path: Path) -> None:
    CounterPage.create(path, ["sent"]).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        CounterPage.create(path, ["sent"])


@pytest.mark.parametrize("names", [["a", "a"], [""], ["a\nb"], ["compute"]])
def test_bad_counter_names_are_refused(path: Path, names: list[str]) -> None:
    with pytest.raises(UsageError, match="must be unique"):
        CounterPage.create(path, names)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"x" * 24, b"\0" * 4096])
def test_another_file_is_no_page(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CounterPageError, match=r"w0\.page is no counter page"):
        CounterPage.open(path)
