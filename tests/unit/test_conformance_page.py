"""docs/conformance.md says what the tests prove."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "conformance.py"


@pytest.fixture(scope="module")
def conformance() -> ModuleType:
    """Give the script that makes the page, as a module."""
    spec = importlib.util.spec_from_file_location("conformance", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["conformance"] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_tests_say(conformance: Any) -> None:
    assert conformance.PAGE.read_text() == conformance.make(), (
        "docs/conformance.md is not what the names of the tests say any more; "
        "make it anew with: python docs/conformance.py"
    )


def test_each_row_has_its_state(conformance: Any, tmp_path: Path) -> None:
    folder = conformance.ROOT / "tests"
    proof = conformance.Proof("it works", folder / "unit" / "test_a.py")
    page = conformance.render(
        {"Some": "AA01 AA02", "Others": "BB01 BB02"},
        {"AA02": "For a reason.", "BB01": "Never."},
        {"AA01": [proof], "AA02": [proof, proof]},
    )
    link = "[it works](../tests/unit/test_a.py)"
    assert "4 rows: 1 kept, 2 differs, 1 open." in page
    assert f"| AA01 | kept | {link} |" in page
    assert f"| AA02 | differs | For a reason.<br>{link}<br>{link} |" in page
    assert "| BB01 | differs | Never. |" in page
    assert "| BB02 | open |  |" in page


def test_tests_are_found_by_the_rows_in_their_names(conformance: Any, tmp_path: Path) -> None:
    text = "\n".join(
        f"{kind} test_{name}(): ..."
        for kind, name in [
            ("def", "AA01_BB02_one_and_another"),
            ("async def", "AA01_later"),
            ("def", "without_a_row"),
            ("def", "AA1_is_no_row"),
        ]
    )
    file = tmp_path / "test_a.py"
    file.write_text(text)
    found = conformance.read_tests(tmp_path)
    assert {row: [proof.sentence for proof in proofs] for row, proofs in found.items()} == {
        "AA01": ["one and another", "later"],
        "BB02": ["one and another"],
    }


def test_a_row_that_nobody_has_declared_is_an_error(conformance: Any) -> None:
    proof = conformance.Proof("it works", SCRIPT)
    with pytest.raises(ValueError, match="lists no row ZZ01; add it to a group"):
        conformance.render({"Some": "AA01"}, {}, {"ZZ01": [proof]})


def test_the_script_writes_the_page_from_anywhere(conformance: Any, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, SCRIPT, "page.md"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "page.md").read_text() == conformance.make()
