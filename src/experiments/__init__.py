"""Win-back experiments: acceptance, retained lifetime and return on investment per offer.

Who is lost         find_lost(sheet) -> Cohort            since when, why, what it costs, whom first
A planned test      design_test(sheet) -> Design          what it can tell, costs and risks
                    lock_plan(sheet)                      fix the plan before the test
A running test      assign_test(sheet)                    draw customers into arms, once for ever
                    write_call_list(sheet)                who calls whom, when, with which words
                    read_responses(sheet, file)           what came of the calls
What a test said    read_out(sheet) -> Readout            checks, verdict, every estimate
                    make_cube(sheet) -> Cube              the sums everything is a function of
                    read_cube(cube, sheet) -> Readout     read again with other settings, in milliseconds
                    find_drivers(sheet)                   who returns, stays and pays; descriptive
Several tests       pool_readouts(readouts) -> Knowledge  their mean, how far they differ, the next one
Notebooks           run(notebook, parameters, out=...)    typed parameters in, one folder with its page out
                    sweep(notebook, ..., over=...)        under every combination of settings
                    trial_folder(notebook, sheet)         where results go that nobody registered

A sheet is read by `read_sheet(path)`, and given as it is or by its path. `Sheet`, `Cohort`, `Design`, `Readout`,
`Cube`, `Knowledge` and `Sweep` are values: `X.load(path)`, `x.write(path)`, `x.frame()` where it is a table; in a
notebook they show themselves. A number is an `Estimate`: value, low, high, level, n, unit. Whatever is wrong with
what was given is a `WinbackError` with its cure. `experiments.report` has the sections of each page. A name is
imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.campaign.assign import assign_test
    from experiments.campaign.workflow import lock_plan, read_responses, write_call_list
    from experiments.common.errors import WinbackError
    from experiments.common.estimate import Estimate
    from experiments.compare.pool import pool_readouts
    from experiments.compare.sweep import Sweep
    from experiments.design.design import Design, design_test
    from experiments.lost.find import find_lost
    from experiments.lost.results import Cohort
    from experiments.metrics.cube import Cube, make_cube
    from experiments.readout.drivers import find_drivers
    from experiments.readout.readout import Readout, read_cube, read_out
    from experiments.runner.notebooks import run
    from experiments.runner.sweeps import sweep
    from experiments.sheet.places import trial_folder
    from experiments.sheet.sheet import Sheet, read_sheet
    from experiments.stats.meta_analysis import Knowledge

_HOMES = {
    "campaign.assign": ("assign_test",),
    "campaign.workflow": ("lock_plan", "read_responses", "write_call_list"),
    "common.errors": ("WinbackError",),
    "common.estimate": ("Estimate",),
    "compare.pool": ("pool_readouts",),
    "compare.sweep": ("Sweep",),
    "design.design": ("Design", "design_test"),
    "lost.find": ("find_lost",),
    "lost.results": ("Cohort",),
    "metrics.cube": ("Cube", "make_cube"),
    "readout.drivers": ("find_drivers",),
    "readout.readout": ("Readout", "read_cube", "read_out"),
    "runner.notebooks": ("run",),
    "runner.sweeps": ("sweep",),
    "sheet.places": ("trial_folder",),
    "sheet.sheet": ("Sheet", "read_sheet"),
    "stats.meta_analysis": ("Knowledge",),
}
__all__ = [
    "Cohort",
    "Cube",
    "Design",
    "Estimate",
    "Knowledge",
    "Readout",
    "Sheet",
    "Sweep",
    "WinbackError",
    "assign_test",
    "design_test",
    "find_drivers",
    "find_lost",
    "lock_plan",
    "make_cube",
    "pool_readouts",
    "read_cube",
    "read_out",
    "read_responses",
    "read_sheet",
    "run",
    "sweep",
    "trial_folder",
    "write_call_list",
]


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
