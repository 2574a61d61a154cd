"""What a sender knows of keyed actors, and what waits with it; and what their hosts wait for. Pure.

``Places`` is the sender's side: a message to an actor whose place is not known waits, in order,
until it is. ``Fences`` is the host's side: an actor may leave when all who knew its place have
put a fence behind what they have sent to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from gristmill.ref import Address, OverflowPolicy
from gristmill.supervision import Backoff

T = TypeVar("T")

_AGAIN = Backoff(1.0, 30.0)
"""The delays before the next attempt to start who could not start."""


class Places(Generic[T]):
    """The places of keyed actors, by their names, and what waits for a place."""

    def __init__(self) -> None:
        self._known: dict[str, Address] = {}
        self._waiting: dict[str, deque[T]] = {}
        self._asked: set[str] = set()
        self._failed: dict[str, int] = {}
        """How often in a row those could not be started that are still wanted."""

    def find(self, name: str) -> Address | None:
        """Give where an actor is; None if that is not known."""
        return self._known.get(name)

    def ask(self, name: str) -> bool:
        """Want to know where an actor is; give whether that has to be asked for."""
        if name in self._known or name in self._asked:
            return False
        self._asked.add(name)
        return True

    def has_room(self, to: Address) -> bool:
        """Tell whether something more may wait: as much as the actor's mailbox holds."""
        drops = to.mailbox.overflow is OverflowPolicy.DROP_OLDEST
        return drops or len(self._waiting.get(to.name, ())) < to.mailbox.capacity

    def hold(self, to: Address, item: T) -> T | None:
        """Let something wait for the place of an actor; give what has to make room for it."""
        waiting = self._waiting.setdefault(to.name, deque())
        oldest = waiting.popleft() if len(waiting) >= to.mailbox.capacity else None
        waiting.append(item)
        return oldest

    def placed(self, address: Address) -> list[T]:
        """An actor is here from now on; give what has waited for that, in order."""
        self._known[address.name] = address
        self._failed.pop(address.name, None)
        return self.take(address.name)

    def refused(self, name: str) -> list[T]:
        """There will be no actor of this name; give what has waited for it."""
        return self.take(name)

    def ask_again(self, name: str) -> tuple[float, bool]:
        """One that is wanted all the same could not be started.

        Give the seconds until its place is to be asked for again, and whether that is new.
        """
        failures = self._failed.get(name, 0)
        self._failed[name] = failures + 1
        return _AGAIN.delay(failures, 0.0), not failures

    def forget(self, names: Iterable[str]) -> list[str]:
        """Actors leave their places; give those whose new ones must be asked for at once."""
        left = list(names)
        for name in left:
            self._known.pop(name, None)
        return [name for name in left if name in self._asked]

    def take(self, name: str) -> list[T]:
        """Give what has waited for a place, in order; nobody asks for that place any more."""
        self._asked.discard(name)
        return list(self._waiting.pop(name, ()))

    def __len__(self) -> int:
        """How much waits for all places together."""
        return sum(map(len, self._waiting.values()))


class Fences:
    """The fences that a host waits for, by the number of the retirement."""

    def __init__(self) -> None:
        self._expected: dict[int, set[int]] = {}
        self._early: dict[int, set[int]] = {}

    def expect(self, number: int, processes: Iterable[int]) -> bool:
        """These processes are going to put a fence; give whether all have done so already.

        Numbers only rise.
        """
        early = {n: came for n, came in self._early.items() if n >= number}  # others were given up
        left = set(processes) - early.pop(number, set())
        self._early = early
        if left:
            self._expected[number] = left
        return not left

    def arrived(self, number: int, process: int) -> bool:
        """A process's fence has come; give whether it was the last one."""
        left = self._expected.get(number)
        if left is None:
            self._early.setdefault(number, set()).add(process)
            return False
        left.discard(process)
        if left:
            return False
        del self._expected[number]
        return True

    def __len__(self) -> int:
        """How many retirements wait for fences."""
        return len(self._expected)

    def process_down(self, process: int) -> list[int]:
        """A process has died; give the retirements that have waited for it alone."""
        done = []
        for number, left in list(self._expected.items()):
            left.discard(process)
            if not left:
                del self._expected[number]
                done.append(number)
        return done
