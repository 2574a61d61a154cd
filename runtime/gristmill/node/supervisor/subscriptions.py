"""``Subscriptions``: who gets the events of which channel, and since when all publishers know.

Events go from their publisher straight to the subscribers. So a subscription holds when every
process has said that it has heard of it. A client waits until then, and whoever starts an actor
waits for the subscriptions that it has begun so far.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gristmill.node.supervisor.hearing import Hearing
from gristmill.node.supervisor.roster import Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.transport import control as c

Target = tuple[int, int]
"""(process, actor); actor 0 is the process itself, a client."""


class _Change:
    """A change of a channel's subscribers that some processes have not heard of yet."""

    def __init__(self, target: Target) -> None:
        self.target = target


class Subscriptions:
    """The in-memory subscriptions of a node.

    Args:
        shell: the process around it.
        roster: the node's processes.
        hearing: who has heard what.
    """

    def __init__(self, shell: SupervisorShell, roster: Roster, hearing: Hearing) -> None:
        self._shell = shell
        self._roster = roster
        self._hearing = hearing
        self._channels: dict[str, list[Target]] = {}
        self._changes: set[_Change] = set()
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
        change = _Change(target)
        self._changes.add(change)
        number = self._hearing.begin(self._roster.processes(), partial(self._holds, change))
        self._roster.broadcast(c.Subscribers(channel, tuple(targets), number))

    def process_down(self, process: int) -> None:
        """A process has ended: what waits for its subscriptions goes on."""
        for change in [each for each in self._changes if each.target[0] == process]:
            self._holds(change)

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
        unknown = targets & {change.target for change in self._changes}
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

    def _holds(self, change: _Change) -> None:
        self._changes.discard(change)
        unknown = {each.target for each in self._changes}
        ready = [each for each in self._waiting if not each[0] & unknown]
        self._waiting = [each for each in self._waiting if each[0] & unknown]
        for _, then in ready:
            then()
