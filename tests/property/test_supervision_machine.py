"""A random world played against the tree: starts, failures, exits of several at once, timeouts."""

from __future__ import annotations

import random

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gristmill import supervision as sv
from gristmill.errors import ErrorData, GristmillError
from gristmill.supervision import Restart, State, Strategy

CRASH = sv.Crash(ErrorData("ValueError", "x"))
REASONS = st.sampled_from([sv.Normal(), sv.Shutdown(), CRASH, sv.Killed(9), sv.Exited(1)])
STATIC = [strategy for strategy in Strategy if strategy is not Strategy.DYNAMIC]
POLICIES: list[sv.ShutdownPolicy] = [sv.BRUTAL_KILL, sv.INFINITY, 1.0]
SHUTDOWNS = st.sampled_from(POLICIES)
VERDICTS = st.sampled_from(
    [
        None,
        sv.Verdict(sv.Directive.RESTART),
        sv.Verdict(sv.Directive.RESTART, 0.5),
        sv.Verdict(sv.Directive.REPLAY),
        sv.Verdict(sv.Directive.STOP),
    ]
)
BACKOFFS = st.sampled_from([None, None, sv.Backoff(0.5, 4.0)])


@st.composite
def actors(draw: st.DrawFn, id_: str, *, significant: bool = False) -> sv.ChildSpec:
    restart = draw(st.sampled_from(Restart))
    marked = significant and restart is not Restart.PERMANENT and draw(st.booleans())
    return sv.ChildSpec(id_, b"", restart, draw(SHUTDOWNS), marked, draw(BACKOFFS))


@st.composite
def supervisors(draw: st.DrawFn, id_: str, depth: int) -> sv.SupervisorSpec:
    auto = draw(st.sampled_from(sv.AutoShutdown)) if depth else sv.AutoShutdown.NEVER
    children: list[sv.Spec] = []
    for number in range(draw(st.integers(0, 3))):
        if depth and draw(st.booleans()):
            children.append(draw(supervisors(f"s{number}", depth - 1)))
        else:
            marked = auto is not sv.AutoShutdown.NEVER
            children.append(draw(actors(f"a{number}", significant=marked)))
    if depth:
        children.append(sv.SupervisorSpec("pool", Strategy.DYNAMIC, max_restarts=1))
    return sv.SupervisorSpec(
        id_,
        draw(st.sampled_from(STATIC)),
        draw(st.integers(0, 4)),
        draw(st.sampled_from([1.0, 5.0])),
        tuple(children),
        draw(st.sampled_from(Restart)),
        draw(SHUTDOWNS),
        auto_shutdown=auto,
    )


def flatten(view: sv.Snapshot) -> list[sv.Snapshot]:
    return [view, *(below for child in view.children for below in flatten(child))]


