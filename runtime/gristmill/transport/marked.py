"""``MarkedOutbound``: records what leaves for a peer, and gives what has no number a mark.

Only requests have numbers that say which message it is. Any other message gets an envelope in
front of it with its number in the trace, so that its receiver can say which one it handles.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gristmill.metrics.tracing import Recorder
from gristmill.transport.envelope import ARRAYS, ASK, EVENT, MARK, TELL, pack
from gristmill.transport.outbound import Head, Outbound

_REQUEST = 4
"""The place of the request's number in an :data:`ASK`."""


class MarkedOutbound(Outbound):
    """The envelopes that wait for one peer of a process that records its messages.

    Args:
        recorder: of the process.
        begun: called when something waits that did not before.
    """

    __slots__ = ("_recorder",)

    def __init__(self, recorder: Recorder, begun: Callable[[], None]) -> None:
        super().__init__(begun)
        self._recorder = recorder

    def add(self, envelope: bytes, messages: int = 1) -> None:
        """Put a packed envelope, of so many messages, behind what waits."""
        if envelope[1] == ARRAYS:
            carried = msgspec.msgpack.decode(envelope)[1]
            if carried[0] == ASK:
                self._recorder.sent(carried[_REQUEST])
            elif carried[0] in (TELL, EVENT):
                self._mark()
        super().add(envelope, messages)

    def put(self, head: Head, number: int, body: bytes) -> None:
        """Put a body behind what waits."""
        if head[0] == ASK:
            self._recorder.sent(number)
        elif head[0] in (TELL, EVENT):
            self._mark()
        super().put(head, number, body)
        self.close_run()  # nobody may put more into it without a mark

    def put_run(self, head: Head, first: int, bodies: list[bytes]) -> None:
        """Put many bodies behind what waits."""
        if head[0] in (TELL, EVENT):
            for number, body in enumerate(bodies, first):
                self.put(head, number if first else 0, body)
        else:
            super().put_run(head, first, bodies)

    def _mark(self) -> None:
        number = self._recorder.number()
        self._recorder.sent(number)
        super().add(pack((MARK, number)))
