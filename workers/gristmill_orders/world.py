"""The world that a run of the service lives in: its seed, its externals, what goes wrong there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from gristmill.behaviours.context import Context
from gristmill.facets import CircuitBreakerSpec
from gristmill_orders.compute.rates import CARRIERS
from gristmill_orders.externals.carriers import SimulatedCarrier
from gristmill_orders.externals.faults import FaultPlan
from gristmill_orders.externals.gateway import GatewayPlan, SimulatedGateway
from gristmill_orders.inventory import SHORT_SHARE
from gristmill_orders.ledger import Ledger

CALL_SECONDS = 10.0
"""How long a call to the gateway or to a carrier may take."""
BREAKER = CircuitBreakerSpec(
    slow_call_seconds=CALL_SECONDS,
    record_errors=("gristmill_orders.externals.faults.ExternalError", "TimeoutError"),
)
"""A card that is refused is no failure of the gateway."""


class World(msgspec.Struct, frozen=True):
    """What the services are told about the world outside."""

    ledger: str
    """The folder in which the gateway keeps a ledger, and the carriers another."""
    seed: int = 0
    gateway: GatewayPlan = GatewayPlan()
    carriers: FaultPlan = FaultPlan()
    short_share: float = SHORT_SHARE
    """The share of products without stock, from 0 to 1."""
    breaker: CircuitBreakerSpec = BREAKER
    """The circuit breaker around the gateway, and of each carrier."""
    compute: bool = True
    """False: stand-ins take the place of the compute kernels."""

    def open_gateway(self, ctx: Context) -> SimulatedGateway:
        """Open the payment gateway for an actor."""
        ledger = Ledger(Path(self.ledger, "gateway.jsonl"))
        return SimulatedGateway(self.seed, ledger, self.gateway, clock=ctx.now, sleep=ctx.sleep)

    def open_carriers(self, ctx: Context) -> Mapping[str, SimulatedCarrier]:
        """Open all carriers for an actor, by name."""
        ledger = Ledger(Path(self.ledger, "carriers.jsonl"))
        return {
            tariff.name: SimulatedCarrier(
                tariff.name, self.seed, ledger, self.carriers, clock=ctx.now, sleep=ctx.sleep
            )
            for tariff in CARRIERS
        }
