# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 2: specifications; what the pure tree decides."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from gristmill import supervision as sv
from gristmill.supervision import AutoShutdown, Restart, Strategy, SupervisorSpec
from support.supervision import TRANSIENT, actor, root, running, supervisor


def test_SV01_defaults() -> None:
    child = sv.ChildSpec("a", b"")
    assert (child.restart, child.shutdown, child.significant) == (Restart.PERMANENT, 5.0, False)
    inner = SupervisorSpec("s")
    assert (inner.restart, inner.shutdown) == (Restart.PERMANENT, sv.INFINITY)
    flags = (inner.strategy, inner.max_restarts, inner.within, inner.auto_shutdown)
    assert flags == (Strategy.ONE_FOR_ONE, 1, 5.0, AutoShutdown.NEVER)


WRONG: Any = "always"
FAULTY: list[tuple[str, sv.Spec, str]] = [
    ("SV02", sv.ChildSpec("", b""), "id"),
    ("SV02", sv.ChildSpec("a/b", b""), "without '/'"),
    ("SV02", sv.ChildSpec("a"), "no start"),
    ("SV02", {"id": "a"}, "no spec"),  # type: ignore[list-item]  # what the row is about
    ("SV03", actor("a", WRONG), "restart"),
    ("SV03", actor("a", shutdown=-1.0), "shutdown"),
    ("SV03", actor("a", shutdown="soon"), "shutdown"),
    ("SV03", actor("a", shutdown=float("nan")), "shutdown"),
    ("SV03", actor("a", significant="yes"), "significant"),
    ("SV03", sv.ChildSpec("a", len), "start"),  # type: ignore[arg-type]  # what the row is about
    ("SV03", actor("a", backoff=sv.Backoff(2, 1)), "backoff"),
    ("SV05", supervisor("a", strategy="all_at_once"), "strategy"),
    ("SV05", supervisor("a", max_restarts=-1), "max_restarts"),
    ("SV05", supervisor("a", max_restarts=float("inf")), "max_restarts"),
    ("SV05", supervisor("a", within=0.0), "within"),
    ("SV05", supervisor("a", within=float("inf")), "within"),
    ("SV05", supervisor("a", auto_shutdown="yes"), "auto_shutdown"),
    ("SV05", supervisor("a", "b", "b"), "two children"),
    ("SV05", supervisor("a", max_children=3), "max_children"),
    ("SV05", supervisor("a", strategy=Strategy.DYNAMIC, max_children=0), "max_children"),
    ("SV06", supervisor("a", "b", strategy=Strategy.DYNAMIC), "static children"),
    ("SV07", actor("a", TRANSIENT, significant=True), "auto_shutdown=never"),
    (
        "SV07",
        supervisor("s", actor("a", significant=True), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT),
        "permanent",
    ),
    (
        "SV08",
        supervisor("a", strategy=Strategy.DYNAMIC, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT),
        "dynamic",
    ),
]


@pytest.mark.parametrize(("row", "spec", "message"), FAULTY)
def test_SV02_to_SV08_refused_at_start_and_when_added(
    row: str, spec: sv.Spec, message: str
) -> None:
    with pytest.raises(sv.SpecError, match=message):
        sv.SupervisionTree(root(spec), random.Random(1))
    world = running()
    with pytest.raises(sv.SpecError, match=message):
        world.tree.add_child(world.tree.root, spec, 0)


def test_SV02_unknown_keys_are_ignored() -> None:
    wire = {"kind": "actor", "id": "a", "start": b"", "colour": "red"}
    assert msgspec.convert(wire, sv.ChildSpec | SupervisorSpec) == actor("a")


def test_SV05_zero_restarts_are_legal() -> None:
    sv.validate(supervisor("a", max_restarts=0))
