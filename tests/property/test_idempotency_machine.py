from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gristmill.errors import IdempotencyConflictError, UsageError
from gristmill.facets import IdempotencyTable, InProgress, KeyCompleted, Replay, Run

TTL = 10.0
KEYS = st.sampled_from(["a", "b", "c"])


class IdempotencyMachine(RuleBasedStateMachine):
    """A durable owner that may crash at any point, against two plain dicts."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.runs = 0
        self.table = IdempotencyTable(TTL)
        self.journal: list[KeyCompleted] = []
        self.running: dict[str, str] = {}
        self.done: dict[str, tuple[str, bytes, float]] = {}

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.5, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=KEYS, payload=st.sampled_from(["x", "x", "y"]))
    def claim(self, key: str, payload: str) -> None:
        done = self.done.get(key)
        if done is not None and self.now >= done[2]:
            del self.done[key]
            done = None
        known = done[0] if done else self.running.get(key)
        if known not in (None, payload):
            with pytest.raises(IdempotencyConflictError):
                self.table.claim(key, payload, self.now)
            return
        claim = self.table.claim(key, payload, self.now)
        if done:
            assert claim == Replay(done[1])
        elif key in self.running:
            assert claim == InProgress()
        else:
            assert claim == Run()
            self.running[key] = payload

    @rule(key=KEYS)
    def complete(self, key: str) -> None:
        if key not in self.running:
            with pytest.raises(UsageError):
                self.table.complete(key, b"stray", self.now)
            return
        self.runs += 1
        outcome = b"%d" % self.runs
        record = self.table.complete(key, outcome, self.now)
        self.journal.append(record)
        self.done[key] = (self.running.pop(key), outcome, self.now + TTL)

    @rule(key=KEYS)
    def release(self, key: str) -> None:
        if key in self.running:
            self.table.release(key)
            del self.running[key]
        else:
            with pytest.raises(UsageError):
                self.table.release(key)

    @rule()
    def crash_and_replay(self) -> None:
        self.table = IdempotencyTable(TTL)
        for record in self.journal:
            self.table.apply(record)
        self.running.clear()

    @precondition(lambda self: self.journal)
    @rule()
    def compact(self) -> None:
        self.journal = list(self.table.records())

    @rule()
    def expire(self) -> None:
        before = len(self.table)
        assert self.table.expire(self.now) == before - len(self.table)
        self.done = {k: d for k, d in self.done.items() if self.now < d[2]}
        assert {r.key for r in self.table.records()} == set(self.done)

    @invariant()
    def bounded(self) -> None:
        assert len(self.table) <= 3


TestIdempotencyMachine = IdempotencyMachine.TestCase
TestIdempotencyMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
