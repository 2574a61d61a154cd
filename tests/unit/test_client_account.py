"""What a client's account makes of its times, under a clock that is told."""

from __future__ import annotations

from gristmill.metrics import TimeClass
from gristmill.node.client.account import DESER, ClientAccount
from gristmill.ref import Address
from support.actors import Add


def test_what_a_client_decodes_is_of_its_asks_but_for_events_and_acknowledgements() -> None:
    now = 0
    account = ClientAccount()
    account.clock = lambda: now
    account.asked(Address(1, 1, "m:Worker"), Add, 1, 10, now)
    begun, now = now, 100
    account.took_replies(begun)
    begun, now = now, 1_000
    account.took_others(begun)
    now = 2_000  # the frames themselves took as long as what was in them
    account.add(DESER, 0)
    row = account.snapshot()
    assert row.classes[TimeClass.DESER] == 2_000
    assert [sent.deser_ns for sent in row.sent] == [200], "a tenth: 100 of 1,000"
