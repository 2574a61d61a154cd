"""The whole order domain under any order of messages: duplicates, crashes, cancels and faults."""

from __future__ import annotations

import random
import tempfile
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gristmill.messages import Command, Event
from gristmill_orders import events as ev
from gristmill_orders import messages as msg
from gristmill_orders.audit import AuditResult, RunFacts, audit
from gristmill_orders.book import OrderBook
from gristmill_orders.digest import outcome_digest
from gristmill_orders.effects import DeadLetter, StartTimer, Tell
from gristmill_orders.externals.carriers import LabelRequest, SimulatedCarrier, ship_order
from gristmill_orders.externals.faults import ExternalError, FaultPlan
from gristmill_orders.externals.gateway import (
    GatewayPlan,
    SimulatedGateway,
    make_refund,
    take_payment,
)
from gristmill_orders.inventory import Inventory
from gristmill_orders.kernels import allocation
from gristmill_orders.ledger import Label, Ledger, read_ledger
from gristmill_orders.saga import SagaPolicy
from gristmill_orders.values import Address, OrderItem, RefundLine

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # StopIteration carries an Any
    raise AssertionError("the coroutine waits for something")


async def no_sleep(seconds: float) -> None:
    raise AssertionError("nothing has a latency here")


def order(number: int) -> msg.CreateOrder:
    rng = random.Random(number)
    items = tuple(
        OrderItem(f"sku{rng.randrange(40)}", "a thing", rng.randint(1, 9), rng.randint(1, 500))
        for _ in range(rng.randint(1, 4))
    )
    key = f"invoice-{number}"
    address = Address("France")
    return msg.CreateOrder(f"order-{number}", key, "guest", items, 250, "card", address, key)


allocate = allocation(compute=False)


class Carrier(SimulatedCarrier):
    """A carrier whose records may be out of reach."""

    silent = False

    async def find_label(self, label_key: str) -> Label | None:
        if self.silent:
            raise ExternalError(f"{self.name} says nothing")
        return await super().find_label(label_key)


