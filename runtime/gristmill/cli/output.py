"""What commands print: text for people on stdout, JSON for programs, one message for an error."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from gristmill.errors import GristmillError, UsageError


def console(*, stderr: bool = False) -> Console:
    """Give a console that colours nothing by guess and reads no markup from what it prints."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as one JSON document."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(text.decode() + "\n")


def show_error(error: GristmillError) -> None:
    """Print an error as one message on stderr."""
    console(stderr=True).print(Text.assemble(("error: ", "bold red"), str(error)))


def show_notice(text: str) -> None:
    """Print a line about what goes on to stderr."""
    console(stderr=True).print(text, style="dim")


def check_writable(option: str, target: str | Path) -> None:
    """Refuse, before a run and not after it, a file that can't be written.

    Raises:
        UsageError: it is no file or can't be written, as far as that can be known.
    """
    file = Path(target).absolute()
    if not str(target) or file.is_dir():
        raise UsageError(f"{option}: {str(target)!r} is no file; name one")
    if not file.parent.is_dir():
        raise UsageError(f"{option}: there is no folder {file.parent}; make it first")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"{option}: {file} can't be written by this user; name another file")
