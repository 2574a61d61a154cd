"""The timeouts of a state machine."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from gristmill.behaviours.actor_host import Timer
from gristmill.behaviours.context import Context
from gristmill.messages import Command, Event


class Timeout(NamedTuple):
    """When a message is due."""

    seconds: float
    """From now on; of an absolute one the monotonic instant."""
    message: Command | Event
    absolute: bool


class Timeouts:
    """Armed timeouts by name; arming one again restarts it.

    Args:
        ctx: of the machine.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._timers: dict[Hashable, Timer] = {}

    def change(self, name: Hashable, wanted: Timeout | None) -> None:
        """Arm a timeout, or cancel it if None."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        if wanted is not None:
            now = self._ctx.now() if wanted.absolute else 0.0
            delay = max(0.0, wanted.seconds - now)
            self._timers[name] = self._ctx.send_after(delay, wanted.message)
