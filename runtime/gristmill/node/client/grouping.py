"""Which requests are sent together: those of one type to one actor, in the order of each actor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gristmill.messages import Request
from gristmill.ref import Address

AnyRequest = Request[Any]


@dataclass(slots=True)
class Group:
    """Requests of one type to one actor."""

    to: Address
    kind: type[AnyRequest]
    requests: list[AnyRequest] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """Where each of them stands among all."""


def group(choose: Callable[[Any], Address], requests: list[Any]) -> list[Group]:
    """Put requests together. Sent in the order of the groups, no two of one actor change places.

    Args:
        choose: says whom a request is for; asked once for each, in order.
        requests: one at least.
    """
    targets = list(map(choose, requests))
    kinds = list(map(type, requests))
    to, kind, count = targets[0], kinds[0], len(requests)
    if targets.count(to) == count and kinds.count(kind) == count:
        return [Group(to, kind, requests, list(range(count)))]
    groups: list[Group] = []
    latest: dict[int, Group] = {}
    for position, (target, kind, request) in enumerate(zip(targets, kinds, requests, strict=True)):
        found = latest.get(target.key)
        if found is None or found.kind is not kind:
            found = latest[target.key] = Group(target, kind)
            groups.append(found)
        found.requests.append(request)
        found.positions.append(position)
    return groups
