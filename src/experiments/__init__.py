"""Win-back experiments: acceptance, retained lifetime and return on investment per offer.

What an analyst needs: `read_out(sheet)`, `find_lost(sheet)`, `design_test(sheet, customers=...)`, `run(notebook, ...)`,
`sweep(notebook, ..., over=...)`, `read_cohort(path)`, `read_readout(path)`, `pool_readouts(readouts)`,
`prior_of(path, offer, metric)`, `speak(language)`; and `report`, the sections of each page.
Names are loaded when they are first used.
"""

from importlib import import_module

_HOMES = {
    "WinbackError": "errors",
    "find_lost": "cohort",
    "read_cohort": "losses",
    "Cohort": "losses",
    "design_test": "design",
    "read_design": "design",
    "find_drivers": "drivers",
    "make_cube": "cube",
    "read_out": "readout",
    "read_cube": "readout",
    "read_readout": "readout",
    "Readout": "readout",
    "pool_readouts": "pooling",
    "prior_of": "pooled",
    "read_sweep": "grid",
    "run": "notebooks",
    "sweep": "sweeps",
    "speak": "language",
    "language_of": "plan",
}
_REPORTS = {"cohort": "Cohort", "losses": "Cohort", "design": "Design", "readout": "Readout"}  # home: what it returns
_PAGES = {"Cohort": "lost", "Design": "design", "Readout": "readout"}  # result: the page that shows it in a notebook
__all__ = [*_HOMES]  # noqa: PLE0604  the names are the keys


def __getattr__(name: str) -> object:
    """Load a public name from its room."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOMES[name]}")
    if _HOMES[name] in _REPORTS:
        getattr(home, _REPORTS[_HOMES[name]])._repr_html_ = _show
    return getattr(home, name)


def _show(result: object) -> str:
    """Return the head of the page of a result, as a notebook shows it."""
    page = import_module(f"{__name__}.report.{_PAGES[type(result).__name__]}")
    return str(page.question(result) + page.verdict(result))
