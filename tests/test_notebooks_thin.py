"""The shipped notebooks hold no logic: parameters, read, one verb, show, write."""

import ast
import json
from pathlib import Path

import pytest

from experiments.runner.parameters import parameters_of

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
LOGIC = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.IfExp, ast.Match, ast.For,
    ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.comprehension,
)  # fmt: skip
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(path, kind="code"):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def source_of(cell):
    return "".join(cell["source"])


def test_all_are_there():
    there = ["0-welcome", "1-lost", "2-design", "3-readout", "4-compare", "5-sweep"]
    assert [path.stem for path in NOTEBOOKS] == there


@every_notebook
def test_no_cell_holds_logic(path):
    found = {
        f"{type(node).__name__} in `{source_of(cell)}`"
        for cell in cells_of(path)
        for node in ast.walk(ast.parse(source_of(cell)))
        if isinstance(node, LOGIC)
    }
    assert found == set()


@pytest.mark.parametrize(
    "text", ["[a for a in b]", "(a for a in b)", "if a: b", "with a: b", "lambda: a", "def a(): b"]
)
def test_logic_would_be_found(text):
    assert any(isinstance(node, LOGIC) for node in ast.walk(ast.parse(text)))


@every_notebook
def test_it_begins_with_a_title_and_the_question_it_answers(path):
    title, _, question = source_of(cells_of(path, "markdown")[0]).partition("\n\n")
    assert title.startswith("# ")
    assert title.endswith("?")
    assert question.endswith(".")


@every_notebook
def test_its_first_code_cell_is_the_one_with_parameters_and_each_has_help(path):
    tagged = ["parameters" in cell["metadata"].get("tags", []) for cell in cells_of(path)]
    assert tagged == [True, *[False] * (len(tagged) - 1)]
    parameters = parameters_of(path)
    assert {name for name, parameter in parameters.items() if not parameter.help} == set()
    assert "out" in parameters


@every_notebook
def test_it_runs_on_the_python_it_is_given_and_keeps_no_outputs(path):
    assert json.loads(path.read_text(encoding="utf-8"))["metadata"]["kernelspec"]["name"] == "python3"
    assert [cell for cell in cells_of(path) if cell["outputs"] or cell["execution_count"] is not None] == []


@every_notebook
def test_the_notebook_imports_only_this_package(path):
    nodes = [node for cell in cells_of(path) for node in ast.walk(ast.parse(source_of(cell)))]
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert modules <= {"datetime", "typing", "experiments", "experiments.report"}
