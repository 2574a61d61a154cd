"""HTML and SVG as text: elements, escaped, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import msgspec


class Markup(str):
    """Text that is markup already, and is not escaped again."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: str | float | None) -> Markup:
    """Write an element.

    Args:
        tag: its name.
        content: what it holds; plain strings are escaped.
        attributes: ``class_`` is written ``class``, other underscores become hyphens; one that is
            None is left out. Floats get two digits.
    """
    text = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = join(*content)
    return Markup(f"<{tag}{text}>{inner}</{tag}>")


def join(*content: str) -> Markup:
    """Put markup and plain text behind one another."""
    return Markup(
        "".join(part if isinstance(part, Markup) else escape(part, quote=False) for part in content)
    )


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return escape(value)
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


class Table(msgspec.Struct, frozen=True):
    """Rows under a head; the first column holds names, the others figures."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def table(content: Table) -> Markup:
    """Write a table that scrolls sideways where it is wider than its place."""
    head = join(*(element("th", cell, scope="col") for cell in content.head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(_cell(cell) for cell in row[1:]))
        for row in content.rows
    ]
    rows = element("table", element("thead", element("tr", head)), element("tbody", *body))
    return element("div", rows, class_="scroll", tabindex="0")


def _cell(text: str) -> Markup:
    return Markup(f"<td>{escape(text, quote=False)}</td>")
