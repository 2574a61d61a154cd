"""``Coordinator``: where the actors of one keyed group are, and how each one moves. Pure.

An actor of a key is started when somebody first wants to send to it, where the shard of the key
belongs. It leaves its place (its shard has moved, or it is idle) in three steps:

1. All who know the place forget it, and put a fence behind what they have sent there. What they
   send from now on waits with them: they have to ask for the place.
2. When all fences have come, everything that was sent is in the actor's mailbox. The actor stops
   behind it.
3. When it has stopped, and only then, the next one is started, if anybody asks, and those who
   asked are told its place.

So there are never two incarnations of a key, nothing is lost, and order is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from gristmill.placement.ring import ShardTable


@dataclass(frozen=True, slots=True)
class Start:
    """Start an actor of ``key`` on the worker ``home``, then call :meth:`Coordinator.begun`."""

    key: str
    home: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell processes where the actor of ``key`` is."""

    key: str
    actor: int
    processes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell processes that no actor of ``key`` could be started."""

    key: str
    processes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Retire:
    """Have processes forget the places of keys, with a fence; 0 as ``number``: without one."""

    number: int
    home: int
    keys: tuple[str, ...]
    processes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop an actor in order, behind what is in its mailbox."""

    actor: int


PlacementAction = Start | Tell | Refuse | Retire | Stop


class Phase(Enum):
    """Where an actor's life stands."""

    STARTING = auto()
    RUNNING = auto()
    FENCING = auto()
    """Nobody may send to it any more; what is under way arrives."""
    STOPPING = auto()


@dataclass(slots=True)
class _Entity:
    key: str
    home: int
    phase: Phase
    actor: int = 0
    knowing: set[int] = field(default_factory=set)
    """The processes that know its place, or will be told when it has started."""
    wanting: set[int] = field(default_factory=set)
    """The processes that have asked for a place since it began to leave."""


@dataclass(slots=True)
class _Retirement:
    home: int
    keys: list[str]
    move: bool
    """Whether the actors have to leave; idle ones may as well stay."""


