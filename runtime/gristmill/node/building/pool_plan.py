"""``PoolPlan``: a pool of a ``NodeBuilder``, whose size the configuration may still change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.config import PoolConfig
from gristmill.node.specs import WITHOUT_NODE, pool_spec, watch_spec
from gristmill.placement.elasticity import Elasticity
from gristmill.supervision import SupervisorSpec
from gristmill.transport.control import WatchPool


@dataclass(frozen=True)
class PoolPlan:
    """A pool before there is a node."""

    kind: type[Actor]
    name: str
    size: int
    restarts: Mapping[str, Any]
    options: Mapping[str, Any]
    elastic: Elasticity | None = None
    supervisor: str = ""

    def spec(self) -> SupervisorSpec:
        """Describe the supervisor of its actors."""
        options = {**self.restarts, **self.options}
        return pool_spec(WITHOUT_NODE, self.kind, self.name, self.size, **options)

    def watch(self) -> WatchPool | None:
        """Say how its size follows its load; None if it does not."""
        rule = self.elastic
        if rule is None:
            return None
        watch = watch_spec(WITHOUT_NODE, self.kind, self.name, self.size, rule, **self.options)
        return msgspec.structs.replace(watch, supervisor=self.supervisor)

    def resized(self, config: PoolConfig) -> PoolPlan:
        """Give one of the size, and between the bounds, that the configuration says."""
        rule = None
        if config.min < config.max:
            rule = Elasticity(
                config.min, config.max, config.scale_up, config.scale_down, config.cooldown
            )
        return replace(self, size=config.size, elastic=rule)
