"""What the commands of ``gristmill report`` do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from gristmill import reporting
from gristmill.cli.output import console, print_json
from gristmill.errors import UsageError
from gristmill.metg.curves import Measurement, MetgFormatError
from gristmill.metg.curves import decode as decode_metg
from gristmill.metrics import Report, ReportFormatError, decode, encode, json_schema, merge, render
from gristmill.metrics.comparison import Change, compare
from gristmill.metrics.gate import Checked, Limits, check
from gristmill.metrics.text import table, terminal_width
from gristmill.metrics.units import multiple

Style = Literal["text", "json", "markdown"]

_FILE = "granularity.json"
_METG = "metg.json"


def read(file: Path) -> Report:
    """Read a saved report.

    Raises:
        UsageError: the file can't be read.
        ReportFormatError: it is no report.
    """
    path = file / _FILE if file.is_dir() else file
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no report {path}") from None
    except OSError as error:
        raise UsageError(f"can't read the report {path}: {error.strerror}") from error
    try:
        return decode(data)
    except ReportFormatError as error:
        raise ReportFormatError(f"{path}: {error}") from None


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"can't write {output}: {error.strerror}") from error


def show(file: Path, *, as_json: bool) -> None:
    """Print a report, as wide as the terminal."""
    report = read(file)
    if as_json:
        print_json(report)
    else:
        console().print(render(report, terminal_width()))


def html(files: Sequence[Path], output: Path | None, metg: Path | None) -> None:
    """Draw the page of a run, with the METG sweep of a file or of the run's folder."""
    beside = (file / _METG for file in files if file.is_dir())
    found = metg or next((path for path in beside if path.exists()), None)
    measured = _read_metg(found) if found is not None else None
    _write(reporting.page([read(file) for file in files], measured), output)


def _read_metg(path: Path) -> Measurement:
    try:
        return decode_metg(path.read_bytes())
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}") from error
    except MetgFormatError as error:
        raise MetgFormatError(f"{path}: {error}") from None


def trace(files: Sequence[Path], output: Path | None) -> None:
    """Write the trace of a run."""
    _write(reporting.trace([read(file) for file in files]).decode() + "\n", output)


def prometheus(file: Path, output: Path | None) -> None:
    """Write a report for Prometheus."""
    _write(reporting.exposition(read(file)), output)


def merged(files: Sequence[Path], output: Path | None) -> None:
    """Add reports up."""
    _write(encode(merge([read(file) for file in files])).decode() + "\n", output)


def schema(output: Path | None) -> None:
    """Print the JSON Schema of a report."""
    text = msgspec.json.format(msgspec.json.encode(json_schema()), indent=2)
    _write(text.decode() + "\n", output)


def diff(base: Path, new: Path, *, as_json: bool) -> None:
    """Compare two reports."""
    changes = compare(read(base), read(new))
    if as_json:
        print_json(changes)
        return
    head = ("compute/coordinate", "base", "new", "change", "msgs base", "msgs new")
    rows = [head, *((*_change(change),) for change in changes)]
    console().print("\n".join(table(rows, "<>>>>>", terminal_width())))


def _change(change: Change) -> tuple[str, ...]:
    relative = "-" if change.change is None else f"{change.change:+.0%}"
    indent = "" if change.kind == "run" else "  "
    return (
        f"{indent}{change.name}",
        multiple(change.base_ratio),
        multiple(change.ratio),
        relative,
        f"{change.base_messages:,}",
        f"{change.messages:,}",
    )


def type_limits(given: Sequence[str]) -> dict[str, float]:
    """Read options ``NAME=RATIO``.

    Raises:
        UsageError: one is not of that form.
    """
    found = {}
    for text in given:
        name, equals, ratio = text.rpartition("=")
        try:
            found[name] = float(ratio)
        except ValueError:
            equals = ""
        if not (name and equals):
            raise UsageError(
                f"--type {text}: write NAME=RATIO, for example --type 'Pricer.GetQuote=10'"
            )
    return found


def style(*, as_json: bool, as_markdown: bool) -> Style:
    """Say how to print a check.

    Raises:
        UsageError: two ways are asked for.
    """
    if as_json and as_markdown:
        raise UsageError("--json and --markdown are two ways to print one result; give one")
    return "json" if as_json else "markdown" if as_markdown else "text"


def checked(files: Sequence[Path], limits: Limits, baseline: Sequence[Path]) -> Checked:
    """Hold reports against limits, and against the reports of a baseline."""
    return check([read(file) for file in files], limits, [read(file) for file in baseline])


def write_results(found: Checked, *, junit: Path | None, badge: Path | None) -> None:
    """Write the files for CI that were asked for."""
    if junit is not None:
        _write(reporting.junit(found), junit)
    if badge is not None:
        _write(reporting.badge(found).decode() + "\n", badge)


def show_checked(found: Checked, style: Style) -> None:
    """Print what a check found, its verdict last."""
    if style == "json":
        print_json(
            {
                "outcome": found.outcome.name.lower(),
                "exit_code": int(found.outcome),
                "verdict": found.verdict,
                "doubts": found.doubts,
                "findings": [
                    {**msgspec.structs.asdict(finding), "passed": finding.passed}
                    for finding in found.findings
                ],
            }
        )
    elif style == "markdown":
        sys.stdout.write(reporting.markdown(found))
    else:
        lines = [f"{'ok' if f.passed else 'below':5}  {f}" for f in found.findings]
        console().print("\n".join([*lines, found.verdict]))
