"""What a person or a tool can see of a tree, as frozen values that cross the wire."""

from __future__ import annotations

from typing import Literal

import msgspec

from gristmill.supervision.members import Member, State, Supervisor
from gristmill.supervision.reasons import describe
from gristmill.supervision.spec import Strategy


class ChildInfo(msgspec.Struct, frozen=True):
    """One child, as ``which_children`` lists it."""

    id: str
    key: int
    kind: Literal["actor", "supervisor"]
    state: State


class ChildCounts(msgspec.Struct, frozen=True):
    """How many children a supervisor has."""

    specs: int
    active: int
    """Those that run, also while they are being stopped."""
    supervisors: int
    actors: int


class Snapshot(msgspec.Struct, frozen=True):
    """One member and all below it at one moment."""

    key: int
    id: str
    path: str
    kind: Literal["actor", "supervisor"]
    state: State
    incarnation: int
    restarts: int
    """How often it was started again, whatever the cause."""
    last_exit: str = ""
    """Why its last incarnation ended; empty if none has."""
    strategy: Strategy | None = None
    """Of a supervisor, like all that follows."""
    restarts_in_window: int = 0
    max_restarts: int = 0
    within: float = 0.0
    children: tuple[Snapshot, ...] = ()


def kind_of(member: Member) -> Literal["actor", "supervisor"]:
    """Name what a member is."""
    return "supervisor" if isinstance(member, Supervisor) else "actor"


def children_of(supervisor: Supervisor) -> tuple[ChildInfo, ...]:
    """List the children, the last in start order first."""
    return tuple(
        ChildInfo(child.id, child.key, kind_of(child), child.state)
        for child in reversed(supervisor.children.values())
    )


def counts_of(supervisor: Supervisor) -> ChildCounts:
    """Count the children."""
    children = supervisor.children.values()
    active = sum(child.state in (State.RUNNING, State.STOPPING) for child in children)
    supervisors = sum(isinstance(child, Supervisor) for child in children)
    return ChildCounts(len(children), active, supervisors, len(children) - supervisors)


def snapshot_of(member: Member, now: float) -> Snapshot:
    """Describe a member and all below it, restart windows as they are at ``now``."""
    exit_text = describe(member.last_exit) if member.last_exit is not None else ""
    common = (member.key, member.id, member.path, kind_of(member), member.state)
    history = (member.incarnation, max(0, member.incarnation - 1), exit_text)
    if not isinstance(member, Supervisor):
        return Snapshot(*common, *history)
    spec = member.spec
    return Snapshot(
        *common,
        *history,
        strategy=spec.strategy,
        restarts_in_window=member.intensity.count(now),
        max_restarts=spec.max_restarts,
        within=spec.within,
        children=tuple(snapshot_of(child, now) for child in member.children.values()),
    )
