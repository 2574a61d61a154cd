"""Payments that come in one batch: each has its own claim and its own answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gristmill import Actor, Context, Node, Ref, Request, handles
from gristmill_orders import messages as msg
from gristmill_orders.externals.gateway import GatewayPlan
from gristmill_orders.kernels import fraud_scores
from gristmill_orders.ledger import read_ledger
from gristmill_orders.services import PaymentServiceActor
from gristmill_orders.values import OrderItem
from gristmill_orders.world import World
from support.mailboxes import in_one_go
from support.waiting import eventually


def payment(key: str, attempt: int = 1, cents: int = 1530) -> msg.ProcessPayment:
    items = (OrderItem("85123A", "HOLDER", 6, 255),)
    return msg.ProcessPayment(f"order-{key}", key, attempt, cents, "card", "17850", items, "France")


class Answers(Request[list[str]]):
    """What has come back?"""


class Pay(Request[int]):
    """Send payments on."""

    to: Ref[Any]
    payments: tuple[msg.ProcessPayment, ...]


class Payer(Actor):
    def __init__(self) -> None:
        self.answers: list[str] = []

    @handles
    def pay(self, message: Pay) -> int:
        for each in message.payments:
            message.to.tell(each, delivery="at_least_once")
        return len(message.payments)

    @handles
    def authorised(self, message: msg.PaymentAuthorised, ctx: Context) -> None:
        self.answers.append(f"{message.order_id} {message.attempt} authorised {message.cents}")

    @handles
    def refused(self, message: msg.PaymentRefused) -> None:
        self.answers.append(f"{message.order_id} {message.attempt} refused {message.reason}")

    @handles
    def so_far(self, message: Answers) -> list[str]:
        return self.answers


def test_a_key_that_comes_twice_in_a_batch_is_charged_once(tmp_path: Path) -> None:
    world = World(str(tmp_path / "ledger"), gateway=GatewayPlan(refused_share=0.0, fault_share=0.0))
    with Node(workers=1, in_process=True, journal=tmp_path / "journal") as node:
        service = node.spawn(PaymentServiceActor, args=(world,), name="payment")
        payers = [node.spawn(Payer, name=f"payer-{n}") for n in (1, 2)]
        with in_one_go(node, service):
            payers[0].ask(Pay(service, (payment("a"), payment("b"), payment("a", 2))))
            payers[1].ask(Pay(service, (payment("c"), payment("b", 1, 99))))
        eventually(lambda: len(payers[1].ask(Answers())) == 2, "all are answered")
        assert payers[0].ask(Answers()) == [
            "order-a 1 authorised 1530",
            "order-b 1 authorised 1530",
            "order-a 2 authorised 1530",
        ]
        first, second = payers[1].ask(Answers())
        assert first == "order-c 1 authorised 1530"
        assert second.startswith("order-b 1 refused idempotency key 'b' was used for another")
    charged = [entry.key for entry in read_ledger(tmp_path / "ledger" / "gateway.jsonl")]
    assert sorted(charged) == ["a", "b", "c"]


def test_a_score_does_not_depend_on_the_batch() -> None:
    scores = fraud_scores(7, compute=True)
    payments = [payment(str(n), cents=100 * n) for n in range(1, 40)]
    together = list(scores(payments))
    assert together == [scores([each])[0] for each in payments]
