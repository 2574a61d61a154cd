"""``ActorFactory``: actors by the name of their type, for programs driven by data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.behaviours.actor import Actor
from gristmill.node.building.actor_builder import ActorBuilder
from gristmill.node.building.registry import ObjectRegistry
from gristmill.node.node import Node
from gristmill.ref import Ref


class ActorFactory:
    """Makes actors of registered types.

    Args:
        registry: where the types are kept; one of its own if None.
    """

    def __init__(self, registry: ObjectRegistry | None = None) -> None:
        self.registry = registry if registry is not None else ObjectRegistry()

    def register(self, type_name: str, kind: type[Actor]) -> None:
        """Give an actor class a name.

        Raises:
            ActorTypeError: it is no actor class.
            UsageError: the name stands for another class.
        """
        self.registry.register_type(type_name, kind)

    def builder(self, type_name: str) -> ActorBuilder[Any]:
        """Give a builder for an actor of this type, for all its options.

        Raises:
            ActorTypeError: there is no such type; names the nearest and the known ones.
        """
        return ActorBuilder(self.registry.actor_type(type_name))

    def create(
        self,
        type_name: str,
        node: Node,
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> Ref[Any]:
        """Start an actor of this type on a running node.

        Raises:
            ActorTypeError: there is no such type; names the nearest and the known ones.
            StartFailedError: its constructor or ``on_start`` raised.
            AlreadyStartedError: the name is taken.
        """
        builder = self.builder(type_name).args(*args).kwargs(**(kwargs or {})).name(name)
        return builder.spawn(node)
