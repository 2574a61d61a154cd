"""``Intake``: what a subscriber was handed, has handled and must get again. Pure bookkeeping.

Events of one partition are handed over in order. One that fails holds its partition until it is
retried, after a delay that doubles, or is given up as a dead letter. What may be acknowledged is
always a prefix of the partition, in whatever order handling ends.

Two threads use it, the broker's and the subscriber's, so every method holds a lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from gristmill.channels.records import Delivery


class Retries(msgspec.Struct, frozen=True):
    """How often an event is tried, and when again."""

    attempts: int = 5
    """After so many failures it becomes a dead letter."""
    delay: float = 0.1
    """Seconds before the second attempt; twice as many before each further one."""
    longest: float = 5.0

    def after(self, failures: int) -> float:
        """Give the seconds to wait after so many failures, from 1."""
        return min(self.delay * 2.0 ** min(failures - 1, 60), self.longest)


class _Stage(Enum):
    WAITING = 0
    HANDED = 1
    DONE = 2
    DEAD = 3


@dataclass(slots=True, eq=False)
class _Item:
    delivery: Delivery
    failures: int
    stage: _Stage = _Stage.WAITING
    token: int = 0
    begun: bool = False
    """Its handler runs, or has run and is not committed."""
    retry_at: float = 0.0
    reason: str = ""


@dataclass(slots=True)
class _Partition:
    items: deque[_Item] = field(default_factory=deque)
    done: list[Delivery] = field(default_factory=list)
    """The prefix that may be acknowledged."""


P = ParamSpec("P")
T = TypeVar("T")


def _locked(method: Callable[Concatenate[Intake, P], T]) -> Callable[Concatenate[Intake, P], T]:
    @wraps(method)
    def call(self: Intake, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.lock:
            return method(self, *args, **kwargs)

    return call


class Intake:
    """The open events of one subscription, by partition.

    Args:
        window: how many may be handed over and not handled.
        retries: how often each is tried.
        wants: whether the subscriber has anything to do with an event; else it counts as handled.
    """

    def __init__(
        self, window: int, retries: Retries, wants: Callable[[Delivery], bool] = lambda _: True
    ) -> None:
        self._window = window
        self._retries = retries
        self._wants = wants
        self._partitions: dict[int, _Partition] = {}
        self._handed: dict[int, _Item] = {}
        self._open = 0
        """How many items all partitions have."""
        self._token = 0
        self.lock = threading.RLock()
        """Held by every method."""
        self.changed = threading.Condition(self.lock)
        """Notified when the subscriber has done something."""
        self.open = False
        """Whether the subscriber takes events now."""
        self._spared = 0

    # --- partitions ---

    @property
    @_locked
    def partitions(self) -> frozenset[int]:
        """Those that are assigned."""
        return frozenset(self._partitions)

    @_locked
    def assign(self, partition: int) -> None:
        """Take a partition in."""
        self._partitions.setdefault(partition, _Partition())

    @_locked
    def revoke(self, partition: int) -> None:
        """Forget a partition and what is open in it; somebody else gets that."""
        gone = self._partitions.pop(partition, None)
        for item in gone.items if gone is not None else ():
            self._open -= 1
            self._handed.pop(item.token, None)

    @_locked
    def receive(self, deliveries: Iterable[Delivery]) -> None:
        """Take events in; one of a partition that is not assigned is dropped."""
        for delivery in deliveries:
            partition = self._partitions.get(delivery.partition)
            if partition is None:
                continue
            item = _Item(delivery, delivery.deaths)
            partition.items.append(item)
            self._open += 1
            if not self._wants(delivery):
                self._spared += 1
                item.stage = _Stage.DONE
                self._settle(partition)
            elif item.failures >= self._retries.attempts:
                item.stage = _Stage.DEAD
                item.reason = f"whoever handled it died, {item.failures} times"

    @_locked
    def take_spared(self) -> int:
        """Count the events since the last time that the subscriber has nothing to do with."""
        spared, self._spared = self._spared, 0
        return spared

    def crowded(self) -> bool:
        """Tell whether so much is open that another fetch would bring little."""
        return 2 * self._window - self._open < max(1, self._window // 2)

    @_locked
    def wanted(self, partition: int) -> int:
        """Give how many more events of a partition should be fetched.

        Twice the window is open at most, if no partition would starve by that.
        """
        found = self._partitions.get(partition)
        if found is None or (found.items and self.crowded()):
            return 0
        return max(2 * self._window - self._open, 1)

    @_locked
    def holds(self, partition: int, position: str) -> bool:
        """Tell whether an event has been received and is still open, or not yet acknowledged."""
        found = self._partitions.get(partition)
        return found is not None and any(
            d.position == position for d in (*(i.delivery for i in found.items), *found.done)
        )

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Wait until the subscriber has done something, ``seconds`` at most.

        With ``until``, wait for that to be true: it may be so by what was done a moment ago.
        """
        with self.changed:
            if until is None:
                self.changed.wait(seconds)
            else:
                self.changed.wait_for(until, seconds)

    @_locked
    def has_open(self, partition: int) -> bool:
        """Tell whether anything of a partition is neither acknowledged nor given up."""
        found = self._partitions.get(partition)
        return found is not None and bool(found.items or found.done)

    @property
    @_locked
    def in_hand(self) -> int:
        """How many are handed over and not handled."""
        return len(self._handed)

    @property
    @_locked
    def idle(self) -> bool:
        """Whether nothing is open and nothing is to be acknowledged."""
        return not any(p.items or p.done for p in self._partitions.values())

    # --- handing over ---

    @_locked
    def hand_over(self, now: float) -> list[tuple[int, Delivery]]:
        """Give what the subscriber gets now, each with the token that it answers with."""
        found: list[tuple[int, Delivery]] = []
        if not self.open:
            return found
        for partition in self._partitions.values():
            for item in partition.items:
                if len(self._handed) >= self._window:
                    return found
                if item.stage is _Stage.DEAD or item.retry_at > now:
                    break  # those behind it wait for it
                if item.stage is _Stage.WAITING:
                    self._token += 1
                    item.stage, item.token, item.begun = _Stage.HANDED, self._token, False
                    self._handed[self._token] = item
                    found.append((self._token, item.delivery))
        return found

    @_locked
    def due(self) -> float | None:
        """Give when the next retry is due; None if there is none."""
        waiting = (i.retry_at for p in self._partitions.values() for i in p.items if i.retry_at)
        return min(waiting, default=None)

    def is_current(self, token: int) -> bool:
        """Tell whether what was handed over with a token is still to be handled."""
        return token in self._handed  # one look, which needs no lock

    def begin(self, token: int) -> bool:
        """The subscriber begins to handle an event; give whether it still should."""
        with self.lock:  # and no decorator: this is called for each event
            item = self._handed.get(token)
            if item is None:
                return False
            item.begun = True
            return True

    @_locked
    def withdraw(self, partition: int) -> bool:
        """Take back what has not been begun; give whether something was begun and not handled."""
        found = self._partitions.get(partition)
        items = [i for i in found.items if i.stage is _Stage.HANDED] if found is not None else []
        self._take_back(item for item in items if not item.begun)
        return any(item.begun for item in items)

    # --- what became of it ---

    @_locked
    def handled(self, tokens: Iterable[int]) -> None:
        """Events were handled; those that are somebody else's by now are passed over."""
        for token in tokens:
            item = self._handed.pop(token, None)
            if item is not None:
                item.stage = _Stage.DONE
                item.retry_at = 0.0
                self._settle(self._partitions[item.delivery.partition])

    @_locked
    def failed(
        self,
        token: int,
        reason: str,
        now: float,
        *,
        final: bool = False,
        after: float | None = None,
    ) -> bool:
        """An event was not handled: it comes again, and those of its partition behind it too.

        Args:
            token: of the event.
            reason: what went wrong.
            now: monotonic seconds.
            final: it would never work: give it up at once.
            after: seconds until the next attempt, instead of those of the policy.
        """
        item = self._handed.pop(token, None)
        if item is None:
            return False
        item.failures += 1
        item.reason = reason
        if final or item.failures >= self._retries.attempts:
            item.stage = _Stage.DEAD
        else:
            item.stage = _Stage.WAITING
            item.retry_at = now + (self._retries.after(item.failures) if after is None else after)
        self._take_back(self._behind(item))
        return True

    @_locked
    def returned(self) -> None:
        """The subscriber has ended: what it had in its mailbox comes again, to its successor."""
        self.open = False
        self._take_back(list(self._handed.values()))

    def _behind(self, item: _Item) -> Iterator[_Item]:
        items = iter(self._partitions[item.delivery.partition].items)
        for other in items:
            if other is item:
                break
        yield from items

    def _take_back(self, items: Iterable[_Item]) -> None:
        for item in items:
            if item.stage is _Stage.HANDED:
                self._handed.pop(item.token, None)
                item.stage = _Stage.WAITING

    def _settle(self, partition: _Partition) -> None:
        items = partition.items
        while items and items[0].stage is _Stage.DONE:
            partition.done.append(items.popleft().delivery)
            self._open -= 1

    # --- for the broker ---

    @_locked
    def dead(self) -> list[tuple[Delivery, int, str]]:
        """Give what is to be dead-lettered: event, attempts and reason."""
        return [
            (item.delivery, item.failures, item.reason)
            for partition in self._partitions.values()
            for item in partition.items
            if item.stage is _Stage.DEAD
        ]

    @_locked
    def buried(self, delivery: Delivery) -> None:
        """A dead letter is safe in its channel: its partition goes on."""
        partition = self._partitions.get(delivery.partition)
        for item in partition.items if partition is not None else ():
            if item.delivery is delivery:
                item.stage = _Stage.DONE
                item.retry_at = 0.0
        if partition is not None:
            self._settle(partition)

    @_locked
    def to_acknowledge(self) -> dict[int, list[Delivery]]:
        """Give what may be acknowledged and has not been, in order, by partition."""
        return {number: list(p.done) for number, p in self._partitions.items() if p.done}

    @_locked
    def acknowledged(self, partition: int, count: int) -> None:
        """The broker has noted so many of them."""
        found = self._partitions.get(partition)
        if found is not None:
            del found.done[:count]
