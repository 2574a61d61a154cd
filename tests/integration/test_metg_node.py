"""The grid on real workers: every pattern, every input checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gristmill import ActorCrashed, Node
from gristmill.metg.actors import Begin, BlockActor, Meet, Outputs
from gristmill.metg.curves import Measurement
from gristmill.metg.curves import decode as decode_metg
from gristmill.metg.grid import PATTERNS, Grid
from gristmill.metg.node_grid import NodeGrid
from support.commands import gristmill


def test_all_tasks_of_every_pattern_are_done(node: Node) -> None:
    grids = NodeGrid(node, 2)
    for pattern in PATTERNS:
        for width in (2, 7, 16):
            assert grids.run(Grid(pattern, width), 30, "compute_bound", 1) > 0


def test_an_output_of_another_task_is_noticed(node: Node) -> None:
    block = node.spawn(BlockActor, args=(0,), restart="temporary")
    block.ask(Meet([block, node.spawn(BlockActor, args=(1,))]))
    reply = block.request(Begin(1, "stencil_1d", 8, 10, "compute_bound", 0))
    block.tell(Outputs(1, 0, [(5, 4)]))
    says = "got the output of step 5, point 4; it needs that of step 0, point 4"
    with pytest.raises(ActorCrashed, match=says):
        reply.result(5.0)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_the_command_measures_and_prints_json(tmp_path: Path) -> None:
    done = gristmill(
        tmp_path, "metg", "--quick", "--pattern", "stencil_1d", "--points", "4", "--json"
    )
    assert done.returncode == 0, done.stderr
    found: Measurement = decode_metg(done.stdout.encode())
    (curve,) = found.curves
    assert (curve.system, curve.pattern, found.width % 4) == ("gristmill", "stencil_1d", 0)
    assert curve.points[0].granularity_us > curve.points[-1].granularity_us > curve.floor_us / 4
    assert set(curve.metg) == {"50", "90.9", "99"}
