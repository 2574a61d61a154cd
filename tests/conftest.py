"""A temporary directory of our own for every run, and the proof that no test leaves anything."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import Node
from gristmill.config import Transport
from gristmill.transport.sockets import resolved
from support.brokers import kafka_broker, kafka_config, redis_config, redis_server  # noqa: F401 - fixtures
from support.traces import assert_nothing_left


@pytest.fixture(scope="session", autouse=True)
def own_temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Mark every process of this session by its ``TMPDIR``, short enough for sockets."""
    tmp_path_factory.getbasetemp()
    before, cached = os.environ.get("TMPDIR"), tempfile.tempdir
    folder = Path(tempfile.mkdtemp(prefix="gmt-"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = cached
    if before is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before
    shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(own_temporary_directory: Path) -> Iterator[None]:
    """Fail a module that leaves a process, a run directory or shared memory."""
    yield
    assert_nothing_left()


@pytest.fixture(scope="module")
def transport() -> Transport:
    """Give what carries messages; a module that imports ``support.transports`` has each."""
    return resolved("auto")


@pytest.fixture(scope="module")
def node(
    own_temporary_directory: Path,
    nothing_is_left: None,
    transport: Transport,
) -> Iterator[Node]:
    """Give a node with two workers, shared by the tests of a module."""
    with Node(workers=2, max_restarts=1000, within=1.0) as started:
        yield started


@pytest.fixture(scope="module", params=["processes", "in_process"])
def either(
    request: pytest.FixtureRequest, own_temporary_directory: Path, nothing_is_left: None
) -> Iterator[Node]:
    """Give a node with two worker processes, and one in this process."""
    with Node(
        workers=2, max_restarts=1000, within=1.0, in_process=request.param == "in_process"
    ) as started:
        yield started
