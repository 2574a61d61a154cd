"""How actors are described before they run: the arguments of ``spawn`` as specs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.errors import ActorTypeError, UsageError
from gristmill.facets.specs import Durable, FacetSpec, Reminders
from gristmill.importing import import_path
from gristmill.ref import Mailbox
from gristmill.supervision import Backoff, ChildSpec, Restart, ShutdownPolicy
from gristmill.transport.codec import Codec
from gristmill.transport.control import ActorSpec


def actor_spec(
    codec: Codec,
    kind: type[Actor],
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    name: str = "",
    mailbox: Mailbox | None = None,
    facets: Iterable[FacetSpec] | None = None,
    placement: str = "any",
    on_restart: str = "keep",
    start_timeout: float | None = None,
    time_limit: float | None = None,
) -> ActorSpec:
    """Describe an actor.

    Raises:
        ActorTypeError: ``kind`` is no actor class, or no worker could import it.
        UsageError: an argument can't travel, or an option is unknown.
    """
    if not (isinstance(kind, type) and issubclass(kind, Actor)):
        raise ActorTypeError(f"{kind!r} is no actor class; subclass gristmill.Actor")
    try:
        path = import_path(kind)
    except UsageError as error:
        raise ActorTypeError(f"actor {kind.__name__}: {error}") from None
    if on_restart not in ("keep", "drop"):
        raise UsageError(f"on_restart is {on_restart!r}; write 'keep' or 'drop'")
    bound = mailbox or kind.mailbox
    if bound.capacity < 1:
        raise UsageError(f"{path}: a mailbox has a capacity of 1 or more, not {bound.capacity}")
    if start_timeout is not None and not start_timeout > 0:
        raise UsageError(f"start_timeout is {start_timeout!r}; write seconds > 0, or None")
    attached = tuple(kind.facets if facets is None else facets)
    kinds = {type(facet) for facet in attached}
    if Reminders in kinds and Durable not in kinds:
        raise UsageError(f"{path}: Reminders() are kept in the journal, so add Durable() too")
    limit = kind.time_limit if time_limit is None else time_limit
    _check_time_limit(path, limit, placement)
    return ActorSpec(
        type=path,
        args=encode_arguments(codec, args, kwargs),
        name=name,
        mailbox=bound,
        facets=attached,
        placement=placement,
        on_restart=on_restart,
        start_timeout=start_timeout or 0.0,
        time_limit=limit or 0.0,
    )


def _check_time_limit(path: str, limit: float | None, placement: str) -> None:
    if limit is None:
        return
    if not 0 < limit < math.inf:
        raise UsageError(f"{path}: time_limit is {limit}; write seconds above 0, or None")
    if placement != "dedicated":
        raise UsageError(
            f"{path}: a handler can only be ended with its worker, so time_limit={limit:g} needs "
            f'placement="dedicated" and not {placement!r}'
        )


def child_spec(
    actor: ActorSpec | None,
    child_id: str,
    *,
    restart: Restart | str = Restart.PERMANENT,
    shutdown: ShutdownPolicy = 5.0,
    backoff: Backoff | None = None,
    significant: bool = False,
) -> ChildSpec:
    """Describe an actor as a child of a supervisor; None for one that is described beside it.

    Raises:
        UsageError: the restart type is unknown.
    """
    try:
        kind = Restart(restart)
    except ValueError:
        known = ", ".join(Restart)
        raise UsageError(f"restart is {restart!r}; write one of: {known}") from None
    start = msgspec.msgpack.encode(actor) if actor is not None else b""
    return ChildSpec(child_id, start, kind, shutdown, significant, backoff)


def encode_arguments(
    codec: Codec, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> bytes:
    """Encode the arguments of an actor's constructor."""
    return codec.encode_in_band([list(args), dict(kwargs or {})])
