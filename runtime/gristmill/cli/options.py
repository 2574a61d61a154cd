"""What the declarations of several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def examples(*commands: str) -> str:
    """Write examples as Markdown, a line each."""
    return "Examples:\n\n" + "\n".join(f"- `{command}`" for command in commands)
