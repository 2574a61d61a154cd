"""A supervision tree driven by hand: actors start and stop at once, unless told otherwise."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from gristmill import supervision as sv
from gristmill.errors import ErrorData
from gristmill.supervision import Restart, State, Strategy, SupervisorSpec

CRASH = sv.Crash(ErrorData("ValueError", "x"))
KILLED = sv.Killed(9)
NORMAL = sv.Normal()
SHUTDOWN = sv.Shutdown()
TRANSIENT, TEMPORARY = Restart.TRANSIENT, Restart.TEMPORARY
REASONS = [NORMAL, SHUTDOWN, sv.Shutdown("x"), CRASH, KILLED, sv.Exited(3), sv.Lost("n")]
"""Ordered ends first, then failures."""


class World:
    """Drives a tree: actors start and stop at once, unless their id is in one of the sets."""

    def __init__(self, root: SupervisorSpec) -> None:
        self.tree = sv.SupervisionTree(root, random.Random(1))
        self.now = 0.0
        self.slow_start: set[str] = set()
        self.failing: set[str] = set()
        self.ignoring: set[str] = set()
        self.slow_stop: set[str] = set()
        self.ids: dict[int, str] = {}
        self.live: dict[str, tuple[int, int]] = {}
        self.timers: dict[int, float] = {}
        self.log: list[str] = []
        self.reports: list[sv.ErrorRecord] = []
        self.completed: dict[int, sv.Outcome] = {}
        self.stopped: sv.TreeStopped | None = None
        self._todo: deque[sv.Action] = deque()

    def start(self) -> World:
        self.feed(self.tree.start(self.now))
        return self

    def feed(self, actions: list[sv.Action]) -> None:
        self._todo.extend(actions)
        while self._todo:
            self._carry_out(self._todo.popleft())

    def _carry_out(self, action: sv.Action) -> None:
        match action:
            case sv.StartActor(key, incarnation, spec):
                assert spec.id not in self.live
                self.ids[key] = spec.id
                self.live[spec.id] = (key, incarnation)
                self.log.append(f"start {spec.id}")
                if spec.id not in self.slow_start:
                    self.come_up(spec.id)
            case sv.StopActor(key, _, _, _):
                self.log.append(f"stop {self.ids[key]}")
                if self.ids[key] not in self.slow_stop:
                    self.exit(self.ids[key], SHUTDOWN)
            case sv.KillActor(key, _):
                self.log.append(f"kill {self.ids[key]}")
                self.exit(self.ids[key], KILLED)
            case sv.ArmTimer(timer, at):
                self.timers[timer] = at
            case sv.CancelTimer(timer):
                del self.timers[timer]
            case sv.Report(record):
                self.reports.append(record)
            case sv.Completed(operation, outcome):
                assert operation not in self.completed
                self.completed[operation] = outcome
            case sv.TreeStopped():
                assert self.stopped is None
                assert not self.live
                self.stopped = action
            case _:
                self.log.append("tree started")

    def come_up(self, child: str) -> None:
        key, incarnation = self.live[child]
        if child in self.failing | self.ignoring:
            del self.live[child]
            ignored = child in self.ignoring
            actions = self.tree.start_failed(key, incarnation, CRASH, self.now, ignored=ignored)
        else:
            actions = self.tree.actor_started(key, incarnation, self.now)
        self._todo.extend(actions)

    def exit(self, child: str, reason: sv.ExitReason) -> None:
        self._todo.extend(self.tree.actors_exited([self.live.pop(child)], reason, self.now))

    def crash(self, *children: str, reason: sv.ExitReason = CRASH, **options: Any) -> list[str]:
        """End actors through one event; give what was logged because of it."""
        before = len(self.log)
        gone = [self.live.pop(child) for child in children]
        self.feed(self.tree.actors_exited(gone, reason, self.now, **options))
        return self.log[before:]

    def stop(self) -> list[str]:
        before = len(self.log)
        self.feed(self.tree.stop(self.now))
        return self.log[before:]

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [(at, timer) for timer, at in self.timers.items() if at <= until]:
            self.now, timer = min(due)
            del self.timers[timer]
            self.feed(self.tree.timer_fired(timer, self.now))
        self.now = until

    def key(self, path: str) -> int:
        return self.tree.by_path(path)

    def add(self, parent: str, spec: sv.Spec) -> tuple[int, sv.Outcome | None]:
        key, operation, actions = self.tree.add_child(self.key(parent), spec, self.now)
        self.feed(actions)
        return key, self.completed.get(operation)

    def terminate(self, path: str) -> sv.Outcome | None:
        _, operation, actions = self.tree.terminate_child(self.key(path), self.now)
        self.feed(actions)
        return self.completed.get(operation)

    def restart(self, path: str) -> sv.Outcome | None:
        _, operation, actions = self.tree.restart_child(self.key(path), self.now)
        self.feed(actions)
        return self.completed.get(operation)

    def counts(self, path: str = "root") -> tuple[int, int, int, int]:
        counts = self.tree.count_children(self.key(path))
        return counts.specs, counts.active, counts.supervisors, counts.actors

    def state(self, path: str) -> State:
        parent, _, child = path.rpartition("/")
        rows = self.tree.which_children(self.key(parent))
        return next(row.state for row in rows if row.id == child)


def actor(id_: str, restart: Restart = Restart.PERMANENT, **fields: Any) -> sv.ChildSpec:
    return sv.ChildSpec(id_, b"", restart, **fields)


def root(*children: str | sv.Spec, **fields: Any) -> SupervisorSpec:
    return supervisor("root", *children, **fields)


def supervisor(id_: str, *children: str | sv.Spec, **fields: Any) -> SupervisorSpec:
    specs = tuple(actor(child) if isinstance(child, str) else child for child in children)
    return SupervisorSpec(id_, children=specs, **fields)


def running(*children: str | sv.Spec, **fields: Any) -> World:
    return World(root(*children, **({"max_restarts": 5} | fields))).start()


def two_levels(**fields: Any) -> SupervisorSpec:
    dynamic = supervisor("pool", strategy=Strategy.DYNAMIC)
    return root(supervisor("one", "a", "b", dynamic), supervisor("two", "c"), **fields)
