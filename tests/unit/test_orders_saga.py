"""The saga step by step, in the words of the order service's contract."""

from __future__ import annotations

import pytest

from gristmill.errors import InvalidStateTransition, Reject, UsageError
from gristmill_orders import events as ev
from gristmill_orders import messages as msg
from gristmill_orders.book import OrderBook
from gristmill_orders.effects import DeadLetter, Effect, StartTimer, Tell
from gristmill_orders.order import Order, apply
from gristmill_orders.saga import SagaPolicy, decide
from gristmill_orders.states import OrderState
from gristmill_orders.values import Address, OrderItem, RefundLine, StockLine

ITEMS = (
    OrderItem("A", "mug", 2, 300),
    OrderItem("B", "plate", 1, 150),
    OrderItem("A", "mug", 1, 300),
)
CREATE = msg.CreateOrder("o1", "536365", "c1", ITEMS, 500, "card", Address("France"), "k1")
TOTAL = 1550

PAID = (msg.PaymentDue("o1", 1), msg.PaymentAuthorised("o1", 1, TOTAL))
RESERVED = (*PAID, msg.ReservationMade("o1"))
SHIPPED = (*RESERVED, msg.LabelMade("o1", "Swift", "express", "SW1", 499))
COMPLETED = (*SHIPPED, msg.ReservationShipped("o1"))


class Run:
    """An order book with one order in it, and all that came of the messages so far."""

    def __init__(self, *messages: msg.SagaMessage, policy: SagaPolicy | None = None) -> None:
        self.book = OrderBook(policy)
        self.events: list[ev.OrderEvent] = []
        self.effects: list[Effect] = []
        for message in (CREATE, *messages):
            self.send(message)

    def send(self, message: msg.SagaMessage, now: float = 0.0) -> list[str]:
        """Handle a message; give the names of its events."""
        events, effects = self.book.handle(message, now)
        self.events += events
        self.effects = effects
        return [type(event).__name__ for event in events]

    @property
    def order(self) -> Order:
        return self.book.order("o1")

    def state(self) -> OrderState:
        return self.order.state

    @property
    def timer(self) -> StartTimer:
        (timer,) = self.effects
        assert isinstance(timer, StartTimer)
        return timer

    @property
    def commands(self) -> list[object]:
        return [effect.command for effect in self.effects if isinstance(effect, Tell)]


def test_an_order_goes_all_the_way() -> None:
    run = Run()
    assert run.effects == [StartTimer("k1:payment", 0.0, msg.PaymentDue("o1", 1))]
    states, commands = [run.state()], []
    for message in COMPLETED:
        run.send(message)
        states.append(run.state())
        commands += run.commands
    assert states == [
        OrderState.PENDING,
        OrderState.PAYMENT_PROCESSING,
        OrderState.PAYMENT_PROCESSING,
        OrderState.RESERVED,
        OrderState.SHIPPED,
        OrderState.COMPLETED,
    ]
    lines = tuple(StockLine(sku, quantity) for sku, quantity in (("A", 3), ("B", 1)))
    assert commands == [
        msg.ProcessPayment("o1", "k1:payment", 1, TOTAL, "card", "c1", ITEMS, "France"),
        msg.ReserveStock("o1", lines, "France"),
        msg.ShipOrder("o1", "k1:label", lines, "France"),
        msg.ShipStock("o1"),
    ]
    assert [event.sequence for event in run.events] == [1, 2, 3, 4, 5, 6]
    assert run.order.view().tracking_number == "SW1"


def test_a_refused_card_is_final_and_no_dead_letter() -> None:
    run = Run(msg.PaymentDue("o1", 1))
    assert run.send(msg.PaymentRefused("o1", 1, "no funds")) == ["PaymentFailed", "OrderFailed"]
    assert run.effects == []
    assert run.order.view().reason == "no funds"


