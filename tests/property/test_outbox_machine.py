"""At-least-once: whatever dies, each message is handled, in order, until it is acknowledged."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gristmill.durability.journal import open_store
from gristmill.ref import Address, Mailbox
from gristmill.worker.messaging.outbox import Outbox

CAPACITY = 3


class OutboxMachine(RuleBasedStateMachine):
    """A sender, a wire that can be cut, and a receiver that filters duplicates by its mark."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.sent: list[bytes] = []
        self.handled: list[bytes] = []
        self.wire: list[tuple[int, bytes]] = []
        self.transmitted: set[int] = set()
        self.mark = 0
        self.incarnation = 1

    @initialize()
    def begin(self) -> None:
        self._open()
        self._locate()

    def _open(self) -> None:
        self.store = open_store(str(Path(self.folder.name)), "client")
        self.outbox = Outbox(self.store, self._transmit)

    def _locate(self) -> None:
        self.address = Address(1, 1, "m:A", "target", Mailbox(CAPACITY))
        self.outbox.located(self.address, self.incarnation)

    def _transmit(
        self, to: Address, sender: str, first: int, bodies: list[bytes], *, again: bool
    ) -> None:
        for number, body in enumerate(bodies, first):
            assert again or number not in self.transmitted
            self.transmitted.add(number)
            self.wire.append((number, body))

    @rule(runs=st.lists(st.tuples(st.sampled_from(["", "a"]), st.integers(1, 5)), max_size=3))
    def send(self, runs: list[tuple[str, int]]) -> None:
        for sender, count in runs:
            bodies = [str(len(self.sent) + n).encode() for n in range(count)]
            self.sent += bodies
            self.outbox.send(self.address, sender, bodies)
        self.store.commit()

    @rule(count=st.integers(1, 5), acknowledged=st.booleans())
    def handle(self, count: int, *, acknowledged: bool) -> None:
        taken, self.wire = self.wire[:count], self.wire[count:]
        for number, body in taken:
            if number == self.mark + 1:
                self.handled.append(body)
                self.mark = number
        if acknowledged and taken:
            self.outbox.acknowledged("target", min(self.mark, taken[-1][0]))
            self.store.commit()

    @rule()
    def receiver_dies(self) -> None:
        self.wire.clear()
        self.outbox.lost(1)
        self.incarnation += 1
        self._locate()

    @rule()
    def target_leaves(self) -> None:
        self.outbox.unlocated("target")
        assert bool(self.outbox._lanes) == self.outbox.has_open("target"), "nothing else is kept"
        self.wire.clear()
        self._locate()

    @rule()
    def sender_dies(self) -> None:
        self.store.close()
        self.wire.clear()
        self.incarnation += 1
        self._open()
        self._locate()

    @invariant()
    def nothing_is_out_of_order(self) -> None:
        assert self.handled == self.sent[: len(self.handled)]

    @invariant()
    def the_mailbox_is_never_overrun(self) -> None:
        assert len({number for number, _ in self.wire}) <= CAPACITY

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.receiver_dies()
            while self.wire:
                self.handle(5, acknowledged=True)
            assert self.handled == self.sent
            assert len(self.outbox) == 0
            self.store.close()
        self.folder.cleanup()


TestOutbox = OutboxMachine.TestCase
TestOutbox.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
