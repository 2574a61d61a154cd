"""Single messages: what is recorded of them, and how it is written for trace viewers."""

from __future__ import annotations

import gc
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from gristmill.metrics import TimeClass
from gristmill.metrics.tracing import (
    Backlog,
    ProcessTrace,
    Record,
    Recorder,
    Sent,
    Slice,
    TracedMeter,
)
from gristmill.reporting import MessageTrace
from support.chrome import Chrome

COMPUTE, DISPATCH, SER, DESER, IDLE = map(
    int,
    (TimeClass.COMPUTE, TimeClass.DISPATCH, TimeClass.SER, TimeClass.DESER, TimeClass.IDLE),
)
MS = 1_000_000
BASE = 5 * 10**15  # as after two months of uptime: 3 digits behind the us must be left
CLIENT, W1, W2 = 1001, 1, 2


class Ticks:
    """A clock that shows what it is told, or goes on by one each time."""

    def __init__(self, now: int = 0, step: int = 0) -> None:
        self.now = now
        self.step = step

    def __call__(self) -> int:
        self.now += self.step
        return self.now


def process(name: str, *records: Record, **other: Any) -> ProcessTrace:
    kind = "client" if name == "client" else "worker"
    address = {"client": CLIENT, "w1": W1, "w2": W2}[name]
    return ProcessTrace(name, kind, 4711, address, list(records), **other)  # type: ignore[arg-type]  # kind is one of both


def trace(*processes: ProcessTrace, begin: int = BASE, end: int = BASE + MS) -> MessageTrace:
    return MessageTrace("n", BASE, begin, end, processes)


def handled(begin: int, end: int, *of: tuple[int, int], name: str = "A.M") -> list[Record]:
    """Give what a worker records of a call: its classes, then the whole."""
    deser, compute = begin + 10, end - 10
    return [
        Slice(begin, deser, DESER),
        Slice(deser, compute, COMPUTE),
        Slice(compute, end, DISPATCH),
        Slice(begin, end, name, of=of, waited=7),
    ]


# --- the ring ---


def test_a_ring_keeps_the_newest_and_tells_what_it_has_lost() -> None:
    clock = Ticks()
    recorder = Recorder(clock=clock, events=3)
    for clock.now in (10, 20, 30):
        recorder.sent(1)
    assert recorder.since(0) == ([Sent(10, 1), Sent(20, 1), Sent(30, 1)], 0)
    clock.now = 40
    recorder.sent(1)
    records, dropped = recorder.since(0)
    assert [record.at for record in records if isinstance(record, Sent)] == [20, 30, 40]
    assert dropped == 1
    assert recorder.since(20) == ([Sent(30, 1), Sent(40, 1)], 0), "it reaches back so far"


def test_a_slice_is_of_the_window_that_it_ends_in() -> None:
    clock = Ticks()
    recorder = Recorder(clock=clock)
    clock.now = 10
    recorder.slice(0, "A.M")
    assert recorder.since(9)[0] == [Slice(0, 10, "A.M")]
    assert recorder.since(10)[0] == []


def test_numbers_are_below_zero_and_those_of_an_incarnation() -> None:
    first, second = Recorder(1), Recorder(2)
    numbers = [first.number(), first.number(), second.number()]
    assert len(set(numbers)) == 3
    assert max(numbers) < 0


def test_records_cross_the_wire() -> None:
    told = process("w1", *handled(1, 50, (W2, -3)), Sent(3, 4), Backlog(5, 6), threads={0: "x"})
    encoded = msgspec.msgpack.encode(told)
    assert msgspec.msgpack.decode(encoded, type=ProcessTrace) == told


# --- the meter ---


def stretches(recorder: Recorder) -> list[tuple[int, int, Any]]:
    return [(r.begin, r.end, r.what) for r in recorder.since(0)[0] if isinstance(r, Slice)]


def test_the_meter_records_every_stretch_but_idle_ones() -> None:
    clock = Ticks(100)
    recorder = Recorder(clock=clock)
    meter = TracedMeter(recorder, clock)
    for clock.now, state in ((110, COMPUTE), (130, IDLE), (150, DISPATCH), (151, SER)):
        meter.switch(state)
    startup = int(TimeClass.STARTUP)
    assert stretches(recorder) == [(100, 110, startup), (110, 130, COMPUTE), (150, 151, DISPATCH)]
    clock.now = 160
    assert meter.mark() == 160
    assert meter.current == SER
    assert stretches(recorder)[-1] == (151, 160, SER)


def test_switches_that_are_written_out_are_recorded_too() -> None:
    clock = Ticks(100)
    recorder = Recorder(clock=clock)
    meter = TracedMeter(recorder, clock)
    meter.classes[meter.current] += 110 - meter.last
    meter.current, meter.last = SER, 110
    meter.current = DISPATCH  # a stamp that was saved: nothing was encoded
    clock.now = 130
    meter.switch(COMPUTE)
    assert stretches(recorder)[1:] == [(110, 130, DISPATCH)]
    assert meter.classes[SER] == 0


def test_what_is_recorded_is_what_is_metered() -> None:
    clock = Ticks(100, step=1)
    recorder = Recorder(clock=clock)
    meter = TracedMeter(recorder, clock)
    meter.install_gc()
    try:
        for _ in range(50):
            for state in (DISPATCH, DESER, COMPUTE, SER):
                meter.switch(state)
                gc.collect(0)
    finally:
        meter.remove_gc()
    meter.mark()
    sums = [0] * len(TimeClass)
    found = stretches(recorder)
    for begin, end, state in found:
        sums[state] += end - begin
    assert sums == meter.classes[:-1]
    assert sums[TimeClass.GC_USER]
    assert all(mine[1] == following[0] for mine, following in pairwise(sorted(found)))


