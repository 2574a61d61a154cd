"""The journal against a model: dictionaries that commit, roll back and lose actors' places."""

from __future__ import annotations

import copy
import shutil
import tempfile
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gristmill.durability.journal import open_store, read_journal
from gristmill.durability.reader import JournalReader
from gristmill.durability.writer import SqliteStore

SLOTS = ("w0", "w1", "w2")
actors = st.sampled_from(["a", "b"])
keys = st.sampled_from(["x", "y"])
targets = st.sampled_from(["t", "u"])
slot_names = st.sampled_from(SLOTS)
payloads = st.binary(max_size=4)


@dataclass
class Model:
    """What must be readable."""

    events: dict[str, list[bytes]] = field(default_factory=lambda: {"a": [], "b": []})
    snapshots: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    """How many events the last snapshot stands for."""
    values: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"a": {}, "b": {}})
    marks: dict[str, dict[str, int]] = field(default_factory=lambda: {"a": {}, "b": {}})
    sent: dict[tuple[str, str], int] = field(default_factory=dict)
    pending: dict[tuple[str, str], dict[int, bytes]] = field(default_factory=dict)


class JournalMachine(RuleBasedStateMachine):
    """Actors move between three slots; a turn ends in a commit, a rollback or a death.

    An actor moves only while nothing of it is buffered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.stores: dict[str, SqliteStore] = {}
        self.homes = {"a": "w0", "b": "w0"}
        self.committed = Model()
        self.model = Model()

    @initialize()
    def open_all(self) -> None:
        self.stores = {slot: open_store(self.directory, slot) for slot in SLOTS}

    def home(self, actor: str) -> SqliteStore:
        return self.stores[self.homes[actor]]

    @rule(actor=actors, payload=payloads)
    def append(self, actor: str, payload: bytes) -> None:
        seq = self.home(actor).append(actor, "Added", payload)
        self.model.events[actor].append(payload)
        assert seq == len(self.model.events[actor]) == self.home(actor).last_sequence(actor)

    @rule(actor=actors)
    def snapshot(self, actor: str) -> None:
        events = self.model.events[actor]
        state = b",".join(event.hex().encode() for event in events)
        assert self.home(actor).snapshot(actor, "State", state) == len(events)
        self.model.snapshots[actor] = len(events)

    def check_history(self, reader: JournalReader, actor: str, model: Model) -> None:
        """A snapshot and what is replayed after it are all events."""
        events, covered = model.events[actor], model.snapshots[actor]
        snapshot = reader.last_snapshot(actor)
        if snapshot is None:
            assert covered == 0
        else:
            assert snapshot.seq == covered
            assert snapshot.payload == b",".join(e.hex().encode() for e in events[:covered])
        rest = list(reader.replay(actor))
        assert [record.seq for record in rest] == list(range(covered + 1, len(events) + 1))
        assert [record.payload for record in rest] == events[covered:]

    @rule(actor=actors, key=keys, value=payloads)
    def put(self, actor: str, key: str, value: bytes) -> None:
        self.home(actor).put(actor, key, value)
        self.model.values[actor][key] = value

    @rule(actor=actors, key=keys)
    def delete(self, actor: str, key: str) -> None:
        self.home(actor).delete(actor, key)
        self.model.values[actor].pop(key, None)

    @rule(actor=actors, sender=targets, number=st.integers(1, 9))
    def mark(self, actor: str, sender: str, number: int) -> None:
        self.home(actor).mark(actor, sender, number)
        marks = self.model.marks[actor]
        marks[sender] = max(number, marks.get(sender, 0))

    @rule(actor=actors, receiver=targets, payload=payloads)
    def enqueue(self, actor: str, receiver: str, payload: bytes) -> None:
        box = (self.homes[actor], receiver)
        self.model.sent[box] = self.model.sent.get(box, 0) + 1
        assert self.home(actor).enqueue(receiver, payload) == self.model.sent[box]
        self.model.pending.setdefault(box, {})[self.model.sent[box]] = payload

    @rule(actor=actors, receiver=targets, number=st.integers(0, 9))
    def acknowledge(self, actor: str, receiver: str, number: int) -> None:
        box = (self.homes[actor], receiver)
        self.home(actor).acknowledge(receiver, number)
        pending = self.model.pending.get(box, {})
        self.model.pending[box] = {n: p for n, p in pending.items() if n > number}

    @rule()
    def commit(self) -> None:
        for store in self.stores.values():
            store.commit()
        self.committed = copy.deepcopy(self.model)

    @rule()
    def roll_back(self) -> None:
        for store in self.stores.values():
            store.rollback()
        self.model = copy.deepcopy(self.committed)

    @rule(slot=slot_names)
    def reopen_after_loss(self, slot: str) -> None:
        self.roll_back()
        self.stores[slot].close()
        self.stores[slot] = open_store(self.directory, slot)

    @rule(actor=actors, slot=slot_names)
    def move(self, actor: str, slot: str) -> None:
        self.commit()
        self.homes[actor] = slot
        self.check_history(self.home(actor), actor, self.model)
        assert self.home(actor).get_all(actor) == self.model.values[actor]

    @invariant()
    def every_reader_sees_what_was_committed(self) -> None:
        with read_journal(self.directory) as reader:
            for actor in ("a", "b"):
                self.check_history(reader, actor, self.committed)
                assert reader.get_all(actor) == self.committed.values[actor]
                assert reader.marks(actor) == self.committed.marks[actor]
        for slot, store in self.stores.items():
            assert list(store.pending()) == [
                (target, number, payload)
                for (owner, target), box in sorted(self.committed.pending.items())
                for number, payload in sorted(box.items())
                if owner == slot
            ]

    def teardown(self) -> None:
        for store in self.stores.values():
            store.close()
        shutil.rmtree(self.directory)


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
