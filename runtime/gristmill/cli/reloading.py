"""SIGHUP to ``gristmill up``: the node takes up the code and the configuration as they are now."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from gristmill.cli.importing import build
from gristmill.cli.nodes import counted
from gristmill.cli.output import show_notice
from gristmill.config import SECTIONS, Config
from gristmill.errors import GristmillError
from gristmill.node.building.application import Application
from gristmill.node.node import Node


class Reloader:
    """Reloads a node in a thread of its own, so that the one that waits can still be interrupted.

    Args:
        node: what runs.
        application: what it was made from.
        target: what the application is called on the command line.
        config: the configuration that it was started with.
        file: where that was read; None for the default.
        overrides: values of the command line.
    """

    def __init__(
        self,
        node: Node,
        application: Application,
        target: str,
        config: Config,
        file: Path | None,
        overrides: Mapping[tuple[str, str], object],
    ) -> None:
        self._node = node
        self._application = application
        self._target = target
        self._config = config
        self._file = file
        self._overrides = overrides

    def begin(self) -> None:
        """Begin to reload, and show what came of it."""
        threading.Thread(target=self._reload, name="gristmill-reload", daemon=True).start()

    def _reload(self) -> None:
        show_notice("SIGHUP: reloading")
        try:
            config = self._application.bootstrap.load(self._file, overrides=self._overrides)
            builder = build(self._application, config, self._target)
            reloaded = self._node.reload(supervisors=builder.supervisors)
        except GristmillError as error:
            show_notice(f"not reloaded: {error}")
            return
        for setting in _fixed(config) - _fixed(self._config):
            show_notice(f"{setting} takes effect at the next start")
        workers = counted(reloaded.workers, "worker")
        show_notice(f"reloaded: {workers} in {reloaded.seconds:.2f} s")


def _fixed(config: Config) -> set[str]:
    """Give the library's own settings: a node that runs keeps those that it was started with."""
    return {
        f"[{s.section}] {s.key} = {s.value!r}" for s in config.settings if s.section in SECTIONS
    }


def has_terminal() -> bool:
    """Tell whether there is a terminal that this process belongs to."""
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return False
