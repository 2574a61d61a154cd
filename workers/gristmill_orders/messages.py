"""Every message of the order service, in one typed union, ``ActorMessage``.

A service answers a command with a command to whoever sent it, so that nobody waits. Answers name
the order, and the attempt or key that they belong to; an answer that nobody waits for is ignored.
"""

from __future__ import annotations

from gristmill.messages import Command, Request
from gristmill_orders.events import (
    CancelRefused,
    CancelRequested,
    CompensationStarted,
    InventoryFailed,
    InventoryReleased,
    InventoryReserved,
    LabelRequested,
    LinesRefunded,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderFailed,
    OrderRefused,
    PaymentCompleted,
    PaymentDeferred,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    RefundAsked,
    RefundDeferred,
    RefundRefused,
    RefundRequested,
    ShipmentCreated,
    ShipmentDeferred,
    ShipmentFailed,
    StockReleased,
    StockReserved,
    StockShipped,
)
from gristmill_orders.states import OrderState
from gristmill_orders.values import (
    Address,
    OrderAnswer,
    OrderItem,
    OrderSummary,
    OrderView,
    RefundLine,
    StockLine,
)

# Commands to the order processor, from its clients.


class CreateOrder(Command):
    """Accept an order. The same ``idempotency_key`` never makes two orders."""

    order_id: str
    """A ULID."""
    order_key: str
    """The name of the order outside this service, such as an invoice number."""
    customer_id: str
    items: tuple[OrderItem, ...]
    fees_cents: int
    payment_method: str
    address: Address
    idempotency_key: str
    """Payment, label and refunds derive their own keys from it."""


class CancelOrder(Command):
    """Cancel an order that is not yet shipped."""

    order_id: str
    reason: str


class RefundLines(Command):
    """Refund lines of a completed order. The same ``refund_id`` never refunds twice."""

    order_id: str
    refund_id: str
    lines: tuple[RefundLine, ...]


# Commands to the order processor, from its own timers.


class PaymentDue(Command):
    """It is time for the ``attempt``-th attempt to charge."""

    order_id: str
    attempt: int


class LabelDue(Command):
    """It is time for the ``attempt``-th attempt at a label."""

    order_id: str
    attempt: int


class RefundDue(Command):
    """It is time for the ``attempt``-th attempt at a refund."""

    order_id: str
    refund_key: str
    attempt: int


# The payment service: its commands, and its answers.


class ProcessPayment(Command):
    """Score the order for fraud and charge it."""

    order_id: str
    payment_key: str
    attempt: int
    cents: int
    payment_method: str
    customer_id: str
    items: tuple[OrderItem, ...]
    country: str


class PaymentAuthorised(Command):
    """The card was charged, by this attempt or an earlier one."""

    order_id: str
    attempt: int
    cents: int


class PaymentRefused(Command):
    """The card was refused; asking again is of no use."""

    order_id: str
    attempt: int
    reason: str


class PaymentUnavailable(Command):
    """The gateway gave no answer; asking again may help."""

    order_id: str
    attempt: int
    reason: str
    uncertain: bool
    """The call may have charged, as with a time limit or after a redelivery."""


class RefundPayment(Command):
    """Give back ``cents`` of a payment, or as much as was charged."""

    order_id: str
    payment_key: str
    refund_key: str
    attempt: int
    cents: int


class RefundMade(Command):
    """The refund has been made, once; 0 cents if nothing had been charged."""

    order_id: str
    refund_key: str
    cents: int


class RefundUnavailable(Command):
    """The gateway gave no answer to a refund; asking again may help."""

    order_id: str
    refund_key: str
    attempt: int
    reason: str


# The inventory service: its commands, and its answers.


class ReserveStock(Command):
    """Reserve all lines, or none."""

    order_id: str
    lines: tuple[StockLine, ...]
    country: str


class ReservationMade(Command):
    """All lines are reserved."""

    order_id: str


class ReservationRefused(Command):
    """Stock of these products is short; nothing is reserved."""

    order_id: str
    skus: tuple[str, ...]
    reason: str


