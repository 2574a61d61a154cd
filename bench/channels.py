"""Events through Redis and Kafka: from a publishing handler to a subscriber's.

One worker publishes, another one handles: a group with one subscriber, journal on. A flood is
timed until its last event was handled; a lone event from its handler to the subscriber's. The floor
is what the broker's own client does in one process: it publishes as many events of the same size,
many to a round trip, then fetches and acknowledges them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from gristmill import Actor, Command, Context, Event, Node, NodeBuilder, Ref, Request, handles
from gristmill.config import ChannelConfig
from gristmill.node.building.application import library_bootstrap
from harness import Bench, Result, arguments
from harness.servers import servers

CHANNEL, GROUP = "bench", "bench"
KEYS = 64
EACH = 100
"""Events that one message has published."""
TEXT = "x" * 100
PAGE = 500
"""Events to a round trip of the floor."""
LIMIT = 120.0


class Happened(Event):
    """What is published."""

    number: int
    sent_ns: int
    text: str


class Publish(Command):
    """Publish so many events."""

    events: int


class Publisher(Actor):
    """Publishes."""

    def __init__(self) -> None:
        self._number = 0

    @handles
    def publish(self, msg: Publish, ctx: Context) -> None:
        """Publish events of many keys."""
        for _ in range(msg.events):
            self._number += 1
            event = Happened(self._number, time.perf_counter_ns(), TEXT)
            ctx.publish(CHANNEL, event, key=f"key-{self._number % KEYS}")


class Take(Request[tuple[int, int]]):
    """Ask how many events were handled, and how long the last one took, in ns."""


class Subscriber(Actor):
    """Handles."""

    def __init__(self) -> None:
        self._handled = self._last_ns = 0

    def on_start(self, ctx: Context) -> None:
        """Listen."""
        ctx.subscribe(CHANNEL, group=GROUP)

    @handles
    def happened(self, event: Happened) -> None:
        """Count."""
        self._handled += 1
        self._last_ns = time.perf_counter_ns() - event.sent_ns

    @handles
    def take(self, msg: Take) -> tuple[int, int]:
        """Answer."""
        return self._handled, self._last_ns


class Ours:
    """A publisher and a subscriber on a node."""

    def __init__(self, node: Node) -> None:
        node.channels.begin(CHANNEL, GROUP)
        self._publisher: Ref[Publisher] = node.spawn(Publisher, placement="w1")
        self._subscriber: Ref[Subscriber] = node.spawn(Subscriber, placement="w2", name="reader")
        self._sent = 0

    def _send(self, events: int, pause: float) -> int:
        """Publish, and wait until everything is handled; give the last one's time in ns."""
        deadline = time.monotonic() + LIMIT
        self._sent += events
        for first in range(0, events, EACH):
            self._publisher.tell(Publish(min(EACH, events - first)))
        while True:
            handled, last_ns = self._subscriber.ask(Take())
            if handled == self._sent:
                return last_ns
            if time.monotonic() > deadline:
                sys.exit(f"{self._sent - handled} events were not handled within {LIMIT:g} s")
            time.sleep(pause)

    def flood(self, events: int) -> float:
        """Give events a second."""
        begin = time.perf_counter()
        self._send(events, 0.02)
        return events / (time.perf_counter() - begin)

    def lone(self) -> float:
        """Give the ms that one event takes behind a rest."""
        time.sleep(0.1)  # the rest
        return self._send(1, 0.05) / 1e6


def raw_redis(channels: ChannelConfig, events: int) -> float:
    """Give events a second of redis-py."""
    from redis import Redis  # noqa: PLC0415 - only where it is measured

    stream, group = b"raw", b"raw"
    client: Any = Redis.from_url(channels.redis_url, protocol=2)
    client.delete(stream)
    client.xgroup_create(stream, group, "$", mkstream=True)
    begin, left = time.perf_counter(), events
    for first in range(0, events, PAGE):
        pipe = client.pipeline(transaction=False)
        for number in range(first, min(first + PAGE, events)):
            pipe.xadd(stream, {b"k": b"key-%d" % (number % KEYS), b"b": TEXT})
        pipe.execute()
    while left:
        ((_, entries),) = client.xreadgroup(group, b"me", {stream: ">"}, count=PAGE)
        client.xack(stream, group, *(entry for entry, _ in entries))
        left -= len(entries)
    seconds = time.perf_counter() - begin
    client.close()
    return events / seconds


def raw_kafka(channels: ChannelConfig, events: int) -> float:
    """Give events a second of confluent-kafka."""
    from confluent_kafka import Consumer, Producer  # noqa: PLC0415 - only where it is measured
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - the same
    from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415 - where it is defined

    topic = f"raw-{time.monotonic_ns()}"
    common = {"bootstrap.servers": ",".join(channels.kafka_brokers)}
    admin = AdminClient(common)
    admin.create_topics([NewTopic(topic, channels.partitions)])[topic].result()
    group = {"group.id": topic, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    producer, consumer = Producer(common | {"enable.idempotence": True}), Consumer(common | group)
    consumer.subscribe([topic])
    while not consumer.assignment():  # the group takes shape, which is not timed
        consumer.poll(0.1)
    begin, left = time.perf_counter(), events
    for number in range(events):
        if number % PAGE == 0:
            producer.poll(0)
        producer.produce(topic, TEXT.encode(), b"key-%d" % (number % KEYS))
    producer.flush()
    while left:
        page = [message for message in consumer.consume(PAGE, 0.1) if message.error() is None]
        if page:
            consumer.commit(page[-1], asynchronous=True)
        left -= len(page)
    seconds = time.perf_counter() - begin
    consumer.close()
    return events / seconds


RAW: Mapping[str, Callable[[ChannelConfig, int], float]] = {
    "redis": raw_redis,
    "kafka": raw_kafka,
}


def measure(name: str, *, rounds: int, events: int) -> list[Result]:
    """Measure one broker."""
    raw = RAW[name]
    with servers([name]) as found, tempfile.TemporaryDirectory(prefix="bench-channels-") as folder:
        config = library_bootstrap().load(None, overrides=found)
        channels = config.section(ChannelConfig)
        with (
            NodeBuilder(f"bench-{name}")
            .workers(2)
            .journal(folder)
            .channels(channels)
            .build() as node
        ):
            ours = Ours(node)
            ours.flood(events)
            raw(channels, events)
            floors, floods = [], []
            for _ in range(rounds):
                floors.append(raw(channels, events))
                floods.append(ours.flood(events))
            lone = [median(ours.lone() for _ in range(rounds)) for _ in range(rounds)]
    return [
        Result.of(f"events_{name}", "1/s", floods, floors),
        Result.of(f"lone_event_{name}", "ms", lone),
    ]


def main() -> None:
    """Measure, print, and write what was asked for."""
    chosen = arguments(__doc__ or "")
    rounds, events = (3, 2_000) if chosen.quick else (7, 20_000)
    results = [result for name in RAW for result in measure(name, rounds=rounds, events=events)]
    bench = Bench.of("channels", results)
    bench.show(
        [
            f"{rounds} rounds of {events:,} events of {len(TEXT)} bytes, {KEYS} keys, 8 partitions",
            "journal and accounting on; the servers share this machine, Redis with everysec",
            "floor: the broker's own client, which publishes them all and then fetches them",
        ]
    )
    if chosen.json:
        bench.write(chosen.json)


if __name__ == "__main__":
    main()
