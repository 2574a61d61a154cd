"""The order saga under many seeds: workers are killed at any point, and the books stay right."""

from __future__ import annotations

import pytest

from gristmill.errors import GristmillError
from gristmill.testing import Faults
from gristmill_orders import events as ev
from gristmill_orders import saga
from support.saga import KILLS, run_saga


@pytest.mark.simulation(seeds=100)
def test_the_invariants_hold_whatever_is_killed_when(simulation_seed: int) -> None:
    run = run_saga(simulation_seed)
    assert run.audit.violations == ()
    assert run.finished


@pytest.mark.simulation(seeds=3)
def test_the_invariants_hold_when_actors_crash_as_well(simulation_seed: int) -> None:
    faults = Faults(kill_every=0.5, crash_every=0.5, pause_every=2.0, until=8.0)
    run = run_saga(simulation_seed, faults)
    assert run.audit.violations == ()
    assert run.finished


@pytest.mark.simulation(seeds=40)
def test_elastic_services_change_no_outcome(simulation_seed: int) -> None:
    fixed = run_saga(simulation_seed, Faults(), breakers=False)
    run = run_saga(simulation_seed, elastic=True, breakers=False)
    assert run.audit.violations == ()
    assert run.finished
    assert max(run.sizes["payment"]) > min(run.sizes["payment"])
    assert run.digest == fixed.digest


def test_a_compensation_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def undo_without_a_refund(turn: saga._Turn) -> None:
        if turn.order.reserved:
            turn.emit(ev.CompensationStarted, True, False)
        else:
            saga._end(turn)

    monkeypatch.setattr(saga, "_undo", undo_without_a_refund)
    found = [violation for seed in range(3) for violation in run_saga(seed).audit.violations]
    assert any("only 0 were refunded" in violation for violation in found)


def test_kills_are_what_finds_a_message_that_leaves_before_its_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from gristmill.testing.simulated_worker import SimulatedWorker  # noqa: PLC0415 - only here

    honest = SimulatedWorker.flush

    def send_first(worker: SimulatedWorker) -> None:
        worker.plane.flush()
        honest(worker)

    monkeypatch.setattr(SimulatedWorker, "flush", send_first)
    assert not _broken(range(10), Faults())
    assert _broken(range(30), KILLS)


def _broken(seeds: range, faults: Faults) -> int:
    """Give the first seed under which something is wrong; 0 if there is none."""
    for seed in seeds:
        try:
            found = run_saga(seed, faults).audit.violations
        except GristmillError:
            return seed or 1
        if found:
            return seed or 1
    return 0
