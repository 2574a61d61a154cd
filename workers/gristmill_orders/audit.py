"""The audit: what must hold, always, checked on our journal against the externals' own books."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from gristmill.errors import InvalidStateTransition
from gristmill.messages import Event
from gristmill_orders import events as ev
from gristmill_orders.audit_projection import ProjectionAudit
from gristmill_orders.audit_stock import StockAudit
from gristmill_orders.digest import Outcome
from gristmill_orders.inventory import SHORT_SHARE, StockLevel
from gristmill_orders.ledger import Charge, Label, LedgerEntry, Refund
from gristmill_orders.order import Order, Step, apply
from gristmill_orders.states import INITIAL, TABLE, TRANSITIONS, OrderState
from gristmill_orders.subscribers import RevenueChanged

_TERMINAL_EVENTS = (ev.OrderCompleted, ev.OrderCancelled, ev.OrderFailed)
_TARGETS = {str(t): state for exits in TRANSITIONS.values() for t, state in exits.items()}


class RunFacts(msgspec.Struct, frozen=True):
    """What the audit is told about a run from outside."""

    sent: int
    """How many different orders were sent."""
    stock_seed: int
    short_share: float = SHORT_SHARE
    finished: bool = True
    """The run has come to its end, so that nothing may be open; else it was cut off."""
    observed: Mapping[str, Sequence[ev.OrderEvent]] = {}
    """What each subscriber saw, in its order. Events may be missing, as after a kill."""
    stock_levels: Mapping[str, StockLevel] = {}
    """What the inventory says that it holds."""
    subscribers_behind: Mapping[str, int] = {}
    """How many events each subscriber had not handled; empty if there was none."""


class AuditResult(msgspec.Struct, frozen=True):
    """What the audit found."""

    ok: bool
    violations: tuple[str, ...]
    """A sentence each, which names the order."""
    counts: dict[str, int]
    outcomes: tuple[Outcome, ...]
    """How each accepted order ended; what was charged and refunded is from the ledger."""


def audit(
    journal_events: Iterable[tuple[str, Event]],
    ledger_entries: Iterable[LedgerEntry],
    expected: RunFacts,
) -> AuditResult:
    """Check every promise of the order service on what a run has left behind.

    Args:
        journal_events: actor and event, for all events of orders and of the inventory, those of
            one actor in the order in which they were journaled.
        ledger_entries: the books of the gateway and the carriers.
        expected: what is known from outside.
    """
    found = _Audit(expected)
    for actor, event in journal_events:
        found.read(actor, event)
    found.read_ledger(ledger_entries)
    violations = tuple(found.check())
    return AuditResult(not violations, violations, found.counts(), found.outcomes())


class _Audit:
    def __init__(self, facts: RunFacts) -> None:
        self.facts = facts
        self.orders: dict[str, Order] = {}
        self.owners: dict[str, str] = {}
        self.endings: Counter[str] = Counter()
        self.settled: set[tuple[str, str]] = set()
        self.history: list[ev.OrderEvent] = []
        self.refused = 0
        self.early: list[str] = []
        self.stock = StockAudit(facts.stock_seed, facts.short_share)
        self.projection = ProjectionAudit()
        self.keys: Counter[str] = Counter()
        self.charges: defaultdict[str, list[int]] = defaultdict(list)
        self.refunds: defaultdict[str, list[int]] = defaultdict(list)
        self.labels: defaultdict[str, list[Label]] = defaultdict(list)

    def read(self, actor: str, event: Event) -> None:
        if isinstance(event, ev.StockEvent):
            self.stock.read(event)
        elif isinstance(event, ev.OrderRefused):
            self.refused += 1
        elif isinstance(event, RevenueChanged):
            self.projection.read(event)
        elif isinstance(event, ev.OrderEvent):
            self._read_order_event(actor, event)

    def _read_order_event(self, actor: str, event: ev.OrderEvent) -> None:
        self.history.append(event)
        self.endings[event.order_id] += isinstance(event, _TERMINAL_EVENTS)
        if isinstance(event, ev.LinesRefunded):
            self.settled.add((event.order_id, event.refund_id))
        if self.owners.setdefault(event.order_id, actor) != actor:
            owner = self.owners[event.order_id]
            self.early.append(f"{_name(event)} is in the journals of {owner} and {actor}")
        try:
            self.orders[event.order_id] = apply(self.orders.get(event.order_id), event)
        except InvalidStateTransition as error:
            self.early.append(f"{_name(event)} can't be rebuilt from its events: {error}")

    def read_ledger(self, entries: Iterable[LedgerEntry]) -> None:
        for entry in entries:
            self.keys[entry.key] += 1
            match entry:
                case Charge():
                    self.charges[entry.order_id].append(entry.cents)
                case Refund():
                    self.refunds[entry.order_id].append(entry.cents)
                case Label():
                    self.labels[entry.order_id].append(entry)

    def check(self) -> Iterator[str]:
        yield from self.early
        yield from stream_violations("the journal", self.history, gaps_allowed=False)
        for subscriber, events in self.facts.observed.items():
            yield from stream_violations(subscriber, events, gaps_allowed=True)
        yield from self._check_books()
        for order in self.orders.values():
            yield from self._check_ending(order)
            yield from self._check_money(order)
            yield from self._check_label(order)
        yield from self.stock.check(self.orders, self.facts.stock_levels)
        if self.facts.subscribers_behind and self.facts.finished:
            yield from self.projection.check(self.orders, self.facts.subscribers_behind)
        created = len(self.owners)
        if created + self.refused != self.facts.sent:
            yield (
                f"{self.facts.sent} orders were sent, but {created} were created "
                f"and {self.refused} refused"
            )

    def _check_books(self) -> Iterator[str]:
        for key, times in self.keys.items():
            if times > 1:
                yield f"key {key!r} stands {times} times in the ledger"
        for order_id in {*self.charges, *self.refunds, *self.labels} - set(self.orders):
            yield f"order {order_id} is in the ledger, but nobody has accepted it"

    def _check_ending(self, order: Order) -> Iterator[str]:
        endings = self.endings[order.order_id]
        if endings > 1:
            yield f"{_name(order)} has ended {endings} times"
        if self.facts.finished and endings == 0:
            yield f"{_name(order)} has not ended: it is {order.state} and waits for {order.step}"

    def _check_money(self, order: Order) -> Iterator[str]:
        charges = self.charges.get(order.order_id, [])
        charged = sum(charges)
        refunded = sum(self.refunds.get(order.order_id, []))
        unsettled = 0
        if len(charges) > 1:
            yield f"{_name(order)} was charged {len(charges)} times"
        if order.state is OrderState.COMPLETED:
            owed = sum(refund.cents for refund in order.refunds)
            unsettled = self._unsettled(order)
            if self.facts.finished and unsettled:
                yield f"{_name(order)} waits for a refund of {unsettled} cents"
            if charged != order.total_cents:
                yield f"{_name(order)} costs {order.total_cents} cents, but {charged} were charged"
            if not owed - unsettled <= refunded <= owed:
                yield f"{_name(order)} owes a refund of {owed} cents, but {refunded} were refunded"
        elif order.is_terminal and charged != refunded:
            yield (
                f"{_name(order)} is {order.state}, but of {charged} cents charged "
                f"only {refunded} were refunded"
            )
        elif not 0 <= refunded <= charged <= order.total_cents:
            yield f"{_name(order)} was charged {charged} cents and refunded {refunded}"
        ours = (order.charged_cents, order.refunded_cents)
        if order.is_terminal and not unsettled and ours != (charged, refunded):
            yield (
                f"{_name(order)}: the journal has {ours[0]} cents charged and {ours[1]} refunded, "
                f"the ledger {charged} and {refunded}"
            )

    def _unsettled(self, order: Order) -> int:
        return sum(
            refund.cents
            for refund in order.refunds
            if (order.order_id, refund.refund_id) not in self.settled
        )

    def _check_label(self, order: Order) -> Iterator[str]:
        labels = self.labels.get(order.order_id, [])
        if len(labels) > 1:
            yield f"{_name(order)} has {len(labels)} labels"
        if order.state in {OrderState.SHIPPED, OrderState.COMPLETED}:
            if order.tracking_number not in {label.tracking_number for label in labels}:
                yield f"{_name(order)}: label {order.tracking_number} is in no carrier's ledger"
        elif labels and order.step not in {Step.LABEL, Step.LABEL_DUE}:
            yield f"{_name(order)} has a label, but is {order.state}"

    def outcomes(self) -> tuple[Outcome, ...]:
        return tuple(
            Outcome(
                order.order_key,
                order.state,
                sum(self.charges.get(order.order_id, [])),
                sum(self.refunds.get(order.order_id, [])),
            )
            for order in self.orders.values()
        )

    def counts(self) -> dict[str, int]:
        states = Counter(order.state.lower() for order in self.orders.values() if order.is_terminal)
        return {
            "sent": self.facts.sent,
            "created": len(self.owners),
            "refused": self.refused,
            "completed": states["completed"],
            "cancelled": states["cancelled"],
            "failed": states["failed"],
            "open": len(self.orders) - states.total(),
            "charges": sum(map(len, self.charges.values())),
            "refunds": sum(map(len, self.refunds.values())),
            "labels": sum(map(len, self.labels.values())),
            "charged_cents": sum(map(sum, self.charges.values())),
            "refunded_cents": sum(map(sum, self.refunds.values())),
        }


def stream_violations(
    who: str, events: Iterable[ev.OrderEvent], *, gaps_allowed: bool
) -> Iterator[str]:
    """Say where the events of an order, in the order seen, are no path through the states.

    Args:
        who: who saw them, for the sentences.
        events: the events of any number of orders.
        gaps_allowed: events may be missing, though never come twice or late.
    """
    seen: dict[str, tuple[int, OrderState | None, bool]] = {}
    for event in events:
        if isinstance(event, ev.OrderRefused):
            continue
        # After a gap the state is only known to lie behind the one seen last.
        last, state, unsure = seen.get(event.order_id, (0, None, False))
        gap = event.sequence != last + 1
        if event.sequence <= last or (gap and not gaps_allowed):
            yield f"{_name(event)}: {who} has event {event.sequence} behind event {last}"
        target = _target(event, state)
        unsure = unsure or gap
        if target is not None and not _leads(state, target, gap=unsure):
            yield f"{_name(event)}: {who} has it go from {state or 'nothing'} to {target}"
        known = (state, unsure) if target is None else (target, False)
        seen[event.order_id] = (max(last, event.sequence), *known)


def _target(event: ev.OrderEvent, state: OrderState | None) -> OrderState | None:
    """Give the state that an event leads to; None if it leaves the state alone."""
    if isinstance(event, ev.OrderCreated):
        return INITIAL
    is_retry = isinstance(event, ev.PaymentRequested) and event.attempt > 1
    if is_retry and state is not None:
        return None
    return _TARGETS.get(type(event).__name__)


def _leads(state: OrderState | None, target: OrderState, *, gap: bool) -> bool:
    if state is None:
        return gap or target is INITIAL
    if not gap:
        return TABLE.allows(state, target)
    return any(
        following is target or _leads(following, target, gap=True)
        for following in TRANSITIONS[state].values()
    )


def _name(what: Order | ev.OrderEvent) -> str:
    return f"order {what.order_id} ({what.order_key})"