class World:
    """A processor and its services, with durable mailboxes and journals, and no clock."""

    def __init__(
        self, folder: Path, gateway: GatewayPlan, carrier: FaultPlan, short_share: float = 0.1
    ) -> None:
        self.short_share = short_share
        self.ledger_file = folder / "ledger.jsonl"
        self.gateway_plan, self.carrier_plan = gateway, carrier
        self.now = 0.0
        self.sent = 0
        self.orders_journal: list[ev.OrderEvent] = []
        self.stock_journal: list[ev.StockEvent] = []
        self.dead_letters: list[DeadLetter] = []
        self.mailboxes: dict[str, deque[Command]] = {
            name: deque() for name in ("processor", "payment", "inventory", "shipping")
        }
        self.answers: list[Command] = []
        self.start_processor()
        self.start_inventory()
        self.start_externals()

    def start_processor(self) -> None:
        self.book = OrderBook(SagaPolicy(max_orders=1000))
        for event in self.orders_journal:
            self.book.apply(event)
        self.timers = {timer.name: timer for timer in self.book.pending_timers(self.now)}

    def start_inventory(self) -> None:
        self.inventory = Inventory(1, short_share=self.short_share)
        for event in self.stock_journal:
            self.inventory.apply(event)

    def start_externals(self) -> None:
        self.ledger = Ledger(self.ledger_file)
        world: dict[str, Any] = {"clock": lambda: self.now, "sleep": no_sleep}
        self.gateway = SimulatedGateway(1, self.ledger, self.gateway_plan, **world)
        self.carriers = {
            name: Carrier(name, 1, self.ledger, self.carrier_plan, **world)
            for name in ("Swift", "Gull")
        }

    def restart_externals(self) -> None:
        self.ledger.close()
        self.start_externals()

    def create(self, number: int) -> None:
        self.sent += 1
        self.mailboxes["processor"].append(order(number))

    def deliver(self, name: str, *, killed_first: bool = False) -> None:
        message = self.mailboxes[name].popleft()
        if name == "processor":
            self.process(message)
        elif name == "inventory":
            self.stock(message)
        else:
            serve: Callable[..., Command] = self.pay if name == "payment" else self.ship
            if killed_first:
                serve(message, redelivered=False)
                self.restart_externals()
            self.reply(serve(message, redelivered=killed_first))

    def process(self, message: Any) -> None:
        progress = self.book.handle(message, self.now)
        self.orders_journal += progress.events
        for effect in progress.effects:
            match effect:
                case Tell(service, command):
                    self.mailboxes[service].append(command)
                case StartTimer(name):
                    self.timers[name] = effect
                case DeadLetter():
                    self.dead_letters.append(effect)

    def stock(self, message: Any) -> None:
        match message:
            case msg.ReserveStock():
                answer = self.inventory.reserve(message, allocate)
            case msg.ReleaseStock():
                answer = self.inventory.release(message)
            case _:
                answer = self.inventory.ship(message)
        for event in answer.events:
            self.stock_journal.append(event)
            self.inventory.apply(event)
        self.reply(answer.reply)

    def pay(self, message: Any, *, redelivered: bool) -> Command:
        if isinstance(message, msg.RefundPayment):
            return run(make_refund(message, self.gateway))
        return run(take_payment(message, self.gateway, redelivered=redelivered))

    def ship(self, message: Any, *, redelivered: bool) -> Command:
        offers = [
            LabelRequest(message.order_id, message.label_key, name, "express", 499)
            for name in self.carriers
        ]
        return run(ship_order(message, offers, self.carriers, redelivered=redelivered))

    def reply(self, answer: Command) -> None:
        self.answers.append(answer)
        self.mailboxes["processor"].append(answer)

    def fire(self, name: str) -> None:
        timer = self.timers.pop(name)
        self.now += timer.delay
        self.mailboxes["processor"].append(timer.command)

    def choices(self) -> Sequence[Callable[[], None]]:
        waiting = [name for name, box in self.mailboxes.items() if box]
        deliveries = [partial(self.deliver, name) for name in waiting]
        return deliveries + [partial(self.fire, name) for name in self.timers]

    def drain(self, rng: random.Random | None = None) -> None:
        while choices := self.choices():
            (rng.choice(choices) if rng else choices[0])()

    def audit(self) -> AuditResult:
        journal: list[tuple[str, Event]] = [("orders", event) for event in self.orders_journal]
        journal += [("inventory", event) for event in self.stock_journal]
        facts = RunFacts(
            self.sent,
            1,
            self.short_share,
            stock_levels=self.inventory.levels(),
        )
        return audit(journal, read_ledger(self.ledger_file), facts)


