"""What commands print: text for people on stdout, JSON for programs, one message for an error."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from gristmill.errors import GristmillError, UsageError

_STDOUT_FAILS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a write to stdout fails with: nobody reads, there is no room, its terminal is gone."""


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


@contextmanager
def written_out() -> Iterator[None]:
    """See to it that what the block prints is written when it ends.

    What the encoding of stdout lacks becomes a question mark. A stdout that is full ends the
    process with status 1 and one message, one that nobody reads with status 1 alone.
    """
    out = sys.stdout
    if out is None:  # `>&-`
        yield
        return
    if isinstance(out, io.TextIOWrapper) and out.errors == "strict":
        out.reconfigure(errors="replace")
    try:
        try:
            yield
        finally:
            out.flush()
    except OSError as error:
        if error.errno not in _STDOUT_FAILS or error.filename is not None:
            raise
        if error.errno != errno.EPIPE:
            print(f"error: can't write the output: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # Python flushes it once more
        sys.exit(1)


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
