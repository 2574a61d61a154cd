"""What the commands do, behind their options."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gristmill.cli.output import check_writable, console
from gristmill.config import ChannelConfig
from gristmill.errors import UsageError
from gristmill.metrics import render
from gristmill_orders.config import bootstrap
from gristmill_orders.driver import Progress as Driven
from gristmill_orders.invoices import plan, read_invoices
from gristmill_orders.invoices.sample import sample_path
from gristmill_orders.kills import Killer
from gristmill_orders.records import RunFolder
from gristmill_orders.replay import channel_events, differences, journal_events, rebuild
from gristmill_orders.run import RunResult, RunSettings, RunStoppedError, Watch, run_orders
from gristmill_orders.summary import Audit, show_audit, show_summary

_LINE_EVERY = 5.0
_SHOWN = 10


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of ``gristmill orders run``."""

    input: Path | None = None
    workers: str | None = None
    repeat: int = 1
    kill_every: float | None = None
    rate: float | None = None
    seed: int = 0
    cancel_share: float = 0.0
    compute: bool = True
    ledger: Path | None = None
    governor: bool = True
    report: Path | None = None
    json: str | None = None
    trace: Path | None = None
    trace_window: float = 2.0
    config: Path | None = None
    channels: str | None = None


def run_command(options: Options) -> int:
    """Run orders, write what was asked for, and print what came of it; give the exit code.

    Raises:
        GristmillError: something was wrong with the input, the settings or the node.
    """
    overrides: dict[tuple[str, str], object] = {("node", "workers"): options.workers}
    overrides |= _channels(options.channels)
    if not options.governor:
        overrides["node", "governor"] = False
    if options.trace is not None:
        overrides["node", "trace"] = True
    config = bootstrap().load(options.config, overrides=overrides)
    settings = RunSettings(
        seed=options.seed,
        repeat=options.repeat,
        cancel_share=options.cancel_share,
        kill_every=options.kill_every,
        rate=options.rate,
        compute=options.compute,
        ledger=options.ledger.absolute() if options.ledger else None,
        trace_window=options.trace_window if options.trace else None,
    )
    if options.json is not None and options.json != "-":
        check_writable("--json", options.json)
    if options.trace is not None:
        check_writable("--trace", options.trace)
    file = read_invoices(options.input or sample_path())
    planned = plan(
        file, seed=options.seed, cancel_share=options.cancel_share, repeat=options.repeat
    )
    if not planned:
        raise UsageError(f"{file.path} holds no order: {len(file.unmapped)} rows map to nothing")
    with _run_folder(options.report) as folder:
        with _watching() as watch:
            result = run_orders(file, planned, config, settings, folder, watch)
        failed = _write_files(options, result, folder)
    summary = result.summary
    out = console(stderr=options.json == "-")
    if result.interrupted:
        out.print("interrupted: no further orders were sent", style="yellow")
    show_summary(out, summary, result.audit, file, options.repeat)
    if result.killed:
        out.print(f"{result.killed} workers were killed on the way", style="dim")
    out.print(f"\n{render(summary.granularity)}")
    if options.report is not None:
        out.print(f"reports, journal and ledger: {options.report}")
    if result.trace is not None:
        out.print(result.trace.summary())
    if options.json == "-":
        print(msgspec.json.encode(summary).decode())
    for sentence in failed:
        print(f"error: {sentence}", file=sys.stderr)
    if failed or not summary.audit.ok:
        return 1
    return 130 if result.interrupted else 0


@contextmanager
def _run_folder(report: Path | None) -> Iterator[RunFolder]:
    """Give the folder of the run, which no other run may use meanwhile."""
    with nullcontext(report) if report is not None else _temporary_folder() as path:
        folder = RunFolder(path)
        with folder.held():
            try:
                yield folder
            except RunStoppedError as error:
                if report is None:
                    raise
                raise RunStoppedError(
                    f"{error}; what was open is in its journal: gristmill orders audit {report}"
                ) from error


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    prefix = "gristmill-orders-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as path:
        yield Path(path)


