"""``ref.ask`` has the request's reply type, for mypy and for pyright."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "types" / "asking.py"
EXPECTED = {
    number
    for number, line in enumerate(FILE.read_text().splitlines(), start=1)
    if "# error:" in line
}


def test_mypy(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, FILE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = {int(n) for n in re.findall(r"asking\.py:(\d+): error", run.stdout)}
    assert found == EXPECTED, run.stdout + run.stderr


def test_pyright() -> None:
    pyright = shutil.which("pyright", path=str(Path(sys.executable).parent))
    if pyright is None:
        pytest.skip("pyright is not installed here")
    run = subprocess.run(
        [pyright, "--outputjson", "--pythonpath", sys.executable, FILE],
        cwd=ROOT / "tests",
        env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if not run.stdout.startswith("{"):
        pytest.skip(f"pyright can't run here: {run.stderr.strip()[:200]}")
    report = json.loads(run.stdout)["generalDiagnostics"]
    found = {d["range"]["start"]["line"] + 1 for d in report if d["severity"] == "error"}
    assert found == EXPECTED, report
