"""What the bench scripts write: results, tables, charts and the page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness import Bench, Pairs, Result
from harness.comparison import matrix
from harness.page import page, panels
from harness.svg import Bar, Panel, chart

BENCH = Path(__file__).parents[2] / "bench"
PEERS = [
    Result.of("raw pyzmq.round_trip", "us", [20.0]),
    Result.of("gristmill.round_trip", "us", [50.0], [20.0]),
    Result.of("gristmill.pipelined", "1/s", [1000.0]),
    Result.of("multiprocessing.Pool.round_trip", "us", [100.0]),
    Result.of("multiprocessing.Pool.pipelined", "1/s", [4000.0]),
    Result.of("ray.pipelined", "1/s", [3.4]),
]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / script), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)


def test_a_ratio_is_the_median_of_the_rounds_and_not_a_ratio_of_medians() -> None:
    result = Result.of("asks", "1/s", [1.0, 20.0, 6.0], [1.0, 10.0, 2.0])
    assert (result.median, result.min, result.max, result.floor) == (6.0, 1.0, 20.0, 2.0)
    assert result.ratio == 2.0


def test_a_result_without_a_floor_has_no_ratio() -> None:
    result = Result.of("memory", "MB", [3.0, 4.0])
    assert (result.median, result.floor, result.ratio) == (3.5, None, None)


def test_pairs_change_who_goes_first() -> None:
    order: list[str] = []

    def measured(name: str, value: float) -> float:
        order.append(name)
        return value

    pairs = Pairs("x", "s", lambda: measured("ours", 2.0), lambda: measured("floor", 1.0))
    pairs.round()
    pairs.round()
    assert order == ["floor", "ours", "ours", "floor"]
    assert pairs.result().ratio == 2.0


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    bench = Bench.of("savina", [Result.of("big", "1/s", [1.0], [2.0])])
    bench.write(tmp_path / "savina.json")
    assert Bench.read(tmp_path / "savina.json") == bench
    assert bench.schema == "bench/1"


def test_the_table_of_peers_says_how_much_slower_each_is() -> None:
    heading, round_trip, pipelined = matrix(PEERS)
    assert heading == ["", "raw pyzmq", "gristmill", "multiprocessing.Pool", "ray"]
    assert round_trip == ["round_trip, us", "20 (0.4x)", "50", "100 (2x)", "-"]
    assert pipelined == ["pipelined, 1/s", "-", "1,000", "4,000 (0.25x)", "3.4 (290x)"]


def test_a_chart_is_well_formed_and_to_scale() -> None:
    bars = [Bar("<a> & b", 10.0, "10", "ours"), Bar("half", 5.0, "5", "floor")]
    root = ET.fromstring(chart([Panel("times", bars), Panel("nothing", [])]))
    space = "{http://www.w3.org/2000/svg}"
    lengths = [float(r.attrib["width"]) for r in root.iter(f"{space}rect") if "class" in r.attrib]
    assert lengths[0] == 2 * lengths[1] > 100
    texts = [text.text for text in root.iter(f"{space}text")]
    assert texts == ["times", "<a> & b", "10", "half", "5", "nothing"]
    assert float(root.attrib["height"]) > float(list(root.iter(f"{space}text"))[-1].attrib["y"])


def test_figures_of_one_unit_share_a_panel() -> None:
    results = [
        Result.of("asks", "1/s", [1.0], [2.0]),
        Result.of("start", "s", [1.0]),
        Result.of("tells", "1/s", [3.0], [4.0]),
    ]
    found = panels(Bench.of("messaging", results))
    assert [(panel.title, len(panel.bars)) for panel in found] == [("1/s", 4), ("s", 1)]


def test_the_page_has_every_bench_with_its_description_and_date() -> None:
    peers = Bench.of("peers", PEERS)
    savina = Bench.of("savina", [Result.of("big", "1/s", [1.0], [2.0])])
    text = page([(savina, "Four.\n\nMore of them."), (peers, "All.")])
    assert text.index("## Savina") < text.index("More of them.") < text.index("## Peers")
    assert "| big | 1/s | 1 | 1 | 1 | 2 | 0.5 |" in text
    assert "![peers](images/bench-peers.svg)" in text
    assert text.count(peers.date) == 2


def test_render_writes_the_page_and_the_charts(tmp_path: Path) -> None:
    Bench.of("peers", PEERS).write(tmp_path / "peers.json")
    done = run("render.py", str(tmp_path), "--docs", str(tmp_path / "docs"))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "docs" / "performance.md").read_text()
    assert "The same jobs on gristmill and on other libraries" in text
    assert (tmp_path / "docs" / "images" / "bench-peers.svg").exists()


def test_render_names_what_it_can_not_read(tmp_path: Path) -> None:
    empty = run("render.py", str(tmp_path))
    assert (empty.returncode, "holds no JSON files" in empty.stderr) == (1, True)
    (tmp_path / "x.json").write_text('{"schema": "bench/2"}')
    wrong = run("render.py", str(tmp_path))
    assert wrong.returncode == 1
    assert f"{tmp_path}/x.json is not what a bench script writes" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("peers.py", ("--with", "ray,celery"), "'celery' is unknown; known are ray, dask, xoscar"),
        ("scaling.py", ("--workers", "two"), "'two': write numbers of workers, such as 1,2,4"),
        ("scaling.py", ("--workers", "0"), "write numbers of workers"),
    ],
)
def test_a_wrong_option_is_named(script: str, arguments: tuple[str, ...], said: str) -> None:
    done = run(script, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
