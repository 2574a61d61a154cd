"""What a section may hold: its keys, their types, and the environment variables that set them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_type_hints

from msgspec import inspect

# Other programs own variables such as NODE_ENV: only a slip of a finger is taken for one of ours.
VARIABLE_CUTOFF = 0.84
SECTION_CUTOFF = 0.8


class Schema(NamedTuple):
    """A section, or one entry of a table, with the types of its keys."""

    path: tuple[str, ...]
    """``("node",)``, or ``("pools", "payment")`` for an entry of a table."""
    kind: type[Any]
    types: Mapping[str, Any]
    required: frozenset[str]

    @classmethod
    def of(cls, path: tuple[str, ...], kind: type[Any]) -> Schema:
        """Read the keys of a msgspec Struct or a dataclass."""
        hints = get_type_hints(kind, include_extras=True)
        fields = fields_of(kind)
        types = {field.name: hints[field.name] for field in fields}
        return cls(path, kind, types, frozenset(f.name for f in fields if f.required))

    @property
    def name(self) -> str:
        """The section as people write it: ``pools.payment``."""
        return ".".join(self.path)

    def variable(self, key: str) -> str:
        """Give the environment variable of a key: ``POOLS_PAYMENT_SIZE``."""
        return "_".join(variable_part(part) for part in (*self.path, key))


def fields_of(kind: type[Any]) -> tuple[inspect.Field, ...]:
    """List the fields of a msgspec Struct or a dataclass."""
    info = inspect.type_info(kind)
    if not isinstance(info, (inspect.StructType, inspect.DataclassType)):
        raise TypeError(f"a section is a msgspec Struct or a dataclass, and not {kind!r}")
    return info.fields


def variable_part(name: str) -> str:
    """Give the form that a section's or a key's name has inside of an environment variable."""
    return name.upper().replace("-", "_").replace(".", "_")


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Give the known word that is most like ``word``, or None when none is like it."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Say which known key was probably meant, or which ones there are."""
    known = list(known)
    near = nearest(word, known)
    return f"did you mean {near!r}?" if near else f"known keys: {', '.join(known)}"
