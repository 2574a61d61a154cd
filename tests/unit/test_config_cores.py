from __future__ import annotations

import os
from pathlib import Path

import pytest

from gristmill.config import NodeConfig, available_cores, cores
from gristmill.config.cores import cgroup_quota, parse_quota


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        ("max", "100000", None),
        ("-1", "100000", None),
        ("150000", "100000", 1.5),
        ("50000", "100000", 0.5),
        ("", "", None),
        ("1", "0", None),
        ("x", "1", None),
    ],
)
def test_parse_quota(quota: str, period: str, expected: float | None) -> None:
    assert parse_quota(quota, period) == expected


def v2(folder: Path, limit: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{limit} 100000\n")


def v1(folder: Path, quota: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")


def test_v2_takes_the_tightest_ancestor(tmp_path: Path) -> None:
    v2(tmp_path / "a" / "b", "400000")
    v2(tmp_path / "a", "250000")
    assert cgroup_quota("0::/a/b\n", tmp_path) == 2.5
    v2(tmp_path / "a", "max")
    assert cgroup_quota("0::/a/b\n", tmp_path) == 4.0


def test_v2_path_of_the_host_falls_back_to_the_mount(tmp_path: Path) -> None:
    v2(tmp_path, "300000")
    assert cgroup_quota("0::/docker/abc\n", tmp_path) == 3.0


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_v1(tmp_path: Path, mount: str) -> None:
    v1(tmp_path / mount / "job", 150000)
    membership = "5:cpuset:/other\n4:cpu,cpuacct:/job\n0::/\n"
    assert cgroup_quota(membership, tmp_path) == 1.5


def test_other_controllers_do_not_count(tmp_path: Path) -> None:
    v1(tmp_path / "cpuset", 100000)
    assert cgroup_quota("5:cpuset:/\n", tmp_path) is None
    assert cgroup_quota("", tmp_path) is None


def test_available_cores_rounds_up_and_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup").write_text("0::/\n")
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "CGROUP_MOUNT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    results = {}
    for limit in ("max", "10000", "150000", "900000"):
        v2(tmp_path, limit)
        results[limit] = available_cores()
    assert results == {"max": 4, "10000": 1, "150000": 2, "900000": 4}
    assert NodeConfig(workers="auto").worker_count() == 4
    assert NodeConfig(workers=7).worker_count() == 7
