"""Payment and shipping as elastic pools: they grow and shrink under orders, and the books stay."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from gristmill.config import Config
from gristmill_orders import messages as msg
from gristmill_orders.app import OrderService
from gristmill_orders.config import bootstrap
from gristmill_orders.driver import Progress, create_order
from gristmill_orders.effects import PAYMENT, SHIPPING
from gristmill_orders.externals.faults import FaultPlan
from gristmill_orders.externals.gateway import GatewayPlan
from gristmill_orders.invoices import plan, read_invoices
from gristmill_orders.invoices.sample import sample_path
from gristmill_orders.kills import Killer
from gristmill_orders.records import RunFolder
from gristmill_orders.run import RunResult, RunSettings, run_orders
from gristmill_orders.states import TERMINAL, OrderState
from gristmill_orders.world import World
from support.waiting import eventually

ELASTIC = """
[node]
workers = 2
node_id = "elastic-orders"

[pools.payment]
max = 4
cooldown = 0.2

[pools.shipping]
size = 2
min = 1
max = 3
cooldown = 0.2
"""


class Sizes:
    """Notes the sizes of the elastic pools while a run goes on."""

    def __init__(self) -> None:
        self.seen: defaultdict[str, list[int]] = defaultdict(list)
        self.shrunk_while_open = 0

    def __call__(self, progress: Progress, killer: Killer) -> None:
        for pool in killer.node.status().pools:
            sizes = self.seen[pool.name]
            self.shrunk_while_open += progress.open > 0 and pool.size < (sizes or [0])[-1]
            sizes.append(pool.size)

    def has_grown(self, pool: str) -> bool:
        return max(self.seen[pool]) > self.seen[pool][0]

    def has_shrunk(self, pool: str) -> bool:
        return self.seen[pool][-1] < max(self.seen[pool])


def configuration(folder: Path, text: str) -> Config:
    file = folder / "release.toml"
    file.write_text(text)
    return bootstrap().load(file, environ={})


def run(folder: Path, text: str, watch: Sizes, *, kill_every: float | None = None) -> RunResult:
    folder.mkdir()
    file = read_invoices(sample_path())
    report = RunFolder(folder / "run")
    world = World(
        str(report.ledger),
        seed=5,
        gateway=GatewayPlan(latency_seconds=0.01, fault_share=0.05, lost_reply_share=0.05),
        carriers=FaultPlan(latency_seconds=0.02, fault_share=0.05),
        compute=False,
    )
    settings = RunSettings(seed=5, compute=False, kill_every=kill_every)
    planned = plan(file, seed=5, repeat=1)
    return run_orders(file, planned, configuration(folder, text), settings, report, watch, world)


def state_of(service: OrderService, order_id: str) -> OrderState:
    state: OrderState = service.processor(order_id).ask(msg.GetOrderStatus(order_id))
    return state


def entries(ledger: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger.read_text().splitlines()]


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the outcome with services of fixed sizes."""
    fixed = run(tmp_path_factory.mktemp("fixed") / "run", "[node]\nworkers = 2\n", Sizes())
    assert fixed.audit.ok
    return fixed.summary.outcome_digest


@pytest.mark.parametrize("kill_every", [None, 0.5])
def test_elastic_services_change_no_outcome(
    tmp_path: Path, digest: str, kill_every: float | None
) -> None:
    sizes = Sizes()
    result = run(tmp_path / "elastic", ELASTIC, sizes, kill_every=kill_every)
    assert result.audit.violations == ()
    assert result.summary.outcome_digest == digest
    assert result.summary.orders.sent == 300
    assert sizes.has_grown(PAYMENT)
    assert sizes.has_grown(SHIPPING)
    assert sizes.has_shrunk(PAYMENT)
    assert sizes.shrunk_while_open
    assert (result.killed > 0) == (kill_every is not None)


def test_a_stop_with_open_orders_and_a_start_with_fewer_members(tmp_path: Path) -> None:
    """What was on its way to members that are not there any more goes to those that are."""
    world = World(
        str(tmp_path / "ledger"),
        gateway=GatewayPlan(latency_seconds=0.05, refused_share=0.0),
        short_share=0.0,
        compute=False,
    )
    file = read_invoices(sample_path())
    left = enumerate(plan(file, seed=0, repeat=4))
    sent: list[str] = []
    config = configuration(tmp_path, ELASTIC)
    path = "RootSupervisor/ServiceSupervisor/payment"
    with OrderService(config, world, tmp_path / "journal") as service:

        def grown() -> bool:
            number, order = next(left)
            sent.append(f"order-{number}")
            command = create_order(sent[-1], order, 0)
            service.processor(sent[-1]).tell(command, delivery="at_least_once")
            return service.node.supervisor(path).count_children().active >= 3

        eventually(grown, "the pool has grown", 20.0)
        service.node.stop(0)
    with OrderService(config, world, tmp_path / "journal") as service:
        assert "payment-2" not in service.node.status().names

        def all_ended() -> bool:
            return {state_of(service, order_id) for order_id in sent} <= TERMINAL

        eventually(all_ended, "all orders have ended", 30.0)
        assert service.node.dead_letters() == []
        completed = {i for i in sent if state_of(service, i) is OrderState.COMPLETED}
    charges = entries(tmp_path / "ledger" / "gateway.jsonl")
    keys = [charge["key"] for charge in charges if charge["entry"] == "charge"]
    assert len(keys) == len(set(keys))
    labels = entries(tmp_path / "ledger" / "carriers.jsonl")
    assert sorted(label["order_id"] for label in labels) == sorted(completed)
    assert len(completed) > len(sent) / 2
