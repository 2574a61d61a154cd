"""The meter, its collector hook, calibration and the probes' cost."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from gristmill.metrics import Meter, TimeClass, calibrate
from gristmill.metrics.classes import BUSY, COUNT, OVERHEAD, WAIT, named, unnamed
from gristmill.metrics.meter import INTERRUPTION, move_probes

COMPUTE, DISPATCH = TimeClass.COMPUTE.value, TimeClass.DISPATCH.value


class Ticks:
    """A clock that shows what it is told."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Ticks:
    return Ticks()


@pytest.fixture
def hooked(clock: Ticks) -> Iterator[Meter]:
    meter = Meter(clock)
    meter.install_gc()
    yield meter
    meter.remove_gc()


def test_the_groups_cover_every_class_once() -> None:
    assert len(BUSY) + len(WAIT) + len(OVERHEAD) == COUNT
    assert set(TimeClass) == BUSY | WAIT | OVERHEAD


def test_time_goes_to_the_class_that_was_current(clock: Ticks) -> None:
    meter = Meter(clock)
    clock.now = 7
    assert meter.switch(COMPUTE) == TimeClass.STARTUP
    clock.now = 10
    assert meter.switch(DISPATCH) == COMPUTE
    assert named(meter.read())["startup"] == 7
    assert meter.classes[COMPUTE] == 3
    assert meter.transitions == 2


def test_read_includes_the_running_class_and_changes_nothing(clock: Ticks) -> None:
    meter = Meter(clock, start_ns=-5)
    meter.switch(COMPUTE)
    clock.now = 40
    assert meter.read() == unnamed({"startup": 5, "compute": 40})
    assert meter.read() == meter.read()
    assert meter.classes[COMPUTE] == 0


def test_a_real_clock_is_accounted_for_to_the_nanosecond() -> None:
    meter = Meter()
    for state in (COMPUTE, DISPATCH, COMPUTE):
        meter.switch(state)
    assert sum(meter.classes) == meter.last - meter.start > 0


@pytest.mark.parametrize(
    ("state", "collected"),
    [
        (TimeClass.COMPUTE, "gc_user"),
        (TimeClass.DISPATCH, "gc_coord"),
        (TimeClass.IDLE, "gc_coord"),
        (TimeClass.STARTUP, "startup"),
    ],
)
def test_collections_are_a_class_of_their_own(
    hooked: Meter, clock: Ticks, state: TimeClass, collected: str
) -> None:
    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            clock.now += 100

    hooked.switch(state.value)
    Cycle()
    gc.collect()
    assert hooked.read() == unnamed({collected: 100})
    assert hooked.current == state


def test_collections_of_another_thread_are_not_ours(hooked: Meter) -> None:
    hooked.switch(COMPUTE)
    before = hooked.transitions
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()
    assert hooked.transitions == before


def test_the_hook_is_installed_once_and_removed() -> None:
    meter, before = Meter(), len(gc.callbacks)
    meter.install_gc()
    meter.install_gc()
    assert len(gc.callbacks) == before + 1
    meter.remove_gc()
    meter.remove_gc()
    assert len(gc.callbacks) == before


def test_calibration_takes_the_fastest_round() -> None:
    readings = 0
    now = 0

    def warming_up() -> int:
        nonlocal readings, now
        readings += 1
        now += 90 if readings < 300 else 10
        return now

    measured = calibrate(warming_up)
    assert measured.clock_ns == measured.probe_ns == 10
    assert measured.noop_bias_ns is None


def test_probes_leave_in_equal_shares_and_at_most_what_is_there() -> None:
    classes = unnamed({"compute": 1000, "deser": 10, "send": 500, "idle": 9})
    moved = named(move_probes(classes, 210))
    assert moved == named(
        unnamed({"compute": 900, "deser": 0, "send": 400, "idle": 9, "probe": 210})
    )
    assert move_probes(unnamed({"idle": 5}), 100) == unnamed({"idle": 5})


def test_an_interruption_costs_more_than_its_stamps() -> None:
    meter = Meter(lambda: 0)
    meter.switch(COMPUTE)
    assert meter.probes == 1
    meter.interruptions += 1
    meter.pause()
    meter.switch(COMPUTE)  # not taken
    assert meter.probes == 2 + INTERRUPTION
