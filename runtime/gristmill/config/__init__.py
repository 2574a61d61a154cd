"""Configuration: command line over environment over ``release.toml`` over defaults, key by key."""

from __future__ import annotations

from gristmill.config.bootstrap import Config, ConfigBootstrap
from gristmill.config.cores import available_cores
from gristmill.config.recycle import Recycle
from gristmill.config.sections import (
    ALIASES,
    SECTIONS,
    TABLES,
    ChannelConfig,
    NodeConfig,
    PoolConfig,
    Transport,
)
from gristmill.config.settings import Setting, redacted

__all__ = [
    "ALIASES",
    "SECTIONS",
    "TABLES",
    "ChannelConfig",
    "Config",
    "ConfigBootstrap",
    "NodeConfig",
    "PoolConfig",
    "Recycle",
    "Setting",
    "Transport",
    "available_cores",
    "redacted",
]
