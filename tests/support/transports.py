"""Has the tests of a module run once on each transport: import :func:`transport` into it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill.config import Transport

TRANSPORTS: tuple[Transport, ...] = ("unix", "zeromq")


@pytest.fixture(scope="module", autouse=True, params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """Give what carries the messages of every node that the tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gristmill.node.node.resolved", lambda _: request.param)
        yield request.param
