"""Where a client's time goes while it is inside our calls; the rest is its own code.

Calls come from any thread, so there is no current class: each place adds what it has measured. A
client whose threads are in calls at the same time has more time than wall.
"""

from __future__ import annotations

import os
import time
from typing import Final

import msgspec

from gristmill.metrics import CLIENT, SentTable, TimeClass, WorkerSnapshot, attributed
from gristmill.metrics.attribution import shared
from gristmill.metrics.classes import COUNT
from gristmill.metrics.sent import SentStats
from gristmill.ref import Address

IDLE: Final = TimeClass.IDLE.value
DESER: Final = TimeClass.DESER.value
SER: Final = TimeClass.SER.value
SEND: Final = TimeClass.SEND.value
_OTHER: Final = TimeClass.OTHER.value


class ClientAccount:
    """The accounting of one client."""

    unstamped = 32
    """Tells after a timed one that are not, when many leave together."""

    def __init__(self) -> None:
        self.clock = time.perf_counter_ns
        self._start = self.clock()
        self._cpu_start = time.process_time_ns()
        self.classes = [0] * COUNT
        """The times by class, in ns; that of encoding a message is with what was sent."""
        self._tells_timed = 0
        self._tells_sending = 0
        self._journaled = 0
        """Messages told at least once; their sending is measured, not estimated."""
        self._replies = self._others = 0
        """Parts of the time in ``DESER``, in ns: what asks cost, and what they don't."""
        self._sent = SentTable(CLIENT)

    def asked(self, to: Address, kind: type, requests: int, size: int, begun: int) -> int:
        """Requests have been encoded; give the time.

        Args:
            to: whom they are for.
            kind: their type.
            requests: how many.
            size: bytes of all of them.
            begun: when their encoding began.
        """
        now = self.clock()
        row = self._sent.row("", to.type, kind)
        row.encoded(requests, size, now - begun)
        row.replies += requests
        return now

    def journaled(self, to: Address, kind: type, size: int, begun: int) -> int:
        """A message that is told at least once has been encoded; give the time.

        Args:
            to: whom it is for.
            kind: its type.
            size: its bytes.
            begun: when its encoding began.
        """
        now = self.clock()
        self._sent.row("", to.type, kind).encoded(1, size, now - begun)
        self._journaled += 1
        return now

    def add(self, place: int, begun: int) -> int:
        """Add the time since ``begun`` to a class; give the time."""
        now = self.clock()
        self.classes[place] += now - begun
        return now

    def took_replies(self, begun: int) -> None:
        """Replies have been taken in since ``begun``, within what is added to ``DESER``."""
        self._replies += self.clock() - begun

    def took_others(self, begun: int) -> None:
        """The same for events and acknowledgements, which are no part of what an ask costs."""
        self._others += self.clock() - begun

    def row(self, to: Address, kind: type) -> SentStats:
        """Give what is counted of the messages of a type to actors of a type."""
        return self._sent.row("", to.type, kind)

    def stamp(self, row: SentStats, size: int, began: int, encoded: int, posting: int) -> int:
        """Add what a tell has taken until now, for it and those that are not timed; give the time.

        Args:
            row: what is counted of its type.
            size: bytes of its body.
            began: when its encoding began, perf_counter ns.
            encoded: when that ended.
            posting: when it found room.
        """
        now = self.clock()
        row.stamped += 1
        row.bytes += size
        row.ser_ns += encoded - began
        self._tells_timed += 1
        self._tells_sending += now - posting
        return now

    def snapshot(self) -> WorkerSnapshot:
        """Give the account until now; what is outside of our calls is ``other``."""
        sent = self._sent.snapshot()
        classes = self.classes.copy()
        classes[SER] += sum(row.ser_ns for row in sent)
        tells = sum(row.messages - row.replies for row in sent) - self._journaled
        classes[SEND] += self._tells_sending * tells // (self._tells_timed or 1)
        of_replies = classes[DESER] * self._replies // (self._replies + self._others or 1)
        decoding = shared([row.replies for row in sent], of_replies)
        wall = self.clock() - self._start
        classes[_OTHER] = max(0, wall - sum(classes))
        row = WorkerSnapshot(
            id=CLIENT,
            pid=os.getpid(),
            kind="client",
            wall_ns=max(wall, sum(classes)),
            cpu_ns=time.process_time_ns() - self._cpu_start,
            classes=tuple(classes),
            sent=tuple(
                msgspec.structs.replace(row, deser_ns=ns)
                for row, ns in zip(sent, decoding, strict=True)
            ),
        )
        return attributed(row)
