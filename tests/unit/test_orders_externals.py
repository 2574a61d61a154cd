"""The simulated gateway and carriers: drawn from the seed, idempotent, and asked with care."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import CircuitOpenError
from gristmill.facets.breaker import CircuitBreaker
from gristmill.facets.breaker_spec import CircuitBreakerSpec
from gristmill.facets.guard import Guard
from gristmill_orders import messages as msg
from gristmill_orders.externals.carriers import LabelRequest, SimulatedCarrier, ship_order
from gristmill_orders.externals.faults import Call, FaultPlan, Outage, call_directly, draw
from gristmill_orders.externals.gateway import (
    GatewayPlan,
    SimulatedGateway,
    make_refund,
    take_payment,
)
from gristmill_orders.ledger import Ledger, read_ledger

CALM = GatewayPlan(0.0, refused_share=0.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.jsonl") as opened:
        yield opened


def gateway(ledger: Ledger, plan: GatewayPlan, clock: Clock | None = None) -> SimulatedGateway:
    clock = clock or Clock()
    return SimulatedGateway(1, ledger, plan, clock=clock, sleep=clock.sleep)


def payment(key: str = "k1", attempt: int = 1, order_id: str = "o1") -> msg.ProcessPayment:
    return msg.ProcessPayment(order_id, key, attempt, 100, "card", "c1", (), "France")


def refund(key: str, cents: int, attempt: int = 1) -> msg.RefundPayment:
    return msg.RefundPayment("o1", "k1", key, attempt, cents)


def test_draws_are_even_and_depend_on_what_they_are_for() -> None:
    drawn = [draw(1, "fault", "key", attempt) for attempt in range(2000)]
    assert 0.48 < sum(drawn) / len(drawn) < 0.52
    assert 0 <= min(drawn) <= max(drawn) < 1
    assert draw(1, "ab", "c") != draw(1, "a", "bc")


def test_a_key_is_charged_once(ledger: Ledger) -> None:
    bank = gateway(ledger, CALM)
    for attempt in (1, 1, 2):
        answer = asyncio.run(take_payment(payment(attempt=attempt), bank))
        assert answer == msg.PaymentAuthorised("o1", attempt, 100)
    foreign = asyncio.run(take_payment(payment(order_id="o2"), bank))
    assert foreign == msg.PaymentRefused("o2", 1, "payment key 'k1' belongs to another payment")
    assert len(read_ledger(ledger.path)) == 1


def test_a_refused_card_is_refused_at_every_attempt(ledger: Ledger) -> None:
    bank = gateway(ledger, GatewayPlan(0.0, refused_share=1.0))
    for attempt in (1, 2):
        answer = asyncio.run(take_payment(payment(attempt=attempt), bank))
        assert answer == msg.PaymentRefused("o1", attempt, "the card was refused")
    assert read_ledger(ledger.path) == ()


def test_shares_are_what_the_plan_says(ledger: Ledger) -> None:
    bank = gateway(ledger, GatewayPlan())
    answers = [asyncio_free(take_payment(payment(f"k{n}"), bank)) for n in range(3000)]
    refused = sum(isinstance(answer, msg.PaymentRefused) for answer in answers)
    unavailable = sum(isinstance(answer, msg.PaymentUnavailable) for answer in answers)
    assert 35 <= refused <= 85
    assert 60 <= unavailable <= 120


def asyncio_free(coroutine: Any) -> Any:
    """Run a coroutine that never waits, without the cost of an event loop."""
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    return done.value.value


def test_a_refund_gives_back_what_is_left_once(ledger: Ledger) -> None:
    bank = gateway(ledger, CALM)
    nothing = asyncio.run(make_refund(refund("r0", 100), bank))
    assert nothing == msg.RefundMade("o1", "r0", 0)
    asyncio.run(take_payment(payment(), bank))
    for key, cents, given in (("r1", 30, 30), ("r1", 30, 30), ("r2", 100, 70), ("r3", 1, 0)):
        answer = asyncio.run(make_refund(refund(key, cents), bank))
        assert answer == msg.RefundMade("o1", key, given)


def test_a_lost_answer_is_uncertain_and_the_next_attempt_finds_the_charge(ledger: Ledger) -> None:
    lost = gateway(ledger, GatewayPlan(0.0, 1.0, refused_share=0.0))
    answer = asyncio.run(take_payment(payment(), lost))
    assert isinstance(answer, msg.PaymentUnavailable)
    assert answer.uncertain
    assert len(read_ledger(ledger.path)) == 1
    answer = asyncio.run(take_payment(payment(attempt=2), gateway(ledger, CALM)))
    assert answer == msg.PaymentAuthorised("o1", 2, 100)
    assert len(read_ledger(ledger.path)) == 1


@pytest.mark.parametrize("redelivered", [True, False])
def test_an_outage_is_a_window_of_time(ledger: Ledger, redelivered: bool) -> None:
    clock = Clock()
    plan = GatewayPlan(0.0, outages=(Outage(0.0, 5.0),), refused_share=0.0)
    bank = gateway(ledger, plan, clock)
    answer = asyncio.run(take_payment(payment(), bank, redelivered=redelivered))
    expected = msg.PaymentUnavailable("o1", 1, "gateway can't be reached", redelivered)
    assert answer == expected
    made = asyncio.run(make_refund(refund("r1", 1), bank))
    assert made == msg.RefundUnavailable("o1", "r1", 1, "gateway can't be reached")
    clock.now = 5.0
    answer = asyncio.run(take_payment(payment(), bank))
    assert isinstance(answer, msg.PaymentAuthorised)


def test_a_latency_is_waited_out(ledger: Ledger) -> None:
    clock = Clock()
    plan = GatewayPlan(0.0, latency_seconds=2.0, refused_share=0.0)
    asyncio.run(take_payment(payment(), gateway(ledger, plan, clock)))
    assert 1.0 <= clock.now <= 3.0


def test_a_breaker_and_a_time_limit_fit_around_the_call(ledger: Ledger) -> None:
    clock = Clock()
    plan = GatewayPlan(0.0, outages=(Outage(),), refused_share=0.0)
    guard = Guard(CircuitBreaker("gateway", CircuitBreakerSpec(minimum_calls=2)), clock)
    bank = gateway(ledger, plan, clock)
    reasons = []
    for number in range(4):
        answer = asyncio.run(take_payment(payment(f"k{number}"), bank, guard.call_async))
        assert isinstance(answer, msg.PaymentUnavailable)
        reasons.append(answer.reason)
    assert reasons[:2] == ["gateway can't be reached"] * 2
    assert "is open" in reasons[2]

    async def too_slow(fn: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        raise TimeoutError

    answer = asyncio.run(take_payment(payment(), bank, too_slow))
    assert answer == msg.PaymentUnavailable("o1", 1, "the gateway took too long", True)
    made = asyncio.run(make_refund(refund("r1", 1), bank, too_slow))
    assert made == msg.RefundUnavailable("o1", "r1", 1, "the gateway took too long")


ORDER = msg.ShipOrder("o1", "k1:label", (), "France")
OFFERS = [LabelRequest("o1", "k1:label", name, "economy", 399) for name in ("Swift", "Gull")]


def carriers(ledger: Ledger, **plans: FaultPlan) -> dict[str, SimulatedCarrier]:
    clock = Clock()
    return {
        name: SimulatedCarrier(name, 1, ledger, plan, clock=clock, sleep=clock.sleep)
        for name, plan in plans.items()
    }


FINE, DOWN, MUTE = FaultPlan(0.0), FaultPlan(1.0), FaultPlan(0.0, 1.0)


def ship(ledger: Ledger, swift: FaultPlan, gull: FaultPlan, **options: Any) -> msg.LabelAnswer:
    both = carriers(ledger, Swift=swift, Gull=gull)
    return asyncio.run(ship_order(ORDER, OFFERS, both, **options))


@pytest.mark.parametrize(
    ("swift", "gull", "made_by"),
    [(FINE, FINE, "Swift"), (DOWN, FINE, "Gull"), (MUTE, FINE, "Swift")],
)
def test_another_carrier_is_tried(
    ledger: Ledger, swift: FaultPlan, gull: FaultPlan, made_by: str
) -> None:
    answer = ship(ledger, swift, gull)
    assert isinstance(answer, msg.LabelMade)
    assert (answer.carrier, answer.cost_cents) == (made_by, 399)
    assert [entry.order_id for entry in read_ledger(ledger.path)] == ["o1"]


def test_a_repeated_command_finds_its_label_even_if_its_carrier_is_down(ledger: Ledger) -> None:
    first = ship(ledger, DOWN, FINE)
    assert ship(ledger, FINE, DOWN, redelivered=True) == first
    assert len(read_ledger(ledger.path)) == 1


def test_no_carrier_no_label(ledger: Ledger) -> None:
    answer = ship(ledger, DOWN, DOWN)
    reason = "no label: Swift failed on attempt 1; Gull failed on attempt 1"
    assert answer == msg.LabelRefused("o1", reason)
    none = asyncio.run(ship_order(ORDER, [], {}))
    assert none == msg.LabelRefused("o1", "no label: no carrier offers to ship it")


def test_an_open_breaker_leaves_its_carrier_out(ledger: Ledger) -> None:
    async def is_open(fn: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        raise CircuitOpenError("Swift", 30.0)

    def call_for(name: str) -> Call:
        return is_open if name == "Swift" else call_directly

    answer = ship(ledger, FINE, FINE, call_for=call_for)
    assert isinstance(answer, msg.LabelMade)
    assert answer.carrier == "Gull"
