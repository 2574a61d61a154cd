"""The application's configuration: its own section, and its defaults for the library's."""

from __future__ import annotations

from typing import Annotated, Any

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


class OrderNodeConfig(NodeConfig, frozen=True, kw_only=True):
    """``[node]`` with the application's name for its first node."""

    node_id: Annotated[str, msgspec.Meta(min_length=1)] = "order-node-1"


def bootstrap() -> ConfigBootstrap:
    """Declare every section that the application reads."""
    own: dict[str, type[Any]] = {"node": OrderNodeConfig, "order_processor": OrderProcessorConfig}
    return ConfigBootstrap({**SECTIONS, **own}, tables=TABLES, aliases=ALIASES)
