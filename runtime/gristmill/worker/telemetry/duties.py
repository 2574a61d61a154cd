"""``Duties``: what a worker does once a second, for as long as anything happens in it."""

from __future__ import annotations

from collections.abc import Callable

from gristmill.worker.core import WorkerCore
from gristmill.worker.telemetry.accounting import Accounting

_EVERY = 1.0


class Duties:
    """Reports, looks at the sampling, and gives arrays back; a worker at rest does not wake up.

    Args:
        core: the worker's.
        accounting: what reports.
        later: calls back on the worker's loop after so many seconds.
    """

    def __init__(
        self,
        core: WorkerCore,
        accounting: Accounting,
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._core = core
        self._accounting = accounting
        self._later = later
        self.resting = True
        """Whether nothing is going to be done until :meth:`begin` is called."""

    def begin(self) -> None:
        """Something happens: do what there is to do a second later, and so on."""
        self.resting = False
        self._core.stamping.adapt()  # the rest is no time that messages have had
        self._later(_EVERY, self._do)

    def _do(self) -> None:
        changed = self._accounting.report_if_changed()
        self._core.stamping.adapt()
        pool = self._core.arrays.pool
        if pool.release_due:  # arrays were dropped outside of turns
            self._core.shell.request_turn()
        if changed or pool.release_due or pool.holding:
            self._later(_EVERY, self._do)
        else:
            self.resting = True
