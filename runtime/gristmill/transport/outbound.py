"""``Outbound``: what waits for one peer, with neighbouring messages put together.

Bodies of one kind, from one sender to one target, whose numbers follow each other are a run: they
travel as one envelope, which costs both ends a fraction of what as many envelopes would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gristmill.transport.envelope import pack

LONGEST_RUN: Final = 512
"""Bodies in one run at most."""
SHORT: Final = 1024
"""Bytes of a body that may continue a run: frames are split between envelopes only."""

Head = tuple[Any, ...]
"""What the envelopes of a run have in common: their kind and what stands before the number."""


class Outbound:
    """The envelopes that wait for one peer, in order.

    Args:
        begun: called when something waits that did not before.
    """

    __slots__ = ("_begun", "_first", "_next", "_packed", "_packed_messages", "_sizes", "run",
                 "run_head")  # fmt: skip

    def __init__(self, begun: Callable[[], None]) -> None:
        self._begun = begun
        self._packed: list[bytes] = []
        self._sizes: list[int] = []
        """How many messages are in each packed envelope."""
        self.run_head: Head | None = None
        """What the envelope of the open run begins with; None if no run is open."""
        self._first = 0
        self._next = 0
        self.run: list[bytes] = []
        """The bodies of the open run. Who has put the last one, unnumbered, may put more of the
        same head, not above :data:`SHORT`, right in here while that leaves it below
        :data:`LONGEST_RUN`."""
        self._packed_messages = 0

    @property
    def messages(self) -> int:
        """How many messages wait."""
        return self._packed_messages + len(self.run)

    def add(self, envelope: bytes, messages: int = 1) -> None:
        """Put a packed envelope, of so many messages, behind what waits."""
        self.close_run()
        if not self._packed:
            self._begun()
        self._packed.append(envelope)
        self._sizes.append(messages)
        self._packed_messages += messages

    def put(self, head: Head, number: int, body: bytes) -> None:
        """Put a body behind what waits, into the open run if it continues that.

        Args:
            head: the kind and what stands before the number.
            number: of the message; 0 if it has none.
            body: the encoded message.
        """
        follows = head is self.run_head or head == self.run_head
        if follows and number == self._next and len(body) <= SHORT:
            bodies = self.run
            bodies.append(body)
            if number:
                self._next = number + 1
            if len(bodies) >= LONGEST_RUN:
                self.close_run()
        else:
            self.close_run()
            if not self._packed:
                self._begun()
            self.run_head = head
            self._first = number
            self.run = [body]
            self._next = number + 1 if number else 0

    def put_run(self, head: Head, first: int, bodies: list[bytes]) -> None:
        """Put many bodies behind what waits; numbered from ``first`` on, or not if that is 0."""
        if len(bodies) == 1 or max(map(len, bodies)) > SHORT:  # it may continue the open run
            for number, body in enumerate(bodies, first):
                self.put(head, number if first else 0, body)
            return
        self.close_run()
        if not self._packed:
            self._begun()
        for at in range(0, len(bodies), LONGEST_RUN):
            number = first + at if first else 0
            self._pack(head, number, bodies[at : at + LONGEST_RUN])

    def take(self) -> tuple[list[bytes], list[int]]:
        """Give the packed envelopes and how many messages are in each, and have none any more."""
        self.close_run()
        taken = self._packed, self._sizes
        self._packed, self._sizes = [], []
        self._packed_messages = 0
        return taken

    def close_run(self) -> None:
        """Pack the open run, if there is one."""
        if self.run_head is not None:
            self._pack(self.run_head, self._first, self.run)
            self.run_head = None
            self.run = []

    def _pack(self, head: Head, first: int, bodies: list[bytes]) -> None:
        self._packed.append(pack((*head, first, bodies)))
        self._sizes.append(len(bodies))
        self._packed_messages += len(bodies)


NewOutbound = Callable[[Callable[[], None]], Outbound]
"""Makes an :class:`Outbound`."""
