"""``Schedule``: what is going to happen in a simulation, and when. Pure.

Whatever takes time in reality takes a time here that is drawn from the seed: a frame's way, a
worker's next turn. So the seed decides every order that is free. Work of one lane keeps its own.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from random import Random

_QUICKEST, _SLOWEST = 1e-5, 1e-2
"""Seconds, drawn by their logarithm: what is mostly quick is sometimes overtaken by much."""


class Occurrence:
    """Something that is going to happen. A :class:`~gristmill.behaviours.context.Timer`."""

    __slots__ = ("act", "due", "lane", "tie")

    def __init__(self, due: float, tie: float, act: Callable[[], None], lane: Hashable) -> None:
        self.due = due
        self.tie = tie
        self.act: Callable[[], None] | None = act
        self.lane = lane

    def cancel(self) -> bool:
        """Make sure that it does not happen; give whether that came in time."""
        live = self.act is not None
        self.act = None
        return live


class Schedule:
    """Occurrences in the order of their times; the time is that of the last one that happened.

    Args:
        random: decides how long things take, and which of two that are due together is first.
        now: the time at the beginning, in seconds.
    """

    def __init__(self, random: Random, now: float) -> None:
        self.now = now
        self._random = random
        self._heap: list[tuple[float, float, int, Occurrence]] = []
        self._count = 0
        self._lanes: defaultdict[Hashable, deque[Occurrence]] = defaultdict(deque)

    def soon(
        self, act: Callable[[], None], lane: Hashable = None, *, more: float = 0.0
    ) -> Occurrence:
        """Have something happen shortly, behind what is in the same lane if it has one.

        Args:
            act: what happens.
            lane: what it keeps its order with.
            more: seconds that it takes besides what is drawn.
        """
        seconds = _QUICKEST * math.exp(self._random.random() * math.log(_SLOWEST / _QUICKEST))
        return self._add(self.now + seconds + more, act, lane)

    def after(self, delay: float, act: Callable[[], None]) -> Occurrence:
        """Have something happen in ``delay`` seconds."""
        return self._add(self.now + max(0.0, delay), act, None)

    def _add(self, due: float, act: Callable[[], None], lane: Hashable) -> Occurrence:
        tie = self._random.random()
        if lane is not None and (ahead := self._lanes.get(lane)) and ahead[-1].due >= due:
            due, tie = ahead[-1].due, ahead[-1].tie
        added = Occurrence(due, tie, act, lane)
        if lane is not None:
            self._lanes[lane].append(added)
        self._count += 1
        heapq.heappush(self._heap, (due, tie, self._count, added))
        return added

    def drop(self, lane: Hashable, keep: int) -> int:
        """Cancel what is in a lane behind the first ``keep``; give how much that was."""
        ahead = self._lanes.get(lane, ())
        dropped = len(ahead) - keep
        for _ in range(dropped):
            late = self._lanes[lane].pop()
            late.cancel()
            late.lane = None
        return max(0, dropped)

    def waiting(self, lane: Hashable) -> int:
        """Count what is in a lane."""
        return len(self._lanes.get(lane, ()))

    def lanes(self) -> list[Hashable]:
        """Give the lanes in which something is, in the order of their first use."""
        return [lane for lane, ahead in self._lanes.items() if ahead]

    @property
    def next_due(self) -> float:
        """When the next thing happens; infinity if nothing does."""
        while self._heap and self._heap[0][3].act is None:
            self._leave(heapq.heappop(self._heap)[3])
        return self._heap[0][0] if self._heap else math.inf

    def take_next(self) -> Callable[[], None]:
        """Let the time be that of the next occurrence, and give what happens. There must be one."""
        due = self.next_due
        occurrence = heapq.heappop(self._heap)[3]
        self._leave(occurrence)
        self.now = max(self.now, due)
        act, occurrence.act = occurrence.act, None
        assert act is not None
        return act

    def _leave(self, occurrence: Occurrence) -> None:
        if occurrence.lane is not None:
            ahead = self._lanes[occurrence.lane]
            ahead.popleft()
            if not ahead:
                del self._lanes[occurrence.lane]
