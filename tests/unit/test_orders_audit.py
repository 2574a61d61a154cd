"""The audit finds each way in which a run can break a promise, and names the order."""

from __future__ import annotations

from typing import Any

import pytest

from gristmill.messages import Event
from gristmill_orders import events as ev
from gristmill_orders.audit import AuditResult, RunFacts, audit, stream_violations
from gristmill_orders.digest import Outcome, outcome_digest
from gristmill_orders.inventory import AMPLE, StockLevel, initial_stock
from gristmill_orders.ledger import Charge, Label, LedgerEntry, Refund
from gristmill_orders.states import OrderState
from gristmill_orders.values import Address, OrderItem, RefundLine, StockMove

SEED = 7
HOLDER = initial_stock(SEED, "A").index(AMPLE)
HEAD = ("o1", "536365")
HISTORY: tuple[ev.OrderEvent, ...] = (
    ev.OrderCreated(
        *HEAD, 1, "c1", (OrderItem("A", "mug", 3, 50),), 0, "card", Address("France"), "k1", 0.0
    ),
    ev.PaymentRequested(*HEAD, 2, 1),
    ev.PaymentCompleted(*HEAD, 3, 150, 1),
    ev.InventoryReserved(*HEAD, 4),
    ev.ShipmentCreated(*HEAD, 5, "Swift", "economy", "SW1", 399),
    ev.OrderCompleted(*HEAD, 6, 150),
    ev.RefundRequested(*HEAD, 7, "C1", (RefundLine("A", 1, 50),), 50),
    ev.RefundAsked(*HEAD, 8, "k1:refund:C1", 50, 1),
    ev.LinesRefunded(*HEAD, 9, "C1", "k1:refund:C1", 50),
)
STOCK: tuple[ev.StockEvent, ...] = (
    ev.StockReserved("o1", (StockMove("A", HOLDER, 3),)),
    ev.StockShipped("o1"),
)
CHARGE = Charge("k1:payment", "o1", 150)
REFUND = Refund("k1:refund:C1", "k1:payment", "o1", 50)
LABEL = Label("Swift/k1:label", "o1", "Swift", "economy", "SW1", 399)
LEDGER: tuple[LedgerEntry, ...] = (CHARGE, REFUND, LABEL)


def check(
    history: tuple[ev.OrderEvent, ...] = HISTORY,
    stock: tuple[ev.StockEvent, ...] = STOCK,
    ledger: tuple[LedgerEntry, ...] = LEDGER,
    **facts: Any,
) -> AuditResult:
    journal: list[tuple[str, Event]] = [("processor-1", event) for event in history]
    journal += [("inventory", event) for event in stock]
    return audit(journal, ledger, RunFacts(**({"sent": 1, "stock_seed": SEED} | facts)))


def test_a_good_run_is_ok() -> None:
    initial = sum(initial_stock(SEED, "A"))
    result = check(
        observed={"a subscriber": HISTORY[2:]},
        stock_levels={"A": StockLevel(initial, initial - 3, 0, 3)},
    )
    assert result.violations == ()
    assert result.ok
    assert result.outcomes == (Outcome("536365", OrderState.COMPLETED, 150, 50),)
    assert result.counts["charged_cents"] == 150


