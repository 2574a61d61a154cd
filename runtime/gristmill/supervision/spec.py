"""What a supervision tree is made of: specs of children and of supervisors, and their checks."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, TypeAlias

import msgspec

from gristmill.errors import UsageError
from gristmill.supervision.backoff import Backoff, is_number


class SpecError(UsageError):
    """A child or supervisor spec can't work. Names the spec, the field and the remedy."""


class Restart(StrEnum):
    """When a child is started again after it has ended."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After a failure; not after a normal end or a shutdown."""
    TEMPORARY = "temporary"
    """Never; when it ends, its spec is removed."""


class Strategy(StrEnum):
    """Which siblings are restarted together with a failed child."""

    ONE_FOR_ONE = "one_for_one"
    """None."""
    ONE_FOR_ALL = "one_for_all"
    """All."""
    REST_FOR_ONE = "rest_for_one"
    """Those that were started after it."""
    DYNAMIC = "dynamic"
    """None; there are no static children, and all stop at once."""


class AutoShutdown(StrEnum):
    """When the end of significant children ends their supervisor."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


BRUTAL_KILL: Final = "brutal_kill"
"""Shutdown policy: kill at once; no terminate hook runs."""
INFINITY: Final = "infinity"
"""Shutdown policy: ask, and wait for as long as it takes."""

ShutdownPolicy: TypeAlias = float | Literal["brutal_kill", "infinity"]
"""Seconds between the request to stop and the kill, or one of the two words."""


class ChildSpec(msgspec.Struct, frozen=True, tag_field="kind", tag="actor"):
    """How to start, restart and stop one actor.

    ``start`` is what the driver needs to start it; the tree hands it on unread.
    """

    id: str
    start: bytes | None = None
    restart: Restart = Restart.PERMANENT
    shutdown: ShutdownPolicy = 5.0
    significant: bool = False
    backoff: Backoff | None = None


class SupervisorSpec(msgspec.Struct, frozen=True, tag_field="kind", tag="supervisor"):
    """A supervisor and the children that it starts with, in order.

    It gives up at the restart that makes more than ``max_restarts`` in ``within`` seconds.
    ``max_children`` bounds a dynamic supervisor; None is no bound.
    """

    id: str
    strategy: Strategy = Strategy.ONE_FOR_ONE
    max_restarts: int = 1
    within: float = 5.0
    children: tuple[ChildSpec | SupervisorSpec, ...] = ()
    restart: Restart = Restart.PERMANENT
    shutdown: ShutdownPolicy = INFINITY
    significant: bool = False
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    max_children: int | None = None


Spec: TypeAlias = ChildSpec | SupervisorSpec


def validate(spec: Spec, parent: SupervisorSpec | None = None, path: str = "") -> None:
    """Check a spec and everything below it.

    Args:
        spec: what to check.
        parent: the supervisor that it goes under; None for a root.
        path: where that supervisor stands, for the message.

    Raises:
        SpecError: the first thing wrong with it.
    """
    if not isinstance(spec, ChildSpec | SupervisorSpec):
        raise SpecError(
            f"{spec!r} under {path!r} is no spec; write a ChildSpec or a SupervisorSpec"
        )
    if not isinstance(spec.id, str) or not spec.id or "/" in spec.id:
        where = f" under {path!r}" if path else ""
        raise SpecError(
            f"a child{where} has the id {spec.id!r}; give it a non-empty string without '/'"
        )
    where = f"{path}/{spec.id}" if path else spec.id
    _check_common(spec, parent, where)
    if isinstance(spec, ChildSpec):
        _check_child(spec, where)
    else:
        _check_supervisor(spec, where)


def _check_common(spec: Spec, parent: SupervisorSpec | None, where: str) -> None:
    if not isinstance(spec.restart, Restart):
        raise _refusal(where, "restart", spec.restart, f"a Restart: {_values(Restart)}")
    timed = is_number(spec.shutdown) and spec.shutdown >= 0  # type: ignore[operator]  # no word here
    if not timed and spec.shutdown not in (BRUTAL_KILL, INFINITY):
        raise _refusal(where, "shutdown", spec.shutdown, "seconds >= 0, BRUTAL_KILL or INFINITY")
    if not isinstance(spec.significant, bool):
        raise _refusal(where, "significant", spec.significant, "True or False")
    if not spec.significant or parent is None:
        return
    if spec.restart is Restart.PERMANENT:
        raise SpecError(
            f"{where!r} is significant and permanent: it would never end; make it transient or "
            "temporary, or not significant"
        )
    if parent.auto_shutdown is AutoShutdown.NEVER:
        raise SpecError(
            f"{where!r} is significant, but its supervisor has auto_shutdown=never; set the "
            "supervisor's auto_shutdown, or make the child not significant"
        )


def _check_child(spec: ChildSpec, where: str) -> None:
    if spec.start is None:
        raise SpecError(f"{where!r} has no start; say how it is started")
    if not isinstance(spec.start, bytes):
        raise _refusal(where, "start", spec.start, "bytes")
    backoff = spec.backoff
    if backoff is None:
        return
    if not isinstance(backoff, Backoff):
        raise _refusal(where, "backoff", backoff, "a Backoff or None")
    if backoff.fault:
        raise _refusal(where, "backoff", backoff, backoff.fault)


def _check_supervisor(spec: SupervisorSpec, where: str) -> None:
    if not isinstance(spec.strategy, Strategy):
        raise _refusal(where, "strategy", spec.strategy, f"a Strategy: {_values(Strategy)}")
    if not _is_count(spec.max_restarts, 0):
        raise _refusal(where, "max_restarts", spec.max_restarts, "a whole number >= 0")
    if not is_number(spec.within) or spec.within <= 0:
        raise _refusal(where, "within", spec.within, "finite seconds > 0")
    if not isinstance(spec.auto_shutdown, AutoShutdown):
        raise _refusal(
            where, "auto_shutdown", spec.auto_shutdown, f"an AutoShutdown: {_values(AutoShutdown)}"
        )
    _check_dynamic(spec, where)
    ids: set[str] = set()
    for child in spec.children:
        validate(child, spec, where)
        if child.id in ids:
            raise SpecError(f"{where!r} has two children with the id {child.id!r}; rename one")
        ids.add(child.id)


def _check_dynamic(spec: SupervisorSpec, where: str) -> None:
    if spec.strategy is not Strategy.DYNAMIC:
        if spec.max_children is not None:
            raise SpecError(f"{where!r} has max_children, which only a dynamic supervisor can have")
        return
    if spec.children:
        raise SpecError(
            f"{where!r} is dynamic and has static children; add them once it runs, or choose "
            "another strategy"
        )
    if spec.auto_shutdown is not AutoShutdown.NEVER:
        raise SpecError(f"{where!r} is dynamic and can't shut down by itself; drop auto_shutdown")
    if spec.max_children is not None and not _is_count(spec.max_children, 1):
        raise _refusal(where, "max_children", spec.max_children, "a whole number >= 1, or None")


def _refusal(where: str, field: str, value: object, expected: str) -> SpecError:
    return SpecError(f"{where!r}: {field} is {value!r}; it must be {expected}")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _values(kind: type[StrEnum]) -> str:
    return ", ".join(kind)