class ReleaseStock(Command):
    """Make what is reserved for the order available again."""

    order_id: str


class ReservationReleased(Command):
    """Nothing is reserved for the order any more."""

    order_id: str


class ShipStock(Command):
    """What is reserved for the order leaves its warehouses."""

    order_id: str


class ReservationShipped(Command):
    """The goods of the order have left."""

    order_id: str


# The shipping service: its command, and its answers.


class ShipOrder(Command):
    """Pack the order, choose a carrier and make one label."""

    order_id: str
    label_key: str
    lines: tuple[StockLine, ...]
    country: str
    attempt: int = 1
    asked_at: float = 0.0
    """Seconds on the clock of the processor, which is that of the machine."""


class LabelMade(Command):
    """The order has a label."""

    order_id: str
    carrier: str
    service: str
    tracking_number: str
    cost_cents: int


class LabelRefused(Command):
    """No carrier made a label."""

    order_id: str
    reason: str


class LabelUnavailable(Command):
    """A carrier may have made a label, and can't be asked; another one must not make one too."""

    order_id: str
    attempt: int
    reason: str


# Requests that change an order and say what came of it.


class PlaceOrder(Request[OrderAnswer], idempotent=True):
    """Accept an order as :class:`CreateOrder` does, or say why not."""

    order: CreateOrder


class WithdrawOrder(Request[OrderAnswer], idempotent=True):
    """Cancel an order as :class:`CancelOrder` does, or say why not."""

    cancel: CancelOrder


# Queries.


class GetOrder(Request[OrderView]):
    """Ask for an order."""

    order_id: str


class GetOrderStatus(Request[OrderState]):
    """Ask for the state of an order."""

    order_id: str


class ListOrders(Request[tuple[OrderSummary, ...]]):
    """Ask for at most ``limit`` orders, in order of acceptance, in one state or in any."""

    state: OrderState | None = None
    limit: int = 100


class GetCounters(Request[dict[str, int]]):
    """Ask a service what it has counted since its history began."""


class GetStockLevels(Request[dict[str, tuple[int, int, int, int]]]):
    """Ask the inventory for its units by product: initial, available, reserved, shipped."""


PaymentAnswer = PaymentAuthorised | PaymentRefused | PaymentUnavailable
RefundAnswer = RefundMade | RefundUnavailable
StockAnswer = ReservationMade | ReservationRefused | ReservationReleased | ReservationShipped
LabelAnswer = LabelMade | LabelRefused | LabelUnavailable
ServiceCommand = (
    ProcessPayment | RefundPayment | ReserveStock | ReleaseStock | ShipStock | ShipOrder
)
TimerCommand = PaymentDue | LabelDue | RefundDue

SagaMessage = (
    CreateOrder
    | CancelOrder
    | RefundLines
    | TimerCommand
    | PaymentAnswer
    | RefundAnswer
    | StockAnswer
    | LabelAnswer
)
"""What moves an order on."""

OrderRequest = PlaceOrder | WithdrawOrder
Query = GetOrder | GetOrderStatus | ListOrders | GetCounters | GetStockLevels

AnyOrderEvent = (
    OrderCreated
    | OrderRefused
    | PaymentRequested
    | PaymentDeferred
    | PaymentCompleted
    | PaymentFailed
    | InventoryReserved
    | InventoryFailed
    | LabelRequested
    | ShipmentCreated
    | ShipmentDeferred
    | ShipmentFailed
    | CancelRequested
    | CancelRefused
    | CompensationStarted
    | InventoryReleased
    | RefundAsked
    | RefundDeferred
    | PaymentRefunded
    | RefundRequested
    | RefundRefused
    | LinesRefunded
    | OrderCompleted
    | OrderCancelled
    | OrderFailed
)
AnyStockEvent = StockReserved | StockReleased | StockShipped

ActorMessage = SagaMessage | ServiceCommand | OrderRequest | Query | AnyOrderEvent | AnyStockEvent
"""All messages of the application; anything else is refused with a reason."""
