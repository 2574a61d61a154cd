"""Credit: how a sender knows that a mailbox has room, without asking.

Each sending process may have as many messages on the way to a mailbox (wire, outbox and mailbox
together) as the mailbox has places. The receiver gives places back in lots, when messages are
taken out; replies, control and credit itself need none.
"""

from __future__ import annotations

from collections import defaultdict

from gristmill.ref import Address, OverflowPolicy

_DROP_OLDEST = OverflowPolicy.DROP_OLDEST


class CreditBook:
    """The credit that one process has with mailboxes elsewhere. Pure."""

    def __init__(self) -> None:
        self._used: defaultdict[int, dict[int, int]] = defaultdict(dict)

    def take(self, to: Address) -> bool:
        """Take one place in the mailbox of ``to``; give whether there was one."""
        mailbox = to.mailbox
        if mailbox.overflow is _DROP_OLDEST:
            return True  # the receiver makes room by itself
        used = self._used[to.home]
        now = used.get(to.key, 0)
        if now >= mailbox.capacity:
            return False
        used[to.key] = now + 1
        return True

    def places(self, home: int) -> dict[int, int]:
        """Give the places that are taken in a process, by actor; it stays the same object."""
        return self._used[home]

    def has_room(self, to: Address) -> bool:
        """Tell whether there is a place in the mailbox of ``to``."""
        mailbox = to.mailbox
        return (
            mailbox.overflow is _DROP_OLDEST
            or self._used[to.home].get(to.key, 0) < mailbox.capacity
        )

    def take_some(self, to: Address, most: int) -> int:
        """Take up to ``most`` places in the mailbox of ``to``; give how many there were."""
        mailbox = to.mailbox
        if mailbox.overflow is _DROP_OLDEST:
            return most
        used = self._used[to.home]
        before = used.get(to.key, 0)
        places = min(most, mailbox.capacity - before)
        if places > 0:
            used[to.key] = before + places
        return max(places, 0)

    def give(self, home: int, key: int, places: int) -> None:
        """Take back places that a receiver has freed."""
        used = self._used[home]
        left = used.get(key, 0) - places
        if left > 0:
            used[key] = left
        else:
            used.pop(key, None)

    def export(self) -> dict[int, dict[int, int]]:
        """Give the places in use, by process and actor."""
        return {home: dict(used) for home, used in self._used.items() if used}

    def adopt(self, used: dict[int, dict[int, int]]) -> None:
        """Take over the places that the process before this one has in use."""
        for home, places in used.items():
            self._used[home].update(places)

    def reset(self, home: int) -> None:
        """Forget what was on the way to a process that has died."""
        used = self._used.get(home)
        if used is not None:
            used.clear()


def lot(capacity: int) -> int:
    """How many places a receiver frees before it says so."""
    return max(1, capacity // 8)
