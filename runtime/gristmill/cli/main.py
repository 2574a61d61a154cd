"""The commands and their help; what they do is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.cli.group import RootGroup
from gristmill.cli.options import Json, examples
from gristmill.cli.report import report_app

app = typer.Typer(
    cls=RootGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Run actors in worker processes, supervise them, and see where the time goes.\n\n"
        "Start an application with **gristmill up MODULE:APP**, look at it from another "
        "terminal with **status**, **tree**, **stack** and **dead-letters**, renew its code with "
        "**reload**, end it with **stop** "
        "or Ctrl-C."
    ),
    epilog=(
        "Exit codes: 0 clean, 1 failed, 2 usage or import, 3 cannot connect, "
        "5 restart intensity exceeded, 130 interrupted."
    ),
)
config_app = typer.Typer(no_args_is_help=True, help="See the configuration that is in effect.")
app.add_typer(report_app, name="report")
letters_app = typer.Typer(
    no_args_is_help=True, help="Read the messages that nobody handled, and send them again."
)
app.add_typer(config_app, name="config")
app.add_typer(letters_app, name="dead-letters")
child_app = typer.Typer(
    no_args_is_help=True, help="Stop, start and forget children of supervisors, by their path."
)
app.add_typer(child_app, name="child")


def _running_node_ids() -> list[str]:
    from gristmill.node.rundir import running_nodes  # noqa: PLC0415 - only completion needs it

    return [node.node_id for node in running_nodes()]


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The configuration file. Else the one in GRISTMILL_CONFIG, else ./release.toml.",
        show_default=False,
    ),
]
NodeId = Annotated[
    str | None,
    typer.Option(
        "--node",
        "-n",
        help="The node's id; needed when several run.",
        show_default=False,
        autocompletion=_running_node_ids,
    ),
]


@app.command(
    epilog=examples(
        "gristmill up shop.app:app",
        "gristmill up shop.app:app --workers 4 --pool pricers=8",
        "NODE_WORKERS=4 gristmill up shop.app:app --config shop.toml",
    )
)
def up(
    application: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:APP",
            help="A NodeBuilder, an Application, or a function that gives a NodeBuilder.",
            show_default=False,
        ),
    ],
    config: ConfigFile = None,
    workers: Annotated[
        str | None,
        typer.Option(help="Worker processes: a number, or auto.", show_default=False),
    ] = None,
    node_id: Annotated[
        str | None, typer.Option(help="The node's name.", show_default=False)
    ] = None,
    pin_cpus: Annotated[
        bool | None,
        typer.Option(
            "--pin-cpus/--no-pin-cpus",
            help="Bind each worker to a core of its own.",
            show_default=False,
        ),
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SIZE", help="Size of a pool; may be repeated.", show_default=False
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            "--granularity-trace",
            help="Record single messages, and write the last ones before a stop here, for Perfetto "
            "or chrome://tracing.",
            show_default=False,
        ),
    ] = None,
    trace_window: Annotated[
        float, typer.Option(min=0.001, help="Seconds that the trace looks back.")
    ] = 2.0,
) -> None:
    """Launch the worker pools of an application in the foreground.

    Sizes come from the options here, else from the environment, else from the file (tables `node`
    and `pools.NAME`), else from the application.

    Ctrl-C or SIGTERM drains: what was accepted is worked off, then everything stops. A second
    Ctrl-C stops at once.
    """
    from gristmill.cli.up import Recording, pool_overrides, run  # noqa: PLC0415 - imported when it runs

    overrides = {
        ("node", "workers"): workers,
        ("node", "node_id"): node_id,
        ("node", "pin_cpus"): pin_cpus,
        ("node", "trace"): True if trace else None,
        **pool_overrides(pool or []),
    }
    recording = Recording(trace, trace_window) if trace else None
    raise typer.Exit(run(application, config, overrides, recording))


@app.command(epilog=examples("gristmill status", "gristmill status --node order-node-1 --json"))
def status(node: NodeId = None, json: Json = False) -> None:
    """Show a running node: its workers and its counters."""
    from gristmill.cli import nodes  # noqa: PLC0415 - imported when it runs

    nodes.show_status(node, as_json=json)


@app.command(
    epilog=examples(
        "gristmill tree", "gristmill tree --watch", "gristmill tree --node order-node-1 --json"
    )
)
def tree(
    node: NodeId = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again every second, until Ctrl-C.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the supervision tree of a running node.

    Of each actor: its state, its worker, what waits in its mailbox, what it handles just now, its
    restarts and how it ended last. A mailbox is unknown (?) while its worker computes.
    """
    from gristmill.cli import tree as command  # noqa: PLC0415 - imported when it runs

    command.show(node, watch=watch, as_json=json)


