"""How trees and pools are described before they run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.errors import UsageError
from gristmill.facets.specs import FacetSpec
from gristmill.placement.elasticity import Elasticity, check_elasticity
from gristmill.ref import Mailbox
from gristmill.supervision import SpecError, SupervisorSpec, validate
from gristmill.transport.codec import Codec
from gristmill.transport.control import StartGroup, WatchPool
from gristmill.worker.specs import actor_spec, child_spec

WITHOUT_NODE = Codec(None)
"""Encodes the arguments of actors that are described before there is a node."""


def check_tree(spec: object) -> None:
    """Check what is to be started as a supervisor.

    Raises:
        SpecError: it is none, or something in it can't work.
    """
    if not isinstance(spec, SupervisorSpec):
        raise SpecError(f"{spec!r} is no SupervisorSpec")
    validate(spec)


def pool_spec(
    codec: Codec,
    kind: type[Actor],
    name: str,
    size: int,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    max_restarts: int = 3,
    within: float = 5.0,
    facets: Iterable[FacetSpec] | None = None,
    mailbox: Mailbox | None = None,
) -> SupervisorSpec:
    """Describe ``size`` like actors, ``NAME-1``, ``NAME-2`` and so on, under their supervisor.

    Raises:
        UsageError: the size is under 1.
    """
    if size < 1:
        raise UsageError(f"a pool has 1 actor or more, not {size}")
    children = []
    for number in range(1, size + 1):
        actor = actor_spec(
            codec,
            kind,
            args=args,
            kwargs=kwargs,
            name=f"{name}-{number}",
            facets=facets,
            mailbox=mailbox,
        )
        children.append(child_spec(actor, actor.name))
    return SupervisorSpec(name, max_restarts=max_restarts, within=within, children=tuple(children))


def watch_spec(
    codec: Codec,
    kind: type[Actor],
    name: str,
    size: int,
    rule: Elasticity,
    **options: Any,  # noqa: ANN401 - what an actor_spec takes
) -> WatchPool:
    """Describe how the pool of this name grows and shrinks.

    Raises:
        UsageError: the rule makes no sense.
    """
    check_elasticity(rule, size, name)
    actor = actor_spec(codec, kind, name=name, **options)
    return WatchPool(name, actor, child_spec(None, ""), rule)


def keyed_spec(
    codec: Codec,
    kind: type[Actor],
    name: str,
    *,
    shards: int = 64,
    idle: float | None = None,
    hand_off: float = 10.0,
    max_restarts: int = 3,
    within: float = 5.0,
    **options: Any,  # noqa: ANN401 - what an actor_spec takes
) -> StartGroup:
    """Describe a group of keyed actors.

    Raises:
        UsageError: an option makes no sense.
    """
    if not name or "/" in name:
        raise UsageError(f"a group's name is a text without '/', not {name!r}")
    if shards < 1:
        raise UsageError(f"group {name!r}: shards is {shards}; write a whole number from 1 on")
    if idle is not None and not 0 < idle < math.inf:
        raise UsageError(f"group {name!r}: idle is {idle}; write seconds above 0, or None")
    if not 0 < hand_off < math.inf:
        raise UsageError(f"group {name!r}: hand_off is {hand_off}; write seconds above 0")
    actor = actor_spec(codec, kind, name=name, **options)
    actor = msgspec.structs.replace(actor, idle=idle or 0.0)
    return StartGroup(actor, shards, hand_off, max_restarts, within)
