"""``gristmill report show``."""

from __future__ import annotations

from pathlib import Path

from gristmill.cli.output import console, print_json
from gristmill.errors import UsageError
from gristmill.metrics import ReportFormatError, decode, render

_FILE = "granularity.json"


def show(file: Path, *, as_json: bool) -> None:
    """Print a saved report.

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
        report = decode(data)
    except ReportFormatError as error:
        raise ReportFormatError(f"{path}: {error}") from None
    if as_json:
        print_json(report)
    else:
        console().print(render(report))
