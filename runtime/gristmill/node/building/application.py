"""``Application``: what ``gristmill up`` runs, a builder together with its configuration."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from gristmill.config import ALIASES, SECTIONS, TABLES, Config, ConfigBootstrap, PoolConfig
from gristmill.errors import ConfigError, UsageError
from gristmill.node.building.node_builder import NodeBuilder


def library_bootstrap() -> ConfigBootstrap:
    """Declare the sections that the library itself reads."""
    return ConfigBootstrap(SECTIONS, tables=TABLES, aliases=ALIASES)


@dataclass(frozen=True)
class Application:
    """A program for a node.

    Args:
        build: makes the builder from the configuration that is in effect.
        bootstrap: declares the sections of the configuration; the library's own by default.
    """

    build: Callable[[Config], NodeBuilder]
    bootstrap: ConfigBootstrap = field(default_factory=library_bootstrap)

    @classmethod
    def of(cls, target: object, where: str) -> Application:
        """Take an application, a builder, or a function that makes a builder.

        Args:
            target: the object; a function takes nothing, or the :class:`Config`.
            where: what people call it, for the error.

        Raises:
            UsageError: it is none of these.
        """
        if isinstance(target, Application):
            return target
        if isinstance(target, NodeBuilder):
            return cls(lambda config: _with_pools_checked(target, config))
        if callable(target) and not isinstance(target, type):
            function: Callable[..., object] = target
            parameters = _parameters(function, where)
            if parameters:
                return cls(lambda config: _builder(function(config), where))
            return cls(lambda config: _with_pools_checked(_builder(function(), where), config))
        what = "a class" if isinstance(target, type) else f"of type {type(target).__name__}"
        raise UsageError(
            f"{where} is {what}; it must be a NodeBuilder, an Application, or a "
            "function that gives a NodeBuilder"
        )

    def builder(self, config: Config) -> NodeBuilder:
        """Give the builder, with the configuration applied.

        Raises:
            ConfigError: the configuration asks for what the application or a node can't do.
        """
        return self.build(config).configure(config)


def _parameters(function: Callable[..., object], where: str) -> int:
    """Tell how many arguments a function wants: none, or one."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        raise UsageError(f"{where} is {function!r}; write a function that calls it") from None
    required = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        names = ", ".join(parameter.name for parameter in required)
        raise UsageError(f"{where} takes {names}; it may take one Config, or nothing")
    return len(required)


def _builder(found: object, where: str) -> NodeBuilder:
    if not isinstance(found, NodeBuilder):
        raise UsageError(
            f"{where} gave a value of type {type(found).__name__}; it must give a NodeBuilder"
        )
    return found


def _with_pools_checked(builder: NodeBuilder, config: Config) -> NodeBuilder:
    """Refuse sizes of pools that don't exist; who takes the Config may use them as it likes."""
    for name in config.table(PoolConfig):
        if name not in builder.pools:
            section = f"pools.{name}"
            origins = [s.origin for s in config.settings if s.section == section]
            origin = next(origin for origin in origins if origin != "default")
            near = difflib.get_close_matches(name, builder.pools, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            known = ", ".join(builder.pools) or "none"
            raise ConfigError(
                f"{origin}: the application has no pool {name!r}; {hint}(pools: {known})"
            )
    return builder
