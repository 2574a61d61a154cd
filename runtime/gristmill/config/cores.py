"""How many cores this process may use: the affinity mask and the cgroup's CPU quota."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUP_MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_cores() -> int:
    """Give the number of cores that this process may use, at least 1.

    The smaller of the affinity mask and the cgroup's CPU quota (v1 or v2). A quota of a part of a
    core is rounded up: 1.5 cores count as 2.
    """
    cores = _affinity()
    quota = cgroup_quota(_read(MEMBERSHIP), CGROUP_MOUNT)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parse_quota(quota: str, period: str) -> float | None:
    """Turn a quota and its period, both in microseconds, into cores.

    Takes the two words of cgroup v2's ``cpu.max``, or the contents of v1's ``cpu.cfs_quota_us``
    and ``cpu.cfs_period_us``. Gives None when there is no limit (``max``, -1) or no valid number.
    """
    try:
        limit, window = int(quota), int(period)
    except ValueError:
        return None
    return limit / window if limit > 0 and window > 0 else None


def cgroup_quota(membership: str, mount: Path) -> float | None:
    """Give the CPU quota in cores that binds the process, or None without one.

    Args:
        membership: the text of ``/proc/self/cgroup``.
        mount: where the cgroup file systems are mounted.

    A limit on any ancestor binds too, so the tightest one counts.
    """
    quotas = (_quota_in(folder) for folder in _folders(membership, mount))
    return min((quota for quota in quotas if quota is not None), default=None)


def _folders(membership: str, mount: Path) -> Iterator[Path]:
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container the path may be the host's; then only the mount's top exists, and is ours.
        for parent in (inside := PurePosixPath(path.lstrip("/")), *inside.parents):
            # v2 has no controllers here (mount / ""); v1 names its mount after them, or plainly.
            for name in {controllers, "cpu"} if controllers else {""}:
                yield mount / name / parent


def _quota_in(folder: Path) -> float | None:
    limit = _read(folder / "cpu.max").split()
    if len(limit) == 2:
        return parse_quota(*limit)
    return parse_quota(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
