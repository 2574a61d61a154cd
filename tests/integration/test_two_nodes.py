"""Refs of one node in the messages of another, where their numbers stand for other actors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill import Node, Ref
from gristmill.errors import UsageError
from gristmill.keyed import KeyedGroup
from support.actors import Add, Forward, Pump, Worker
from support.functions import total
from support.keyed import Account


@pytest.fixture(params=[False, True], ids=["processes", "in_process"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    with Node(workers=1, node_id="here", journal=tmp_path, in_process=request.param) as started:
        yield started


@pytest.fixture
def there() -> Iterator[Node]:
    with Node(workers=1, node_id="there") as started:
        yield started


@pytest.fixture
def mine(here: Node) -> Ref[Worker]:
    return here.spawn(Worker, name="near")


@pytest.fixture
def far(there: Node) -> Ref[Worker]:
    return there.spawn(Worker, name="far")


USES: dict[str, Callable[[Node, Ref[Any], Any], object]] = {
    "ask": lambda _, mine, far: mine.ask(Forward(far, 1, 2)),
    "ask many": lambda _, mine, far: list(mine.ask_many([Forward(far, 1, 2)])),
    "request": lambda _, mine, far: mine.request(Forward(far, 1, 2)),
    "tell": lambda _, mine, far: mine.tell(Pump(far, 3)),
    "tell at least once": lambda _, mine, far: mine.tell(Pump(far, 3), delivery="at_least_once"),
    "spawn": lambda here, _, far: here.spawn(Worker, args=(far,)),
    "map": lambda here, _, far: list(here.map(total, [far])),
    "submit": lambda here, _, far: here.executor().submit(total, far).result(10),
}


@pytest.mark.parametrize("use", USES)
def test_a_ref_of_another_node_is_refused(
    here: Node, mine: Ref[Worker], far: Ref[Worker], use: str
) -> None:
    refused = r"<Ref Worker far> is of the node 'there', and can't be used in the node 'here'"
    with pytest.raises(UsageError, match=refused):
        USES[use](here, mine, far)
    assert mine.ask(Forward(here.spawn(Worker), 1, 2)) == 3
    assert far.ask(Add(1, 1)) == 2


def test_so_are_a_monitor_and_a_group(
    here: Node, there: Node, mine: Ref[Worker], far: Ref[Worker]
) -> None:
    with pytest.raises(UsageError, match="'there'"):
        here.monitor(far)
    group: KeyedGroup[Any] = there.keyed(Account, "accounts")
    with pytest.raises(UsageError, match=r"KeyedGroup.*accounts.*'there'"):
        mine.tell(Pump(group, 3))  # type: ignore[arg-type]  # it would travel all the same
    assert (mine.node, far.node, group.node, group["a"].node) == ("here", "there", "there", "there")
