"""``gristmill report`` in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from gristmill.cli.main import app
from gristmill.metrics import Report, decode, encode, json_schema, merge
from support.reports import RUN, S, process, quote, report

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give a function that runs ``gristmill report`` in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, ("report", *arguments), prog_name="gristmill")

    return invoke


def save(file: Path, saved: Report) -> Report:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(encode(saved))
    return saved


def named(name: str, compute: float = 8, wall_s: float = 10) -> Report:
    """Give a run of its own, with a ratio of ``compute``."""
    info = msgspec.structs.replace(RUN, id=name, wall_ns=round(wall_s * S))
    return report(process(compute=compute, dispatch=1, wall_s=wall_s, types=(quote(),)), run=info)


def refused(result: Result, says: str) -> None:
    """Check that a command has failed with one message and exit code 2."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("error: ") == 1
    assert says in result.stderr


def test_show(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "out/granularity.json", named("r1"))
    text = run("show", "out/granularity.json").stdout
    assert text.startswith("GRANULARITY  wall 10.0 s")
    assert run("show", "out").stdout == text
    assert json.loads(run("show", "out", "--json").stdout)["run"]["id"] == "r1"


def test_show_is_as_wide_as_the_terminal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a.json", named("r1"))
    for columns in ("80", "120"):
        monkeypatch.setenv("COLUMNS", columns)
        text = run("show", "a.json").stdout
        assert max(map(len, text.splitlines())) <= int(columns)
        assert ("need 10x / 100x" in text) == (columns == "120")


READING = ("show", "html", "trace", "prometheus", "merge", "check")


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not json", "bad.json: this is no granularity/1 report"),
        (b'{"schema": "bench/1"}', "its schema is 'bench/1'"),
        (b'{"schema": "granularity/1"}', "is damaged"),
        (b"\xff\xfe", "bad.json: this is no granularity/1 report"),
    ],
)
def test_what_is_no_report_is_refused(
    run: Run, tmp_path: Path, command: str, content: bytes, says: str
) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    refused(run(command, "bad.json"), says)


@pytest.mark.parametrize("command", READING)
def test_a_missing_file_is_refused(run: Run, tmp_path: Path, command: str) -> None:
    refused(run(command, "no.json"), "there is no report no.json")
    refused(run(command, str(tmp_path)), "granularity.json")


def test_files_that_can_not_be_written_are_refused(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "a.json", named("r1"))
    for command in ("html", "trace", "prometheus", "merge"):
        refused(run(command, "a.json", "-o", "no/out"), "can't write no/out: No such file")
    refused(run("check", "a.json", "--junit", "no/out"), "can't write no/out")


def test_faces_go_to_stdout_or_a_file(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "a.json", named("r1", 4, wall_s=5))
    save(tmp_path / "b.json", named("r1"))
    for command, begins in (
        (("html", "a.json", "b.json"), "<!doctype html>"),
        (("trace", "a.json", "b.json"), '{"traceEvents":['),
        (("prometheus", "b.json"), "# HELP gristmill_time_seconds_total"),
        (("schema",), '{\n  "$schema"'),
    ):
        printed = run(*command).stdout
        assert printed.startswith(begins)
        assert run(*command, "-o", "out").stdout == ""
        assert (tmp_path / "out").read_text() == printed
    assert json.loads(run("schema").stdout)["title"] == json_schema()["title"]


def test_merge_adds_up(run: Run, tmp_path: Path) -> None:
    saved = [save(tmp_path / f"{name}.json", named(name)) for name in ("a", "b")]
    assert decode(run("merge", "a.json", "b.json").stdout.encode()) == merge(saved)
    refused(run("merge", "a.json", "a.json"), "its time would count twice")
    refused(run("html", "a.json", "b.json"), "of 2 runs (a, b)")