@app.command(epilog=examples("gristmill stack", "gristmill stack --worker w1"))
def stack(
    node: NodeId = None,
    worker: Annotated[
        str | None, typer.Option(help="Only this worker.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Show what every worker does right now, with the stacks of its threads.

    It works also while a computation in C holds the interpreter. It changes nothing.
    """
    from gristmill.cli import stack as command  # noqa: PLC0415 - imported when it runs

    command.show(node, worker, as_json=json)


@app.command(epilog=examples("gristmill reload", "gristmill reload --node order-node-1"))
def reload(node: NodeId = None) -> None:
    """Take up changed code: replace the workers of a running node, one after the other.

    No message is lost and no ask fails. The new code is loaded and one worker comes up with it
    before anything is replaced; if that fails, the error is shown and the node is as it was.

    SIGHUP to `gristmill up` does the same, and reads the configuration again.
    """
    from gristmill.cli import nodes  # noqa: PLC0415 - imported when it runs

    nodes.reload(node)


@app.command(epilog=examples("gristmill stop", "gristmill stop --node order-node-1 --now"))
def stop(
    node: NodeId = None,
    timeout: Annotated[
        float, typer.Option(min=0.0, help="Seconds for an orderly stop; what is left is killed.")
    ] = 25.0,
    now: Annotated[bool, typer.Option("--now", help="Kill at once, as --timeout 0.")] = False,
) -> None:
    """Stop a running node in order, and wait until it is gone."""
    from gristmill.cli import nodes  # noqa: PLC0415 - imported when it runs

    nodes.stop(node, 0.0 if now else timeout)


@letters_app.command(
    "list",
    epilog=examples("gristmill dead-letters list", "gristmill dead-letters list --json"),
)
def dead_letters_list(node: NodeId = None, json: Json = False) -> None:
    """List the messages that nobody handled, with the reasons; the oldest give way."""
    from gristmill.cli import dead_letters  # noqa: PLC0415 - imported when it runs

    dead_letters.show_all(node, as_json=json)


@letters_app.command("show", epilog=examples("gristmill dead-letters show 7"))
def dead_letters_show(
    number: Annotated[int, typer.Argument(help="What `list` calls it.")],
    node: NodeId = None,
    json: Json = False,
) -> None:
    """Show one of them: its reason, its body, and the traceback of what it crashed."""
    from gristmill.cli import dead_letters  # noqa: PLC0415 - imported when it runs

    dead_letters.show_one(node, number, as_json=json)


@letters_app.command(
    "resend",
    epilog=examples("gristmill dead-letters resend 7 8", "gristmill dead-letters resend --all"),
)
def dead_letters_resend(
    numbers: Annotated[
        list[int] | None, typer.Argument(help="What `list` calls them.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Send all that are kept.")] = False,
    node: NodeId = None,
    json: Json = False,
) -> None:
    """Send messages again, each to the actor that it was for, or to who has its name now.

    A request is handled, and its reply dropped: nobody waits for it any more.
    """
    from gristmill.cli import dead_letters  # noqa: PLC0415 - imported when it runs

    dead_letters.resend(node, numbers or [], every=every, as_json=json)


ChildPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="Where it stands, as `gristmill tree` shows it: the ids down to its own.",
        show_default=False,
    ),
]


@child_app.command("terminate", epilog=examples("gristmill child terminate services/payment"))
def child_terminate(path: ChildPath, node: NodeId = None) -> None:
    """Stop a child in order, and wait until it is down. It is not restarted.

    It stays in the tree, stopped, unless it is temporary or its supervisor dynamic.
    """
    from gristmill.cli import child  # noqa: PLC0415 - imported when it runs

    child.terminate(node, path)


@child_app.command("restart", epilog=examples("gristmill child restart services/payment"))
def child_restart(path: ChildPath, node: NodeId = None) -> None:
    """Start a stopped child again, and wait until it runs."""
    from gristmill.cli import child  # noqa: PLC0415 - imported when it runs

    child.restart(node, path)


@child_app.command("delete", epilog=examples("gristmill child delete services/payment"))
def child_delete(path: ChildPath, node: NodeId = None) -> None:
    """Forget a stopped child, so that its id is free."""
    from gristmill.cli import child  # noqa: PLC0415 - imported when it runs

    child.delete(node, path)


@app.command(
    epilog=examples(
        "gristmill metg",
        "gristmill metg --quick --pattern stencil_1d --pattern nearest",
        "gristmill metg --json > out/metg.json && gristmill report html out -o out.html",
    )
)
def metg(
    pattern: Annotated[
        list[str] | None,
        typer.Option(
            help="trivial, stencil_1d, nearest, spread, fft or tree; may be repeated. All by "
            "default.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Workers, each on a core of its own; all cores by default.",
            show_default=False,
        ),
    ] = None,
    kernel: Annotated[
        str, typer.Option(help="What tasks do: compute_bound (numpy) or busy_wait.")
    ] = "compute_bound",
    points: Annotated[int, typer.Option(min=1, help="Points of a step that each worker has.")] = 16,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer, shorter and smaller runs.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure how small a handler may be on this machine: METG, after Task Bench.

    Grids of tasks that need each other's outputs run on actors, with ever smaller tasks. METG(E)
    is the least time of a task, overhead included, at which the machine still does the part E of
    the work that it can do. METG(90.9%) is the smallest handler that obeys the golden rule.
    """
    from gristmill.cli import metg as command  # noqa: PLC0415 - imported when it runs

    command.run(pattern or [], kernel, workers, points, quick=quick, as_json=json)


@config_app.command(
    "show",
    epilog=examples(
        "gristmill config show",
        "gristmill config show shop.app:app --json",
        "NODE_WORKERS=4 gristmill config show",
    ),
)
def config_show(
    application: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:APP]",
            help="The application whose sections are wanted; else those of all that are installed.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Print every value with where it came from. Secrets are masked."""
    from gristmill.cli.configuration import show  # noqa: PLC0415 - imported when it runs

    show(application, config, as_json=json)


@app.command(epilog=examples("gristmill version", "gristmill version --json"))
def version(json: Json = False) -> None:
    """Print the version of gristmill and of what it stands on."""
    from gristmill.cli.versions import show  # noqa: PLC0415 - imported when it runs

    show(as_json=json)