class Coordinator:
    """The places of one group's actors: events in, actions out.

    Args:
        shards: how many there are.
        workers: those that host actors, addresses by name.
        numbers: gives the numbers of retirements, each higher than the last; of the whole node.
    """

    def __init__(self, shards: int, workers: Mapping[str, int], numbers: Iterator[int]) -> None:
        self._shards = shards
        self._workers = dict(workers)
        self._table = ShardTable(shards, sorted(workers))
        self._entities: dict[str, _Entity] = {}
        self._by_actor: dict[int, _Entity] = {}
        self._retirements: dict[int, _Retirement] = {}
        self._numbers = numbers

    # --- what is known ---

    def home_of(self, key: str) -> int:
        """Give the worker that a key belongs to."""
        return self._workers[self._table.owner(key)]

    def knows(self, actor: int) -> bool:
        """Tell whether an actor is one of the group."""
        return actor in self._by_actor

    def phase_of(self, key: str) -> Phase | None:
        """Give where the actor of a key stands; None if there is none."""
        entity = self._entities.get(key)
        return entity.phase if entity is not None else None

    def shards_of(self) -> dict[str, int]:
        """Count the shards of each worker."""
        counted = dict.fromkeys(sorted(self._workers), 0)
        for owner in self._table.owners:
            counted[owner] += 1
        return counted

    @property
    def moving(self) -> int:
        """How many actors are about to leave their places."""
        leaving = (Phase.FENCING, Phase.STOPPING)
        return sum(entity.phase in leaving for entity in self._entities.values())

    def __len__(self) -> int:
        return len(self._entities)

    # --- what senders want ---

    def locate(self, key: str, process: int) -> list[PlacementAction]:
        """A process asks where the actor of a key is."""
        entity = self._entities.get(key)
        if entity is None:
            return [self._create(key, {process})]
        if entity.phase in (Phase.FENCING, Phase.STOPPING):
            entity.wanting.add(process)
            return []
        entity.knowing.add(process)
        return [] if entity.phase is Phase.STARTING else [_tell(entity, {process})]

    def process_down(self, process: int) -> None:
        """A process has died; it knows nothing any more."""
        for entity in self._entities.values():
            entity.knowing.discard(process)
            entity.wanting.discard(process)

    def _create(self, key: str, knowing: set[int]) -> Start:
        entity = _Entity(key, self.home_of(key), Phase.STARTING, knowing=knowing)
        self._entities[key] = entity
        return Start(key, entity.home)

    # --- what becomes of actors ---

    def begun(self, key: str, actor: int) -> None:
        """The start of a key's actor is under way, under this number."""
        entity = self._entities[key]
        entity.actor = actor
        self._by_actor[actor] = entity

    def started(self, actor: int) -> list[PlacementAction]:
        """An actor has started, or was started again in its place."""
        entity = self._by_actor.get(actor)
        if entity is None or entity.phase in (Phase.FENCING, Phase.STOPPING):
            return []
        entity.phase = Phase.RUNNING
        return [_tell(entity, entity.knowing), *self._move_from([entity])]

    def refused(self, key: str) -> list[PlacementAction]:
        """The actor of a key could not start."""
        entity = self._entities.get(key)
        if entity is None:
            return []
        self._drop(entity)
        return [Refuse(key, frozenset(entity.knowing | entity.wanting))]

    def gone(self, actor: int) -> list[PlacementAction]:
        """An actor has ended for good."""
        entity = self._by_actor.get(actor)
        if entity is None:
            return []
        self._drop(entity)
        if entity.phase is Phase.STARTING:
            return [Refuse(entity.key, frozenset(entity.knowing))]
        if entity.phase is Phase.RUNNING:
            return [Retire(0, entity.home, (entity.key,), frozenset(entity.knowing))]
        return [self._create(entity.key, entity.wanting)] if entity.wanting else []

    def _drop(self, entity: _Entity) -> None:
        del self._entities[entity.key]
        self._by_actor.pop(entity.actor, None)

    # --- moving and resting ---

    def set_workers(self, workers: Mapping[str, int]) -> list[PlacementAction]:
        """Others host actors from now on: those whose shard has moved leave their places."""
        self._workers = dict(workers)
        self._table = ShardTable(self._shards, sorted(workers))
        return self._move_from(self._entities.values())

    def _move_from(self, entities: Iterable[_Entity]) -> list[PlacementAction]:
        """Let those leave that are not where they belong."""
        running = [entity for entity in entities if entity.phase is Phase.RUNNING]
        return self._retire([e for e in running if e.home != self.home_of(e.key)], move=True)

    def idle(self, actors: Iterable[int]) -> list[PlacementAction]:
        """Actors have had nothing to do for a while: let them end."""
        found = [self._by_actor[actor] for actor in actors if actor in self._by_actor]
        return self._retire([e for e in found if e.phase is Phase.RUNNING], move=False)

    def _retire(self, entities: list[_Entity], *, move: bool) -> list[PlacementAction]:
        by_home: defaultdict[int, list[_Entity]] = defaultdict(list)
        for entity in entities:
            by_home[entity.home].append(entity)
        actions: list[PlacementAction] = []
        for home, leaving in by_home.items():
            number = next(self._numbers)
            keys = [entity.key for entity in leaving]
            self._retirements[number] = _Retirement(home, keys, move)
            knowing = frozenset().union(*(entity.knowing for entity in leaving))
            for entity in leaving:
                entity.phase = Phase.FENCING
            actions.append(Retire(number, home, tuple(keys), knowing))
        return actions

    def fenced(self, number: int) -> list[PlacementAction]:
        """All fences of a retirement have come: its actors stop."""
        retirement = self._retirements.pop(number, None)
        return [] if retirement is None else self._stop(retirement)

    def overdue(self, number: int) -> list[PlacementAction]:
        """The time for the fences of a retirement is over.

        Who has to leave does so all the same. The others stay: some process still knows them.
        """
        retirement = self._retirements.pop(number, None)
        if retirement is None:
            return []
        if retirement.move:
            return self._stop(retirement)
        staying = self._fencing(retirement)
        return [*self._stay(retirement), *self._move_from(staying)]

    def home_down(self, home: int) -> None:
        """A worker has died: who was about to leave it is started again in its place first."""
        for number, retirement in list(self._retirements.items()):
            if retirement.home == home:
                del self._retirements[number]
                self._stay(retirement)

    def _stop(self, retirement: _Retirement) -> list[PlacementAction]:
        actions: list[PlacementAction] = []
        for entity in self._fencing(retirement):
            entity.phase = Phase.STOPPING
            actions.append(Stop(entity.actor))
        return actions

    def _stay(self, retirement: _Retirement) -> list[PlacementAction]:
        actions: list[PlacementAction] = []
        for entity in self._fencing(retirement):
            entity.phase = Phase.RUNNING
            wanting, entity.wanting = entity.wanting, set()
            # those that have not fenced may know it still, and are asked again next time
            entity.knowing |= wanting
            actions.append(_tell(entity, wanting))
        return actions

    def _fencing(self, retirement: _Retirement) -> list[_Entity]:
        found = (self._entities.get(key) for key in retirement.keys)
        return [e for e in found if e is not None and e.phase is Phase.FENCING]


def _tell(entity: _Entity, processes: set[int]) -> Tell:
    return Tell(entity.key, entity.actor, frozenset(processes))
