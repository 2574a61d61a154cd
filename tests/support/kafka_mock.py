"""librdkafka's mock cluster, for machines on which no broker can be had."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer


class MockCluster:
    """One broker inside this process, which other processes can reach; it can't be restarted."""

    session_seconds = 6.0  # it lets every group wait for 3 s

    def __init__(self) -> None:
        self.address = ""
        self._producer: Any = None

    def start(self) -> None:
        """Start it, and find out where it listens."""
        self._producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        metadata = self._producer.list_topics(timeout=10)
        broker = next(iter(metadata.brokers.values()))
        self.address = f"{broker.host}:{broker.port}"

    def close(self) -> None:
        """End it."""
        self._producer = None
