"""``Leaving``: when a worker ends that has been told to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_log = logging.getLogger("gristmill.worker")
_SAYS_AFTER = 10.0
"""Seconds after which a worker that is to leave says why it has not."""
_NAMED = 5
"""How many targets it names."""
TERMINATED = 128 + 15
"""Exit status of a worker that SIGTERM has asked to leave."""


class Leaving:
    """Ends a worker once what its actors have sent is on its way."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._told = False
        self._dismissed = False

    def leave(self, *, dismissed: bool) -> None:
        """End the worker as soon as nothing waits here for the place of an actor.

        Args:
            dismissed: it has no successor, so it also stays until what it has journaled has
                arrived: nobody else reads its journal until the next start of the node.
        """
        self._told, self._dismissed = True, dismissed
        if dismissed:
            self._core.shell.call_later(_SAYS_AFTER, self._say_why_it_stays)
        self.leave_when_done()

    def leave_when_done(self) -> None:
        """End the worker, if it is to end and nothing that its actors have sent is left here."""
        core = self._core
        if not self._told or core.keyed.holds_any:
            return
        must_arrive = core.delivery.undelivered or core.records.publications.owed
        if not (self._dismissed and must_arrive):
            core.shell.exit()

    def terminate(self) -> None:
        """End every actor and the worker now, as SIGTERM asks."""
        self._core.lifecycle.end_all()
        self._core.shell.exit(TERMINATED)

    def _say_why_it_stays(self) -> None:
        delivery, waiting = self._core.delivery, []
        targets = delivery.open_targets("")
        if targets:
            more = ", ..." if len(targets) > _NAMED else ""
            waiting.append(f"{delivery.undelivered} for {', '.join(targets[:_NAMED])}{more}")
        owed = self._core.records.publications.owed
        if owed:
            waiting.append(f"{owed} for brokers")
        if waiting:
            _log.warning(
                "nobody lives here any more, but what was sent at least once has not "
                "arrived yet, so this worker stays: %s",
                "; ".join(waiting),
            )
