"""What is known to who sends a message is known to who gets it: the news come first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill import Node, Ref
from support.names import Directory, Knows, Named, Parent, StartAndAsk

TIMES = 200
"""Without the order that is tested here, one in thirty is wrong on an idle machine."""


@pytest.fixture(scope="module", params=["unix", "zeromq"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    with Node(workers=2, transport=request.param) as started:
        yield started


@pytest.fixture(scope="module")
def directory(node: Node) -> Ref[Directory]:
    return node.spawn(Directory, placement="w2")


def test_a_name_is_known_everywhere_when_its_actor_has_started(
    node: Node, directory: Ref[Directory]
) -> None:
    for number in range(TIMES):
        node.spawn(Named, name=f"started-{number}", placement="w1")
        assert directory.ask(Knows(f"started-{number}"))


def test_a_name_is_free_everywhere_when_its_actor_has_stopped(
    node: Node, directory: Ref[Directory]
) -> None:
    for number in range(TIMES):
        node.spawn(Named, name=f"stopped-{number}", placement="w1").stop()
        assert not directory.ask(Knows(f"stopped-{number}"))


def test_a_group_is_known_everywhere_when_it_has_begun(
    node: Node, directory: Ref[Directory]
) -> None:
    for number in range(TIMES):
        node.keyed(Named, f"group-{number}", shards=1)
        assert directory.ask(Knows(f"group-{number}"))


def test_a_child_is_known_to_whom_its_parent_asks(node: Node, directory: Ref[Directory]) -> None:
    parent = node.spawn(Parent, args=(directory,), placement="w1")
    for number in range(TIMES):
        assert parent.ask(StartAndAsk(f"child-{number}"))
