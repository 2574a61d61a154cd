"""Importing the modules that users name on the command line, with errors that name the culprit."""

from __future__ import annotations

import difflib
import importlib
import linecache
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.errors import GristmillError, UsageError

if TYPE_CHECKING:
    from gristmill.config import Config
    from gristmill.node.building.application import Application
    from gristmill.node.building.node_builder import NodeBuilder


def load_target(path: str) -> object:
    """Import what ``MODULE:NAME`` names; the current folder is searched first.

    Raises:
        UsageError: the path is none, or the module can't be imported, or lacks the name.
    """
    module_name, colon, name = path.partition(":")
    if not module_name or not colon or not name:
        raise UsageError(f"{path!r} is no MODULE:APP; write for example shop.app:app")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: object = importlib.import_module(module_name)
    except Exception as error:
        raise UsageError(f"can't import {module_name}: {culprit(error)}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{module_name} has no {name!r}{hint}")
        found = getattr(found, part)
    return found


def build(application: Application, config: Config, where: str) -> NodeBuilder:
    """Have an application make its builder.

    Raises:
        UsageError: it has raised; says what, and on which line.
        GristmillError: it asks for what a node can't do.
    """
    try:
        return application.builder(config)
    except GristmillError:
        raise
    except Exception as error:
        raise UsageError(f"{where} fails: {culprit(error)}") from error


def culprit(error: Exception) -> str:
    """Say what was raised, and on which line of the user's code."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return (
            f"{kind}: {error.msg} ({error.filename}:{error.lineno}: {(error.text or '').strip()})"
        )
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    if not frames:
        missing = isinstance(error, ModuleNotFoundError)
        hint = "; run it from the folder that holds it, or set PYTHONPATH" if missing else ""
        return f"{kind}: {error}{hint}"
    place = frames[-1]
    line = linecache.getline(place.filename, place.lineno or 0).strip()
    return f"{kind}: {error} ({place.filename}:{place.lineno}: {line})"


def _is_users(file: str) -> bool:
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    ours = str(Path(__file__).parent.parent)
    return not file.startswith(("<frozen", *libraries, ours))
