"""What an actor's cell keeps, and what idle ones share."""

from __future__ import annotations

from collections import deque

import pytest

from gristmill.worker.actors.cell import _CONTAINERS, Cell


def test_idle_cells_share_what_they_have_nothing_in() -> None:
    one, other = Cell(1), Cell(2)
    for name in _CONTAINERS:
        assert getattr(one, name) is getattr(other, name), name
        assert not getattr(one, name), name


@pytest.mark.parametrize("name", _CONTAINERS)
def test_what_is_put_into_one_is_in_no_other(name: str) -> None:
    one, other = Cell(1), Cell(2)
    own = one.own(name)
    assert own is getattr(one, name)
    assert own is one.own(name), "it is made once"
    assert own is not getattr(other, name)
    assert type(own) is _CONTAINERS[name]


def test_nothing_can_be_put_into_what_is_shared() -> None:
    cell = Cell(1)
    attempts = (
        lambda: cell.effects.append(()),
        lambda: cell.queue.extend(deque([None])),  # type: ignore[list-item]  # no entry is needed
        lambda: cell.timers.add(1),
        lambda: cell.marks.update(a=1),
        lambda: cell.owed.__setitem__(1, 1),
    )
    for attempt in attempts:
        with pytest.raises(TypeError, match=r"Cell\.own"):
            attempt()
    assert not any(getattr(Cell(2), name) for name in _CONTAINERS)


def test_what_is_taken_out_of_nothing_is_nothing() -> None:
    cell = Cell(1)
    assert cell.deferred.pop((1, 2), None) is None
    cell.timers.discard(1)
    cell.queue.clear()
    assert cell.take_owed() == {}
    assert cell.at_rest
