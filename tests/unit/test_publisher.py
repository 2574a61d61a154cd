"""A publisher's rests: between its round trips, and behind the last one."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import cast

from gristmill.channels import ChannelBackend
from gristmill.channels.driver import Driver
from gristmill.channels.publisher import Publisher
from gristmill.channels.records import Publication
from support.waiting import eventually

TRIP = 0.02


class SlowBroker:
    """A driver and its producer: each round trip takes a while."""

    kind = ChannelBackend.REDIS

    def __init__(self) -> None:
        self.trips: list[tuple[float, float, int]] = []
        """When each began and ended, and its events."""

    def producer(self) -> SlowBroker:
        return self

    def send(self, batch: Sequence[Publication]) -> None:
        began = time.monotonic()
        threading.Event().wait(TRIP)
        self.trips.append((began, time.monotonic(), len(batch)))

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


class Told:
    """Notes what a publisher tells."""

    def __init__(self) -> None:
        self.confirmed_to = 0
        self.rested_at: list[int] = []
        """What was confirmed at each rest."""

    def confirmed(self, last: Publication) -> None:
        self.confirmed_to = last.number

    def rests(self) -> None:
        self.rested_at.append(self.confirmed_to)

    def refused(self, publication: Publication, reason: str) -> None:
        raise AssertionError(reason)


def event(number: int) -> Publication:
    return Publication("channel", "key", "me", number, b"")


def test_a_busy_broker_is_left_alone_and_what_comes_meanwhile_shares_a_trip() -> None:
    broker, told = SlowBroker(), Told()
    publisher = Publisher(cast("Driver", broker), told, 1000)
    publisher.send([event(1)])
    eventually(lambda: told.confirmed_to == 1, "the first one goes at once")
    for number in range(2, 12):
        publisher.send([event(number)])
    eventually(lambda: told.confirmed_to == 11, "the others")
    (began, ended, _), *others = broker.trips
    longest_break = 0.1  # eight times as long as a trip would be longer
    assert others[0][0] - ended >= min(8 * (ended - began), longest_break) - 0.005
    assert sum(count for *_, count in others) == 10
    assert publisher.close(5.0) == 0


def test_who_publishes_hears_once_that_everything_is_confirmed() -> None:
    broker, told = SlowBroker(), Told()
    publisher = Publisher(cast("Driver", broker), told, 1000)
    publisher.send([event(1), event(2)])
    eventually(lambda: told.rested_at == [2], "it rests")
    publisher.send([event(3)])
    eventually(lambda: told.rested_at == [2, 3], "it rests again")
    assert publisher.close(5.0) == 0
    assert told.rested_at == [2, 3]
