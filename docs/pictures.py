"""Makes the pictures of docs/granularity.md from reports.

    python docs/pictures.py out/granularity.json [more snapshots of the run]

The charts become SVG files. Where a Chromium is installed, the whole page is photographed too, at
the width of a desktop and of a phone, light and dark.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gristmill.metrics import Report, decode
from gristmill.reporting import page
from gristmill.reporting.charts import Chart, charts
from gristmill.reporting.charts.plot import WIDTH, label, rectangle
from gristmill.reporting.markup import Markup, element
from gristmill.reporting.page import stylesheet

IMAGES = Path(__file__).parent / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = {"desktop": (1280, 1500), "phone": (390, 3000)}
DARK = "@media (prefers-color-scheme: dark)"

_MARGIN = 12
_TITLE = 30
_ENTRY = 16


def main(files: Sequence[str]) -> int:
    """Make the pictures; gives the exit code."""
    if not files:
        print(__doc__)
        return 2
    snapshots = [decode(Path(file).read_bytes()) for file in files]
    IMAGES.mkdir(exist_ok=True)
    for chart in charts(snapshots):
        if chart.picture:
            (IMAGES / f"{chart.id}.svg").write_text(standalone(chart) + "\n")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no browser ({', '.join(BROWSERS)}): the page was not photographed")
    else:
        photograph(browser, snapshots)
    return 0


def standalone(chart: Chart) -> Markup:
    """Give a chart as an SVG file of its own, with its title above and its legend below."""
    found = re.search(rf'viewBox="0 0 {WIDTH} ([\d.]+)"', chart.picture)
    assert found is not None
    inner = float(found[1])
    columns = 3 if all(len(name) < 12 for _, name in chart.legend) else 1
    column = WIDTH / columns
    height = _TITLE + inner + _ENTRY * -(-len(chart.legend) // columns) + _MARGIN
    placed = chart.picture.replace(
        "<svg ", f'<svg x="0" y="{_TITLE}" width="{WIDTH}" height="{inner:g}" ', 1
    )
    legend = [
        mark
        for number, (class_, name) in enumerate(chart.legend)
        for mark in _entry(
            class_, name, _MARGIN + column * (number % columns),
            _TITLE + inner + _ENTRY * (number // columns),
        )
    ]  # fmt: skip
    return element(
        "svg",
        element("style", Markup(stylesheet("charts.css") + "text { font-family: sans-serif; }")),
        element("rect", width="100%", height="100%", style="fill: var(--paper)"),
        label(chart.title, _MARGIN, 20, "limit-name"),
        Markup(placed),
        *legend,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height:g}",
        width=float(2 * WIDTH),
    )


def _entry(class_: str, name: str, x: float, y: float) -> tuple[Markup, Markup]:
    return rectangle(x, y, 10, 10, class_, name), label(name, x + 15, y + 9, "name")


def photograph(browser: str, snapshots: Sequence[Report]) -> None:
    """Save the page as PNG files, one a width and a colour scheme."""
    text = page(snapshots)
    schemes = {"light": "@media not all", "dark": "@media all"}
    with tempfile.TemporaryDirectory() as folder:
        for scheme, rule in schemes.items():
            source = Path(folder, f"{scheme}.html")
            source.write_text(text.replace(DARK, rule))
            for name, (width, height) in WIDTHS.items():
                command = [
                    browser, "--headless", "--hide-scrollbars", "--no-sandbox",
                    f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
                    f"--screenshot={IMAGES / f'report-{name}-{scheme}.png'}", source.as_uri(),
                ]  # fmt: skip
                subprocess.run(command, check=True, timeout=60, capture_output=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
