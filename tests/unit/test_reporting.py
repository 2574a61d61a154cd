"""The faces of reports: page, trace, Prometheus, results for CI."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from gristmill.errors import UsageError
from gristmill.metrics import Coordination, Report, TypeSnapshot, decode
from gristmill.metrics.gate import Checked, Limits, check
from gristmill.metrics.schema import Edge
from gristmill.reporting import badge, exposition, junit, markdown, page, trace
from gristmill.reporting.charts import charts
from gristmill.reporting.charts.plot import Linear, Log
from gristmill.reporting.markup import Markup, element, join
from support.reports import RUN, S, process, quote, report

NAUGHTY = 'm:<b>"&\\\n'


def full(wall_s: float = 10, compute: float = 4) -> Report:
    """Give a report that all charts can be drawn from, with names that need escaping."""
    types = (
        quote(),
        quote(actor=NAUGHTY, compute_ns=round(compute * S / 2), coord_ns=Coordination(send=S // 9)),
        TypeSnapshot("m:Idle", "m:Never"),
    )
    rows = (
        process("w0", compute=compute / 2, send=0.1, gc_user=0.1, wall_s=wall_s, types=types),
        process("w1", compute=compute / 2, deser=0.2, other=0.01, wall_s=wall_s),
        process("client", "client", ser=0.3, wall_s=wall_s),
    )
    run = msgspec.structs.replace(RUN, wall_ns=round(wall_s * S), git="abc")
    edges = (Edge("client", "m:Pricer", 10, 1000, 5000), Edge("m:Pricer", NAUGHTY, 1, 1, 1))
    return msgspec.structs.replace(report(*rows, run=run), edges=edges)


class Page(HTMLParser):
    """Reads a page; fails on elements that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


