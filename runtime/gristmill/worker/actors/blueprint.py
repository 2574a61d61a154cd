"""``Blueprint``: what a worker needs to start actors of one class, looked up once."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.errors import ActorTypeError, UsageError
from gristmill.importing import resolve
from gristmill.transport.codec import Codec
from gristmill.transport.control import ActorSpec
from gristmill.worker.turns.batch_plans import plans_of

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_split = msgspec.msgpack.Decoder(tuple[list[msgspec.Raw], dict[str, msgspec.Raw]]).decode


class Blueprint:
    """An actor class, its constructor's signature and its messages.

    Args:
        path: the import path of the class.
        codec: decodes arguments and messages.
        governs: whether the sizes of batches are found that nobody has said.

    Raises:
        ActorTypeError: the path names no actor class here.
    """

    def __init__(self, path: str, codec: Codec, *, governs: bool = True) -> None:
        kind = resolve(path)
        if not (isinstance(kind, type) and issubclass(kind, Actor)):
            raise ActorTypeError(f"{path} is no actor; subclass gristmill.Actor")
        self.kind = kind
        self.handlers = kind.__protocol__.handlers
        self.plans = plans_of(self.handlers, governs=governs)
        self.decode = codec.decoder(kind.__protocol__.messages).decode
        self._codec = codec
        self._signature = inspect.signature(kind)
        self._hints = typing.get_type_hints(kind.__init__)
        parameters = self._signature.parameters.values()
        self._positional = [self._decode(p.name) for p in parameters if p.kind in _POSITIONAL]
        self._required = sum(
            p.default is p.empty and p.kind in (*_POSITIONAL, p.KEYWORD_ONLY) for p in parameters
        )
        self._keywords_only = any(p.kind is p.KEYWORD_ONLY for p in parameters)
        self._specs: dict[ActorSpec, ActorSpec] = {}

    def arguments(self, encoded: bytes) -> tuple[list[Any], dict[str, Any]]:
        """Decode the arguments of the constructor by its annotations.

        Raises:
            UsageError: they do not fit its parameters.
        """
        positional, keywords = _split(encoded)
        fits = self._required <= len(positional) <= len(self._positional)
        if fits and not keywords and not self._keywords_only:
            decoders = zip(self._positional, positional)  # noqa: B905 - defaults may be left out
            return [decode(value) for decode, value in decoders], {}
        return self._bind(positional, keywords)

    def _bind(
        self, positional: list[msgspec.Raw], keywords: dict[str, msgspec.Raw]
    ) -> tuple[list[Any], dict[str, Any]]:
        signature = self._signature
        try:
            bound = signature.bind(*positional, **keywords)
        except TypeError as error:
            raise UsageError(f"{self.kind.__qualname__}{signature}: {error}") from None
        for name, value in bound.arguments.items():
            decode = self._decode(name)
            match signature.parameters[name].kind:
                case inspect.Parameter.VAR_POSITIONAL:
                    bound.arguments[name] = tuple(decode(v) for v in value)
                case inspect.Parameter.VAR_KEYWORD:
                    bound.arguments[name] = {k: decode(v) for k, v in value.items()}
                case _:
                    bound.arguments[name] = decode(value)
        return list(bound.args), dict(bound.kwargs)

    def _decode(self, parameter: str) -> Callable[[msgspec.Raw], Any]:
        return self._codec.decoder(self._hints.get(parameter, Any)).decode

    def lean(self, spec: ActorSpec) -> ActorSpec:
        """Give a spec without its arguments; like actors share it, or all of it but the name."""
        bare = msgspec.structs.replace(spec, args=b"", name="", key="", facets=())
        shared = self._specs.setdefault(bare, bare)
        if not spec.name and not spec.facets:
            return shared
        return msgspec.structs.replace(shared, name=spec.name, key=spec.key, facets=spec.facets)