def test_diff_prints_the_worst_first(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "a.json", named("a", 8))
    save(tmp_path / "b.json", named("b", 4))
    lines = [line.split() for line in run("diff", "a.json", "b.json").stdout.splitlines()]
    assert lines == [
        ["compute/coordinate", "base", "new", "change", "msgs", "base", "msgs", "new"],
        ["run", "8x", "4x", "-50%", "1,000", "1,000"],
        ["w0", "8x", "4x", "-50%", "1,000", "1,000"],
        ["Pricer.GetQuote", "0.8x", "0.8x", "+0%", "1,000", "1,000"],
    ]
    found = json.loads(run("diff", "a.json", "b.json", "--json").stdout)
    assert found[0]["change"] == -0.5
    refused(run("diff", "a.json", "no.json"), "there is no report no.json")


def test_check_exits_by_what_it_finds(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "good.json", named("a", 8))
    save(tmp_path / "bad.json", named("b", 4))
    save(tmp_path / "few.json", report(process(compute=8, messages=3)))
    passed = run("check", "good.json", "--min", "8")
    assert (passed.exit_code, passed.stdout.splitlines()[-1]) == (
        0, "OK: run 8x over 1,000 messages, needs 8x (minimum)",
    )  # fmt: skip
    below = run("check", "good.json")
    assert (below.exit_code, below.stdout.splitlines()[-1]) == (
        1, "BELOW: run 8x over 1,000 messages, needs 10x (minimum)",
    )  # fmt: skip
    doubtful = run("check", "few.json")
    assert doubtful.exit_code == 2
    assert doubtful.stdout.splitlines()[-1].startswith("UNTRUSTWORTHY: only 3 messages")
    lost = run("check", "bad.json", "--min", "1", "--baseline", "good.json")
    assert lost.exit_code == 1
    allowed = ("--baseline", "good.json", "--tolerance", "0.5")
    assert run("check", "bad.json", "--min", "1", *allowed).exit_code == 0
    assert run("check", "good.json", "--min", "1", "--type", "Pricer.*=0.9").exit_code == 1
    three = ("good.json", "bad.json", "good.json")
    assert run("check", *three, "--min", "8").exit_code == 0


def test_check_prints_for_programs_and_for_ci(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "a.json", named("a", 8))
    result = run("check", "a.json", "--json", "--junit", "out.xml", "--badge", "badge.json")
    found = json.loads(result.stdout)
    assert (found["outcome"], found["exit_code"], result.exit_code) == ("below", 1, 1)
    assert found["findings"] == [
        {"name": "run", "messages": 1000, "ratio": 8.0, "needed": 10.0, "source": "minimum",
         "passed": False},
    ]  # fmt: skip
    assert "<testsuite" in (tmp_path / "out.xml").read_text()
    assert json.loads((tmp_path / "badge.json").read_text())["message"] == "8x"
    table = run("check", "a.json", "--markdown")
    assert table.exit_code == 1
    assert "| **below** | run | 8x | 10x | minimum | 1,000 |" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--type", "Pricer"), "--type Pricer: write NAME=RATIO"),
        (("--type", "Pricer.GetQuote=much"), "--type Pricer.GetQuote=much: write NAME=RATIO"),
        (("--type", "=5"), "--type =5: write NAME=RATIO"),
        (("--type", "Nobody=5"), "no type of the report is named 'Nobody'"),
        (("--min", "-1"), "the least ratio is -1; it must be 0 or more"),
        (("--baseline", "a.json", "--tolerance", "20"), "the tolerance is 20; it must be"),
        (("--json", "--markdown"), "--json and --markdown are two ways"),
    ],
)
def test_check_refuses_senseless_limits(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    save(tmp_path / "a.json", named("a"))
    refused(run("check", "a.json", *arguments), says)


@pytest.mark.parametrize("command", [*READING, "diff", "schema"])
def test_every_command_has_an_example(run: Run, command: str) -> None:
    text = run(command, "--help").stdout
    assert f"gristmill report {command}" in text.partition("Example")[2]
