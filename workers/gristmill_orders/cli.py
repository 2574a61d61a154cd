"""``gristmill orders``: run real orders through the service, and audit what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gristmill.cli.options import examples
from gristmill.errors import GristmillError, UsageError

app = typer.Typer(
    name="orders",
    help="Run real orders through worker processes, and audit what came of it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command(
    epilog=examples(
        "gristmill orders run",
        "gristmill orders run --input invoices.csv --workers 4 --report out",
        "gristmill orders run --repeat 20 --kill-every 1",
    )
)
def run(
    input_file: Annotated[
        Path | None,
        typer.Option("--input", help="A CSV file of invoices; the shipped sample if not given."),
    ] = None,
    workers: Annotated[
        str | None, typer.Option(help="Worker processes, or auto: one for each core.")
    ] = None,
    repeat: Annotated[int, typer.Option(help="Send the file's orders so many times.")] = 1,
    kill_every: Annotated[
        float | None, typer.Option(help="Kill a random worker (SIGKILL) every so many seconds.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Orders a second; as many as are taken in if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes faults, cancellations and kills.")] = 0,
    cancel_share: Annotated[
        float, typer.Option(help="The share, 0 to 1, of further orders to cancel.")
    ] = 0.0,
    compute: Annotated[
        str, typer.Option(help="all, or none: stand-ins take the place of the compute kernels.")
    ] = "all",
    ledger: Annotated[
        Path | None,
        typer.Option(help="The folder of the externals' books; needed if they are over HTTP."),
    ] = None,
    governor: Annotated[
        str, typer.Option(help="on, or off: the services get one message a call.")
    ] = "on",
    report: Annotated[
        Path | None,
        typer.Option(help="A folder for reports, journal and ledger, for the audit command too."),
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="Write the summary as JSON; - for standard output.")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Record single messages, and write those of the run's end here, for Perfetto or "
            "chrome://tracing."
        ),
    ] = None,
    trace_window: Annotated[
        float, typer.Option(min=0.001, help="Seconds that the trace looks back.")
    ] = 2.0,
    channels: Annotated[
        str | None,
        typer.Option(help="What carries events: memory, redis, kafka, with commas between."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The configuration; release.toml if not given.")
    ] = None,
) -> None:
    """Run a file of invoices through payment, inventory and shipping on every core.

    Ends with a summary, an audit and a granularity report. Ctrl-C once lets the open orders come
    to their ends; twice stops at once.
    """
    with _clear_errors():
        from gristmill_orders.command import Options, run_command  # noqa: PLC0415 - quick --help

        if compute not in ("all", "none"):
            raise UsageError(f"--compute is {compute!r}; write all or none")
        if governor not in ("on", "off"):
            raise UsageError(f"--governor is {governor!r}; write on or off")
        options = Options(
            input=input_file,
            workers=workers,
            repeat=repeat,
            kill_every=kill_every,
            rate=rate,
            seed=seed,
            cancel_share=cancel_share,
            compute=compute == "all",
            ledger=ledger,
            governor=governor == "on",
            report=report,
            json=json_file,
            trace=trace,
            trace_window=trace_window,
            config=config,
            channels=channels,
        )
        code = run_command(options)
    raise typer.Exit(code)


@app.command(
    epilog=examples(
        "gristmill orders replay --from-kafka",
        "gristmill orders replay --from-redis --against out",
        "gristmill orders replay --from-journal orders-data",
    )
)
def replay(
    from_redis: Annotated[bool, typer.Option("--from-redis", help="Read Redis Streams.")] = False,
    from_kafka: Annotated[bool, typer.Option("--from-kafka", help="Read Kafka.")] = False,
    from_journal: Annotated[
        Path | None, typer.Option(help="Read a journal: its folder, or that of its run.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Compare with the journal of a run or of the service, in its folder."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The configuration; release.toml if not given.")
    ] = None,
) -> None:
    """Rebuild every order from the log of its events.

    Exits with 1 if an order can't be rebuilt, or is not as the journal of --against has it.
    """
    with _clear_errors():
        from gristmill_orders.command import replay_command  # noqa: PLC0415 - quick --help

        chosen = [name for name, on in (("redis", from_redis), ("kafka", from_kafka)) if on]
        chosen += [str(from_journal.absolute())] if from_journal is not None else []
        if len(chosen) != 1:
            raise UsageError("give one of --from-redis, --from-kafka and --from-journal FOLDER")
        code = replay_command(chosen[0], against, config)
    raise typer.Exit(code)


@app.command(epilog=examples("gristmill orders serve", "gristmill orders serve --http-port 8081"))
def serve(
    http_port: Annotated[
        str | None,
        typer.Option(help="The port of the HTTP/JSON API; [api] http_port if not given."),
    ] = None,
    grpc_port: Annotated[
        str | None, typer.Option(help="The port of the gRPC API; [node] grpc_port if not given.")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(help="Worker processes, or auto: one for each core.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The configuration; release.toml if not given.")
    ] = None,
) -> None:
    """Serve the order service over HTTP/JSON and gRPC, in the foreground.

    Orders are kept in [order_processor] data_dir, and go on after a restart. Ctrl-C or SIGTERM ends
    open requests first; twice stops at once.
    """
    with _clear_errors():
        from gristmill_orders.api.serve import ServeOptions  # noqa: PLC0415 - quick --help
        from gristmill_orders.api.serve import serve as run_server  # noqa: PLC0415 - quick --help

        options = ServeOptions(
            http_port=http_port, grpc_port=grpc_port, workers=workers, config=config
        )
        code = run_server(options)
    raise typer.Exit(code)


@app.command(epilog=examples("gristmill orders audit out", "gristmill orders audit out --json"))
def audit(
    folder: Annotated[Path, typer.Argument(help="The folder given to run --report.")],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Check what must always hold on the journal and the ledger of a finished run.

    Exits with 1 if anything does not hold.
    """
    with _clear_errors():
        from gristmill_orders.command import audit_command  # noqa: PLC0415 - quick --help

        code = audit_command(folder, as_json=as_json)
    raise typer.Exit(code)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Say what was wrong in one message, and exit with the error's code."""
    try:
        yield
    except GristmillError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted: everything was stopped at once", file=sys.stderr)
        raise typer.Exit(130) from None


if __name__ == "__main__":
    app()
