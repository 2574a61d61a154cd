"""The order service in a simulation: planned orders through the real actors, and their audit."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from gristmill.config import Config
from gristmill.errors import ActorError, AskTimeoutError
from gristmill.testing import Faults, Simulation
from gristmill_orders.app import OrderService
from gristmill_orders.audit import AuditResult
from gristmill_orders.config import bootstrap
from gristmill_orders.driver import Driver
from gristmill_orders.effects import INVENTORY, PAYMENT, SHIPPING
from gristmill_orders.externals.faults import FaultPlan
from gristmill_orders.externals.gateway import GatewayPlan
from gristmill_orders.invoices import CancelPoint, InvoiceFile, plan, read_invoices
from gristmill_orders.invoices.sample import sample_path
from gristmill_orders.messages import GetStockLevels
from gristmill_orders.records import RunFolder, RunRecord
from gristmill_orders.world import BREAKER, World

ORDERS = 8
LIMIT = 300.0
"""Virtual seconds after which a run must be over."""
_IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_UNMOVED = msgspec.structs.replace(BREAKER, minimum_calls=10_000, window_calls=10_000)
KILLS = Faults(kill_every=1.0, pause_every=5.0, until=12.0)


class SagaRun(NamedTuple):
    """What a simulated run of the order service has come to."""

    audit: AuditResult
    finished: bool
    trace: list[str]
    worker_restarts: int
    virtual_seconds: float
    digest: str
    """Of the orders that were not cancelled in the middle."""
    sizes: dict[str, set[int]]
    """The sizes that each elastic pool has had."""


@cache
def _sample() -> InvoiceFile:
    return read_invoices(sample_path())


@cache
def _config(*, elastic: bool) -> Config:
    overrides = {("node", "workers"): "2", ("node", "node_id"): "simulated-orders"}
    if elastic:
        for service in (PAYMENT, SHIPPING):
            overrides[f"pools.{service}", "max"] = "4"
            overrides[f"pools.{service}", "scale_up"] = "0.5"
            overrides[f"pools.{service}", "scale_down"] = "0.2"
            overrides[f"pools.{service}", "cooldown"] = "0.1"
    return bootstrap().load(overrides=overrides, environ={})


def run_saga(
    seed: int,
    faults: Faults = KILLS,
    orders: int = ORDERS,
    *,
    elastic: bool = False,
    breakers: bool = True,
) -> SagaRun:
    """Lead orders through their sagas under a seed, and audit what they leave.

    With ``elastic`` payment and shipping are pools that grow and shrink. Without ``breakers`` no
    circuit breaker opens, which depends on timing and decides what becomes of an order.
    """
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as folder:
        run_folder = RunFolder(Path(folder, "run"))
        return _run(seed, faults, orders, run_folder, elastic=elastic, breakers=breakers)


def _run(
    seed: int, faults: Faults, orders: int, folder: RunFolder, *, elastic: bool, breakers: bool
) -> SagaRun:
    world = World(
        str(folder.ledger),
        seed=seed,
        gateway=GatewayPlan(fault_share=0.1, lost_reply_share=0.1, latency_seconds=0.05),
        carriers=FaultPlan(fault_share=0.1, latency_seconds=0.05),
        short_share=0.02,
        breaker=BREAKER if breakers else _UNMOVED,
        compute=False,
    )
    everything = plan(_sample(), seed=seed, cancel_share=0.3)
    begin = seed * orders % (len(everything) - orders)
    planned = everything[begin : begin + orders]
    record = RunRecord(
        input="sample",
        seed=seed,
        workers=2,
        compute=False,
        short_share=world.short_share,
        cancelled_midway=tuple(
            order.order_key
            for order in planned
            if order.cancel in {CancelPoint.AFTER_CREATE, CancelPoint.AFTER_PAYMENT}
        ),
    )
    with folder.replaced(record):
        service = OrderService(
            _config(elastic=elastic),
            world,
            folder.journal,
            max_restarts=100,
            build=lambda builder: Simulation.of(builder, seed, faults=faults),
        )
    simulation = service.node
    assert isinstance(simulation, Simulation)
    with service:
        random, began = simulation.random, simulation.now()
        driver = Driver(
            service,
            planned,
            seed,
            now=simulation.now,
            new_id=lambda: f"{random.getrandbits(64):016x}",
        )
        sizes: defaultdict[str, set[int]] = defaultdict(set)
        while not driver.done and simulation.now() - began < LIMIT:
            driver.step(0.05)
            for pool in simulation.status().pools:
                sizes[pool.name].add(pool.size)
        levels = _stock_levels(service)
        restarts = simulation.status().worker_restarts
        seconds = simulation.now() - began
    folder.write_events(driver.observed)
    folder.write(
        msgspec.structs.replace(
            record, sent=driver.progress.sent, finished=driver.finished, stock_levels=levels
        )
    )
    found, digest = folder.audit()
    return SagaRun(found, driver.finished, simulation.trace, restarts, seconds, digest, dict(sizes))


def _stock_levels(service: OrderService) -> dict[str, tuple[int, int, int, int]]:
    """Ask the inventory, which may just be killed."""
    while True:
        with suppress(ActorError, AskTimeoutError):
            return service.actor(INVENTORY).ask(GetStockLevels(), timeout=5.0)
