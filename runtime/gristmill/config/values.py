"""From what a source says to a typed value: text to types, ``${VAR}``, types in words."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
_VARIABLE = re.compile(r"\$\$|\$\{([^}]*)(\})?")
_REFERENCE = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-(?P<default>.*))?", re.DOTALL
)
_SEQUENCES = (
    inspect.ListType,
    inspect.SetType,
    inspect.FrozenSetType,
    inspect.VarTupleType,
    inspect.TupleType,
)
_TABLES = (inspect.DictType, inspect.StructType, inspect.DataclassType, inspect.TypedDictType)


class Raw(NamedTuple):
    """A value as its source gave it, not yet checked."""

    value: object
    origin: str
    text: bool
    """The source knows only text, so text is read as the type that is wanted."""


def convert(raw: Raw, kind: Any) -> Any:  # noqa: ANN401 - a type expression, and its value
    """Give the value as ``kind``.

    Values that have types (from the file) must have the right one. Text is read: booleans from
    true/false/1/0/yes/no/on/off, lists from a JSON list or from items between commas. Numbers must
    be finite: nobody can wait for inf or nan seconds.

    Raises:
        msgspec.MsgspecError: the value is not of this type.
    """
    if raw.text and isinstance(raw.value, str):
        found = msgspec.convert(_read_text(raw.value, kind), kind, strict=False)
    else:
        found = msgspec.convert(raw.value, kind)
    for number in found if isinstance(found, list | tuple) else (found,):
        if isinstance(number, float) and not math.isfinite(number):
            raise msgspec.ValidationError(f"{number} is not finite")
    return found


def _read_text(text: str, kind: Any) -> object:  # noqa: ANN401 - a type expression
    parts = _alternatives(inspect.type_info(kind))
    if any(isinstance(part, inspect.StrType) for part in parts):
        return text
    text = text.strip()
    if any(isinstance(part, inspect.BoolType) for part in parts) and text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()]
    if any(isinstance(part, _SEQUENCES) for part in parts) and not text.startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    if any(isinstance(part, _SEQUENCES + _TABLES) for part in parts):
        return msgspec.json.decode(text)
    return text


def _alternatives(info: inspect.Type) -> tuple[inspect.Type, ...]:
    return info.types if isinstance(info, inspect.UnionType) else (info,)


def expected(kind: Any) -> str:  # noqa: ANN401 - a type expression
    """Say in words what a value of ``kind`` looks like: ``an integer of at least 1``."""
    return " or ".join(_in_words(part) for part in _alternatives(inspect.type_info(kind)))


def _in_words(info: inspect.Type) -> str:
    match info:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"an integer{_bounds(info)}"
        case inspect.FloatType():
            return f"a finite number{_bounds(info)}"
        case inspect.StrType(min_length=least):
            return "a string that is not empty" if least else "a string"
        case inspect.LiteralType(values=values):
            return " or ".join(json.dumps(value) for value in values)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return f"a list, each item {_in_words(item)}"
        case inspect.SetType() | inspect.FrozenSetType() | inspect.TupleType():
            return "a list"
        case inspect.DictType() | inspect.StructType() | inspect.DataclassType():
            return "a table"
        case inspect.NoneType():
            return "nothing"
        case _:
            return type(info).__name__.removesuffix("Type").lower()


def _bounds(info: inspect.IntType | inspect.FloatType) -> str:
    match info.ge, info.le:
        case (None, None):
            words = [("above", info.gt), ("below", info.lt)]
            return "".join(f" {word} {bound}" for word, bound in words if bound is not None)
        case (least, None):
            return f" of at least {least}"
        case (None, most):
            return f" of at most {most}"
        case (least, most):
            return f" from {least} to {most}"


def interpolate(value: object, environ: Mapping[str, str]) -> tuple[object, bool]:
    """Fill ``${VAR}`` and ``${VAR:-default}`` in a string, or in the strings of a list or table.

    As in the shell, ``:-`` also stands in for an empty variable. ``$$`` is a dollar sign. A default
    ends at the first closing brace.

    Returns:
        The value, and whether it is a string that a variable was put into.

    Raises:
        LookupError: a variable without default is not set; carries its name.
        ValueError: what stands after ``${`` is no variable; carries it.
    """
    match value:
        case str():
            filled = _VARIABLE.sub(lambda found: _replacement(found, environ), value)
            return filled, any(found[0] != "$$" for found in _VARIABLE.finditer(value))
        case list():
            return [interpolate(item, environ)[0] for item in value], False
        case dict():
            return {key: interpolate(item, environ)[0] for key, item in value.items()}, False
        case _:
            return value, False


def _replacement(found: re.Match[str], environ: Mapping[str, str]) -> str:
    if found[0] == "$$":
        return "$"
    reference = _REFERENCE.fullmatch(found[1])
    if reference is None or found[2] is None:
        raise ValueError(found[0])
    name = reference["name"]
    if reference["fallback"]:
        return environ.get(name) or reference["default"]
    if name not in environ:
        raise LookupError(name)
    return environ[name]
