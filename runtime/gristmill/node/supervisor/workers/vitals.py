"""Workers that exist and do not live: stopped by a signal, or busy beyond a time limit.

That a worker exists is known from its process handle, and that it computes is no fault. So these
are the only two cases in which a living worker is killed for what it does.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from gristmill.node.supervisor.roster import ActorRecord
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.slots import Slot, Slots
from gristmill.worker.telemetry.activity import STARTING

_EVERY = 1.0
"""Seconds between two looks at the workers."""
_AGAIN = 0.1
"""Seconds until the next look when one of them was stopped."""
_SOONEST = 0.01
_LOOKS = 4
"""Looks within the shortest time limit, so that it is exceeded by a quarter at most."""


class Vitals:
    """Looks at the workers now and then, and kills those that can't go on."""

    def __init__(
        self, shell: SupervisorShell, slots: Slots, actors: Mapping[int, ActorRecord]
    ) -> None:
        self._shell = shell
        self._slots = slots
        self._actors = actors
        self._stopped: set[int] = set()
        """The processes that were stopped when they were looked at last."""

    def look(self) -> float:
        """Look at every worker; give the seconds until the next look."""
        wait = _EVERY
        stopped: set[int] = set()
        for slot in self._slots.all():
            if not slot.pid:
                continue
            if self._shell.is_stopped(slot.pid):
                stopped.add(slot.pid)
                if slot.pid in self._stopped:  # twice, so that a stop and continue harms nobody
                    self._kill(slot, "it was stopped by a signal and did not continue")
            limit = self._limit(slot)
            if limit:
                wait = min(wait, max(_SOONEST, limit / _LOOKS))
                self._check(slot, limit)
        self._stopped = stopped
        return min(wait, _AGAIN) if stopped else wait

    def _limit(self, slot: Slot) -> float:
        """Give the time limit of the actor that has a worker to itself; 0 for none."""
        if slot.shared or len(slot.keys) != 1:
            return 0.0
        (key,) = slot.keys
        return self._actors[key].spec.time_limit

    def _check(self, slot: Slot, limit: float) -> None:
        sight, _ = self._shell.look(slot)
        if sight is None or sight.message in ("", STARTING):
            return
        since = sight.waiting_ns or sight.since_ns
        if self._shell.now_ns() - since > limit * 1e9:
            self._kill(slot, f"{sight.message} took longer than its time limit of {limit:g} s")

    def _kill(self, slot: Slot, verdict: str) -> None:
        if not slot.verdict:
            slot.verdict = verdict
            self._shell.signal(slot.pid, signal.SIGKILL)
