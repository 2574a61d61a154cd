"""``gristmill up``: an application in the foreground, until a signal or its own end."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from gristmill.cli.group import INTERRUPTED
from gristmill.cli.importing import build, load_target
from gristmill.cli.nodes import counted, workers_table
from gristmill.cli.output import check_writable, console, show_notice
from gristmill.cli.reloading import Reloader, has_terminal
from gristmill.cli.signals import Terminated, terminate
from gristmill.cli.tree import draw
from gristmill.errors import GristmillError, UsageError
from gristmill.node.building.application import Application
from gristmill.node.node import Node
from gristmill.node.status import NodeTree


class Recording(NamedTuple):
    """Where the trace of the last messages goes."""

    file: Path
    window: float
    """Seconds that it looks back."""

    def write(self, node: Node) -> None:
        """Write what a node has recorded, and say what that is."""
        try:
            trace = node.message_trace(self.window)
            trace.write(self.file)
        except (GristmillError, OSError) as error:
            show_notice(f"no trace: {error}")
        else:
            show_notice(trace.summary())


def pool_overrides(pools: list[str]) -> dict[tuple[str, str], object]:
    """Read ``NAME=SIZE`` options as values of the configuration.

    Raises:
        UsageError: one is not of this form.
    """
    overrides: dict[tuple[str, str], object] = {}
    for text in pools:
        name, sign, size = text.partition("=")
        if not name or not sign or not size:
            raise UsageError(f"--pool {text!r} is no NAME=SIZE; write for example --pool pricers=8")
        overrides[f"pools.{name}", "size"] = size
    return overrides


def run(
    target: str,
    file: Path | None,
    overrides: Mapping[tuple[str, str], object],
    recording: Recording | None = None,
) -> int:
    """Run an application; give the exit code.

    Args:
        target: ``MODULE:APP``.
        file: the configuration file; None: the default one.
        overrides: values of the command line; None as a value means not given.
        recording: where single messages go; None: they are not recorded for anybody.

    Raises:
        GristmillError: it can't be loaded or started, or the node has failed; has the exit code.
    """
    if recording is not None:
        check_writable("--trace", recording.file)
    application = Application.of(load_target(target), target)
    config = application.bootstrap.load(file, overrides=overrides)
    builder = build(application, config, target).preload(target.partition(":")[0])
    node = builder.build()
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        node.start()
    except Terminated:
        return 0
    reloader = Reloader(node, application, target, config, file, overrides)
    attended = has_terminal()

    def hang_up(_signum: int, _frame: object) -> None:
        if attended and not has_terminal():
            raise Terminated  # the terminal was closed
        reloader.begin()

    try:
        signal.signal(signal.SIGHUP, hang_up)
        _show(node)
        node.wait()
    except KeyboardInterrupt:
        notice = "draining; press Ctrl-C again to stop at once"
        return _drain(node, notice, INTERRUPTED, recording)
    except Terminated:
        notice = f"SIGTERM: draining, {node.drain:g} s at most"
        return _drain(node, notice, 0, recording)
    node.stop()
    if node.exit_code and node.error is not None:
        raise node.error
    show_notice("stopped")
    return 0


def _drain(node: Node, notice: str, code: int, recording: Recording | None) -> int:
    """Stop in order, or at once on a Ctrl-C; give the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    show_notice(notice)
    try:
        if recording is not None:
            recording.write(node)
        node.stop()
    except KeyboardInterrupt:
        show_notice("stopped at once")
        return INTERRUPTED
    show_notice("stopped")
    return code


def _show(node: Node) -> None:
    status = node.status()
    out = console()
    out.print(
        Text.assemble(
            (status.node_id, "bold"),
            f" is up: {counted(len(status.workers), 'worker')}, {counted(status.actors, 'actor')}",
        )
    )
    out.print(workers_table(status))
    out.print(draw(NodeTree(status.tree)))
    out.print(
        "Ctrl-C drains and stops. From another terminal: gristmill status, tree, stack, reload, "
        "stop",
        style="dim",
    )
    out.file.flush()
