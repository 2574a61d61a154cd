"""What becomes of a command whose output nobody takes: full disks, closed pipes, old encodings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import LIMIT, gristmill

COMMANDS = [["config", "show"], ["config", "show", "--json"], ["report", "schema"], ["--help"]]
RUN = ["orders", "run", "--workers", "1", "--compute", "none", "--report", "out", "--json", "json"]
WRITTEN = {"journal", "ledger", "run.json", "summary.json", "granularity.json", "granularity.txt"}


def printing_to(target: int, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command with a descriptor as its stdout, and close it; give exit code and stderr."""
    command = [sys.executable, "-m", "gristmill", *arguments]
    with subprocess.Popen(
        command, cwd=folder, stdout=target, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(target)
        _, errors = process.communicate(timeout=LIMIT)
        return process.returncode, errors


def unread_pipe() -> int:
    """Give the writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("arguments", COMMANDS)
def test_output_that_has_no_room_is_one_message(tmp_path: Path, arguments: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    code, errors = printing_to(full, tmp_path, *arguments)
    assert (code, errors) == (1, "error: can't write the output: No space left on device\n")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_output_that_nobody_reads_is_no_error_of_ours(tmp_path: Path, arguments: list[str]) -> None:
    assert printing_to(unread_pipe(), tmp_path, *arguments) == (1, "")


def test_reports_of_a_run_outlive_its_output(tmp_path: Path) -> None:
    code, errors = printing_to(unread_pipe(), tmp_path, *RUN)
    assert code == 1
    assert "Traceback" not in errors
    assert {path.name for path in (tmp_path / "out").iterdir()} >= WRITTEN
    assert (tmp_path / "json").stat().st_size > 0


@pytest.mark.parametrize("command", ["up", "orders run"])
def test_help_can_be_read_in_ascii(tmp_path: Path, command: str) -> None:
    done = gristmill(tmp_path, *command.split(), "--help", environ={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert f"? gristmill {command}" in done.stdout