# --- the file ---


def test_an_arrow_leads_from_the_sending_to_the_slice_of_the_message() -> None:
    ask = [
        Sent(BASE + 20, 1024),
        Slice(BASE + 10, BASE + 30, SER),
        Slice(BASE, BASE + 500, "ask A.M"),
    ]
    file = Chrome(
        trace(
            process("client", *ask), process("w1", *handled(BASE + 100, BASE + 200, (CLIENT, 1024)))
        ).json()
    )
    (arrow,) = file.arrows
    assert (arrow.start.process, arrow.start.name, arrow.sent) == ("client", "ser", 20)
    assert arrow.start.parents == ("ask A.M",)
    assert (arrow.end.process, arrow.end.name, arrow.handled) == ("w1", "A.M", 100)
    inside = [each for each in file.slices if each.parents == ("A.M",)]
    assert [each.name for each in inside] == ["deser", "compute", "dispatch"]
    assert [each.begin for each in inside] == [101, 110, 190], "the arrow's own ns is free"


def test_a_run_a_batch_and_an_actor_that_tells_itself() -> None:
    run = [Sent(BASE + 1, 1024, 3), Slice(BASE, BASE + 9, "ask A.M")]
    batch = handled(BASE + 50, BASE + 90, *((CLIENT, 1024 + n) for n in range(3)), name="A.M x3")
    own = [Sent(BASE + 70, -5), *handled(BASE + 100, BASE + 130, (W1, -5), name="A.Own")]
    file = Chrome(trace(process("client", *run), process("w1", *batch, *own)).json())
    assert [(a.start.name, a.end.name) for a in file.arrows] == [
        *[("ask A.M", "A.M x3")] * 3,
        ("compute", "A.Own"),
    ]


def test_what_is_sent_again_comes_from_its_last_sending() -> None:
    twice = [Sent(BASE + 1, 1024), Sent(BASE + 60, 1024), Slice(BASE, BASE + 99, "ask A.M")]
    first = process("w1", *handled(BASE + 30, BASE + 55, (CLIENT, 1024)))
    second = process("w2", *handled(BASE + 70, BASE + 95, (CLIENT, 1024)))
    file = Chrome(trace(process("client", *twice), first, second).json())
    assert [(a.sent, a.end.process) for a in file.arrows] == [(1, "w1"), (60, "w2")]


@pytest.mark.parametrize(
    "sending",
    [
        [],
        [Sent(BASE + 5, 1025), Slice(BASE, BASE + 9, "tell A.M")],
        [Sent(BASE + 9, 1024), Slice(BASE, BASE + 9, "tell A.M")],
        [Sent(BASE + 150, 1024), Slice(BASE, BASE + 200, "tell A.M")],
    ],
    ids=["lost", "of another message", "outside of every slice", "later"],
)
def test_an_arrow_of_which_an_end_is_unknown_is_left_out(sending: list[Record]) -> None:
    there = process("w1", *handled(BASE + 100, BASE + 150, (CLIENT, 1024)))
    assert Chrome(trace(process("client", *sending), there).json()).arrows == []


def test_what_reaches_over_the_begin_of_the_window_is_cut_there() -> None:
    long = [Slice(BASE - 50, BASE + 80, COMPUTE), Slice(BASE - 60, BASE + 90, "A.Long")]
    file = Chrome(trace(process("w1", *long)).json())
    assert [(s.name, s.begin, s.end) for s in file.slices] == [
        ("A.Long", 0, 90),
        ("compute", 0, 80),
    ]


def test_every_thread_of_a_client_has_a_row() -> None:
    tells = [Slice(BASE + 5, BASE + 50, f"tell {number}", number) for number in (700, 800)]
    sent = [Sent(BASE + 6, -1, thread=800)]
    there = process("w1", *handled(BASE + 60, BASE + 90, (CLIENT, -1)))
    names = {700: "MainThread", 800: "other"}
    file = Chrome(trace(process("client", *sent, *tells, threads=names), there).json())
    assert {s.thread for s in file.messages("client")} == {"MainThread", "other"}
    assert [arrow.start.thread for arrow in file.arrows] == ["other"]
    assert len({event["tid"] for event in file.events}) == 3


def test_counters_tell_what_waits_and_the_ratio() -> None:
    records = [
        Backlog(BASE + 10, 3),
        Slice(BASE, BASE + 75_000, COMPUTE),  # reaches over parts of 10 us
        Slice(BASE + 75_000, BASE + 80_000, DISPATCH),
    ]
    file = Chrome(trace(process("w1", *records)).json())
    assert file.counters("in mailboxes") == [("w1", 0.01, 3.0)]
    ratios = {at: value for _, at, value in file.counters("compute/coordinate")}
    assert ratios[70.0] == 1.0
    assert ratios[60.0] == ratios[80.0] == 0.0, "nothing is divided by nothing"
    assert len(ratios) == 101


def test_the_summary_says_what_is_lacking() -> None:
    late = process("w1", *handled(BASE + MS // 2, BASE + MS // 2 + 40), dropped=1234)
    found = msgspec.structs.replace(trace(late), missing=("w2.1",))
    assert found.summary().splitlines() == [
        "trace: the last 1.00 ms, 1 slices of 1 processes",
        "  w1: only the last 500 us; dropped 1,234 older events",
        "  missing: w2.1",
    ]
    about = Chrome(found.json()).document["otherData"]
    assert (about["dropped"], about["missing"]) == ({"w1": 1234}, ["w2.1"])
    assert Chrome(trace().json()).slices == []
