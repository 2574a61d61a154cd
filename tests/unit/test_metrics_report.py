"""Reports: formulas, checks, JSON, merging, advice and text."""

from __future__ import annotations

from importlib import resources

import msgspec
import pytest

from gristmill.errors import UsageError
from gristmill.metrics import (
    Calibration,
    Coordination,
    ReportFormatError,
    TypeSnapshot,
    attributed,
    build_report,
    decode,
    encode,
    json_schema,
    merge,
    render,
)
from gristmill.metrics.advice import ranked
from gristmill.metrics.schema import Edge
from support.reports import RUN, S, process, quote, report


def test_ratios() -> None:
    found = report(process(compute=6, dispatch=0.5, gc_coord=0.5, gc_user=0.25, ask_wait=2))
    assert found.totals.ratio == 6
    assert found.totals.strict_ratio == 2
    assert found.totals.efficiency == pytest.approx(6 / 7)
    assert found.workers[0].ratio == 6


def test_coordination_of_client_and_supervisor_counts_but_their_messages_do_not() -> None:
    found = report(
        process(compute=8, dispatch=1),
        process("client", "client", ser=2, messages=500),
        process("supervisor", "supervisor", poll=1, messages=5),
    )
    assert found.totals.ratio == 2
    assert found.totals.messages == 1000
    assert [row.kind for row in found.workers] == ["worker", "supervisor", "client"]


def test_pop_and_its_losses() -> None:
    found = report(
        process("w0", compute=8, dispatch=1, gc_user=0.5, startup=0.1),
        process("w1", compute=4, send=1, ask_wait=2, io_wait=1, wall_s=9),
    )
    pop = found.totals.pop
    assert pop is not None
    assert pop.lb == pytest.approx(6 / 8)
    assert pop.comm_e == pytest.approx(0.8)
    assert pop.pe == pytest.approx(0.6)
    assert pop.loss == pytest.approx(
        {"coord": 0.1, "ask_wait": 0.1, "io_wait": 0.05, "idle": 0.07, "gc": 0.025, "other": 0.055}
    )
    assert sum(pop.loss.values()) == pytest.approx(1 - pop.pe)


def test_workers_that_never_computed_have_no_balance() -> None:
    pop = report(process(poll=1)).totals.pop
    assert pop is not None
    assert (pop.lb, pop.pe) == (None, 0)


def test_the_probes_cost_moves_and_the_sum_stays() -> None:
    raw = msgspec.structs.replace(process(compute=5, dispatch=3), probe_ns=S, transitions=10_000)
    row = report(raw).workers[0]
    assert (row.classes["probe"], row.probe_ns) == (S, S)
    assert (row.classes["compute"], row.classes["dispatch"]) == (4.5 * S, 2.5 * S)
    assert sum(row.classes.values()) == 10 * S
    assert report(raw).checks.probe_pct == pytest.approx(10)


def test_contention_leaves_out_startup_and_ignores_clients() -> None:
    good = process("w0", compute=4, startup=5, cpu_s=3.9)
    bad = process("w1", compute=4, cpu_s=3)
    found = report(good, process("client", "client", other=9, cpu_s=0))
    assert found.workers[0].contention == pytest.approx(0.975)
    assert found.workers[1].contention is None
    assert found.checks.contention_ok
    assert not report(good, bad).checks.contention_ok
    assert report(process(compute=0.001, cpu_s=0)).workers[0].contention is None


def test_threads_that_are_not_metered_show() -> None:
    assert report(process(compute=4, cpu_s=7)).workers[0].untracked_cpu_ns == 3 * S


def test_sum_over_wall_shows_the_worst_process() -> None:
    bad = msgspec.structs.replace(process("w1"), wall_ns=11 * S)
    assert report(process(), bad).checks.sum_over_wall == pytest.approx(10 / 11)
    assert report().checks.sum_over_wall is None


