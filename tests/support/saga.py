"""The order service in a simulation: planned orders through the real actors, and their audit."""

from __future__ import annotations

import os
import tempfile
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
from gristmill_orders.effects import INVENTORY
from gristmill_orders.externals.faults import FaultPlan
from gristmill_orders.externals.gateway import GatewayPlan
from gristmill_orders.invoices import InvoiceFile, plan, read_invoices
from gristmill_orders.invoices.sample import sample_path
from gristmill_orders.messages import GetStockLevels
from gristmill_orders.records import RunFolder, RunRecord
from gristmill_orders.world import World

ORDERS = 8
LIMIT = 300.0
"""Virtual seconds after which a run must be over."""
_IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
KILLS = Faults(kill_every=1.0, pause_every=5.0, until=12.0)


class SagaRun(NamedTuple):
    """What a simulated run of the order service has come to."""

    audit: AuditResult
    finished: bool
    trace: list[str]
    worker_restarts: int
    virtual_seconds: float


@cache
def _sample() -> InvoiceFile:
    return read_invoices(sample_path())


@cache
def _config() -> Config:
    overrides = {("node", "workers"): "2", ("node", "node_id"): "simulated-orders"}
    return bootstrap().load(overrides=overrides, environ={})


def run_saga(seed: int, faults: Faults = KILLS, orders: int = ORDERS) -> SagaRun:
    """Lead orders through their sagas under a seed, and audit what they leave."""
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as folder:
        return _run(seed, faults, orders, RunFolder(Path(folder, "run")))


def _run(seed: int, faults: Faults, orders: int, folder: RunFolder) -> SagaRun:
    world = World(
        str(folder.ledger),
        seed=seed,
        gateway=GatewayPlan(fault_share=0.1, lost_reply_share=0.1, latency_seconds=0.05),
        carriers=FaultPlan(fault_share=0.1, latency_seconds=0.05),
        short_share=0.02,
        compute=False,
    )
    record = RunRecord(
        input="sample", seed=seed, workers=2, compute=False, short_share=world.short_share
    )
    folder.prepare(record)
    everything = plan(_sample(), seed=seed, cancel_share=0.3)
    begin = seed * orders % (len(everything) - orders)
    planned = everything[begin : begin + orders]
    service = OrderService(
        _config(),
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
        while not driver.done and simulation.now() - began < LIMIT:
            driver.step(0.05)
        levels = _stock_levels(service)
        restarts = simulation.status().worker_restarts
        seconds = simulation.now() - began
    folder.write_events(driver.observed)
    folder.write(
        msgspec.structs.replace(
            record, sent=driver.progress.sent, finished=driver.finished, stock_levels=levels
        )
    )
    found, _ = folder.audit()
    return SagaRun(found, driver.finished, simulation.trace, restarts, seconds)


def _stock_levels(service: OrderService) -> dict[str, tuple[int, int, int, int]]:
    """Ask the inventory, which may just be killed."""
    while True:
        with suppress(ActorError, AskTimeoutError):
            return service.actor(INVENTORY).ask(GetStockLevels(), timeout=5.0)