def _write_files(options: Options, result: RunResult, folder: RunFolder) -> list[str]:
    """Write what was asked for; say of each file that can't be written why."""
    failed: list[str] = []
    if options.report is not None:
        with _noted(options.report, failed):
            folder.write_reports(result.summary)
    if options.trace is not None and result.trace is not None:
        with _noted(options.trace, failed):
            result.trace.write(options.trace)
    if options.json is not None and options.json != "-":
        with _noted(options.json, failed):
            Path(options.json).write_bytes(msgspec.json.encode(result.summary) + b"\n")
    return failed


@contextmanager
def _noted(target: str | Path, failed: list[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        failed.append(f"can't write {target}: {error.strerror}")


_BACKENDS = {"memory": "use_in_memory", "redis": "use_redis", "kafka": "use_kafka"}


def _channels(names: str | None) -> dict[tuple[str, str], object]:
    """Turn exactly the named backends on; leave the configuration as it is if none is named."""
    if names is None:
        return {}
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in _BACKENDS:
            raise UsageError(f"--channels: {name!r} is none of {', '.join(_BACKENDS)}")
    return {("channel", key): str(name in wanted).lower() for name, key in _BACKENDS.items()}


def replay_command(source: str, against: Path | None, config: Path | None) -> int:
    """Rebuild all orders from a log, and compare them with a journal; give the exit code.

    Args:
        source: ``redis``, ``kafka``, or the folder of a journal.
        against: the folder of a run, or of the service, whose journal says what is true.
        config: the configuration, which says where the servers are.

    Raises:
        GristmillError: a log can't be read.
    """
    settings = bootstrap().load(config).section(ChannelConfig)
    events = journal_events(source) if source not in _BACKENDS else channel_events(source, settings)
    rebuilt = rebuild(events)
    out = console()
    states = Counter(order.state.lower() for order in rebuilt.orders.values())
    out.print(
        f"{rebuilt.events:,} events, {rebuilt.repeated:,} of them came again; "
        f"{len(rebuilt.orders):,} orders rebuilt: "
        + (", ".join(f"{n:,} {state}" for state, n in sorted(states.items())) or "none"),
    )
    wrong = list(rebuilt.problems)
    if against is not None:
        live = rebuild(journal_events(str(against)))
        wrong += differences(rebuilt, live)
        if not wrong:
            out.print(f"all {len(live.orders):,} orders of {against} are equal", style="green")
    for sentence in wrong[:_SHOWN]:
        out.print(sentence, style="red")
    if len(wrong) > _SHOWN:
        out.print(f"and {len(wrong) - _SHOWN:,} more", style="red")
    return 1 if wrong else 0


def audit_command(path: Path, *, as_json: bool) -> int:
    """Audit a run's folder and print the verdict; give the exit code.

    Raises:
        GristmillError: there is no run that can be audited.
    """
    found, digest = RunFolder(path).audit()
    if as_json:
        print(
            msgspec.json.encode(
                {
                    "ok": found.ok,
                    "violations": found.violations,
                    "counts": found.counts,
                    "outcome_digest": digest,
                }
            ).decode()
        )
    else:
        out = console()
        counts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in found.counts.items())
        out.print(counts)
        out.print(f"outcome {digest}")
        show_audit(out, Audit(found.ok, found.violations))
    return 0 if found.ok else 1


@contextmanager
def _watching() -> Iterator[Watch]:
    """Show how far the run is: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (
        TextColumn("orders"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("orders", total=None, detail="starting")

        def watch(driven: Driven, killer: Killer) -> None:
            bar.update(
                task,
                total=driven.planned,
                completed=driven.ended.total(),
                detail=_detail(driven, killer),
            )

        yield watch


class _Lines:
    """Prints a line every few seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_EVERY

    def __call__(self, driven: Driven, killer: Killer) -> None:
        """Print how far the run is, if it is time."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LINE_EVERY
            done = f"{driven.ended.total():,} of {driven.planned:,} orders"
            print(f"{done}, {_detail(driven, killer)}", file=sys.stderr, flush=True)


def _detail(driven: Driven, killer: Killer) -> str:
    killed = f", {killer.killed} workers killed" if killer.killed else ""
    return f"{driven.open:,} open{killed}"
