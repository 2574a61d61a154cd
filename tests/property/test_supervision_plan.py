from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.supervision import ChildSpec, SupervisorSpec
from gristmill.supervision.members import Actor, Supervisor
from gristmill.supervision.plan import Plan

OWNER = Supervisor(1, SupervisorSpec("s"), None, 0)
MEMBERS = [Actor(n + 2, ChildSpec(f"c{n}", b""), OWNER, n) for n in range(6)]
steps = st.lists(st.tuples(st.sampled_from(["add", "discard", "next"]), st.integers(0, 5)))


@settings(max_examples=60)
@given(steps=steps, backwards=st.booleans())
def test_a_plan_is_a_set_in_start_order(steps: list[tuple[str, int]], *, backwards: bool) -> None:
    plan = Plan(backwards=backwards)
    model: set[int] = set()
    for step, place in steps:
        if step == "add":
            plan.add(MEMBERS[place])
            model.add(place)
        elif step == "discard":
            plan.discard(MEMBERS[place])
            model.discard(place)
        order = [MEMBERS[n] for n in sorted(model, reverse=backwards)]
        assert plan.all() == order
        assert plan.next() == order[:1]
        assert len(plan) == len(model)
        assert all((member in plan) is (n in model) for n, member in enumerate(MEMBERS))
