"""The files around the package agree with each other."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]
ON_THE_CARD = {"jupyterlab", "pandas", "statsmodels", "seaborn", "papermill"}
# Nothing else may stand in a lock: so no address, no path, no option and no pin without a hash.
PIN = re.compile(r"(?P<name>[a-z0-9.-]+)==(?P<version>[\w.+!]+)( ; [\w '.*=<>()!]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def requirements(lines):
    return {canonicalize_name(line.name): line.specifier for line in map(Requirement, lines)}


def pins(lock):
    """Return every version a lock names for a package: there may be one for each Python."""
    found = {}
    for pin in filter(None, map(PIN.fullmatch, (ROOT / lock).read_text().splitlines())):
        found.setdefault(pin["name"], set()).add(pin["version"])
    return found


RUNTIME = requirements(PROJECT["project"]["dependencies"])
BUILD = requirements(GROUPS["build"])
DEV = BUILD | requirements(line for line in GROUPS["dev"] if isinstance(line, str))


def test_the_conda_environment_names_the_five_packages_with_the_bounds_of_the_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, *rest, pip = environment["dependencies"]
    named = requirements(line for line in rest if line != "pip")
    assert environment["name"] == "winback"
    assert pip == {"pip": ["-e ."]}
    assert named == {name: RUNTIME[name] for name in ON_THE_CARD}
    assert python.removeprefix("python=") in Requirement(f"python{PROJECT['project']['requires-python']}").specifier


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_holds_pins_with_hashes_and_nothing_else(lock):
    lines = (ROOT / lock).read_text().splitlines()
    assert [line for line in lines if not (PIN.fullmatch(line) or HASH.fullmatch(line))] == []
    goes_on = [after for line, after in zip(lines, [*lines[1:], ""], strict=True) if line.endswith("\\")]
    assert [after for after in goes_on if not HASH.fullmatch(after)] == []


@pytest.mark.parametrize(
    ("lock", "wanted"), [("requirements.lock", RUNTIME | BUILD), ("requirements-dev.lock", RUNTIME | DEV)]
)
def test_a_lock_pins_every_requirement_within_its_bounds(lock, wanted):
    pinned = pins(lock)
    assert wanted.keys() <= pinned.keys()
    outside = {name: pinned[name] for name, bounds in wanted.items() if not all(map(bounds.contains, pinned[name]))}
    assert outside == {}


def test_the_tests_run_on_the_versions_that_a_user_gets():
    runtime, dev = ((ROOT / lock).read_text() for lock in ("requirements.lock", "requirements-dev.lock"))
    only_in_runtime = {line for line in runtime.splitlines() if PIN.fullmatch(line)} - set(dev.splitlines())
    assert only_in_runtime == set()


def test_what_is_installed_is_this_project():
    assert version("winback-experiments") == PROJECT["project"]["version"]
    (command,) = entry_points(group="console_scripts", name="winback")
    assert command.value == PROJECT["project"]["scripts"]["winback"]


def test_make_alone_tells_every_target():
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    told = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert re.findall(r"^  make (\w+) +\w", told, re.MULTILINE) == targets.split()
    assert {"demo", "test", "check", "study", "bench", "lab"} <= set(targets.split())


def test_every_lint_rule_left_out_has_its_reason_beside_it():
    lint = PROJECT["tool"]["ruff"]["lint"]
    left_out = lint["ignore"] + [rule for rules in lint["per-file-ignores"].values() for rule in rules]
    explained = re.findall(r'^    "([A-Z]+\d*)",  # \w', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert sorted(left_out) == sorted(explained)


def test_ci_can_be_started():
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_wheel_carries_the_package_the_notebooks_the_example_sheets_and_nothing_else(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    carried = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = ROOT / "src/experiments"
    code = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert carried == {
        *(f"experiments/{path.relative_to(package).as_posix()}" for path in code),
        *(f"experiments/_notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")),
        *(f"experiments/_data/{path.parent.name}/{path.name}" for path in (ROOT / "data").glob("*/*.yml")),
    }
