"""Makes docs/conformance.md from the names of the tests: which promises are kept, and where.

    python docs/conformance.py [FILE, docs/conformance.md by default]

A test is named by the rows that it proves and by what it shows of them, such as
``test_RI04_a_group_restart_costs_one``. docs/conformance.toml lists the rows and says what is
decided otherwise.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "conformance.md"
ROWS = ROOT / "docs" / "conformance.toml"

_NAME = re.compile(r"test_((?:[A-Z]{2}\d{2}_)+)(\w+)")

_HEAD = """\
# Conformance

What users of OTP, Pekko, resilience4j, Redis and Kafka rely on, as rows of one behaviour each, and
the tests that prove it here. A sentence is a test of that name; it leads to its file. This page is
made from the tests: `python docs/conformance.py`.

{summary}

| state | meaning |
|---|---|
| kept | the tests prove it |
| differs | decided otherwise, for the reason given; the tests prove what holds here |
| open | no test proves it yet |
"""


class Proof(NamedTuple):
    """A test of a row."""

    sentence: str
    file: Path


def read_tests(folder: Path) -> dict[str, list[Proof]]:
    """Collect the tests that are named by rows, by row, without importing them."""
    found: defaultdict[str, list[Proof]] = defaultdict(list)
    for file in sorted(folder.rglob("test_*.py")):
        for name in _functions(file):
            match = _NAME.fullmatch(name)
            if match is not None:
                proof = Proof(match[2].replace("_", " "), file)
                for row in match[1].strip("_").split("_"):
                    found[row].append(proof)
    return found


def _functions(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(), file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def render(
    groups: Mapping[str, str], differs: Mapping[str, str], tests: Mapping[str, list[Proof]]
) -> str:
    """Give the page.

    Args:
        groups: the rows of each group, separated by spaces, by the group's title.
        differs: why a row is decided otherwise.
        tests: the tests of each row.

    Raises:
        ValueError: a test or a reason is about a row that is in no group.
    """
    rows = [row for listed in groups.values() for row in listed.split()]
    unknown = sorted({*differs, *tests} - {*rows})
    if unknown:
        names = ", ".join(unknown)
        raise ValueError(f"{ROWS.name} lists no row {names}; add it to a group, or rename the test")
    states = {row: _state(row, differs, tests) for row in rows}
    counts = (f"{list(states.values()).count(s)} {s}" for s in ("kept", "differs", "open"))
    summary = f"{len(rows)} rows: {', '.join(counts)}."
    parts = [_HEAD.format(summary=summary)]
    for title, listed in groups.items():
        lines = [f"## {title}\n", "| row | state | what holds |", "|---|---|---|"]
        lines += [
            f"| {row} | {states[row]} | {_cell(differs.get(row, ''), tests.get(row, []))} |"
            for row in listed.split()
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _state(row: str, differs: Mapping[str, str], tests: Mapping[str, list[Proof]]) -> str:
    if row in differs:
        return "differs"
    return "kept" if row in tests else "open"


def _cell(reason: str, proofs: list[Proof]) -> str:
    links = [f"[{proof.sentence}]({_link(proof.file)})" for proof in proofs]
    return "<br>".join([reason] * bool(reason) + links)


def _link(file: Path) -> str:
    return f"../{file.relative_to(ROOT).as_posix()}"


def make() -> str:
    """Give the page as it is to be."""
    declared = tomllib.loads(ROWS.read_text())
    return render(declared["groups"], declared["differs"], read_tests(ROOT / "tests"))


def main(arguments: Sequence[str]) -> int:
    """Write the page; gives the exit code."""
    try:
        Path(arguments[0] if arguments else PAGE).write_text(make())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
