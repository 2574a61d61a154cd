"""The root command: turns errors into messages, and finds the commands of applications.

An application adds commands with an entry point in the group ``gristmill.commands``: its name is
the command's, its object a ``typer.Typer``. It is imported when its command runs, and not before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from gristmill.cli.importing import culprit
from gristmill.cli.output import show_error, show_notice
from gristmill.errors import GristmillError, UsageError

COMMANDS = "gristmill.commands"
INTERRUPTED = 130


class RootGroup(TyperGroup):
    """The commands of gristmill and those of installed applications."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(*args, **options)
        self._plugins = {entry.name: entry for entry in entry_points(group=COMMANDS)}
        self._listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - click's or typer's context
        """Name the commands, those of applications last."""
        own = super().list_commands(ctx)
        return [*own, *sorted(self._plugins.keys() - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - click's or typer's
        """Give a command; one of an application is imported, unless it is only listed."""
        own = super().get_command(ctx, cmd_name)
        entry = self._plugins.get(cmd_name)
        if own is not None or entry is None:
            return own
        if self._listing:
            package = entry.module.partition(".")[0]
            return TyperCommand(cmd_name, help=f"Commands of {package}.")
        return _load(entry)

    @contextmanager
    def _listed(self) -> Iterator[None]:
        self._listing = True
        try:
            yield
        finally:
            self._listing = False

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's or typer's
        """Write the help without importing the applications."""
        with self._listed():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:  # noqa: ANN401 - click's or typer's
        """Complete without importing the applications."""
        with self._listed():
            return super().shell_complete(ctx, incomplete)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - click's or typer's context
        """Run a command; an error of ours becomes one message and its exit code."""
        try:
            return super().invoke(ctx)
        except GristmillError as error:
            show_error(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            show_notice("interrupted")
            raise typer.Exit(INTERRUPTED) from None


def _load(entry: EntryPoint) -> Any:  # noqa: ANN401 - click's or typer's command
    try:
        app = entry.load()
    except Exception as error:
        raise UsageError(
            f"the command {entry.name!r} ({entry.value}) can't be loaded: {culprit(error)}"
        ) from error
    if not isinstance(app, typer.Typer):
        raise UsageError(
            f"the command {entry.name!r} ({entry.value}) is of type {type(app).__name__}; "
            "an entry point of gristmill.commands must be a typer.Typer"
        )
    command = typer.main.get_command(app)
    command.name = entry.name
    return command
