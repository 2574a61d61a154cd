"""``Subscriptions``: who gets the events of which channel, and since when all publishers know.

Events go from their publisher straight to the subscribers. So a subscription holds when every
process has said that it has heard of it. A client waits until then, and whoever starts an actor
waits for the subscriptions that it has begun so far.
"""

from __future__ import annotations

from collections.abc import Callable

from gristmill.node.roster import Roster
from gristmill.node.supervisor_shell import SupervisorShell
from gristmill.transport import control as c

_HEARD_WITHIN = 1.0
"""Seconds after which a process that computes, and so has not heard yet, is not waited for."""

Target = tuple[int, int]
"""(process, actor); actor 0 is the process itself, a client."""


class _Change:
    """A change of a channel's subscribers that some processes have not heard of yet."""

    def __init__(self, target: Target, processes: set[int], timer: int) -> None:
        self.target = target
        self.processes = processes
        self.timer = timer


class Subscriptions:
    """The in-memory subscriptions of a node.

    Args:
        shell: the process around it.
        roster: the node's processes.
    """

    def __init__(self, shell: SupervisorShell, roster: Roster) -> None:
        self._shell = shell
        self._roster = roster
        self._channels: dict[str, list[Target]] = {}
        self._changes: dict[int, _Change] = {}
        self._number = 0
        self._waiting: list[tuple[set[Target], Callable[[], None]]] = []

    def change(self, channel: str, target: Target, *, wanted: bool) -> None:
        """Begin or end a subscription of an actor, or of a client (actor 0)."""
        targets = self._channels.setdefault(channel, [])
        if wanted is (target in targets):
            return
        if wanted:
            targets.append(target)
        else:
            targets.remove(target)
        self._number += 1
        number = self._number
        self._roster.broadcast(c.Subscribers(channel, tuple(targets), number))
        until = self._shell.now() + _HEARD_WITHIN
        timer = self._shell.call_at(until, lambda: self._holds(number))
        self._changes[number] = _Change(target, self._roster.processes(), timer)
        self._look(number)

    def heard(self, number: int, process: int) -> None:
        """A process knows of a change."""
        change = self._changes.get(number)
        if change is not None:
            change.processes.discard(process)
            self._look(number)

    def process_down(self, process: int) -> None:
        """A process has ended: it is not waited for, and what waits for it goes on."""
        for number, change in list(self._changes.items()):
            if change.target[0] == process:
                self._holds(number)
            else:
                self.heard(number, process)

    def end(self, process: int, actor: int) -> None:
        """End all subscriptions of an actor or client."""
        for channel, targets in self._channels.items():
            if (process, actor) in targets:
                self.change(channel, (process, actor), wanted=False)

    def introduce(self, identity: bytes) -> None:
        """Tell a newcomer who gets the events of which channel."""
        for channel, targets in self._channels.items():
            self._shell.send(identity, c.Subscribers(channel, tuple(targets)))

    def when_known(self, targets: set[Target], then: Callable[[], None]) -> None:
        """Call back once the subscriptions of these hold: at once, if they do."""
        unknown = targets & {change.target for change in self._changes.values()}
        if unknown:
            self._waiting.append((unknown, then))
        else:
            then()

    def stop_waiting(self, target: Target) -> None:
        """An actor ends: what waits for its subscriptions goes on now."""
        ready = [each for each in self._waiting if target in each[0]]
        self._waiting = [each for each in self._waiting if target not in each[0]]
        for _, then in ready:
            then()

    def _look(self, number: int) -> None:
        if not self._changes[number].processes:
            self._holds(number)

    def _holds(self, number: int) -> None:
        change = self._changes.pop(number, None)
        if change is None:
            return
        self._shell.cancel(change.timer)
        open_still = {each.target for each in self._changes.values()}
        ready = [each for each in self._waiting if not each[0] & open_still]
        self._waiting = [each for each in self._waiting if each[0] & open_still]
        for _, then in ready:
            then()
