"""Redis and Kafka for benchmarks: the servers that the tests run on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Overrides = dict[tuple[str, str], object]


@contextmanager
def servers(names: list[str]) -> Iterator[Overrides]:
    """Run servers; give the settings that turn their channels on.

    Args:
        names: ``redis``, ``kafka`` or both.
    """
    sys.path.append(str(Path(__file__).parents[2] / "tests"))
    from support.kafka_broker import KafkaBroker, kafka_libraries, kafka_missing  # noqa: PLC0415 - lies with the tests
    from support.redis_server import RedisServer, redis_executable  # noqa: PLC0415 - the same
    from support.server_process import ServerProcess  # noqa: PLC0415 - the same

    settings: Overrides = {}
    started: list[ServerProcess] = []
    try:
        if "redis" in names:
            executable = redis_executable() or sys.exit("there is no redis-server; install one")
            redis = RedisServer(executable, fsync="everysec")  # as Redis itself advises
            started.append(redis)
            redis.start()
            settings |= {
                ("channel", "use_redis"): "true",
                ("channel", "redis_url"): redis.url,
                # else it rewrites its file, with the events of all earlier runs, during one
                ("channel", "redis_max_length"): "10000",
            }
        if "kafka" in names:
            if missing := kafka_missing():
                sys.exit(f"Kafka can't run here: {missing}")
            kafka = KafkaBroker(kafka_libraries())
            started.append(kafka)
            kafka.start()
            settings |= {
                ("channel", "use_kafka"): "true",
                ("channel", "kafka_brokers"): kafka.address,
            }
        yield settings
    finally:
        for server in started:
            server.close()
