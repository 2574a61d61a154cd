"""What the commands do, behind their options."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gristmill.config import ChannelConfig
from gristmill.errors import UsageError
from gristmill.metrics import encode, render
from gristmill_orders.config import bootstrap
from gristmill_orders.driver import Progress as Driven
from gristmill_orders.invoices import plan, read_invoices
from gristmill_orders.invoices.sample import sample_path
from gristmill_orders.kills import Killer
from gristmill_orders.records import RunFolder
from gristmill_orders.replay import channel_events, differences, journal_events, rebuild
from gristmill_orders.run import RunSettings, Watch, run_orders
from gristmill_orders.summary import Audit, Summary, show_audit, show_summary

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
    json: str | None = None
    trace: Path | None = None
    trace_window: float = 2.0
    config: Path | None = None
    channels: str | None = None


def run_command(options: Options, path: Path, *, keep: bool) -> int:
    """Run orders and print what came of it; give the exit code.

    Args:
        options: the command's options.
        path: the folder of the run.
        keep: the folder stays, so reports are written there too.

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
    _check_writable("--json", options.json)
    _check_writable("--trace", options.trace)
    file = read_invoices(options.input or sample_path())
    planned = plan(
        file, seed=options.seed, cancel_share=options.cancel_share, repeat=options.repeat
    )
    if not planned:
        raise UsageError(f"{file.path} holds no order: {len(file.unmapped)} rows map to nothing")
    folder = RunFolder(path)
    with _watching() as watch:
        result = run_orders(file, planned, config, settings, folder, watch)
    summary = result.summary
    console = Console(stderr=options.json == "-", highlight=False)
    if result.interrupted:
        console.print("interrupted: no further orders were sent", style="yellow")
    show_summary(console, summary, result.audit, file, options.repeat)
    if result.killed:
        console.print(f"{result.killed} workers were killed on the way", style="dim")
    text = render(summary.granularity)
    console.print(f"\n{text}", markup=False, soft_wrap=True)
    if keep:
        _write_reports(path, summary, text)
        console.print(f"reports, journal and ledger: {path}", markup=False, soft_wrap=True)
    if options.trace is not None and result.trace is not None:
        result.trace.write(options.trace)
        console.print(result.trace.summary(), markup=False, soft_wrap=True)
    if options.json is not None:
        _write_json(options.json, summary)
    if not summary.audit.ok:
        return 1
    return 130 if result.interrupted else 0


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
    console = Console(highlight=False)
    states = Counter(order.state.lower() for order in rebuilt.orders.values())
    console.print(
        f"{rebuilt.events:,} events, {rebuilt.repeated:,} of them came again; "
        f"{len(rebuilt.orders):,} orders rebuilt: "
        + (", ".join(f"{n:,} {state}" for state, n in sorted(states.items())) or "none"),
        soft_wrap=True,
    )
    wrong = list(rebuilt.problems)
    if against is not None:
        live = rebuild(journal_events(str(against)))
        wrong += differences(rebuilt, live)
        if not wrong:
            console.print(f"all {len(live.orders):,} orders of {against} are equal", style="green")
    for sentence in wrong[:_SHOWN]:
        console.print(sentence, style="red", markup=False, soft_wrap=True)
    if len(wrong) > _SHOWN:
        console.print(f"and {len(wrong) - _SHOWN:,} more", style="red")
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
        console = Console(highlight=False)
        counts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in found.counts.items())
        console.print(counts, soft_wrap=True)
        console.print(f"outcome {digest}")
        show_audit(console, Audit(found.ok, found.violations))
    return 0 if found.ok else 1


def _check_writable(option: str, target: str | Path | None) -> None:
    """Refuse, before the run and not after it, a file that can't be written."""
    if target not in {None, "-"}:
        parent = Path(str(target)).absolute().parent
        if not parent.is_dir():
            raise UsageError(f"{option}: there is no folder {parent}; make it first")


def _write_json(target: str, summary: Summary) -> None:
    if target == "-":
        print(msgspec.json.encode(summary).decode())
    else:
        Path(target).write_bytes(msgspec.json.encode(summary) + b"\n")


def _write_reports(path: Path, summary: Summary, text: str) -> None:
    (path / "granularity.json").write_bytes(encode(summary.granularity))
    (path / "granularity.txt").write_text(text)
    (path / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary)))


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