def test_a_gateway_error_is_retried_with_backoff_and_then_dead_lettered() -> None:
    run, delays = Run(), []
    for attempt in range(1, 6):
        run.send(msg.PaymentDue("o1", attempt))
        run.send(msg.PaymentUnavailable("o1", attempt, "down", False), now=10.0)
        delays += [effect.delay for effect in run.effects if isinstance(effect, StartTimer)]
    assert delays == [1.0, 2.0, 4.0, 8.0]
    assert run.state() is OrderState.FAILED
    assert [type(effect) for effect in run.effects] == [DeadLetter]


def test_an_uncertain_failure_is_refunded_before_the_order_fails() -> None:
    run = Run(msg.PaymentDue("o1", 1), policy=SagaPolicy(backoff=(1.0,)))
    run.send(msg.PaymentUnavailable("o1", 1, "no answer", True))
    run.send(msg.PaymentDue("o1", 2))
    run.send(msg.PaymentUnavailable("o1", 2, "down", False))
    assert run.state() is OrderState.PAYMENT_PROCESSING
    assert run.commands == [msg.RefundPayment("o1", "k1:payment", "k1:refund", 1, TOTAL)]
    run.send(msg.RefundMade("o1", "k1:refund", TOTAL))
    assert run.state() is OrderState.FAILED
    assert (run.order.charged_cents, run.order.refunded_cents) == (TOTAL, TOTAL)


def test_short_stock_refunds() -> None:
    run = Run(*PAID)
    run.send(msg.ReservationRefused("o1", ("A",), "no stock of A"))
    assert run.commands == [msg.RefundPayment("o1", "k1:payment", "k1:refund", 1, TOTAL)]
    assert run.send(msg.RefundMade("o1", "k1:refund", TOTAL)) == ["PaymentRefunded", "OrderFailed"]


@pytest.mark.parametrize("released_first", [True, False])
def test_no_label_releases_and_refunds(released_first: bool) -> None:
    run = Run(*RESERVED)
    run.send(msg.LabelRefused("o1", "all down"))
    refund = msg.RefundPayment("o1", "k1:payment", "k1:refund", 1, TOTAL)
    assert run.commands == [msg.ReleaseStock("o1"), refund]
    answers: list[msg.SagaMessage] = [
        msg.ReservationReleased("o1"),
        msg.RefundMade("o1", "k1:refund", TOTAL),
    ]
    first, second = answers if released_first else reversed(answers)
    run.send(first)
    assert run.state() is OrderState.RESERVED
    run.send(second)
    assert run.state() is OrderState.FAILED


def test_a_refund_is_retried_for_ever() -> None:
    run = Run(*PAID, policy=SagaPolicy(backoff=(1.0, 2.0)))
    run.send(msg.ReservationRefused("o1", ("A",), "short"))
    delays = []
    for attempt in range(1, 6):
        run.send(msg.RefundUnavailable("o1", "k1:refund", attempt, "down"))
        delays.append(run.timer.delay)
        run.send(run.timer.command)
    assert delays == [1.0, 2.0, 2.0, 2.0, 2.0]
    assert run.commands == [msg.RefundPayment("o1", "k1:payment", "k1:refund", 6, TOTAL)]


def test_a_label_that_may_have_been_made_is_asked_for_until_that_is_known() -> None:
    run = Run(*RESERVED, policy=SagaPolicy(backoff=(1.0, 2.0)))
    lines, delays = run.order.stock_lines, []
    for attempt in range(1, 4):
        run.send(msg.LabelUnavailable("o1", attempt, "Swift says nothing"), now=5.0)
        timer = run.timer
        delays.append(timer.delay)
        assert run.send(msg.LabelUnavailable("o1", attempt, "again")) == []
        run.send(timer.command, now=9.0)
        asked = msg.ShipOrder("o1", "k1:label", lines, "France", attempt + 1, 9.0)
        assert run.commands == [asked]
    assert delays == [1.0, 2.0, 2.0]
    assert run.state() is OrderState.RESERVED
    run.send(SHIPPED[-1])
    assert run.state() is OrderState.SHIPPED


def test_a_deferred_label_is_armed_again_after_a_restart() -> None:
    run = Run(*RESERVED)
    run.send(msg.LabelUnavailable("o1", 1, "Swift says nothing"), now=5.0)
    (timer,) = run.book.pending_timers(5.25)
    assert (timer.delay, timer.command) == (0.75, msg.LabelDue("o1", 2))