class SagaMachine(RuleBasedStateMachine):
    @initialize(
        faults=st.sampled_from([0.0, 0.4]),
        lost=st.sampled_from([0.0, 0.4]),
        refused=st.sampled_from([0.0, 0.3]),
    )
    def begin(self, faults: float, lost: float, refused: float) -> None:
        self.folder = tempfile.TemporaryDirectory()
        gateway = GatewayPlan(faults, lost, refused_share=refused)
        self.world = World(Path(self.folder.name), gateway, FaultPlan(faults, lost))

    @precondition(lambda self: self.world.sent < 6)
    @rule()
    def create(self) -> None:
        self.world.create(self.world.sent)

    @precondition(lambda self: self.world.choices())
    @rule(data=st.data(), steps=st.integers(1, 6))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        for _ in range(steps):
            if choices := self.world.choices():
                choices[data.draw(st.integers(0, len(choices) - 1))]()

    @precondition(lambda self: self.world.mailboxes["payment"])
    @rule()
    def kill_payment_behind_its_call(self) -> None:
        self.world.deliver("payment", killed_first=True)

    @precondition(lambda self: self.world.mailboxes["shipping"])
    @rule()
    def kill_shipping_behind_its_call(self) -> None:
        self.world.deliver("shipping", killed_first=True)

    @rule(name=st.sampled_from(["Swift", "Gull"]))
    def fall_silent_or_speak_again(self, name: str) -> None:
        carrier = self.world.carriers[name]
        carrier.silent = not carrier.silent

    @rule()
    def restart_processor(self) -> None:
        before = self.world.book.counters()
        self.world.start_processor()
        assert self.world.book.counters() == before

    @rule()
    def restart_inventory(self) -> None:
        before = self.world.inventory.levels()
        self.world.start_inventory()
        assert before.items() >= self.world.inventory.levels().items()

    @precondition(lambda self: self.world.answers)
    @rule(data=st.data())
    def repeat_an_answer(self, data: st.DataObject) -> None:
        answers = self.world.answers
        self.world.process(answers[data.draw(st.integers(0, len(answers) - 1))])

    @precondition(lambda self: self.world.orders_journal)
    @rule(data=st.data())
    def repeat_an_order(self, data: st.DataObject) -> None:
        order_id = data.draw(st.sampled_from(self.world.orders_journal)).order_id
        before = len(self.world.orders_journal)
        self.world.process(order(int(order_id.removeprefix("order-"))))
        assert len(self.world.orders_journal) == before

    @precondition(lambda self: self.world.orders_journal)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order_id = data.draw(st.sampled_from(self.world.orders_journal)).order_id
        self.world.process(msg.CancelOrder(order_id, "changed my mind"))

    @precondition(lambda self: self.world.orders_journal)
    @rule(data=st.data(), refund=st.integers(0, 3), quantity=st.integers(0, 9))
    def refund(self, data: st.DataObject, refund: int, quantity: int) -> None:
        order_id = data.draw(st.sampled_from(self.world.orders_journal)).order_id
        item = self.world.book.order(order_id).items[0]
        line = RefundLine(item.sku, quantity, item.unit_price_cents)
        self.world.process(msg.RefundLines(order_id, f"C{refund}", (line,)))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for carrier in self.world.carriers.values():
            carrier.silent = False
        self.world.drain()
        result = self.world.audit()
        self.world.ledger.close()
        self.folder.cleanup()
        assert result.violations == ()
        assert result.counts["open"] == 0


SagaMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestSagaMachine = SagaMachine.TestCase


def outcome_of_a_run(folder: Path, seed: int, *, kills: bool) -> str:
    rng = random.Random(seed)
    folder.mkdir()
    world = World(folder, GatewayPlan(0.3, refused_share=0.1), FaultPlan(0.3))
    for number in range(60):
        world.create(number)
    while choices := world.choices():
        rng.choice(choices)()
        if kills and rng.random() < 0.02:
            world.start_processor()
            world.start_inventory()
            world.restart_externals()
        for name in ("payment", "shipping"):
            if kills and world.mailboxes[name] and rng.random() < 0.1:
                world.deliver(name, killed_first=True)
    result = world.audit()
    world.ledger.close()
    assert result.violations == ()
    assert min(result.counts[end] for end in ("completed", "failed")) > 0
    return outcome_digest(result.outcomes)


def test_the_outcome_depends_on_the_seed_alone(tmp_path: Path) -> None:
    digests = {
        outcome_of_a_run(tmp_path / f"{seed}{kills}", seed, kills=kills)
        for seed in range(3)
        for kills in (False, True)
    }
    assert len(digests) == 1


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_lost_answer_of_the_gateway_is_made_good(tmp_path: Path, cancelled: bool) -> None:
    world = World(tmp_path, GatewayPlan(0.0, 1.0, refused_share=0.0), FaultPlan(0.0), 0.0)
    world.create(0)
    world.deliver("processor")
    world.fire(next(iter(world.timers)))
    world.deliver("processor")
    world.deliver("payment")
    world.deliver("processor")
    assert [entry.order_id for entry in read_ledger(world.ledger_file)] == ["order-0"]
    world.gateway_plan = GatewayPlan(0.0, refused_share=0.0)
    world.restart_externals()
    if cancelled:
        world.process(msg.CancelOrder("order-0", "took too long"))
    world.drain()
    result = world.audit()
    world.ledger.close()
    assert result.violations == ()
    assert result.counts["cancelled"] == cancelled
    assert (result.counts["charges"], result.counts["refunds"]) == (1, int(cancelled))
