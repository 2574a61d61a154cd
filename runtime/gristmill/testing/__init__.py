"""What tests of programs that use gristmill can use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gristmill.testing.determinism import NondeterminismError
    from gristmill.testing.faults import Faults, InjectedCrash, Point
    from gristmill.testing.injector import FaultInjector
    from gristmill.testing.probe import Probe
    from gristmill.testing.simulated_world import StalledError
    from gristmill.testing.simulation import Simulation

__all__ = [
    "FaultInjector",
    "Faults",
    "InjectedCrash",
    "NondeterminismError",
    "Point",
    "Probe",
    "Simulation",
    "StalledError",
]

_HOMES = {
    "FaultInjector": "gristmill.testing.injector",
    "Faults": "gristmill.testing.faults",
    "InjectedCrash": "gristmill.testing.faults",
    "NondeterminismError": "gristmill.testing.determinism",
    "Point": "gristmill.testing.faults",
    "Probe": "gristmill.testing.probe",
    "Simulation": "gristmill.testing.simulation",
    "StalledError": "gristmill.testing.simulated_world",
}
"""Where each name lives; imported on first use, as pytest loads this package in every run."""


if not TYPE_CHECKING:  # for type checkers it would make every misspelt name valid

    def __getattr__(name: str) -> object:
        """Import a public name."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = found
        return found