CANCEL = msg.CancelOrder("o1", "changed my mind")


def test_a_pending_order_is_cancelled_at_once_and_never_charged() -> None:
    run = Run(CANCEL)
    assert run.state() is OrderState.CANCELLED
    assert run.send(msg.PaymentDue("o1", 1)) == []


def test_a_cancel_between_two_attempts_acts_at_once() -> None:
    run = Run(msg.PaymentDue("o1", 1), msg.PaymentUnavailable("o1", 1, "down", False), CANCEL)
    assert run.state() is OrderState.CANCELLED


@pytest.mark.parametrize(
    ("before", "answer", "commands"),
    [
        (PAID[:1], PAID[1], ["RefundPayment"]),
        (PAID[:1], msg.PaymentRefused("o1", 1, "no funds"), []),
        (PAID[:1], msg.PaymentUnavailable("o1", 1, "down", False), []),
        (PAID[:1], msg.PaymentUnavailable("o1", 1, "down", True), ["RefundPayment"]),
        (PAID, RESERVED[2], ["ReleaseStock", "RefundPayment"]),
        (PAID, msg.ReservationRefused("o1", ("A",), "short"), ["RefundPayment"]),
        (RESERVED, msg.LabelRefused("o1", "down"), ["ReleaseStock", "RefundPayment"]),
    ],
)
def test_a_cancel_in_a_step_waits_for_its_end(
    before: tuple[msg.SagaMessage, ...], answer: msg.SagaMessage, commands: list[str]
) -> None:
    run = Run(*before)
    assert run.send(CANCEL) == ["CancelRequested"]
    assert run.effects == []
    assert run.send(CANCEL) == []
    run.send(answer)
    assert [type(command).__name__ for command in run.commands] == commands
    assert not any(isinstance(effect, DeadLetter) for effect in run.effects)
    run.send(msg.ReservationReleased("o1"))
    run.send(msg.RefundMade("o1", "k1:refund", run.order.charged_cents))
    assert run.state() is OrderState.CANCELLED
    assert run.order.charged_cents == run.order.refunded_cents


def test_a_cancel_while_the_label_is_made_comes_too_late() -> None:
    run = Run(*RESERVED, CANCEL)
    assert run.send(SHIPPED[3]) == ["ShipmentCreated", "CancelRefused"]
    run.send(COMPLETED[4])
    assert run.state() is OrderState.COMPLETED


@pytest.mark.parametrize("messages", [SHIPPED, COMPLETED])
def test_from_shipped_on_a_cancel_is_refused(messages: tuple[msg.SagaMessage, ...]) -> None:
    run = Run(*messages)
    before = run.order
    with pytest.raises(InvalidStateTransition, match=f"from {before.state} to Cancelled"):
        decide(before, CANCEL, 0.0, SagaPolicy())
    assert run.send(CANCEL) == ["CancelRefused"]
    assert run.order.view() == before.view()


def test_answers_that_nobody_waits_for_change_nothing() -> None:
    run = Run(*COMPLETED)
    for message in (*COMPLETED, msg.LabelRefused("o1", ""), msg.RefundMade("o1", "k1:refund", 1)):
        assert run.send(message) == []


def test_events_out_of_place_are_refused() -> None:
    order = Run(*PAID).order
    with pytest.raises(InvalidStateTransition):
        apply(order, ev.OrderCompleted("o1", "536365", 9, TOTAL))
    with pytest.raises(InvalidStateTransition):
        apply(None, ev.OrderCompleted("o1", "536365", 1, TOTAL))


def refund(refund_id: str, quantity: int, price: int = 300) -> msg.RefundLines:
    return msg.RefundLines("o1", refund_id, (RefundLine("A", quantity, price),))


