"""``DeadLetters``: the messages that nobody handled, which the supervisor process keeps."""

from __future__ import annotations

import msgspec

from gristmill.errors import ActorNotFoundError, UsageError
from gristmill.node.supervisor.roster import Roster
from gristmill.ref import Address
from gristmill.transport import control as c

_KEPT = 1000
_KEPT_BYTES = 64 * 1024 * 1024
"""Bytes of bodies that are kept together."""


class DeadLetters:
    """The last dead letters of a node; the oldest give way."""

    def __init__(self, kept: int = _KEPT, kept_bytes: int = _KEPT_BYTES) -> None:
        self._letters: dict[int, c.DeadLetter] = {}
        self._kept = kept
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self.count = 0
        """How many there were in all."""
        self.evicted = 0
        """How many of them gave way to later ones."""

    def keep(self, letter: c.DeadLetter) -> None:
        """Keep a letter under the next number."""
        self.count += 1
        self._letters[self.count] = msgspec.structs.replace(letter, number=self.count)
        self._bytes += len(letter.body)
        while len(self._letters) > self._kept or self._bytes > self._kept_bytes:
            self.remove(next(iter(self._letters)))
            self.evicted += 1

    def all(self) -> list[c.DeadLetter]:
        """Give those that are kept, the oldest first."""
        return list(self._letters.values())

    def find(self, number: int) -> c.DeadLetter:
        """Give one by its number.

        Raises:
            UsageError: it is not kept.
        """
        letter = self._letters.get(number)
        if letter is None:
            gone = 0 < number <= self.count
            why = "it was sent again, or gave way to later ones" if gone else "there never was one"
            raise UsageError(f"there is no dead letter {number}: {why}")
        return letter

    def remove(self, number: int) -> None:
        """Keep one no longer."""
        letter = self._letters.pop(number, None)
        if letter is not None:
            self._bytes -= len(letter.body)


def address_of(letter: c.DeadLetter, roster: Roster) -> Address:
    """Give where the actor of a dead letter is now: itself, or who has its name.

    Raises:
        ActorNotFoundError: there is none.
        UsageError: the letter says not enough.
    """
    if not letter.body:
        raise UsageError(
            f"dead letter {letter.number} has no body, so it can't be sent: {letter.reason}"
        )
    key = letter.key if letter.key in roster.actors else roster.names.get(letter.target)
    if key is None:
        target = letter.target or "the actor that it was for"
        raise ActorNotFoundError(f"dead letter {letter.number}: {target} does not exist any more")
    return roster.address(key)
