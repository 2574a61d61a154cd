"""``gristmill config show``."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text

from gristmill.cli.importing import culprit, load_target
from gristmill.cli.output import console, print_json
from gristmill.config import Config, ConfigBootstrap, Setting, redacted
from gristmill.errors import UsageError
from gristmill.node.building.application import Application, library_bootstrap

BOOTSTRAPS = "gristmill.config"
"""Entry points of installed applications: functions that give their ConfigBootstrap."""


class Shown(msgspec.Struct):
    """A setting as the JSON has it."""

    section: str
    key: str
    value: Any
    origin: str


def show(application: str | None, file: Path | None, *, as_json: bool) -> None:
    """Print every value with its origin.

    Raises:
        ConfigError: the configuration is wrong.
        UsageError: the application can't be loaded.
    """
    if application is not None:
        loaded = Application.of(load_target(application), application)
        configs = [loaded.bootstrap.load(file)]
    else:
        installed = [_bootstrap(entry) for entry in entry_points(group=BOOTSTRAPS)]
        configs = [b.load(file) for b in (library_bootstrap(), *installed)]
    settings = _merged(configs)
    if as_json:
        print_json([Shown(s.section, s.key, s.value, s.origin) for s in settings])
    else:
        _print(settings)


def _bootstrap(entry: EntryPoint) -> ConfigBootstrap:
    try:
        found = entry.load()()
    except Exception as error:
        raise UsageError(f"the configuration of {entry.value} fails: {culprit(error)}") from error
    if not isinstance(found, ConfigBootstrap):
        raise UsageError(f"{entry.value} gave a {type(found).__name__}, and no ConfigBootstrap")
    return found


def _merged(configs: list[Config]) -> list[Setting]:
    """Put the settings of all together, by section; an application's hide the library's."""
    sections: dict[str, dict[str, Setting]] = {}
    for setting in (setting for config in configs for setting in config.settings):
        sections.setdefault(setting.section, {})[setting.key] = redacted(setting)
    return [setting for section in sections.values() for setting in section.values()]


def _print(settings: list[Setting]) -> None:
    """Print the settings as TOML, with the origins as comments."""
    texts = [f"{s.key} = {msgspec.json.encode(s.value).decode()}" for s in settings]
    width = max(map(len, texts))
    out = console()
    section = ""
    for setting, text in zip(settings, texts, strict=True):
        if setting.section != section:
            gap = "\n" if section else ""
            section = setting.section
            out.print(Text(f"{gap}[{section}]", style="bold"))
        out.print(Text.assemble(f"{text:<{width}}  ", (f"# {setting.origin}", "dim")))
