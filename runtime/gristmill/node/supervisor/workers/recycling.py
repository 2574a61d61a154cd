"""``Recycling``: workers that have handled much, or hold much memory, give way to fresh ones."""

from __future__ import annotations

from functools import partial

from gristmill.config import Recycle
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.reloading import Reloading
from gristmill.node.supervisor.workers.replacing import Replacing, can_be_replaced
from gristmill.node.supervisor.workers.slots import Slot, Slots

_EVERY = 0.5
"""Seconds between two looks at what the workers have done."""
_AGAIN = 30.0
"""Seconds after which a worker that could not be replaced is tried again."""


class Recycling:
    """Replaces workers that are over a limit, one at a time and none during a reload.

    Args:
        recycle: the limits.
        shell: of the supervisor process.
        slots: where the workers stand.
        replacing: replaces them.
        reloading: is in no way disturbed.
    """

    def __init__(
        self,
        recycle: Recycle,
        shell: SupervisorShell,
        slots: Slots,
        replacing: Replacing,
        reloading: Reloading,
    ) -> None:
        self._messages, self._memory = recycle.limits
        self._shell = shell
        self._slots = slots
        self._replacing = replacing
        self._reloading = reloading
        self._not_before: dict[int, float] = {}
        self.count = 0
        """How many workers were recycled."""

    def begin(self) -> None:
        """Look at the workers from now on, if there is a limit."""
        if self._messages or self._memory:
            self._shell.call_at(self._shell.now() + _EVERY, self._look)

    def _look(self) -> None:
        if not self._reloading.busy:
            judged = [(*self._judge(slot), slot) for slot in self._slots.all()]
            share, why, slot = max(judged, key=lambda each: each[0])
            if share >= 1.0:
                self._recycle(slot, why)
        self.begin()

    def _judge(self, slot: Slot) -> tuple[float, str]:
        """Give the largest share of a limit that a worker has reached, and say which."""
        now = self._shell.now()
        if not can_be_replaced(slot, self._slots) or now < self._not_before.get(slot.address, 0.0):
            return 0.0, ""
        found = [(0.0, "")]
        page = self._shell.read_page(slot, remove=False) if self._messages else None
        if page is not None:
            handled = page["handled"]
            found.append((handled / self._messages, f"it has handled {handled:,} messages"))
        if self._memory:
            memory = self._shell.memory_of(slot.pid)
            text = f"it has {memory / (1 << 20):,.0f} MiB of memory"
            found.append((memory / self._memory, text))
        return max(found)

    def _recycle(self, slot: Slot, why: str) -> None:
        self._shell.log(f"worker {slot.name} is recycled: {why}")
        done = partial(self._recycled, slot)
        self._replacing.begin(slot, f"recycled: {why}", done)

    def _recycled(self, slot: Slot, error: str) -> None:
        if error:
            self._shell.log(f"worker {slot.name} was not recycled: {error}")
            self._not_before[slot.address] = self._shell.now() + _AGAIN
        else:
            self.count += 1