def test_a_run_that_was_cut_off_may_have_open_orders() -> None:
    for length in range(1, len(HISTORY) + 1):
        reserved, labelled = length >= 3, length >= 5
        stock = STOCK[: (length >= 6) + reserved]
        ledger = [*LEDGER[: length >= 3], *([LABEL] if labelled else [])]
        ledger += [REFUND] if length >= 9 else []
        result = check(HISTORY[:length], stock, tuple(ledger), finished=False)
        assert result.violations == (), length


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("has not ended: it is Shipped", {"history": HISTORY[:5]}),
        ("waits for a refund of 50 cents", {"history": HISTORY[:8]}),
        ("has ended 2 times", {"history": (*HISTORY, ev.OrderFailed(*HEAD, 10, "no"))}),
        ("can't be rebuilt", {"history": (*HISTORY[:3], ev.OrderCompleted(*HEAD, 4, 150))}),
        ("event 4 behind event 2", {"history": HISTORY[:2] + HISTORY[3:]}),
        ("was charged 2 times", {"ledger": (*LEDGER, Charge("k2", "o1", 150))}),
        ("stands 2 times in the ledger", {"ledger": (*LEDGER, CHARGE)}),
        ("but 140 were charged", {"ledger": (Charge("k1:payment", "o1", 140), REFUND, LABEL)}),
        ("but 0 were refunded", {"ledger": (CHARGE, LABEL)}),
        ("order o9 is in the ledger", {"ledger": (*LEDGER, Charge("k9", "o9", 1))}),
        ("has 2 labels", {"ledger": (*LEDGER, Label("Gull/k", "o1", "Gull", "s", "GU1", 1))}),
        ("label SW1 is in no carrier's ledger", {"ledger": (CHARGE, REFUND)}),
        ("its stock is: reserved", {"stock": STOCK[:1]}),
        ("its stock is: not reserved", {"stock": ()}),
        ("from shipped to released", {"stock": (*STOCK, ev.StockReleased("o1"))}),
        ("from reserved to reserved", {"stock": (STOCK[0], *STOCK)}),
        (
            "other quantities reserved",
            {"stock": (ev.StockReserved("o1", (StockMove("A", HOLDER, 2),)), STOCK[1])},
        ),
        (
            "which then has -1 left",
            {"stock": (ev.StockReserved("o1", (StockMove("A", HOLDER, AMPLE + 1),)), STOCK[1])},
        ),
        ("order o9 has stock reserved", {"stock": (*STOCK, ev.StockReserved("o9", ()))}),
        ("product A: the inventory has", {"stock_levels": {"A": StockLevel(9, 9, 0, 0)}}),
        ("2 orders were sent, but 1 were created and 0 refused", {"sent": 2}),
        (
            "a subscriber has event 2 behind event 3",
            {"observed": {"a subscriber": (HISTORY[2], HISTORY[1])}},
        ),
    ],
)
def test_each_broken_promise_is_named(sentence: str, changes: dict[str, Any]) -> None:
    result = check(**changes)
    assert not result.ok
    assert any(sentence in violation for violation in result.violations), result.violations


def test_a_failed_order_keeps_nothing() -> None:
    history = (
        *HISTORY[:3],
        ev.InventoryFailed(*HEAD, 4, "short", ("A",)),
        ev.OrderFailed(*HEAD, 5, "short"),
    )
    money, label = check(history, (), (CHARGE, LABEL)).violations[:2]
    assert "of 150 cents charged only 0 were refunded" in money
    assert "has a label, but is Failed" in label


def test_an_order_in_two_journals_is_found() -> None:
    journal = [("processor-1", HISTORY[0]), ("processor-2", HISTORY[1])]
    result = audit(journal, (), RunFacts(1, SEED, finished=False))
    (sentence,) = result.violations
    assert "order o1 (536365) is in the journals of processor-1 and processor-2" in sentence


def test_refused_orders_count() -> None:
    refused = ev.OrderRefused("o2", "536366", 0, "too many")
    assert check((*HISTORY, refused), sent=2).ok


def test_a_gap_is_bridged_by_a_path_only() -> None:
    def seen(*events: ev.OrderEvent) -> list[str]:
        return list(stream_violations("a subscriber", events, gaps_allowed=True))

    assert seen(HISTORY[1], HISTORY[5]) == []
    assert seen(HISTORY[2], HISTORY[3]) == []
    assert seen(HISTORY[1], ev.CancelRequested(*HEAD, 5, "no"), HISTORY[5]) == []
    assert seen(HISTORY[3], ev.OrderCancelled(*HEAD, 6, "no")) == []
    (sentence,) = seen(HISTORY[4], ev.OrderCancelled(*HEAD, 8, "no"))
    assert "from Shipped to Cancelled" in sentence


def test_the_digest_leaves_out_what_depends_on_timing() -> None:
    done = [Outcome(f"{n}", OrderState.COMPLETED, 100 + n, 0) for n in range(3)]
    digest = outcome_digest(done)
    assert outcome_digest(reversed(done)) == digest
    assert outcome_digest([*done, Outcome("9", OrderState.CANCELLED, 0, 0)], {"9"}) == digest
    for other in (
        Outcome("0", OrderState.FAILED, 100, 0),
        Outcome("0", OrderState.COMPLETED, 101, 0),
        Outcome("0", OrderState.COMPLETED, 100, 1),
    ):
        assert outcome_digest([other, *done[1:]]) != digest
