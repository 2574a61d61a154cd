"""``gristmill version``."""

from __future__ import annotations

import platform
from importlib.metadata import version

import zmq

from gristmill.cli.output import console, print_json


def show(*, as_json: bool) -> None:
    """Print the versions that matter in a bug report."""
    found = {"gristmill": version("gristmill"), "python": platform.python_version()}
    found |= {name: version(name) for name in ("pyzmq", "msgspec", "msgpack", "numpy")}
    found |= {"libzmq": zmq.zmq_version(), "platform": platform.platform()}
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        console().print(f"{name:<10} {value}")
