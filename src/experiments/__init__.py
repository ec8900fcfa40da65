"""Win-back experiments: acceptance, retained lifetime and return on investment per offer.

What an analyst needs: `read_out(sheet)`, `find_lost(sheet)`, `design_test(sheet, customers=...)`, `run(notebook, ...)`,
`sweep(notebook, ..., over=...)`, `read_cohort(path)`, `read_readout(path)`, `pool_readouts(readouts)`,
`prior_of(path, offer, metric)`, `speak(language)`; and `report`, the sections of each page.
Names are loaded when they are first used.
"""

from importlib import import_module

_HOMES = {
    "WinbackError": "common.errors",
    "find_lost": "lost.find",
    "read_cohort": "lost.results",
    "Cohort": "lost.results",
    "design_test": "design.design",
    "read_design": "design.design",
    "find_drivers": "readout.drivers",
    "make_cube": "metrics.cube",
    "read_out": "readout.readout",
    "read_cube": "readout.readout",
    "read_readout": "readout.readout",
    "Readout": "readout.readout",
    "pool_readouts": "compare.pool",
    "prior_of": "stats.meta_analysis",
    "read_sweep": "compare.sweep",
    "run": "runner.notebooks",
    "sweep": "runner.sweeps",
    "speak": "common.language",
    "language_of": "sheet.sheet",
}
_REPORTS = {
    "lost.find": "Cohort",
    "lost.results": "Cohort",
    "design.design": "Design",
    "readout.readout": "Readout",
}  # home: what it returns
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
