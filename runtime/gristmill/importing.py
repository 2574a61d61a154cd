"""Import paths: how classes and functions travel between processes, as ``module:Qualname``.

No code travels. A worker resolves the path in its own modules, so what a path names must be
importable there. A script that runs as ``__main__`` is known by its file's name (``script.py``);
the workers load that file once, under the name ``__gristmill_main__``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import MethodType, ModuleType
from typing import Any

from gristmill.errors import ActorTypeError, UsageError

MAIN = "__main__"
WORKER_MAIN = "__gristmill_main__"


def canonical_module(name: str) -> str:
    """Give the name under which every process of a run knows the module ``name``.

    Raises:
        UsageError: the module is a notebook, stdin or ``-c``, which no worker can import.
    """
    if name == WORKER_MAIN:
        return _worker_main_name()
    if name != MAIN:
        return name
    main = sys.modules[MAIN]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != MAIN:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    if file is None or not Path(file).is_file():
        raise UsageError(
            "classes and functions made in a notebook, on stdin or with -c can't be found by a "
            "worker process; move them into a .py file and import them from there"
        )
    return Path(file).name


def _worker_main_name() -> str:
    file = getattr(sys.modules[WORKER_MAIN], "__file__", "") or ""
    return Path(file).name


def main_script() -> str | None:
    """Give the file of the running script, which workers must load, or None if there is none."""
    main = sys.modules.get(MAIN)
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    if file is None or (spec is not None and spec.name != MAIN):
        return None
    path = Path(file)
    return str(path.resolve()) if path.is_file() and path.suffix == ".py" else None


def load_main(file: str) -> ModuleType:
    """Load the client's script into this process, with its main guard false."""
    spec = importlib.util.spec_from_file_location(WORKER_MAIN, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"can't load the script {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[WORKER_MAIN] = module
    spec.loader.exec_module(module)
    return module


def import_path(target: type[Any] | Callable[..., Any]) -> str:
    """Give the import path of a class or function.

    Raises:
        UsageError: it is a lambda, defined inside a function, or made in a notebook, or a function
            that is not what its path leads to.
    """
    qualname = getattr(target, "__qualname__", None)
    module = getattr(target, "__module__", None)
    if qualname is None or module is None:
        raise UsageError(f"{target!r} is neither a class nor a function that a worker could import")
    if "<" in qualname:
        raise UsageError(
            f"{module}.{qualname} can't be imported by a worker: it is a lambda or is defined "
            "inside a function; define it at the top level of a module"
        )
    if not isinstance(target, type):
        _check_leads_back(target, module, qualname)
    return f"{canonical_module(module)}:{qualname}"


def _check_leads_back(target: Callable[..., Any], module: str, qualname: str) -> None:
    """Refuse what has the name of something else: a worker would run that.

    Raises:
        UsageError: it is a bound method, a wrapper with the name of what it wraps, or the like.
    """
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    # a method is made anew each time that it is looked up; found again in its class it is equal
    if found is target or (isinstance(target, MethodType) and found == target):
        return
    raise UsageError(
        f"{module}.{qualname} can't be called by a worker, which would find another function by "
        f"that name: this one {_how_it_differs(target)}; give a function from the top level of a "
        "module that calls it"
    )


def _how_it_differs(target: Callable[..., Any]) -> str:
    owner = getattr(target, "__self__", None)
    if isinstance(owner, type):
        return f"is inherited by {owner.__qualname__}, which its name does not say"
    if owner is not None and not isinstance(owner, ModuleType):
        return f"is bound to a {type(owner).__qualname__}, which does not travel with it"
    return "is not what its module has there (a decorator's wrapper, or a module loaded anew?)"


def resolve(path: str) -> Any:  # noqa: ANN401 - what a path names is the caller's knowledge
    """Import what ``path`` names.

    Raises:
        ActorTypeError: the module or the name in it does not exist here.
    """
    module_name, _, qualname = path.partition(":")
    try:
        found: Any = _module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ActorTypeError(
            f"{path!r} is unknown here: {error}. It must be importable by the workers "
            "(is its folder on PYTHONPATH, and its name spelled right?)"
        ) from error
    return found


def _module(name: str) -> ModuleType:
    if name.endswith(".py"):
        for candidate in (WORKER_MAIN, MAIN):
            module = sys.modules.get(candidate)
            if module is not None and Path(getattr(module, "__file__", None) or "").name == name:
                return module
        raise ImportError(f"the script {name} is not loaded")
    main = sys.modules.get(MAIN)
    spec = getattr(main, "__spec__", None)
    if main is not None and spec is not None and spec.name == name:
        return main
    return importlib.import_module(name)
