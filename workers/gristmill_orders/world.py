"""The world that a run of the service lives in: its seed, its externals, what goes wrong there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from gristmill.behaviours.context import Context
from gristmill.config import Config
from gristmill.errors import ConfigError
from gristmill.facets import CircuitBreakerSpec
from gristmill_orders.compute.rates import CARRIERS
from gristmill_orders.config import ExternalsConfig
from gristmill_orders.externals.carriers import Carrier, SimulatedCarrier
from gristmill_orders.externals.faults import FaultPlan
from gristmill_orders.externals.gateway import GatewayPlan, PaymentGateway, SimulatedGateway
from gristmill_orders.inventory import SHORT_SHARE
from gristmill_orders.ledger import Ledger

if TYPE_CHECKING:
    from gristmill_orders.externals.http import HttpExternal

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
    externals: ExternalsConfig = ExternalsConfig()
    """Which externals are reached over HTTP, and how; the others are simulated."""

    @classmethod
    def of(cls, config: Config, ledger: str, *, seed: int = 0, compute: bool = True) -> Self:
        """Make the world that a configuration asks for.

        Args:
            config: the settings.
            ledger: the folder of the simulated externals' ledgers.
            seed: the seed of the run.
            compute: False: stand-ins take the place of the compute kernels.

        Raises:
            ConfigError: a setting names a carrier that there is not, or needs what is missing.
        """
        externals = config.section(ExternalsConfig)
        _check(externals)
        return cls(ledger, seed=seed, compute=compute, externals=externals)

    def open_gateway(self, ctx: Context) -> PaymentGateway:
        """Open the payment gateway for an actor."""
        if url := self.externals.gateway_url:
            from gristmill_orders.externals.http_gateway import (  # noqa: PLC0415 - an extra
                HttpGateway,
            )

            return HttpGateway(self._http("the gateway", url, ctx))
        ledger = Ledger(Path(self.ledger, "gateway.jsonl"))
        return SimulatedGateway(self.seed, ledger, self.gateway, clock=ctx.now, sleep=ctx.sleep)

    def open_carriers(self, ctx: Context) -> Mapping[str, Carrier]:
        """Open all carriers for an actor, by name."""
        if urls := self.externals.carrier_urls:
            from gristmill_orders.externals.http_carrier import (  # noqa: PLC0415 - an extra
                HttpCarrier,
            )

            return {name: HttpCarrier(self._http(name, url, ctx)) for name, url in urls.items()}
        ledger = Ledger(Path(self.ledger, "carriers.jsonl"))
        return {
            tariff.name: SimulatedCarrier(
                tariff.name, self.seed, ledger, self.carriers, clock=ctx.now, sleep=ctx.sleep
            )
            for tariff in CARRIERS
        }

    def _http(self, name: str, url: str, ctx: Context) -> HttpExternal:
        from gristmill_orders.externals.http import (  # noqa: PLC0415 - an extra
            HttpExternal,
            HttpLimits,
        )

        limits = HttpLimits(
            timeout_seconds=self.externals.timeout_seconds, attempts=self.externals.attempts
        )
        return HttpExternal(name, url, limits, random=ctx.random, sleep=ctx.sleep)


def _check(externals: ExternalsConfig) -> None:
    for problem in _problems(externals):
        raise ConfigError(f"[externals] {problem}")


def _problems(externals: ExternalsConfig) -> Iterator[str]:
    known = [tariff.name for tariff in CARRIERS]
    for name in externals.carrier_urls:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            yield f"carrier_urls: there is no carrier {name!r}; {hint}"
    if externals.over_http and (missing := [m for m in _NEEDED if find_spec(m) is None]):
        yield (
            f"names addresses, but {' and '.join(missing)} is not installed; "
            "install gristmill[http]"
        )


_NEEDED = ("httpx", "tenacity")
