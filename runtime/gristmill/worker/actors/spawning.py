"""``Spawns``: what a worker's actors ask of the supervisor process for their children."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gristmill.behaviours.children import Child, listed, named
from gristmill.ref import Address, AnyRef, Ref
from gristmill.supervision import ChildCounts
from gristmill.transport.child_operations import (
    ChildRow,
    CountChildren,
    Incarnation,
    TerminateChild,
    WhichChildren,
)
from gristmill.transport.control import Call, Instance, Operation, Parent, Result, SpawnActors
from gristmill.transport.results import error_of
from gristmill.worker.actors.cell import Cell
from gristmill.worker.specs import actor_spec, child_spec, encode_arguments

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

A = TypeVar("A")

_places = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode
_rows = msgspec.msgpack.Decoder(list[ChildRow]).decode
_counts = msgspec.msgpack.Decoder(ChildCounts).decode


class Spawns:
    """The open questions of one worker's actors."""

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
        unique = f"{kind.__name__}-{by.key}.{by.incarnation}.{self._last + 1}"
        instance = Instance(spec.name or unique, arguments, spec.name)
        keeps = by.actor is not None and by.actor.keep_children
        parent = Parent(by.key, by.incarnation, keeps)
        described = child_spec(None, "", **child)
        places = await self._call(SpawnActors("", described, spec, (instance,), parent))
        ((key, home),) = _places(places)
        return Ref(Address(key, home, spec.type, spec.name, spec.mailbox), core.sending)

    async def terminate(self, by: Cell, child: str | AnyRef) -> None:
        """Stop a child of an actor; raises what :meth:`Context.terminate_child` raises."""
        await self._call(TerminateChild(_own(by), named(child)))

    async def which(self, by: Cell) -> list[Child]:
        """List the children of an actor."""
        return listed(_rows(await self._call(WhichChildren(_own(by)))), self._core.sending)

    async def count(self, by: Cell) -> ChildCounts:
        """Count the children of an actor."""
        return _counts(await self._call(CountChildren(_own(by))))

    async def _call(self, operation: Operation) -> bytes:
        """Have the supervisor process do something; give the result as it was encoded."""
        shell = self._core.shell
        self._last += 1
        number = self._last
        future: asyncio.Future[Result] = shell.create_future()
        self._open[number] = future
        shell.control(Call(number, operation))
        try:
            result = await future
        finally:
            del self._open[number]
        if result.error:
            raise error_of(result)
        return result.value

    def on_result(self, result: Result) -> None:
        """The supervisor process has answered."""
        future = self._open.get(result.number)
        if future is not None and not future.done():
            future.set_result(result)


def _own(by: Cell) -> Incarnation:
    return Incarnation(by.key, by.incarnation)
