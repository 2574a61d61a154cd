"""``Plan``: members that are to be stopped or started, and whose turn it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gristmill.supervision.members import Member


class Plan:
    """A set of members in start order, or backwards. Sorted once, however many turns follow."""

    def __init__(self, *, backwards: bool = False) -> None:
        self._backwards = backwards
        self._members: set[Member] = set()
        self._turns: list[Member] | None = None
        """All of them, and some that have left; the next one is the last. None: to be sorted."""

    def add(self, member: Member) -> None:
        """Put a member on the plan."""
        if member not in self._members:
            self._members.add(member)
            self._turns = None

    def update(self, members: Iterable[Member]) -> None:
        """Put members on the plan."""
        self._members.update(members)
        self._turns = None

    def discard(self, member: Member) -> None:
        """Take a member off the plan, if it is on it."""
        self._members.discard(member)
        if not self._members:
            self._members = set()  # an emptied set keeps its size, and is walked in full
            self._turns = None

    def next(self) -> list[Member]:
        """Give the member whose turn it is, if there is one."""
        if not self._members:
            return []
        if self._turns is None:
            self._turns = self._sorted(backwards=not self._backwards)
        while self._turns[-1] not in self._members:
            self._turns.pop()
        return self._turns[-1:]

    def all(self) -> list[Member]:
        """Give all members in their order."""
        return self._sorted(backwards=self._backwards) if self._members else []

    def _sorted(self, *, backwards: bool) -> list[Member]:
        return sorted(self._members, key=lambda member: member.rank, reverse=backwards)

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def __len__(self) -> int:
        return len(self._members)
