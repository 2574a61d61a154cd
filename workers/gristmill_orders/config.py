"""The application's configuration: its own section, and its defaults for the library's."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from gristmill.config import ALIASES, SECTIONS, TABLES, ConfigBootstrap, NodeConfig


class OrderProcessorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[order_processor]``: how orders are taken in."""

    max_orders: Annotated[int, msgspec.Meta(ge=1)] = 1000
    """Open orders at a time; one more is refused with a reason."""
    enable_metrics: bool = True
    """Count the events of the processors by type."""
    retry_seconds: Annotated[
        tuple[Annotated[float, msgspec.Meta(ge=0)], ...], msgspec.Meta(min_length=1)
    ] = (1.0, 2.0, 4.0, 8.0)
    """The delays before further attempts at a payment gateway that failed."""
    data_dir: Annotated[str, msgspec.Meta(min_length=1)] = "orders-data"
    """Where ``gristmill up`` keeps the journal and the simulated externals' ledger."""


class ExternalsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[externals]``: where the payment gateway and the carriers are."""

    gateway_url: str = ""
    """The payment gateway, over HTTP. Empty: it is simulated."""
    carrier_urls: dict[str, str] = {}
    """The carriers by name, over HTTP; those without an address are not asked then. Empty: all are
    simulated."""
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=10)] = 5.0
    """How long one attempt may take."""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    """How often a call is made at most, before it counts as failed."""

    def __post_init__(self) -> None:
        """Check the addresses.

        Raises:
            ValueError: one is no URL of HTTP.
        """
        urls = {"gateway_url": self.gateway_url} if self.gateway_url else {}
        for what, url in (urls | self.carrier_urls).items():
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError(f"{what}: this is no URL such as https://pay.example.com/v1")

    @property
    def over_http(self) -> bool:
        """Whether any external is reached over HTTP."""
        return bool(self.gateway_url or self.carrier_urls)


class ApiConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[api]``: where the service API listens over HTTP; for gRPC it is ``[node] grpc_port``."""

    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    """The address for both; ``0.0.0.0`` for all of this machine."""
    http_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8080
    """Another one than for gRPC."""


class OrderNodeConfig(NodeConfig, frozen=True, kw_only=True):
    """``[node]`` with the application's name for its first node."""

    node_id: Annotated[str, msgspec.Meta(min_length=1)] = "order-node-1"


def bootstrap() -> ConfigBootstrap:
    """Declare every section that the application reads."""
    own: dict[str, type[Any]] = {
        "node": OrderNodeConfig,
        "order_processor": OrderProcessorConfig,
        "externals": ExternalsConfig,
        "api": ApiConfig,
    }
    return ConfigBootstrap({**SECTIONS, **own}, tables=TABLES, aliases=ALIASES)
