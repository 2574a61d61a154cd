"""The ``gristmill`` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process, and exit."""
    from gristmill.cli.main import app  # noqa: PLC0415 - so that importing this stays cheap
    from gristmill.cli.output import written_out  # noqa: PLC0415 - so that importing stays cheap

    with written_out():
        app(prog_name="gristmill")