class TreeMachine(RuleBasedStateMachine):
    """Holds what an operating system would know, and checks each action against it."""

    @initialize(data=st.data())
    def grow(self, data: st.DataObject) -> None:
        self.tree = sv.SupervisionTree(data.draw(supervisors("root", 2)), random.Random(1))
        self.now = 0.0
        self.live: dict[int, int] = {}
        self.starting: set[int] = set()
        self.asked: set[int] = set()
        self.killed: set[int] = set()
        self.last: dict[int, int] = {}
        self.timers: dict[int, float] = {}
        self.operations: set[int] = set()
        self.stopped: sv.TreeStopped | None = None
        self.stop_asked = False
        self.names = 0
        self.take(self.tree.start(self.now))

    def take(self, actions: list[sv.Action]) -> None:
        for action in actions:
            assert self.stopped is None, "an action after the end"
            match action:
                case sv.StartActor(key, incarnation, _):
                    assert key not in self.live
                    assert incarnation == self.last.get(key, 0) + 1
                    self.live[key] = self.last[key] = incarnation
                    self.starting.add(key)
                case sv.StopActor(key, incarnation, _, _):
                    assert self.live[key] == incarnation
                    assert key not in self.asked | self.killed
                    self.asked.add(key)
                case sv.KillActor(key, incarnation):
                    assert self.live[key] == incarnation
                    assert key not in self.killed
                    self.killed.add(key)
                case sv.ArmTimer(timer, at):
                    assert at >= self.now
                    self.timers[timer] = at
                case sv.CancelTimer(timer):
                    del self.timers[timer]
                case sv.Report(record):
                    over = record.restarts > record.max_restarts
                    assert over is (record.decision is sv.Decision.GAVE_UP) or (
                        record.decision not in (sv.Decision.GAVE_UP, sv.Decision.RESTART)
                    )
                case sv.Completed(operation, _):
                    self.operations.remove(operation)
                case sv.TreeStopped():
                    assert not self.live
                    assert bool(action.causes) is (action.ending is not sv.Ending.STOPPED)
                    self.stopped = action

    def bury(self, key: int) -> tuple[int, int]:
        for kind in (self.starting, self.asked, self.killed):
            kind.discard(key)
        return key, self.live.pop(key)

    def pick(self, data: st.DataObject, keys: set[int]) -> int:
        return data.draw(st.sampled_from(sorted(keys)))

    @precondition(lambda self: self.starting - self.killed)
    @rule(data=st.data())
    def comes_up(self, data: st.DataObject) -> None:
        key = self.pick(data, self.starting - self.killed)
        self.starting.discard(key)
        self.take(self.tree.actor_started(key, self.live[key], self.now))

    @precondition(lambda self: self.starting)
    @rule(data=st.data(), reason=REASONS, ignored=st.booleans(), verdict=VERDICTS)
    def fails_to_start(
        self,
        data: st.DataObject,
        reason: sv.ExitReason,
        ignored: bool,
        verdict: sv.Verdict | None,
    ) -> None:
        key, incarnation = self.bury(self.pick(data, self.starting))
        actions = self.tree.start_failed(
            key, incarnation, reason, self.now, ignored=ignored, verdict=verdict
        )
        self.take(actions)

    @precondition(lambda self: set(self.live) - self.starting)
    @rule(data=st.data(), verdict=VERDICTS)
    def one_fails(self, data: st.DataObject, verdict: sv.Verdict | None) -> None:
        gone = self.bury(self.pick(data, set(self.live) - self.starting))
        before = self.windows()
        owner = self.owner_of(gone[0])
        self.take(self.tree.actors_exited([gone], CRASH, self.now, verdict=verdict))
        after = self.windows().get(owner, before[owner])
        if verdict is not None and after[0] == before[owner][0]:
            assert after[1] <= before[owner][1], "what its class decides has cost something"

    def owner_of(self, key: int) -> int:
        views = flatten(self.tree.snapshot(self.now))
        return next(v.key for v in views if any(child.key == key for child in v.children))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), reason=REASONS, collateral=st.booleans())
    def some_exit(self, data: st.DataObject, reason: sv.ExitReason, collateral: bool) -> None:
        keys = st.lists(st.sampled_from(sorted(self.live)), min_size=1, max_size=4, unique=True)
        gone = [self.bury(key) for key in data.draw(keys)]
        before = self.windows()
        actions = self.tree.actors_exited(gone, reason, self.now, collateral=collateral)
        self.take(actions)
        after = self.windows()
        for key in before.keys() & after.keys():
            (incarnation, used), (incarnation_after, used_after) = before[key], after[key]
            if incarnation == incarnation_after:
                assert used_after <= used + 1, "more than one unit for one event"
        assert self.tree.actors_exited(gone, reason, self.now) == [], "a double exit counted"

    def windows(self) -> dict[int, tuple[int, int]]:
        views = flatten(self.tree.snapshot(self.now))
        return {view.key: (view.incarnation, view.restarts_in_window) for view in views}

    @precondition(lambda self: self.asked | self.killed)
    @rule(data=st.data())
    def obeys(self, data: st.DataObject) -> None:
        key = self.pick(data, self.asked | self.killed)
        reason = sv.Killed(9) if key in self.killed else sv.Shutdown()
        self.take(self.tree.actors_exited([self.bury(key)], reason, self.now))

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [(at, timer) for timer, at in self.timers.items() if at <= until]:
            self.now, timer = min(due)
            del self.timers[timer]
            self.take(self.tree.timer_fired(timer, self.now))
            assert self.tree.timer_fired(timer, self.now) == []
        self.now = until

    @rule(data=st.data(), verb=st.sampled_from(["add", "terminate", "restart", "delete"]))
    def administer(self, data: st.DataObject, verb: str) -> None:
        view = data.draw(st.sampled_from(flatten(self.tree.snapshot(self.now))))
        try:
            match verb:
                case "add":
                    self.names += 1
                    spec = data.draw(actors(f"n{self.names}"))
                    _, operation, actions = self.tree.add_child(view.key, spec, self.now)
                case "terminate":
                    _, operation, actions = self.tree.terminate_child(view.key, self.now)
                case "restart":
                    _, operation, actions = self.tree.restart_child(view.key, self.now)
                case _:
                    self.tree.delete_child(view.key)
                    return
        except GristmillError:
            return
        self.operations.add(operation)
        self.take(actions)

    @precondition(lambda self: not self.stop_asked)
    @rule(dice=st.integers(0, 9), kill=st.booleans())
    def stop(self, dice: int, kill: bool) -> None:
        if dice:
            return
        self.stop_asked = True
        self.take((self.tree.kill if kill else self.tree.stop)(self.now))

    @invariant()
    def tree_and_world_agree(self) -> None:
        views = flatten(self.tree.snapshot(self.now))
        alive = (State.STARTING, State.RUNNING, State.STOPPING)
        believed = {
            view.key: view.incarnation
            for view in views
            if view.kind == "actor" and view.state in alive
        }
        assert believed == self.live
        root = views[0]
        assert (root.state is State.STOPPED) is (self.stopped is not None)
        if self.starting or self.asked or self.killed or self.timers:
            return
        # nothing is on its way, so nothing may be half done
        assert {view.state for view in views} <= {State.RUNNING, State.STOPPED}
        assert not self.operations
        assert root.state is State.RUNNING or self.stopped is not None

    def teardown(self) -> None:
        if not hasattr(self, "tree"):
            return
        self.take(self.tree.stop(self.now))
        for _ in range(1000):
            if self.stopped is not None:
                break
            waiting = sorted(self.asked | self.killed)
            if waiting:
                gone = [self.bury(waiting[0])]
                self.take(self.tree.actors_exited(gone, sv.Shutdown(), self.now))
            elif self.starting:
                key = min(self.starting)
                self.starting.discard(key)
                self.take(self.tree.actor_started(key, self.live[key], self.now))
            else:
                self.time_passes(1.0)
        assert self.stopped is not None
        assert not self.timers
        assert not self.operations


TreeMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, print_blob=True
)
test_random_worlds = TreeMachine.TestCase
