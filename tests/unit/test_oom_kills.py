from __future__ import annotations

from pathlib import Path

import pytest

from gristmill.node.processes.linux import OomKills


def _machine(folder: Path, cgroup: str, counter: str) -> tuple[Path, Path, Path]:
    """Make a /proc and a /sys/fs/cgroup; give both, and the file that counts."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(cgroup)
    (folder / "proc/vmstat").write_text("nr_free_pages 7\noom_kill 3\n")
    file = folder / "cgroup" / counter
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("low 0\noom 1\noom_kill 4\noom_group_kill 0\n")
    return folder / "proc", folder / "cgroup", file


@pytest.mark.parametrize(
    ("cgroup", "counter"),
    [
        ("0::/app/job\n", "app/job/memory.events"),
        ("9:cpu:/x\n4:memory:/app/job\n0::/\n", "memory/app/job/memory.oom_control"),
    ],
)
def test_a_kill_in_the_own_cgroup_is_certain(tmp_path: Path, cgroup: str, counter: str) -> None:
    proc, cgroups, file = _machine(tmp_path, cgroup, counter)
    kills = OomKills(proc, cgroups)
    assert kills.struck() == "no"
    file.write_text("oom_kill 5\n")
    assert kills.struck() == "yes"
    assert kills.struck() == "no"


def test_a_kill_somewhere_on_the_machine_is_perhaps_ours(tmp_path: Path) -> None:
    proc, cgroups, _ = _machine(tmp_path, "0::/\n", "elsewhere/memory.events")
    kills = OomKills(proc, cgroups)
    assert kills.struck() == "no"
    (proc / "vmstat").write_text("oom_kill 4\n")
    assert kills.struck() == "perhaps"


@pytest.mark.parametrize("left", ["", "oom_kill many\n"])
def test_without_a_counter_nothing_is_certain(tmp_path: Path, left: str) -> None:
    proc, cgroups, file = _machine(tmp_path, "0::/app\n", "app/memory.events")
    file.write_text(left)
    kills = OomKills(proc, cgroups)
    assert kills.struck() == "perhaps"
    assert OomKills(tmp_path / "none", tmp_path / "none").struck() == "perhaps"
