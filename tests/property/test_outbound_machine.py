"""``Outbound`` against a list: runs change how messages travel, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gristmill.transport.envelope import ACK, ASK, EVENT, REPLY, RUNS, TELL, pack
from gristmill.transport.outbound import LONGEST_RUN, Head, Outbound

heads = st.sampled_from(
    [
        (REPLY,),
        (TELL, 1, 0),
        (TELL, 2, 0),
        (ASK, 1, 0, 0.0),
        (ASK, 1, 0, 5.0),
        (EVENT, "a channel", [1, 2], 0),
    ]
)
bodies = st.one_of(st.binary(max_size=4), st.just(bytes(1025)))
Sent = tuple[list[Any], int, bytes]


def messages_of(envelopes: list[bytes]) -> list[Sent]:
    """Give what an envelope says for each message in it: its head, its number, its body."""
    found: list[Sent] = []
    for envelope in envelopes:
        *head, last = msgspec.msgpack.decode(envelope)
        if head[0] not in RUNS:
            found.append((head, 0, last))
            continue
        *head, first = head
        assert 1 <= len(last) <= LONGEST_RUN
        found += [(head, first + place if first else 0, body) for place, body in enumerate(last)]
    return found


class OutboundMachine(RuleBasedStateMachine):
    """Puts messages in and takes them out."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.outbound = Outbound(self.note)
        self.model: list[Sent] = []
        self.next = 1

    def note(self) -> None:
        assert not self.model, "it waited already"
        self.begun += 1

    @rule(body=bodies)
    def add(self, body: bytes) -> None:
        self.outbound.add(pack((ACK, body)))
        self.model.append(([ACK], 0, body))

    @rule(head=heads, body=bodies, gap=st.integers(0, 1), numbered=st.booleans())
    def put(self, head: Head, body: bytes, gap: int, numbered: bool) -> None:
        self.next += gap
        number = self.next if numbered or head[0] != TELL else 0
        self.outbound.put(head, number, body)
        self.model.append((list(head), number, body))
        self.next += 1

    @rule(
        head=heads, many=st.lists(bodies, min_size=1, max_size=4), times=st.sampled_from([1, 300])
    )
    def put_run(self, head: Head, many: list[bytes], times: int) -> None:
        many *= times
        self.outbound.put_run(head, self.next, many)
        self.model += [(list(head), self.next + at, body) for at, body in enumerate(many)]
        self.next += len(many)

    @rule()
    def take(self) -> None:
        envelopes, sizes = self.outbound.take()
        assert messages_of(envelopes) == self.model
        assert [len(messages_of([each])) for each in envelopes] == sizes
        self.model = []

    @invariant()
    def counts(self) -> None:
        assert self.outbound.messages == len(self.model)


TestOutbound = OutboundMachine.TestCase
