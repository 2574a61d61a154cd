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


def faulty(row: str) -> pytest.MarkDecorator:
    """Give the faulty specs of a row, and what is said of them."""
    return pytest.mark.parametrize(("spec", "message"), [x[1:] for x in FAULTY if x[0] == row])


def assert_refused(spec: sv.Spec, message: str) -> None:
    """Try it at the start of a tree, and as a child that is added."""
    with pytest.raises(sv.SpecError, match=message):
        sv.SupervisionTree(root(spec), random.Random(1))
    world = running()
    with pytest.raises(sv.SpecError, match=message):
        world.tree.add_child(world.tree.root, spec, 0)


@faulty("SV02")
def test_SV02_a_spec_without_id_or_start_is_refused(spec: sv.Spec, message: str) -> None:
    assert_refused(spec, message)


def test_SV02_unknown_keys_are_ignored() -> None:
    wire = {"kind": "actor", "id": "a", "start": b"", "colour": "red"}
    assert msgspec.convert(wire, sv.ChildSpec | SupervisorSpec) == actor("a")


def test_SV05_zero_restarts_are_legal() -> None:
    sv.validate(supervisor("a", max_restarts=0))


@faulty("SV03")
def test_SV03_each_field_with_a_wrong_value_is_refused_by_name(spec: sv.Spec, message: str) -> None:
    assert_refused(spec, message)


@faulty("SV05")
def test_SV05_a_supervisor_with_flags_that_cannot_work_is_refused(
    spec: sv.Spec, message: str
) -> None:
    assert_refused(spec, message)


@faulty("SV06")
def test_SV06_a_dynamic_supervisor_with_static_children_is_refused(
    spec: sv.Spec, message: str
) -> None:
    assert_refused(spec, message)


def test_SV06_every_child_of_a_dynamic_supervisor_brings_its_own_spec() -> None:
    world = running(supervisor("pool", strategy=Strategy.DYNAMIC))
    for child in (actor("a", TRANSIENT), actor("b", shutdown=sv.BRUTAL_KILL), supervisor("s", "c")):
        world.add("root/pool", child)
    assert sorted(world.live) == ["a", "b", "c"]


@faulty("SV07")
def test_SV07_a_significant_child_that_could_end_nothing_is_refused(
    spec: sv.Spec, message: str
) -> None:
    assert_refused(spec, message)


@faulty("SV08")
def test_SV08_a_dynamic_supervisor_that_shuts_down_by_itself_is_refused(
    spec: sv.Spec, message: str
) -> None:
    assert_refused(spec, message)
