"""``CpuTime``: the CPU time of all handlers of a message type, of which only few were measured."""

from __future__ import annotations

from collections.abc import Sequence

from gristmill.metrics import histogram


class CpuTime:
    """What share of their time by the clock handlers were on a CPU.

    Where other processes take the core, few handlers are interrupted but for long, and of those
    measured it is chance how many are. But how long every handler took is known, so each octave of
    durations gets the share that was measured in it: post-stratification, see Cochran, Sampling
    Techniques, 5A.9.
    """

    __slots__ = ("_octaves",)

    def __init__(self) -> None:
        self._octaves: dict[int, tuple[int, int]] = {}
        """CPU time and time by the clock of those measured, in ns, by octaves of the latter."""

    def add(self, cpu_ns: int, wall_ns: int) -> None:
        """Count a handler of which both times were measured."""
        octave = histogram.octave(histogram.bucket(wall_ns))
        cpu, wall = self._octaves.get(octave, (0, 0))
        self._octaves[octave] = cpu + cpu_ns, wall + wall_ns

    def of_all(self, wall_ns: int, hist: Sequence[int]) -> int:
        """Give the CPU time of all handlers, in ns; 0 if none was measured.

        Args:
            wall_ns: time by the clock of all of them.
            hist: histogram of it.
        """
        measured = list(self._octaves.values())
        cpu, wall = (sum(column) for column in zip(*measured, strict=True)) if measured else (0, 0)
        if not wall:
            return 0
        found = all_ = 0.0
        for index, count in histogram.sparse(hist).items():
            # where none was measured, all of them speak
            part, of = self._octaves.get(histogram.octave(index), (cpu, wall))
            spent = count * histogram.middle(index)
            all_ += spent
            found += spent * part / (of or 1)
        return min(wall_ns, round(wall_ns * found / all_)) if all_ else 0
