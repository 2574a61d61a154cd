"""The members of a running tree: state only; the engine moves it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeAlias

from gristmill.supervision.actions import Ending
from gristmill.supervision.intensity import RestartIntensity
from gristmill.supervision.plan import Plan
from gristmill.supervision.reasons import ExitReason, Shutdown
from gristmill.supervision.spec import ChildSpec, Restart, Strategy, SupervisorSpec

_SHUTDOWN = Shutdown()


class State(StrEnum):
    """What a member is doing."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    """It failed and is down; its restart is due."""
    STOPPING = "stopping"
    STOPPED = "stopped"


class MemberBase:
    """What actors and supervisors have in common as children of a supervisor."""

    __slots__ = (
        "fresh", "id", "incarnation", "key", "last_exit", "parent", "rank", "start_operation",
        "state", "static", "stop_operations", "timer",
    )  # fmt: skip

    def __init__(self, key: int, id_: str, parent: Supervisor | None, rank: int) -> None:
        self.key = key
        self.id = id_
        self.parent = parent
        self.rank = rank
        """Place in the start order of its supervisor."""
        self.static = True
        """It stands in its supervisor's spec, so it outlives a restart of that supervisor."""
        self.state = State.STOPPED
        self.incarnation = 0
        self.fresh = True
        """It has not run yet under this incarnation of its supervisor."""
        self.last_exit: ExitReason | None = None
        self.start_operation: int | None = None
        self.stop_operations: tuple[int, ...] = ()
        self.timer: int | None = None
        """The deadline of its stop while it lives, the end of its backoff while it is down."""

    @property
    def path(self) -> str:
        """Where it stands: the ids from the root down."""
        return f"{self.parent.path}/{self.id}" if self.parent else self.id

    @property
    def alive(self) -> bool:
        """Whether there may be something of it running."""
        return self.state in (State.STARTING, State.RUNNING, State.STOPPING)

    @property
    def due(self) -> bool:
        """Whether its start is on the plan."""
        return self in self.owner.to_start

    @property
    def owner(self) -> Supervisor:
        """The supervisor of a member that is not the root."""
        if self.parent is None:
            raise LookupError(f"{self.path} is the root and has no supervisor")
        return self.parent

    @property
    def position(self) -> tuple[int, ...]:
        """Sorts members of the whole tree by start order."""
        return (*self.parent.position, self.rank) if self.parent else ()


class Actor(MemberBase):
    """A leaf of the tree."""

    __slots__ = (
        "kill_expected", "kill_sent", "restarts_in_a_row", "spec", "started_at", "stop_reason",
    )  # fmt: skip

    def __init__(self, key: int, spec: ChildSpec, parent: Supervisor, rank: int) -> None:
        super().__init__(key, spec.id, parent, rank)
        self.spec = spec
        self.started_at: float | None = None
        """When this incarnation began to run."""
        self.restarts_in_a_row = 0
        self.kill_sent = False
        self.kill_expected = False
        """The kill was the policy, not the end of a stop that took too long."""
        self.stop_reason: ExitReason = _SHUTDOWN
        """What it is told when it is asked to stop."""


class Supervisor(MemberBase):
    """An inner node. Its plan has four parts: what to stop and start, and what is under way.

    Everything to be stopped is stopped before anything is started, unless its children are
    independent of each other. An event in the middle of a plan only changes it.
    """

    def __init__(
        self, key: int, spec: SupervisorSpec, parent: Supervisor | None, rank: int
    ) -> None:
        super().__init__(key, spec.id, parent, rank)
        self.spec = spec
        self.children: dict[str, Member] = {}
        self.next_rank = 0
        self.intensity = RestartIntensity(spec.max_restarts, spec.within)
        self.to_stop = Plan(backwards=True)
        self.stopping = Plan()
        self.to_start = Plan()
        self.starting = Plan()
        self.ending: Ending | None = None
        self.exit: ExitReason = _SHUTDOWN
        self.causes: tuple[str, ...] = ()
        self.event = 0
        """The event that made it end."""
        self.queued = False

    @property
    def independent(self) -> bool:
        """Whether its children may be started and stopped side by side."""
        strategy = self.spec.strategy
        return strategy is Strategy.DYNAMIC or (
            strategy is Strategy.ONE_FOR_ONE and self.state is State.RUNNING
        )

    @property
    def idle(self) -> bool:
        """Whether its plan is carried out."""
        return not (self.to_stop or self.stopping or self.to_start or self.starting)

    @property
    def doomed(self) -> bool:
        """Whether it is ending or down, so that the ends of its children have no consequence."""
        return self.state not in (State.STARTING, State.RUNNING)

    def new_rank(self) -> int:
        """Give the next place in the start order."""
        self.next_rank += 1
        return self.next_rank - 1

    def group(self, child: Member) -> Iterable[Member]:
        """Give the children that are restarted when ``child`` fails, itself included."""
        match self.spec.strategy:
            case Strategy.ONE_FOR_ALL:
                return self.children.values()
            case Strategy.REST_FOR_ONE:
                return [other for other in self.children.values() if other.rank >= child.rank]
            case _:
                return (child,)

    def keeps(self, child: Member) -> bool:
        """Tell whether the spec of a child that has ended is kept."""
        temporary = child.spec.restart is Restart.TEMPORARY
        return not temporary and self.spec.strategy is not Strategy.DYNAMIC


Member: TypeAlias = Actor | Supervisor
