"""``ObjectRegistry``: one place to find actor types, actors by name, and nodes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from gristmill.behaviours.actor import Actor
from gristmill.errors import ActorNotFoundError, ActorTypeError, UsageError
from gristmill.node.rundir import NodeFacts, running_nodes
from gristmill.ref import Ref


class NameDirectory(Protocol):
    """What knows the names of a node's actors: a :class:`~gristmill.node.node.Node`."""

    @property
    def node_id(self) -> str:
        """The node's name."""

    def lookup(self, name: str) -> Ref[Any]:
        """Find an actor, or raise :class:`~gristmill.errors.ActorNotFoundError`."""


class ObjectRegistry:
    """Actor types by the names that configuration uses, actors by name, and nodes.

    Names of actors are looked up on their nodes, so they are never out of date.
    """

    def __init__(self) -> None:
        self._types: dict[str, type[Actor]] = {}
        self._nodes: dict[str, NameDirectory] = {}

    def register_type(self, type_name: str, kind: type[Actor]) -> None:
        """Give an actor class a name.

        Raises:
            ActorTypeError: it is no actor class.
            UsageError: the name stands for another class.
        """
        if not (isinstance(kind, type) and issubclass(kind, Actor)):
            raise ActorTypeError(f"{kind!r} is no actor class; subclass gristmill.Actor")
        known = self._types.setdefault(type_name, kind)
        if known is not kind:
            raise UsageError(
                f"the actor type {type_name!r} is {known.__module__}.{known.__qualname__} already; "
                "choose another name"
            )

    def actor_type(self, type_name: str) -> type[Actor]:
        """Give the class of an actor type.

        Raises:
            ActorTypeError: there is no such type; names the nearest and the known ones.
        """
        kind = self._types.get(type_name)
        if kind is None:
            near = difflib.get_close_matches(type_name, self._types, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            known = ", ".join(sorted(self._types)) or "none"
            raise ActorTypeError(f"no actor type {type_name!r}; {hint}(types: {known})")
        return kind

    @property
    def actor_types(self) -> Mapping[str, type[Actor]]:
        """All actor types by name."""
        return MappingProxyType(self._types)

    def add_node(self, node: NameDirectory) -> None:
        """Look up names on this node too.

        Raises:
            UsageError: another node of this id was added.
        """
        known = self._nodes.setdefault(node.node_id, node)
        if known is not node:
            raise UsageError(f"a node {node.node_id!r} is in the registry already; remove it first")

    def remove_node(self, node_id: str) -> None:
        """Look up no names on this node any more; an unknown one is left as it is."""
        self._nodes.pop(node_id, None)

    def lookup(self, name: str) -> Ref[Any]:
        """Find an actor by its name on the nodes that were added, in that order.

        Raises:
            ActorNotFoundError: none of them has it; says what each one has.
        """
        if not self._nodes:
            raise ActorNotFoundError(
                f"no actor is named {name!r}: the registry has no node; add_node(node) first"
            )
        misses = []
        for node_id, node in self._nodes.items():
            try:
                return node.lookup(name)
            except ActorNotFoundError as error:
                misses.append(f"{node_id}: {error}")
        raise ActorNotFoundError("; ".join(misses))

    def running_nodes(self) -> list[NodeFacts]:
        """Give the nodes of this user that run on this host, oldest first, added or not."""
        return running_nodes()