def test_a_type_is_charged_for_both_ends_and_counted_once() -> None:
    receiver = quote(coord_ns=Coordination(deser=3_000_000, dispatch=1_000_000))
    sender = TypeSnapshot("m:Pricer", "m:GetQuote", coord_ns=Coordination(peer=6_000_000))
    found = report(
        process(compute=0.02, deser=0.003, dispatch=0.001, poll=0.002, types=(receiver,)),
        process("client", "client", ser=0.006, types=(sender,)),
    )
    (row,) = found.types
    assert (row.messages, row.coord_ns.total(), row.ratio) == (1000, 10_000_000, 2)
    assert row.grain_ns == 20_000
    assert found.checks.unattributed_pct == pytest.approx(100 * 2 / 32)


def test_types_have_no_more_cpu_time_of_compute_than_their_process_took() -> None:
    types = (quote(compute_cpu_ns=3 * S), quote(message="m:Other", compute_cpu_ns=S))
    enough, little = (attributed(process(cpu_s=cpu, types=types)) for cpu in (5, 2))
    assert [row.compute_cpu_ns for row in enough.types] == [3 * S, S]
    assert [row.compute_cpu_ns for row in little.types] == [1.5 * S, 0.5 * S]


def test_types_are_ordered_by_what_they_cost() -> None:
    dear = quote(message="m:Dear", coord_ns=Coordination(send=S))
    found = report(process(types=(quote(), dear)))
    assert [row.message for row in found.types] == ["m:Dear", "m:GetQuote"]


def test_workers_are_ordered_by_number() -> None:
    found = report(*(process(name) for name in ("w10", "w2", "host/w1", "w1")))
    assert [row.id for row in found.workers] == ["host/w1", "w1", "w2", "w10"]


def test_json_round_trip_and_its_keys() -> None:
    found = report(process(compute=1, dispatch=1, types=(quote(),)))
    found = msgspec.structs.replace(found, edges=(Edge("a", "b", 1, 2, 3),))
    assert decode(encode(found)) == found
    raw = msgspec.json.decode(encode(found))
    assert list(raw) == [
        "schema", "run", "calibration", "totals", "workers", "types", "checks", "edges",
    ]  # fmt: skip
    assert raw["schema"] == "granularity/1"
    assert raw["edges"] == [{"from": "a", "to": "b", "messages": 1, "bytes": 2, "coord_ns": 3}]
    assert raw["types"][0]["hist"] == {
        "compute": {"100": 1000}, "mailbox_wait": {"90": 1000}, "scheme": "loglin8",
    }  # fmt: skip
    assert list(raw["totals"]["classes"])[:2] == ["idle", "ask_wait"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no granularity/1 report"),
        (b"\xff{}", "no granularity/1 report"),
        (b'{"schema": "\xff"}', "no granularity/1 report"),
        (b"[1]", "no granularity/1 report"),
        (b'{"a": 1}', "it has no schema field"),
        (b'{"schema": "granularity/9"}', "its schema is 'granularity/9'"),
        (b'{"schema": "granularity/1"}', "damaged: .*missing required field"),
    ],
)
def test_other_files_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(ReportFormatError, match=says):
        decode(data)


def test_merging_runs_adds_and_recomputes() -> None:
    one = report(process(compute=8, dispatch=1, types=(quote(),)))
    two = build_report(
        msgspec.structs.replace(RUN, id="r2", mode="sampled", sample_n=16),
        [process(compute=2, dispatch=1, types=(quote(),))],
        Calibration(clock_ns=50),
    )
    found = merge([one, two])
    assert found.totals.ratio == 5
    assert found.totals.messages == 2000
    assert (found.run.id, found.run.wall_ns) == ("r1+r2", 20 * S)
    assert (found.run.mode, found.run.sample_n, found.run.cpus) == ("sampled", 16, 2)
    assert found.calibration == Calibration(clock_ns=50)
    assert [row.id for row in found.workers] == ["w0"]
    assert found.types[0].messages == 2000
    assert found.types[0].hist.compute == {100: 2000}
    assert found.totals.pop is not None
    assert found.totals.pop.pe == pytest.approx(0.5)


def test_parts_of_one_run_share_their_wall() -> None:
    edge = Edge("a", "b", 1, 2, 3)
    parts = [report(process(name, compute=8)) for name in ("a/w0", "b/w0")]
    parts = [msgspec.structs.replace(part, edges=(edge,)) for part in parts]
    found = merge(parts)
    assert found.run.wall_ns == 10 * S
    assert found.totals.pop is not None
    assert found.totals.pop.pe == pytest.approx(0.8)
    assert found.edges == (Edge("a", "b", 2, 4, 6),)


