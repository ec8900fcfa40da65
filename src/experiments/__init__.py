"""Win-back experiments: acceptance, retained lifetime and return on investment per offer.

What an analyst needs: `read_out(sheet)`, `find_lost(sheet)`, `design_test(sheet, customers=...)`, `run(notebook, ...)`,
`read_cohort(path)`, `read_readout(path)`, `speak(language)`; and `report`, the sections of each page.
Names are loaded when they are first used.
"""

from importlib import import_module

_HOMES = {
    "WinbackError": "errors",
    "find_lost": "cohort",
    "read_cohort": "losses",
    "Cohort": "losses",
    "design_test": "design",
    "find_drivers": "drivers",
    "make_cube": "cube",
    "read_out": "readout",
    "read_cube": "readout",
    "read_readout": "readout",
    "Readout": "readout",
    "run": "notebooks",
    "speak": "language",
    "language_of": "plan",
}
__all__ = [*_HOMES]  # noqa: PLE0604  the names are the keys


def __getattr__(name: str) -> object:
    """Load a public name from its room."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