def test_lines_of_a_completed_order_are_refunded_once() -> None:
    run = Run(*COMPLETED)
    run.send(refund("C1", 2))
    assert run.commands == [msg.RefundPayment("o1", "k1:payment", "k1:refund:C1", 1, 600)]
    assert run.send(refund("C1", 2)) == []
    assert run.send(msg.RefundMade("o1", "k1:refund:C1", 600)) == ["LinesRefunded"]
    assert run.send(refund("C2", 2)) == ["RefundRefused"]
    assert run.send(refund("C3", 1, 299)) == ["RefundRefused"]
    assert run.order.refunded_cents == 600
    assert run.state() is OrderState.COMPLETED


def test_a_refund_of_lines_waits_for_completion() -> None:
    run = Run(*PAID)
    assert run.send(refund("C1", 1)) == ["RefundRequested"]
    for message in COMPLETED[2:]:
        run.send(message)
    assert run.commands == [msg.RefundPayment("o1", "k1:payment", "k1:refund:C1", 1, 300)]


def test_a_refund_of_lines_is_refused_when_the_order_fails() -> None:
    run = Run(msg.PaymentDue("o1", 1), refund("C1", 1))
    events = run.send(msg.PaymentRefused("o1", 1, "no funds"))
    assert events == ["PaymentFailed", "OrderFailed", "RefundRefused"]
    assert run.send(refund("C2", 1)) == ["RefundRefused"]


def test_timers_are_armed_again_after_a_restart() -> None:
    run = Run(msg.PaymentDue("o1", 1))
    run.send(msg.PaymentUnavailable("o1", 1, "down", False), now=100.0)
    book = OrderBook()
    for event in run.events:
        book.apply(event)
    due = msg.PaymentDue("o1", 2)
    for now, delay in ((100.25, 0.75), (500.0, 0.0), (3.0, 1.0)):
        assert list(book.pending_timers(now)) == [StartTimer("k1:payment", delay, due)]


def test_a_book_refuses_with_a_reason() -> None:
    book = OrderBook(SagaPolicy(max_orders=1))
    free = OrderItem("A", "mug", 1, 0)
    second = msg.CreateOrder("o2", "536366", "c1", ITEMS, 0, "card", Address("France"), "k2")
    cases = {
        "no items": msg.CreateOrder("o3", "3", "c", (), 500, "card", Address("France"), "k3"),
        "more than zero": msg.CreateOrder("o3", "3", "c", (free,), 0, "card", Address("F"), "k3"),
        "amount": msg.CreateOrder("o3", "3", "c", ITEMS, -9999, "card", Address("F"), "k3"),
    }

    def refusal(message: msg.CreateOrder) -> str:
        (event,) = book.handle(message, 0.0).events
        assert isinstance(event, ev.OrderRefused)
        return event.reason

    for reason, message in cases.items():
        assert reason in refusal(message)
    book.handle(CREATE, 0.0)
    assert book.handle(CREATE, 0.0).events == []
    assert "max_orders" in refusal(second)
    other = msg.CreateOrder("o1", "536365", "c1", ITEMS, 501, "card", Address("France"), "k1")
    assert "'k1' belongs to order o1" in refusal(other)
    assert book.counters() == {
        "open": 1,
        "created": 1,
        "refused": 5,
        "completed": 0,
        "cancelled": 0,
        "failed": 0,
        "charged_cents": 0,
        "refunded_cents": 0,
    }


def test_a_book_lists_and_counts() -> None:
    run = Run(*COMPLETED)
    run.send(msg.CreateOrder("o2", "536366", "c1", ITEMS, 0, "card", Address("France"), "k2"))
    assert [o.order_id for o in run.book.list_orders(msg.ListOrders())] == ["o1", "o2"]
    pending = run.book.list_orders(msg.ListOrders(OrderState.PENDING))
    assert [o.order_id for o in pending] == ["o2"]
    assert len(run.book.list_orders(msg.ListOrders(limit=1))) == 1
    assert run.book.counters()["charged_cents"] == TOTAL
    with pytest.raises(Reject, match="'o9' is unknown"):
        run.book.handle(msg.CancelOrder("o9", ""), 0.0)


def test_a_policy_without_backoff_is_refused() -> None:
    with pytest.raises(UsageError, match="backoff"):
        SagaPolicy(backoff=())
