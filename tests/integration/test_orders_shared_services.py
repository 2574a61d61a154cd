"""A member of an elastic pool takes every message for one that another may have tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gristmill import Actor, Context, Node, Ref, Request, handles
from gristmill_orders import messages as msg
from gristmill_orders.compute.rates import CARRIERS
from gristmill_orders.externals.faults import FaultPlan, Outage
from gristmill_orders.externals.gateway import GatewayPlan
from gristmill_orders.ledger import Label, Ledger, read_ledger
from gristmill_orders.services import PaymentServiceActor, ShippingServiceActor
from gristmill_orders.values import OrderItem, StockLine
from gristmill_orders.world import World
from support.waiting import eventually

NO_FAULTS = FaultPlan(fault_share=0.0, lost_reply_share=0.0)
PAYMENT = msg.ProcessPayment(
    "order-a", "a", 1, 1530, "card", "17850", (OrderItem("85123A", "HOLDER", 6, 255),), "France"
)


class Have(Request[int]):
    """Ask a service for a payment, or for a label."""

    of: Ref[Any]
    what: str


class Answers(Request[list[str]]):
    """What has come back?"""


class Processor(Actor):
    def __init__(self) -> None:
        self.answers: list[str] = []

    @handles
    def have(self, message: Have, ctx: Context) -> int:
        lines = (StockLine("85123A", 6),)
        label = msg.ShipOrder("order-a", "a:label", lines, "France", 1, ctx.now())
        command = PAYMENT if message.what == "payment" else label
        message.of.tell(command, delivery="at_least_once")
        return 1

    @handles
    def unavailable(self, message: msg.PaymentUnavailable) -> None:
        self.answers.append(f"uncertain: {message.uncertain}")

    @handles
    def label(self, message: msg.LabelMade) -> None:
        self.answers.append(message.tracking_number)

    @handles
    def so_far(self, message: Answers) -> list[str]:
        return self.answers


def answer(folder: Path, world: World, service: type[Any], what: str, *, shared: bool) -> str:
    with Node(workers=1, in_process=True, journal=folder / "journal") as node:
        kwargs = {"shared": shared}
        member = node.spawn(service, args=(world,), kwargs=kwargs, name=f"{what}-1")
        processor = node.spawn(Processor, name="processor")
        processor.ask(Have(member, what))
        found: list[str] = eventually(lambda: processor.ask(Answers()), "it has answered")
        return found[0]


@pytest.mark.parametrize("shared", [True, False])
def test_a_payment_that_gets_no_answer_may_have_been_charged_by_another(
    tmp_path: Path, shared: bool
) -> None:
    out = GatewayPlan(outages=(Outage(),))
    world = World(str(tmp_path / "ledger"), gateway=out, compute=False)
    found = answer(tmp_path, world, PaymentServiceActor, "payment", shared=shared)
    assert found == f"uncertain: {shared}"


@pytest.mark.parametrize("shared", [True, False])
def test_the_label_that_another_has_got_is_the_order_s(tmp_path: Path, shared: bool) -> None:
    """The carrier that it is from is not the one that would be asked first."""
    world = World(str(tmp_path / "ledger"), carriers=NO_FAULTS, compute=False)
    first = answer(tmp_path / "first", world, ShippingServiceActor, "shipping", shared=False)
    (label,) = read_ledger(tmp_path / "ledger" / "carriers.jsonl")
    assert isinstance(label, Label)
    assert label.tracking_number == first
    other = next(tariff.name for tariff in CARRIERS if tariff.name != label.carrier)
    again = World(str(tmp_path / "books"), carriers=NO_FAULTS, compute=False)
    (tmp_path / "books").mkdir()
    ledger = Ledger(tmp_path / "books" / "carriers.jsonl")
    with ledger.locked():
        ledger.append(Label(f"{other}/a:label", "order-a", other, "Standard", "KNOWN", 100))
    ledger.close()
    found = answer(tmp_path / "second", again, ShippingServiceActor, "shipping", shared=shared)
    assert (found == "KNOWN") == shared
