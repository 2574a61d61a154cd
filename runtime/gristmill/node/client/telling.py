"""``Telling``: the short way of tells of one type to one actor, kept at hand by who tells."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gristmill.messages import Command, Event
from gristmill.node.client.account import ClientAccount
from gristmill.node.client.outgoing import Outgoing
from gristmill.ref import Address, OverflowPolicy
from gristmill.transport.codec import Codec, LargeArray
from gristmill.transport.envelope import TELL
from gristmill.transport.outbound import LONGEST_RUN, SHORT

TOGETHER = 256
"""Tells that go out together without waiting for more."""
_ALMOST_A_RUN = LONGEST_RUN - 1


class Telling:
    """What the tells of one type to one actor have in common. To be made under the lock.

    Args:
        to: the actor; its process is known.
        kind: the type.
        outgoing: what they leave by.
        codec: encodes them.
        account: is told what they cost.
        gone: the processes that nobody will have again.
        flush: sends what waits, all of it.
    """

    __slots__ = ("_account", "_acquire", "_capacity", "_clock", "_encode", "_flush", "_gone",
                 "_head", "_home", "_key", "_outbound", "_outgoing", "_places", "_release",
                 "_stragglers", "_unstamped", "kind", "row", "to")  # fmt: skip

    def __init__(
        self,
        to: Address,
        kind: type,
        outgoing: Outgoing,
        codec: Codec,
        account: ClientAccount,
        gone: Collection[int],
        flush: Callable[[], None],
    ) -> None:
        self.to = to
        self.kind = kind
        self.row = account.row(to, kind)
        self._outgoing = outgoing
        self._stragglers = outgoing.stragglers
        self._account = account
        self._clock = account.clock
        self._gone = gone
        self._flush = flush
        self._encode = codec.encode_short
        self._head = (TELL, to.key, 0)
        self._outbound = outgoing.plane.outbound(to.home)
        self._acquire, self._release = outgoing.lock.acquire, outgoing.lock.release
        self._home, self._key = to.home, to.key
        self._places = outgoing.credit.places(to.home)
        counts = to.mailbox.overflow is not OverflowPolicy.DROP_OLDEST
        self._capacity = to.mailbox.capacity if counts else 0
        """Messages that may be on their way; 0: that is not counted, and the long way is taken."""
        self._unstamped = 0
        """Tells until one is timed."""

    def tell(self, message: Command | Event) -> bool:
        """Send one more, with others if there are any; give whether that was done.

        It is not for what is large, where there is no room, and to who has stopped.
        Raises what :meth:`~gristmill.transport.codec.Codec.encode` raises.
        """
        if self._home in self._gone:
            return False
        stamped = self._unstamped <= 0
        began = self._clock() if stamped else 0
        try:
            body = self._encode(message)
        except LargeArray:
            return False
        if len(body) > SHORT:
            return False
        encoded = self._clock() if stamped else 0
        self._acquire()  # half of what a with statement takes
        try:
            places, key = self._places, self._key
            taken = places.get(key, 0)
            if taken >= self._capacity:
                return False
            places[key] = taken + 1
            outbound = self._outbound
            if outbound.run_head is self._head and len(outbound.run) < _ALMOST_A_RUN:
                outbound.run.append(body)
            else:
                outbound.put(self._head, 0, body)
            self.row.messages += 1
            self._unstamped -= 1
            due = not self._stragglers.awake  # asked behind the put: who is takes this one along
        finally:
            self._release()
        if stamped:
            due |= self._stamp(len(body), began, encoded)
        if due:
            self._flush()
        return True

    def _stamp(self, size: int, began: int, encoded: int) -> bool:
        """Tell the account what one has cost; give whether those that wait are enough."""
        account, outgoing = self._account, self._outgoing
        account.stamp(self.row, size, began, encoded, encoded)
        self._unstamped = account.unstamped
        outgoing.left += 1 + account.unstamped  # this one, and those until the next that is timed
        return outgoing.left >= TOGETHER
