"""The names an analyst imports: an editor and a type checker see them, and each does what a value must."""

import ast
import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import jedi
import pytest

import experiments

SOURCE = Path(experiments.__file__)
FUNCTIONS = [name for name in experiments.__all__ if name.islower()]
VALUES = ["Cohort", "Cube", "Design", "Knowledge", "Readout", "Sheet", "Sweep"]
SCRIPT = """
from pathlib import Path

from experiments import (
    Cohort, Cube, Design, Estimate, Knowledge, Readout, Sheet, WinbackError,
    design_test, find_lost, make_cube, pool_readouts, read_cube, read_out, read_sheet,
)

sheet: Sheet = read_sheet("sheet.yml")
cohort: Cohort = find_lost(sheet)
design: Design = design_test(sheet)
cube: Cube = make_cube(sheet)
readout: Readout = read_cube(cube, sheet)
again: Readout = read_out(sheet, horizon_months=12)
net: Estimate = readout.arm("discount").estimates["net"]
bounds: tuple[float | None, float | None] = (net.low, net.high)
known: Knowledge = pool_readouts([readout, again])
readout.write("readout.json")
loaded: Readout = Readout.load(Path("readout.json"))
print(loaded.frame().shape, WinbackError)
"""


def test_the_public_names_are_those_that_tools_see():
    imported = {alias.name for node in ast.walk(ast.parse(SOURCE.read_text())) if isinstance(node, ast.ImportFrom)
                if (node.module or "").startswith("experiments") for alias in node.names}  # fmt: skip
    assert dir(experiments) == sorted(experiments.__all__)
    assert imported == set(experiments.__all__) == {name for names in experiments._HOMES.values() for name in names}


def test_no_package_or_module_takes_the_place_of_a_public_name():
    modules = [module.name for module in pkgutil.walk_packages(experiments.__path__, "experiments.")]
    for module in modules:
        if not module.endswith("__main__"):
            import_module(module)
    assert len(modules) > 60
    for name in experiments.__all__:
        assert not inspect.ismodule(getattr(experiments, name)), name


@pytest.mark.parametrize("name", experiments.__all__)
def test_every_public_name_has_help(name):
    assert len(inspect.getdoc(getattr(experiments, name))) > 40
    assert name in inspect.getdoc(experiments)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_is_typed(name):
    signature = inspect.signature(getattr(experiments, name))
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(one.annotation is not inspect.Parameter.empty for one in signature.parameters.values())


@pytest.mark.parametrize("name", VALUES)
def test_every_value_goes_into_a_file_and_comes_back(name):
    value = getattr(experiments, name)
    assert callable(value.load)
    assert callable(value.write)


@pytest.mark.parametrize("name", ["Cohort", "Design", "Readout"])
def test_a_value_with_a_page_shows_its_head_whatever_path_it_was_imported_by(name):
    assert "_repr_html_" in dir(getattr(experiments, name))


def test_an_analysts_script_is_typed(tmp_path):
    script = tmp_path / "analysis.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path), str(script)]
    # Only what is said of the script itself: the packages of others may carry no types.
    done = subprocess.run([*command, "--follow-imports=silent"], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1].startswith("Success"), done.stdout + done.stderr


def test_an_unknown_attribute_is_an_error_of_types(tmp_path):
    script = tmp_path / "analysis.py"
    script.write_text("from experiments import read_out\n\nread_out('sheet.yml').verdicts\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path), str(script)]
    done = subprocess.run([*command, "--follow-imports=silent"], capture_output=True, text=True, check=False)
    assert '"Readout" has no attribute "verdicts"' in done.stdout


def test_an_editor_completes_the_names():
    completed = {found.name for found in jedi.Script("import experiments\nexperiments.").complete(2, 12)}
    assert set(experiments.__all__) <= completed
    of_readout = jedi.Script("from experiments import read_out\nread_out('s.yml').").complete(2, 18)
    assert {"frame", "write", "load", "verdict", "arms"} <= {found.name for found in of_readout}
