"""Real reports against the published JSON Schema, by a checker of what the schema uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import msgspec
import pytest

from gristmill import Node
from gristmill.metrics import encode
from support.computing import Spin, Spinner

Json = Any
KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "null": type(None), "boolean": bool,
    "integer": int, "number": (int, float),
}  # fmt: skip
KNOWN = {
    "$ref", "$schema", "$defs", "title", "description", "default", "type", "enum", "anyOf", "items",
    "properties", "required", "additionalProperties", "propertyNames", "minimum", "maximum",
    "exclusiveMaximum", "pattern",
}  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> Json:
    text = resources.files("gristmill.metrics").joinpath("granularity-1.schema.json").read_bytes()
    return msgspec.json.decode(text)


@pytest.fixture(scope="module")
def real() -> Json:
    """A report of worker processes."""
    with Node(workers=2) as node:
        list(node.pool(Spinner, 2).ask_many([Spin(1000)] * 50))
        return msgspec.json.decode(encode(node.granularity()))


def errors(value: Json, rule: Json, root: Json, place: str = "$") -> Iterator[str]:
    """Say where ``value`` breaks a rule of the schema ``root``."""
    assert rule.keys() <= KNOWN, f"this checker does not know {rule.keys() - KNOWN}"
    if "$ref" in rule:
        yield from errors(value, root["$defs"][rule["$ref"].rpartition("/")[2]], root, place)
    if "anyOf" in rule and all(any(errors(value, r, root, place)) for r in rule["anyOf"]):
        yield f"{place}: matches nothing of {rule['anyOf']}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{place}: {value!r} is none of {rule['enum']}"
    if "type" in rule and not _is(value, rule["type"]):
        yield f"{place}: {value!r} is no {rule['type']}"
        return
    least, most = rule.get("minimum"), rule.get("maximum")
    if (least is not None and value < least) or (most is not None and value > most):
        yield f"{place}: {value} is out of range"
    if isinstance(value, str) and not re.search(rule.get("pattern", ""), value):
        yield f"{place}: {value!r} does not match {rule['pattern']}"
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from errors(item, rule.get("items", {}), root, f"{place}[{number}]")
    if isinstance(value, dict):
        yield from _object_errors(value, rule, root, place)


def _object_errors(value: Json, rule: Json, root: Json, place: str) -> Iterator[str]:
    known = rule.get("properties", {})
    yield from (f"{place}: {name} is missing" for name in rule.get("required", ()) - value.keys())
    for name, item in value.items():
        yield from errors(name, rule.get("propertyNames", {}), root, f"{place} key")
        others = rule.get("additionalProperties", {})
        yield from errors(item, known.get(name, others), root, f"{place}.{name}")


def _is(value: Json, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def test_a_real_report_fits(schema: Json, real: Json) -> None:
    assert list(errors(real, schema, schema)) == []
    assert {row["kind"] for row in real["workers"]} >= {"worker"}


def test_the_checker_finds_what_is_wrong(schema: Json, real: Json) -> None:
    broken = msgspec.json.decode(msgspec.json.encode(real))
    del broken["schema"], broken["workers"][0]["classes"]["idle"]
    broken["workers"][0]["kind"] = "boss"
    broken["run"]["wall_ns"] = -1
    broken["types"][0]["hist"]["compute"]["x"] = 1
    found = "\n".join(errors(broken, schema, schema))
    for part in ("$: schema is", "classes: idle is", "'boss' is none", "wall_ns: -1", "'x' does"):
        assert part in found
