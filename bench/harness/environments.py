"""Virtual environments for the libraries that we are measured beside, made when they are needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_LIMIT = 300.0
"""Seconds that an installation may take."""


def python_with(*packages: str) -> str:
    """Give the interpreter of an environment that has these packages; make it if need be.

    The environments lie in ``gristmill-bench`` of the user's cache folder, one for each set of
    packages and each version of Python.

    Raises:
        InstallError: they could not be installed; says why.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = ".".join(map(str, sys.version_info[:2]))
    folder = cache / "gristmill-bench" / "-".join((*packages, version))
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        print(f"installing {', '.join(packages)} into {folder} ...", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", *packages])
        complete.touch()
    return str(python)


def version_in(python: str, package: str) -> str:
    """Give the version of a package that an interpreter has."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


class InstallError(Exception):
    """An environment could not be made."""


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        raise InstallError(f"it took longer than {_LIMIT:g} s") from None
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines()
        raise InstallError(lines[-1] if lines else f"exit status {error.returncode}") from None
