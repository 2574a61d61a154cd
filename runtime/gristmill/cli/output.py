"""What commands print: text for people on stdout, JSON for programs, one message for an error."""

from __future__ import annotations

import sys

import msgspec
from rich.console import Console
from rich.text import Text

from gristmill.errors import GristmillError


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
