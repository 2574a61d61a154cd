"""The configuration file: finding it, reading it, and knowing the line of each key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gristmill.errors import ConfigError

FILE_VARIABLE = "GRISTMILL_CONFIG"
DEFAULT_FILE = Path("release.toml")
_HEADER = re.compile(r"\s*\[{1,2}([^\[\]]+)\]{1,2}\s*(#.*)?")
_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")


class TomlFile:
    """A parsed TOML file that can name the line of a key."""

    def __init__(self, name: str, text: str) -> None:
        """Parse ``text``.

        Args:
            name: what errors and origins call the file.
            text: its contents.

        Raises:
            ConfigError: the text is not TOML; names the line and column.
        """
        self.name = name
        try:
            self.tree: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            place = _PLACE.search(str(error))
            where = f"{name}:{place[1]}:{place[2]}" if place else name
            raise ConfigError(f"{where}: not valid TOML: {_PLACE.sub('', str(error))}") from None
        self._lines = _lines(text, self.tree)

    def origin(self, *path: str) -> str:
        """Give ``file:line`` of a key or its table, or the file alone where the line is unclear."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._lines:
                return f"{self.name}:{self._lines[path[:end]]}"
        return self.name


def open_file(file: str | Path | None, environ: Mapping[str, str]) -> TomlFile | None:
    """Read the file that is named by the caller, else by ``GRISTMILL_CONFIG``, else the default.

    Only the default file, ``release.toml`` in the current folder, may be absent. An empty
    ``GRISTMILL_CONFIG`` names no file, as if it were not set.

    Raises:
        ConfigError: the file does not exist, can't be read, or is not TOML.
    """
    named = environ.get(FILE_VARIABLE)
    if file is not None:
        path, by = Path(file), ""
    elif named:
        path, by = Path(named), f" (named by the environment's {FILE_VARIABLE})"
    elif DEFAULT_FILE.is_file():
        path, by = DEFAULT_FILE, ""
    else:
        return None
    try:
        return TomlFile(str(path), path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}{by}") from None
    except OSError as error:
        raise ConfigError(f"can't read the configuration file {path}{by}: {error}") from error
    except UnicodeDecodeError as error:
        line = bytes(error.object[: error.start]).count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not valid TOML: the text is not UTF-8") from None


def _lines(text: str, tree: dict[str, Any]) -> dict[tuple[str, ...], int]:
    """Find the line of every table and key. tomllib keeps none, so this looks at the text again."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    quotes = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if quotes:
            quotes = "" if quotes in line else quotes
        elif header := _HEADER.fullmatch(line):
            path = _path(f"[{header[1]}]")
            if _exists(tree, path):
                table = path
                lines.setdefault(table, number)
        elif "=" in line:
            key, _, value = line.partition("=")
            path = _path(f"{key} = 0")
            if path and _exists(tree, table + path):
                lines.setdefault(table + path, number)
            opening = value.lstrip()[:3]
            quotes = opening if opening in ('"""', "'''") and value.count(opening) == 1 else ""
    return lines


def _path(snippet: str) -> tuple[str, ...]:
    try:
        node: object = tomllib.loads(snippet)
    except tomllib.TOMLDecodeError:
        return ()
    keys: list[str] = []
    while isinstance(node, dict) and node:
        key, node = next(iter(node.items()))
        keys.append(key)
    return tuple(keys)


def _exists(tree: object, path: tuple[str, ...]) -> bool:
    for key in path:
        tree = tree[0] if isinstance(tree, list) and tree else tree
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True
