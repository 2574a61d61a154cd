"""``gristmill report``: the commands and their help; what they do is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.cli.options import Json, examples

report_app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Read, draw, compare and check granularity reports.\n\n"
        "A report is a granularity/1 JSON file, or a folder with a granularity.json."
    ),
)

_FILE = "A report: a granularity/1 JSON file, or a folder with a granularity.json."
_SNAPSHOTS = "A report; several of one run show how it went over time."

File = Annotated[Path, typer.Argument(help=_FILE, show_default=False)]
Snapshots = Annotated[
    list[Path], typer.Argument(metavar="FILE", help=_SNAPSHOTS, show_default=False)
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The file to write; else stdout.", show_default=False),
]


@report_app.command(epilog=examples("gristmill report show out/granularity.json"))
def show(file: File, json: Json = False) -> None:
    """Print a report: how much was compute, how much coordination, and what to change."""
    from gristmill.cli import reports  # noqa: PLC0415 - imported when it runs

    reports.show(file, as_json=json)


@report_app.command(
    epilog=examples(
        "gristmill report html out/granularity.json -o out.html",
        "gristmill report html snapshots/*.json -o out.html",
    )
)
def html(
    files: Snapshots,
    output: Output = None,
    metg: Annotated[
        Path | None,
        typer.Option(
            help="What gristmill metg --json printed; else metg.json of the report's folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw a report as one HTML file that needs no network."""
    from gristmill.cli import reports  # noqa: PLC0415 - imported when it runs

    reports.html(files, output, metg)


@report_app.command(epilog=examples("gristmill report trace snapshots/*.json -o trace.json"))
def trace(files: Snapshots, output: Output = None) -> None:
    """Write a trace for Perfetto or chrome://tracing: shares and ratios over time.

    It has counters and no slices: reports hold sums, not single messages.
    """
    from gristmill.cli import reports  # noqa: PLC0415 - imported when it runs

    reports.trace(files, output)


@report_app.command(epilog=examples("gristmill report prometheus run.json -o gristmill.prom"))
def prometheus(file: File, output: Output = None) -> None:
    """Write a report in the text format of Prometheus."""
    from gristmill.cli import reports  # noqa: PLC0415 - imported when it runs

    reports.prometheus(file, output)


@report_app.command(epilog=examples("gristmill report merge a.json b.json -o both.json"))
def merge(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="The reports.", show_default=False)
    ],
    output: Output = None,
) -> None:
    """Add reports up: of several runs, or of parts of one. Ratios are computed anew."""
    from gristmill.cli import reports  # noqa: PLC0415 - imported when it runs

    reports.merged(files, output)


@report_app.command(epilog=examples("gristmill report diff before.json after.json"))
def diff(
    base: Annotated[Path, typer.Argument(help="The report before.", show_default=False)],
    new: Annotated[Path, typer.Argument(help="The report after.", show_default=False)],
    json: Json = False,
) -> None:
    """Compare the ratios of two runs, of each worker and of each type, worst change first."""
    from gristmill.cli import reports  # noqa: PLC0415 - imported when it runs

    reports.diff(base, new, as_json=json)


@report_app.command(
    epilog=examples(
        "gristmill report check run.json --min 10",
        "gristmill report check 1.json 2.json 3.json --type 'Pricer.*=100'",
        "gristmill report check run.json --baseline main.json --tolerance 0.2 --markdown",
    )
)
def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="A report; of several runs of one job the median of their ratios counts.",
            show_default=False,
        ),
    ],
    minimum: Annotated[
        float, typer.Option("--min", help="Least compute/coordinate of the whole run.")
    ] = 10.0,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="NAME=RATIO",
            help="Least ratio of a type, Actor.Message; * and ? stand for anything. "
            "May be repeated.",
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option(
            help="An earlier report; no ratio may fall far below its own. May be repeated.",
            show_default=False,
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Part of the baseline's ratio that may be lost.")
    ] = 0.2,
    strict: Annotated[
        bool, typer.Option("--strict", help="Count waiting for answers as coordination.")
    ] = False,
    min_messages: Annotated[int, typer.Option(min=1, help="Fewer messages prove nothing.")] = 30,
    allow_contended: Annotated[
        bool, typer.Option("--allow-contended", help="Trust workers that had to share cores.")
    ] = False,
    json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table, for a CI summary.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option(help="Also write JUnit XML here.", show_default=False)
    ] = None,
    badge: Annotated[
        Path | None,
        typer.Option(help="Also write the JSON of a shields.io badge here.", show_default=False),
    ] = None,
) -> None:
    """Hold a report against least ratios; for CI.

    Exits with 0 if they are reached, 1 if one is not, 2 if the figures can't be trusted: the time
    classes don't add up to wall time within 1%, the accounting took over 2%, over 1% is in no
    class, workers were contended (below 0.95), or there were too few messages.
    """
    from gristmill.cli import reports  # noqa: PLC0415 - imported when it runs
    from gristmill.metrics.gate import Limits  # noqa: PLC0415 - imported when it runs

    limits = Limits(
        minimum=minimum,
        types=reports.type_limits(types or []),
        strict=strict,
        tolerance=tolerance,
        min_messages=min_messages,
        allow_contended=allow_contended,
    )
    style = reports.style(as_json=json, as_markdown=markdown)
    checked = reports.checked(files, limits, baseline or [])
    reports.write_results(checked, junit=junit, badge=badge)
    reports.show_checked(checked, style)
    raise typer.Exit(int(checked.outcome))


@report_app.command(epilog=examples("gristmill report schema > granularity-1.schema.json"))
def schema(output: Output = None) -> None:
    """Print the JSON Schema of granularity/1."""
    from gristmill.cli import reports  # noqa: PLC0415 - imported when it runs

    reports.schema(output)