def test_merging_one_changes_nothing_and_none_is_refused() -> None:
    one = report(process(compute=8, dispatch=1, types=(quote(),)))
    assert merge([one]) == one
    with pytest.raises(UsageError, match="give at least one"):
        merge([])


def advice_for(row: TypeSnapshot, calibration: Calibration | None = None) -> str:
    found = build_report(RUN, [process(types=(row,))], calibration)
    return "\n".join(entry.text for entry in ranked(found))


def test_batching_is_advised_with_the_size_that_reaches_ten() -> None:
    # grain 20 us, 1 us per item, 24 us fixed: k = ceil(240 / 10)
    (advised,) = report(process(types=(quote(),))).types[0].advice
    assert (advised.rule, advised.k_lo, advised.k_hi) == (1, 24, 24)
    assert advised.predicted_ratio == pytest.approx(10)
    assert "Pricer.GetQuote 0.8x over 1,000 messages: batch 24 items" in advised.text
    assert "100x is out of reach by batching (cap 20x)" in advised.text


def test_a_sleeping_receiver_needs_larger_batches() -> None:
    assert "batch 24-59 items" in advice_for(quote(), Calibration(cold_fixed_ns=60_000))


def test_a_large_payload_can_not_be_batched_away() -> None:
    heavy = quote(coord_ns=Coordination(deser=10_000_000), bytes_in=10_000_000)
    assert "payload-bound, at most 2x by batching" in advice_for(heavy)


@pytest.mark.parametrize(
    "changes",
    [
        {"coord_ns": Coordination(deser=10_000_000)},
        {"coord_ns": Coordination(send=S), "compute_ns": 0, "bytes_in": S},
        {"coord_ns": Coordination(send=S), "compute_ns": 1000, "bytes_in": S},
    ],
)
def test_too_little_work_is_no_message(changes: dict[str, object]) -> None:
    assert "call it inline" in advice_for(quote(**changes))


def test_a_message_without_a_cost_per_item_has_no_cap() -> None:
    assert "100x needs 5,000." in advice_for(quote(coord_ns=Coordination(send=S)))


@pytest.mark.parametrize("changes", [{"compute_ns": S}, {"messages": 29}, {"messages": 0}])
def test_no_advice_where_there_is_none_to_give(changes: dict[str, int]) -> None:
    assert not advice_for(quote(**changes))


def test_advice_for_the_run() -> None:
    found = report(
        process("w0", compute=4, ask_wait=3, cpu_s=3, types=(quote(ask_wait_ns=3 * S),)),
        process("client", "client", ser=8),
    )
    text = [(entry.rule, entry.text) for entry in ranked(found)]
    assert [rule for rule, _ in text] == [5, 10, 4, 8, 1]
    assert "client is 80% busy" in text[0][1]
    assert "a message computes 4.00 ms and costs 8.00 ms, most of it ser (100%)" in text[1][1]
    assert "10x takes 80.0 ms of compute a message, or a cost of 400 us" in text[1][1]
    assert "ask_wait is 30% of w0, most in Pricer.GetQuote" in text[2][1]
    assert "CPU contended on w0" in text[3][1]
    assert [entry.rule for entry in ranked(found, limit=1)] == [5]


def test_text_has_the_verdict_first_and_a_count_by_each_ratio() -> None:
    found = report(
        process(compute=8, dispatch=1, types=(quote(),)),
        process("client", "client", ser=0.6, messages=1000),
    )
    lines = render(found).splitlines()
    assert lines[0].startswith("GRANULARITY  wall 10.0 s  workers 1 + client  messages 1,000")
    assert lines[0].endswith("compute/coordinate = 5x  BELOW 10x")
    worker = next(line for line in lines if line.startswith("  w0"))
    assert " ".join(worker.split()) == (
        "w0 80.0% 10.0% 0.0% 0.0% 10.0% 0.0% 0.0% | 8x 1.0k 100 dispatch 10.0%"
    )
    row = next(line for line in lines if line.startswith("  Pricer.GetQuote"))
    assert "1,000" in row
    assert row.endswith("250 us / 2.50 ms")
    assert lines[-1].startswith("    ")
    assert "ADVICE" in lines


