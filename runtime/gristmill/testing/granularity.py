"""What nodes did while a test ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

from gristmill.errors import GristmillError, UsageError
from gristmill.metrics import Report
from gristmill.metrics.gate import Limits
from gristmill.metrics.merging import difference, merge
from gristmill.node.node import Node

_OPTIONS: Final = {"min": "minimum"}
_ALLOWED: Final = ("min", "types", "strict", "min_messages", "allow_contended")


def limits_of(args: tuple[object, ...], options: Mapping[str, Any]) -> Limits:
    """Read the arguments of the marker.

    Raises:
        UsageError: it has one that it does not take.
    """
    wrong = [repr(arg) for arg in args] + [name for name in options if name not in _ALLOWED]
    if wrong:
        raise UsageError(
            f"the marker granularity does not take {', '.join(wrong)}; "
            f"it takes the keywords {', '.join(_ALLOWED)}"
        )
    return Limits(**{_OPTIONS.get(name, name): value for name, value in options.items()})


@contextmanager
def watched(nodes: Iterable[Node]) -> Iterator[list[Report]]:
    """Collect what nodes do in a ``with`` block: the given ones, and those that are stopped in it.

    The list is full once the block has ended. A given node counts from where the block began.
    """
    found: list[Report] = []
    begins = {node: _granularity(node) for node in nodes}
    stop = Node.stop

    def take(node: Node) -> None:
        report = _granularity(node)
        if report is not None:
            found.append(difference(report, begins.get(node)))

    def stop_and_take(node: Node, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed on
        take(node)
        stop(node, *args, **kwargs)

    with mock.patch.object(Node, "stop", stop_and_take):
        yield found
    for node in begins:
        take(node)


def _granularity(node: Node) -> Report | None:
    try:
        return node.granularity()
    except GristmillError:  # it does not run, or has ended
        return None


def whole_of(reports: Sequence[Report]) -> Report:
    """Give what the nodes of a test did, as one.

    Raises:
        UsageError: there was no node.
    """
    if not reports:
        raise UsageError(
            "the marker granularity found no node: stop one in the test (with Node(...) as node), "
            "or let the test take one from a fixture"
        )
    return merge(reports)
