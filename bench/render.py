"""Write docs/performance.md and its charts from the JSON files that the bench scripts wrote."""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path

import msgspec

from harness import Bench
from harness.page import image, page, panels
from harness.svg import chart

_HERE = Path(__file__).parent
_ORDER = ("messaging", "peers", "metg", "scaling", "savina", "lifecycle", "orders")
"""The scripts whose results come first on the page; the rest follows by name."""


def read(folder: Path) -> list[Bench]:
    """Read all results of a folder, in the order of the page; exit if there are none."""
    benches = []
    for path in folder.glob("*.json"):
        try:
            benches.append(Bench.read(path))
        except msgspec.MsgspecError as error:
            sys.exit(f"{path} is not what a bench script writes: {error}")
    if not benches:
        sys.exit(f"{folder} holds no JSON files; run make bench, or a script with --json")
    rank = {name: place for place, name in enumerate(_ORDER)}
    return sorted(benches, key=lambda bench: (rank.get(bench.script, len(rank)), bench.bench))


def description(bench: Bench) -> str:
    """Give what the script says about itself."""
    source = (_HERE / f"{bench.script}.py").read_text()
    return ast.get_docstring(ast.parse(source)) or ""


def main() -> None:
    """Write the page and the charts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=_HERE / "results")
    parser.add_argument("--docs", type=Path, default=_HERE.parent / "docs", metavar="FOLDER")
    options = parser.parse_args()
    benches = read(options.results)
    images = options.docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    for bench in benches:
        (images / image(bench)).write_text(chart(panels(bench)))
    text = page([(bench, description(bench)) for bench in benches])
    (options.docs / "performance.md").write_text(text)
    print(f"wrote {options.docs / 'performance.md'} with {len(benches)} charts")


if __name__ == "__main__":
    main()