def test_text_flags_what_can_not_be_trusted() -> None:
    killed = msgspec.structs.replace(process("w1", compute=4, cpu_s=2), complete=False)
    text = render(report(process(compute=1), killed))
    assert "contention 0.50 CONTENDED" in text
    assert "CPU contended: wall-based compute is inflated" in text
    assert "killed, last flush kept: w1" in text
    assert "INSUFFICIENT DATA" in render(report(process(compute=0.001)))


@pytest.mark.parametrize("workers", [0, 1, 64])
@pytest.mark.parametrize("width", [10, 80, 100, 160])
def test_text_fits_its_width(workers: int, width: int) -> None:
    long = quote(actor="m:" + "VeryLongActorName" * 5)
    many = tuple(quote(message=f"m:T{n}") for n in range(30))
    found = report(
        *(process(f"w{n}", compute=8, send=1, types=(long, *many)) for n in range(workers)),
        process("a-client-of-a-name-without-end" * 3, "client", ser=9, messages=10**9),
    )
    lines = render(found, width).splitlines()
    assert max(map(len, lines)) <= max(width, 80)
    assert sum(line.startswith("  w") for line in lines) == workers
    assert ("11 more types" in render(found, width)) == bool(workers)


def test_the_published_schema_is_the_one_of_the_types() -> None:
    published = resources.files("gristmill.metrics").joinpath("granularity-1.schema.json")
    generated = msgspec.json.encode(json_schema())
    assert msgspec.json.decode(published.read_bytes()) == msgspec.json.decode(generated)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"idle":', b'"idel":', "time classes lack, or must not have, idel, idle"),
        (b'"100":1000', b'"480":1000', "<= 479"),
        (b'"messages":1000', b'"messages":-1', ">= 0"),
    ],
)
def test_a_report_with_impossible_figures_is_refused(old: bytes, new: bytes, says: str) -> None:
    data = encode(report(process(compute=1, types=(quote(),))))
    assert old in data
    with pytest.raises(ReportFormatError, match=f"damaged: .*{says}"):
        decode(data.replace(old, new, 1))


@pytest.mark.parametrize("width", [80, 100])
def test_names_of_types_are_whole_under_the_names_of_their_actors(width: int) -> None:
    names = ("ReservationMade", "ReservationReleased", "ProcessPayment")
    types = tuple(quote(actor="m:OrderProcessorActor", message=f"m:{name}") for name in names[:2])
    types += (quote(actor="m:PaymentServiceActor", message=f"m:{names[2]}"),)
    lines = render(report(process(compute=1, types=types)), width).splitlines()
    head = next(line for line in lines if line.startswith("PER TYPE"))
    assert head.endswith("need 10x / 100x" if width == 100 else "need 10x")
    table = lines[lines.index(head) + 1 : lines.index(head) + 6]
    assert [line.split()[0] for line in table] == [
        "OrderProcessorActor", *names[:2], "PaymentServiceActor", names[2],
    ]  # fmt: skip
    wide = render(report(process(compute=1, types=types)), 140)
    assert "  OrderProcessorActor.ReservationReleased " in wide


def test_the_strict_ratio_is_said_where_it_differs() -> None:
    assert "= 8x  BELOW" in render(report(process(compute=8, dispatch=1)))
    assert "= 8x (strict 4x)  BELOW" in render(report(process(compute=8, dispatch=1, ask_wait=1)))


def test_advice_on_balance_collections_and_coarse_messages() -> None:
    uneven = report(process("w0", compute=9, dispatch=1), process("w1", compute=3, dispatch=1))
    found, _ = ranked(uneven)
    assert "load balance 0.67: w0 did 75% of the compute of 2 workers" in found.text
    collecting = report(process(compute=7, gc_user=2))
    assert "garbage collection is 20% of w0" in ranked(collecting)[0].text
    coarse = report(process(compute=5, dispatch=0.004))
    assert "idle for 5.00 s in all" in ranked(coarse)[0].text
    assert "each into up to 12." in ranked(coarse)[0].text
    assert not ranked(report(process(compute=9, dispatch=0.004)))
