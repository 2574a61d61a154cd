"""``Spawns``: the children that a worker's actors have asked the supervisor process for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gristmill.ref import Address, Ref
from gristmill.transport.control import Call, Instance, Parent, Result, SpawnActors
from gristmill.transport.results import error_of
from gristmill.worker.cell import Cell
from gristmill.worker.specs import actor_spec, child_spec, encode_arguments

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

A = TypeVar("A")

_places = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode


class Spawns:
    """The open spawns of one worker."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._open: dict[int, asyncio.Future[Result]] = {}
        self._last = 0

    async def spawn(
        self,
        by: Cell,
        kind: type[A],
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        child: Mapping[str, Any],
        actor: Mapping[str, Any],
    ) -> Ref[A]:
        """Start a child of an actor; raises what :meth:`Context.spawn` raises."""
        core = self._core
        spec = actor_spec(core.codec, kind, **actor)  # type: ignore[arg-type]  # it checks the class
        arguments = encode_arguments(core.codec, args, kwargs)
        self._last += 1
        number = self._last
        unique = f"{kind.__name__}-{by.key}.{by.incarnation}.{number}"
        instance = Instance(spec.name or unique, arguments, spec.name)
        keeps = by.actor is not None and by.actor.keep_children
        parent = Parent(by.key, by.incarnation, keeps)
        operation = SpawnActors("", child_spec(None, "", **child), spec, (instance,), parent)
        future = self._open[number] = core.shell.create_future()
        core.shell.control(Call(number, operation))
        try:
            result = await future
        finally:
            del self._open[number]
        if result.error:
            raise error_of(result)
        ((key, home),) = _places(result.value)
        return Ref(Address(key, home, spec.type, spec.name, spec.mailbox), core.sending)

    def on_result(self, result: Result) -> None:
        """The supervisor process has answered."""
        future = self._open.get(result.number)
        if future is not None and not future.done():
            future.set_result(result)
