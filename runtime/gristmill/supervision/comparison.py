"""Comparing a running tree with the spec of one: what differs in how its actors are started."""

from __future__ import annotations

from collections.abc import Collection

from gristmill.supervision.members import Actor, Supervisor
from gristmill.supervision.spec import ChildSpec, SpecError, SupervisorSpec


def differences(
    running: Supervisor, wanted: SupervisorSpec, elastic: Collection[str] = ()
) -> list[tuple[int, ChildSpec]]:
    """Give the key and the new spec of each static actor whose start differs.

    Of the supervisors at the paths ``elastic`` those children are compared that are in both.

    Raises:
        SpecError: the spec has other members than the running tree.
    """
    static = {child.id: child for child in running.children.values() if child.static}
    specs = {spec.id: spec for spec in wanted.children}
    if running.path in elastic:
        specs = {name: spec for name, spec in specs.items() if name in static}
        static = {name: child for name, child in static.items() if name in specs}
    for missing in sorted(static.keys() ^ specs.keys()):
        how = "is new" if missing in specs else "is not there any more"
        raise SpecError(
            f"{running.path}/{missing} {how}: a reload keeps the members of the tree; start the "
            "node anew"
        )
    found: list[tuple[int, ChildSpec]] = []
    for name, spec in specs.items():
        member = static[name]
        if isinstance(member, Supervisor) and isinstance(spec, SupervisorSpec):
            found += differences(member, spec, elastic)
        elif isinstance(member, Actor) and isinstance(spec, ChildSpec):
            if spec.start != member.spec.start:
                found.append((member.key, spec))
        else:
            raise SpecError(f"{member.path} was an actor or a supervisor and is now the other kind")
    return found
