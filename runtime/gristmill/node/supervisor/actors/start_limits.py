"""``StartLimits``: actors whose start may take so long and no longer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gristmill.errors import ErrorData, StartTimeoutError
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.supervision import Crash, ExitReason


class StartLimits:
    """Has actors killed that don't start in time.

    Args:
        shell: arms timers.
        kill: ends an incarnation, given by key and incarnation, whatever it does.
    """

    def __init__(self, shell: SupervisorShell, kill: Callable[[int, int], None]) -> None:
        self._shell = shell
        self._kill = kill
        self._armed: dict[int, int] = {}
        self._overdue: dict[int, float] = {}

    def begin(self, key: int, incarnation: int, seconds: float) -> None:
        """A start that is limited has begun."""

        def overdue() -> None:
            del self._armed[key]
            self._overdue[key] = seconds
            self._kill(key, incarnation)

        self._armed[key] = self._shell.call_at(self._shell.now() + seconds, overdue)

    def started(self, key: int) -> None:
        """An actor has started, perhaps in the last moment before it is killed."""
        armed = self._armed.pop(key, None)
        if armed is not None:
            self._shell.cancel(armed)

    def in_time(self, started: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
        """Give the starts, as (key, incarnation), without those that are being undone."""
        if not self._overdue:
            return started
        return [pair for pair in started if pair[0] not in self._overdue]

    def is_overdue(self, key: int) -> bool:
        """Tell whether an actor is being killed for its late start."""
        return key in self._overdue

    def ended(self, key: int, reason: ExitReason) -> ExitReason:
        """An actor has ended; give the reason, which may be that its start took too long."""
        self.started(key)
        seconds = self._overdue.pop(key, None)
        if seconds is None:
            return reason
        text = f"it did not start within {seconds:g} s"
        return Crash(ErrorData(StartTimeoutError.__qualname__, text))
