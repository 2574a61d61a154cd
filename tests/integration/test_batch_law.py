"""The law behind the advice on batches: o(k) = o_f + k * o_v.

What a real worker spends is taken in CPU time and with a wide margin, so that it does not matter
who else uses the cores; whether the target is reached on a quiet machine, bench/advice.py measures.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill import Node, Ref
from gristmill.metrics import Calibration, Coordination, build_report
from gristmill.metrics.advice import BATCH
from support.computing import CpuTime, Grind, Mill
from support.reports import RUN, process, quote

TARGET = 10.0
ITEMS = 400
BATCH_SIZE = 20


@pytest.fixture(scope="module")
def mill(own_temporary_directory: object, nothing_is_left: None) -> Iterator[Ref[Mill]]:
    with Node(workers=1) as node:
        yield node.spawn(Mill)


def coordination(mill: Ref[Mill], payload: int, size: int) -> int:
    """Give what it costs the worker, in CPU ns, to be sent the items in messages of so many."""
    request = Grind((bytes(payload),) * size, 1_000)
    mill.ask(request)
    begin = mill.ask(CpuTime())
    compute = sum(mill.ask(request, timeout=30.0) for _ in range(ITEMS // size))
    return mill.ask(CpuTime()) - begin - compute


@pytest.mark.parametrize("payload", [100, 1_000, 10_000])
def test_fewer_larger_messages_cost_far_less_for_the_same_items(
    mill: Ref[Mill], payload: int
) -> None:
    assert coordination(mill, payload, BATCH_SIZE) < coordination(mill, payload, 1) / 2


@pytest.mark.parametrize("o_v", [100, 1_000, 1_800])
@pytest.mark.parametrize("o_f", [2_000, 30_000, 200_000])
def test_doing_what_the_advice_says_gives_what_it_predicts(o_f: int, o_v: int) -> None:
    grain, messages, cold = 20_000, 1_000, 2 * o_f

    def after(items: int, fixed: int) -> float:
        return items * grain / (fixed + items * o_v)

    row = quote(
        messages=messages,
        items=messages,
        compute_ns=grain * messages,
        coord_ns=Coordination(deser=o_v * messages, dispatch=o_f * messages),
    )
    calibration = Calibration(cold_fixed_ns=cold + o_v)
    found = build_report(RUN, [process(types=(row,))], calibration).types[0].advice
    if grain / (o_f + o_v) >= TARGET:
        assert not found
        return
    (advice,) = found
    assert advice.rule == BATCH
    assert advice.k_lo is not None
    assert advice.k_hi is not None
    assert after(advice.k_lo, o_f) >= TARGET
    assert after(advice.k_hi, cold) >= TARGET
    assert advice.predicted_ratio == pytest.approx(after(advice.k_hi, cold))
    assert after(advice.k_hi - 1, cold) < TARGET, "not more than it takes"