def test_the_page_holds_all_charts_and_loads_nothing() -> None:
    text = page([full(5, 2), full()])
    read = Page(text)
    assert [a["aria-labelledby"] for a in read.all("svg")] == [
        f"{name}-title {name}-text"
        for name in ("processes", "types", "grains", "batching", "efficiency", "history", "edges")
    ]
    assert len(read.all("details")) == len(read.all("table")) == 7
    ids = [a["id"] for _, a in read.seen if "id" in a]
    assert len(set(ids)) == len(ids)
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert not re.findall(r"url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    (link,) = read.all("a")
    assert (link["href"] or "").startswith("data:application/json;base64,")


def test_every_colour_of_a_picture_is_in_the_style_sheet() -> None:
    text = page([full(5, 2), full()])
    sheet = text[text.index("<style>") : text.index("</style>")]
    used = {name for value in re.findall(r'class="([^"]+)"', text) for name in value.split()}
    coloured = {name for name in used if re.match(r"(c|v)-|s\d|heat|model|curve|bubble", name)}
    assert coloured > {"c-compute", "c-other", "v-bound", "s0", "heat", "curve"}
    for name in coloured:
        assert f".{name} {{" in sheet or f".{name}," in sheet
    for name in re.findall(r"var\((--[\w-]+)\)", sheet):
        assert f"{name}:" in sheet


def test_every_picture_is_well_formed_and_stays_inside() -> None:
    for chart in charts([full(5, 2), full()]):
        drawn = ET.fromstring(chart.picture)
        _, _, width, height = map(float, drawn.attrib["viewBox"].split())
        for mark in drawn.iter():
            for name, most in (("x", width), ("cx", width), ("x2", width), ("y", height)):
                assert 0 <= float(mark.get(name, "0")) <= most, (chart.id, mark.attrib)
            assert float(mark.get("x", "0")) + float(mark.get("width", "0")) <= width
        assert "nan" not in chart.picture


def test_charts_without_their_data_say_so() -> None:
    found = {chart.id: chart for chart in charts([report(process(compute=1))])}
    empty = {name for name, chart in found.items() if not chart.picture}
    assert empty == {"types", "grains", "batching", "efficiency", "history", "edges"}
    assert all(found[name].text and found[name].table is None for name in empty)
    Page(page([report()]))


def test_the_page_warns_of_figures_that_prove_nothing() -> None:
    assert "Don't rely on these figures: CPU contended on w0" in page(
        [report(process(compute=8, cpu_s=4))]
    )
    assert "Don't rely" not in page([report(process(compute=8))])


def test_markup_escapes_what_is_not_markup() -> None:
    assert element("p", "a<b", class_="x", data_y=None) == '<p class="x">a&lt;b</p>'
    assert element("i", title='"&') == '<i title="&quot;&amp;"></i>'
    assert join("a & ", Markup("<b>")) == "a &amp; <b>"


@pytest.mark.parametrize("high", [0.003, 1, 7.7, 10, 99.9, 100, 12345])
def test_ticks_of_a_linear_scale_are_few_and_inside(high: float) -> None:
    ticks = list(Linear(high).ticks())
    assert 3 <= len(ticks) <= 7
    assert ticks[0] == 0
    assert 0.6 * high <= ticks[-1] <= 1.001 * high


def test_a_log_scale_shows_all_values_and_keeps_others_on_its_edge() -> None:
    scale = Log.around([0, 30, 4e6])
    assert (scale.low, scale.high) == (1, 7)
    assert [scale(value) for value in (0, 10, 1e4, 1e7, 1e9)] == [0, 0, 0.5, 1, 1]
    assert list(Log.around([]).ticks()) == [1, 10, 100]


def events(snapshots: list[Report]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(trace(snapshots))["traceEvents"]
    return found


def test_a_trace_has_counters_per_window_and_no_slices() -> None:
    found = events([full(5, 2), full()])
    assert {event["ph"] for event in found} == {"M", "C"}
    names = [event["args"]["name"] for event in found if event["name"] == "process_name"]
    assert names == ["w0", "w1", "client"]
    shares = [e for e in found if e["ph"] == "C" and e["pid"] == 1 and "share" in e["name"]]
    assert [event["ts"] for event in shares] == [0, 5e6, 10e6]
    assert [event["args"]["compute"] for event in shares] == pytest.approx([20, 20, 0])
    assert sum(shares[0]["args"].values()) == pytest.approx(100)


def test_a_trace_is_of_one_run() -> None:
    other = msgspec.structs.replace(full(), run=msgspec.structs.replace(RUN, id="r2"))
    with pytest.raises(UsageError, match="of 2 runs"):
        trace([full(), other])


SAMPLE = re.compile(
    r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\[\\n"])*",?)+)\})? (\+Inf|-?\d+(?:\.\d+)?(?:e-?\d+)?)'
)


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Read the exposition format, strictly; give the samples by name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    family, kinds = "", {}
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in kinds
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name == family
            kinds[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            suffix = match[1].removeprefix(family)
            assert suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
            labels = dict(re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            found.setdefault(match[1], []).append((labels, float(match[3])))
    for name, kind in kinds.items():
        assert name.endswith("_total") == (kind == "counter")
    return found


def test_the_exposition_is_well_formed_and_right() -> None:
    found = samples(exposition(full()))
    compute = [v for labels, v in found["gristmill_time_seconds_total"]
               if labels == {"process": "w0", "kind": "worker", "class": "compute"}]  # fmt: skip
    assert compute == [2.0]
    assert {"actor": "m:Pricer", "message": "m:GetQuote"} in [
        labels for labels, _ in found["gristmill_messages_total"]
    ]
    assert r"m:<b>\"&\\\n" in {labels["actor"] for labels, _ in found["gristmill_messages_total"]}
    assert [value for _, value in found["gristmill_ratio"]] == pytest.approx([4 / 0.6])
    assert "gristmill_ratio" not in samples(exposition(report()))


def test_histograms_are_cumulative_and_end_with_the_count() -> None:
    spread = quote(messages=6, compute_hist={3: 1, 60: 2, 64: 2, 400: 1})
    found = samples(exposition(report(process(types=(spread,)))))
    buckets = [(labels["le"], v) for labels, v in found["gristmill_compute_seconds_bucket"]]
    # 64 is the bucket from 1,024 ns on
    assert [*buckets[:2], buckets[-1]] == [("1.023e-06", 3), ("2.047e-06", 5), ("+Inf", 6)]
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    edges = [float(edge) for edge, _ in buckets]
    assert edges == sorted(edges)
    assert found["gristmill_compute_seconds_count"][0][1] == 6
    assert found["gristmill_compute_seconds_sum"][0][1] == pytest.approx(0.02)


def checked(compute: float, **limits: object) -> Checked:
    row = process(compute=compute, dispatch=1, types=(quote(),))
    return check([report(row)], msgspec.convert(limits, Limits))


def test_results_for_ci_say_what_passed_what_failed_and_what_is_doubtful() -> None:
    found = checked(8, minimum=5.0, types={"*": 1.0})
    text = markdown(found)
    assert "| ok | run | 8x | 5x | minimum | 1,000 |" in text
    assert r"| **below** | Pricer.GetQuote | 0.8x | 1x | type \* | 1,000 |" in text
    suite = ET.fromstring(junit(found))
    assert {k: suite.get(k) for k in ("tests", "failures", "errors")} == {
        "tests": "3", "failures": "1", "errors": "0",
    }  # fmt: skip
    failures = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failures == ["Pricer.GetQuote (type *)"]
    assert msgspec.json.decode(badge(found)) == {
        "schemaVersion": 1, "label": "compute/coordinate", "message": "8x", "color": "red",
    }  # fmt: skip
    assert msgspec.json.decode(badge(checked(8, minimum=5.0)))["color"] == "brightgreen"


def test_a_doubtful_check_is_an_error_in_junit_and_grey_on_the_badge() -> None:
    found = checked(8, minimum=5.0, min_messages=5000)
    suite = ET.fromstring(junit(found))
    assert suite.get("errors") == "1"
    error = suite.find("testcase/error")
    assert error is not None
    assert "only 1,000 messages" in error.attrib["message"]
    shown = msgspec.json.decode(badge(found))
    assert (shown["message"], shown["color"]) == ("untrustworthy", "lightgrey")
    assert "UNTRUSTWORTHY: only 1,000 messages" in markdown(found)


def test_a_page_carries_the_report_itself() -> None:
    (data,) = re.findall(r"base64,([^\"]+)", page([full()]))
    assert decode(base64.b64decode(data)) == full()
