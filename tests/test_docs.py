"""README and docs describe everything there is, name nothing that is not, and their examples run."""

import csv
import doctest
import inspect
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import experiments
from experiments import find_lost, read_out
from experiments.cli import commands as cli
from experiments.data.contracts import CONTRACTS, Source
from experiments.metrics.estimates import METRICS
from experiments.metrics.objectives import OBJECTIVES
from experiments.readout.checks import CHECKS
from experiments.report.wording import verdict
from experiments.report.wording.checks import NAMES
from experiments.runner.notebooks import find_notebook
from experiments.runner.parameters import parameters_of
from experiments.runner.workspace import make_workspace
from experiments.sheet.contact_rules import Caller, Channel, ContactRules
from experiments.sheet.design_rules import DesignRules
from experiments.sheet.locked_plan import lock
from experiments.sheet.lost_rules import Audit, Cause, Lost
from experiments.sheet.offer_checks import OFFER_CHECKS
from experiments.sheet.offer_terms import in_words
from experiments.sheet.offers import KINDS, Monthly, Offer, fixed_of, own_costs
from experiments.sheet.sheet import Sheet

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODELS = {
    "The experiment": Sheet,
    "Lost": Lost,
    "Cause": Cause,
    "Audit": Audit,
    "Design": DesignRules,
    "Contacts": ContactRules,
    "Caller": Caller,
    "Channel": Channel,
    "Offer": Offer,
    "Running costs": Monthly,
    "Source": Source,
}
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
(COMMANDS,) = cli.parser()._subparsers._group_actions  # the parsers of the commands


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def sections(name):
    """Return what stands under every heading of a page, code blocks left out: heading -> text."""
    plain = re.sub(r"^```.*?^```$", "", text(name), flags=re.DOTALL | re.MULTILINE)
    parts = re.split(r"^#+ (.+)\n", plain, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(part):
    """Return the rows of the tables of a text that begin with a name in backticks: name -> the other cells."""
    found = {}
    for line in part.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for name in re.findall(r"`([^`]+)`", cells[0]) if line.startswith("| `") else []:
            found[name] = cells[1:]
    return found


# What there is stands in the docs, and what stands there is


def test_every_command_and_each_of_its_options_is_described():
    described = sections("docs/commands.md")
    assert {name.removeprefix("winback ") for name in described if name.startswith("winback ")} == set(COMMANDS.choices)
    for name, parser in COMMANDS.choices.items():
        options = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
        assert (name, set(rows(described[f"winback {name}"]))) == (name, options)


def test_the_docs_quote_the_help_truly():
    winback = [sys.executable, "-c", "import sys; from experiments.cli import main; sys.exit(main(['--help']))"]
    wide = {**os.environ, "COLUMNS": "80"}
    told = subprocess.run(winback, env=wide, capture_output=True, text=True, check=True).stdout
    (quoted,) = re.findall(r"^```\n\$ winback --help\n(.*?)^```$", text("docs/commands.md"), re.DOTALL | re.MULTILINE)
    assert quoted == told


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_parameter_of_a_notebook_is_described_with_its_default(notebook):
    described = rows(sections("docs/commands.md")[notebook])
    known = parameters_of(find_notebook(notebook))
    assert list(described) == list(known)
    for name, parameter in known.items():
        if isinstance(parameter.default, int | float):
            assert described[name][0] == str(parameter.default)


@pytest.mark.parametrize("heading", MODELS)
def test_every_setting_of_the_sheet_is_described_with_its_default(heading):
    described, fields = rows(sections("docs/sheet.md")[heading]), MODELS[heading].model_fields
    assert list(described) == list(fields)
    for name, field in fields.items():
        default = described[name][1]
        assert (name, default == "needed") == (name, field.is_required())
        if default.startswith("`"):
            assert (name, default.strip("`")) == (name, str(field.default))


def test_every_choice_of_the_objective_is_described():
    kinds = rows(sections("docs/sheet.md")["The experiment"])["objective"][0]
    assert set(re.findall(r"`(\w+)`", kinds)) == set(Sheet.model_fields["objective"].annotation.__args__)


def test_every_kind_of_offer_is_described_with_an_example_that_costs_and_says_what_the_table_tells():
    described = rows(sections("docs/sheet.md")["Kinds"])
    assert list(described) == list(KINDS)
    for name, kind in KINDS.items():
        per, example, cost, says = described[name]
        offer = Offer.model_validate(yaml.safe_load(example.strip("`")))
        assert offer.kind == name
        assert per == ("its parts" if kind.made_of else kind.per)
        if not kind.made_of:
            assert (name, cost) == (name, in_figures(offer))
            assert (name, says) == (name, in_words(name, offer, currency="USD").terms)


def in_figures(offer):
    """Return the costs of an offer as the table of kinds has them."""
    costs = own_costs(offer, decimals=2)
    told = [f"{costs.gift / 100:.2f} once"] if costs.gift else []
    told += [f"{cost / 100:.2f} a month, {months} months" for cost, months in costs.monthly]
    told += [
        f"{100 * part:g} % of what they pay, {months} month{'s' * (months > 1)}" for part, months in costs.price_shares
    ]
    campaign = fixed_of("it", {"it": offer})
    return " and ".join(told) or f"nothing; {campaign:.2f} for the campaign"


def test_every_check_of_fit_is_described():
    assert list(rows(sections("docs/sheet.md")["Does it fit?"])) == list(OFFER_CHECKS)


@pytest.mark.parametrize("table", CONTRACTS)
def test_every_column_of_a_table_is_described_with_its_kind(table):
    described = rows(sections("docs/tables.md")[table])
    assert {name: cells[0] for name, cells in described.items()} == {
        name: kind.rstrip("!") for name, kind in CONTRACTS[table].items()
    }
    needed = {name for name, cells in described.items() if cells[1] == "yes"}
    assert needed == {name for name, kind in CONTRACTS[table].items() if kind.endswith("!")}


def test_every_kind_of_cell_is_described():
    kinds = {kind.rstrip("!") for contract in CONTRACTS.values() for kind in contract.values()}
    listed = re.findall(r"^\| (\w+) \|", sections("docs/tables.md")["What a cell may hold"], re.MULTILINE)
    assert set(listed) - {"kind"} == kinds


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_described_with_its_name_on_the_page_and_its_unit(name):
    metric = METRICS[name]
    row = re.compile(rf"^\| `{name}` {re.escape(metric.label)} \| .+ \| .+ \| {metric.unit} \|$", re.MULTILINE)
    assert len(row.findall(text("docs/method.md"))) == 1


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_is_described(name):
    described = re.findall(r"^\| `(\w+)` ([^|]+) \|", sections("docs/method.md")["Checks"], re.MULTILINE)
    assert name in dict(described)
    assert dict(described)[name] == NAMES[name]


# What the docs promise is true


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_points_to_a_file_and_a_heading_that_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = unquote(target).partition("#")
        if path.startswith("https://"):
            continue
        found = (page.parent / path) if path else page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


def commands_in(page):
    """Return every command line `winback ...` of a page that is meant to be typed."""
    blocks = re.findall(r"^    (winback [^\n]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    inline = re.findall(r"`(winback [^`\n]+)`", page.read_text(encoding="utf-8"))
    lines = [line.split("  #")[0].replace("…", "SHEET") for line in (*blocks, *inline)]
    return [line for line in lines if not line.endswith("--help")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_line_in_the_docs_is_one_the_command_understands(page):
    for line in commands_in(page):
        words = shlex.split(line)[1:]
        if len(words) == 1 and words[0] in COMMANDS.choices:  # the command alone, as a name
            continue
        try:
            cli.parser().parse_args([word for word in words if word != "..."])
        except SystemExit:
            pytest.fail(f"{line!r} is refused")


def test_every_target_of_make_in_the_readme_exists():
    (targets,) = re.findall(r"^\.PHONY: (.*)$", text("Makefile"), re.MULTILINE)
    assert set(re.findall(r"(?:^    |`)make (\w+)", text("README.md"), re.MULTILINE)) <= set(targets.split())


def test_the_readme_names_every_package_and_no_other():
    first_cells = re.findall(r"^\| ((?:`\w+` ?)+)\|", sections("README.md")["Where things are"], re.MULTILINE)
    named = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    others = ("sql", "templates", "locale", "__init__", "__main__", "__pycache__", "py")  # what packages read
    packages = {path.name.split(".")[0] for path in (ROOT / "src/experiments").iterdir()} - set(others)
    assert sorted(named) == sorted(packages)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_name_that_the_docs_import_exists(page):
    imports = re.compile(r"^\W*from (experiments[\w.]*) import ([\w, ]+)$", re.MULTILINE)
    for home, names in imports.findall(page.read_text(encoding="utf-8")):
        for name in names.split(", "):
            assert hasattr(import_module(home), name), f"from {home} import {name}"


def test_an_analyst_is_told_of_every_public_name():
    told = set(re.findall(r"\w+", text("docs/tutorials/analyst.md")))
    assert set(experiments.__all__) <= told


def test_the_sheet_and_the_notebook_let_every_objective_be_chosen():
    assert set(Sheet.model_fields["objective"].annotation.__args__) == set(OBJECTIVES)
    choices = parameters_of(find_notebook("3-readout"))["objective"].type
    assert set(re.findall(r"['\"](\w+)['\"]", choices)) == set(OBJECTIVES)


@pytest.mark.parametrize("page", ["docs/method.md", "docs/tutorials/executive.md"])
def test_every_verdict_is_explained(page):
    words = [*verdict.WORDS.values(), *re.findall(r'say\("([^"]+)"', inspect.getsource(verdict._headline))]
    fixed = {max(re.split(r"{\w+}", word), key=len).strip(" :,") for word in words}
    assert {"Choose", "not separable", "equivalent within", "No offer looks better than doing nothing"} <= fixed
    explained = re.findall(r"^\| ([^|]+) \|", text(page), re.MULTILINE)
    assert [word for word in fixed if not any(word in row for row in explained)] == []


def test_every_place_and_test_that_a_recipe_names_exists():
    recipes = text("docs/how-to.md")
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)", recipes):
        assert f"def {name}" in tests, name
    places = [path.relative_to(ROOT / "src/experiments").as_posix() for path in (ROOT / "src/experiments").rglob("*.*")]
    for name in re.findall(r"`([\w/]+\.(?:py|sql))`", recipes):
        assert any(place == name or place.endswith(f"/{name}") for place in places), name
    without = [name for name, part in sections("docs/how-to.md").items() if "Fails until done:" not in part]
    assert without == ["How to add something", "A query, or another engine"]


# The tutorials


def quoted(page):
    """Return what a page says that its commands print: command -> lines, with days and hashes left open."""
    blocks = re.findall(r"^    winback ([^\n]+)\n\n```\n(.*?)^```$", text(page), re.DOTALL | re.MULTILINE)
    return {command: timeless(said) for command, said in blocks}


def timeless(said):
    return [re.sub(r"\d{4}-\d\d-\d\d|\b[0-9a-f]{64}\b", "…", line) for line in said.splitlines()]


def filled(calls, into, *, day):
    """Write a list whose first 80 customers were tried; every fifth was not reached, every other one refused."""
    with Path(calls).open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for place, row in enumerate(rows[:80]):
        row.update({"called_on": day, "reached": "yes" if place % 5 else "no"})
        if place % 5:
            row["accepted_at" if place % 2 else "refused_at"] = day
    with Path(into).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_way_from_a_plan_to_the_answers_prints_what_the_tutorials_say(tmp_path, monkeypatch, capsys):
    make_workspace(tmp_path, customers=4_000)
    monkeypatch.chdir(tmp_path)
    sheet, today = Path("data/spring/sheet.yml"), datetime.now(UTC).date()
    (written,) = re.findall(r"^```yaml\n(.*?)^```$", text("docs/tutorials/marketer.md"), re.DOTALL | re.MULTILINE)
    sheet.parent.mkdir()

    def write(*changes):
        told = sheet.read_text(encoding="utf-8") if changes else written
        for old, new in changes:
            assert old in told
            told = told.replace(old, new)
        sheet.write_text(told, encoding="utf-8")

    def follow(page, start):
        ((command, said),) = [(line, said) for line, said in quoted(page).items() if line.startswith(start)]
        assert cli.main(shlex.split(command)) == 0
        assert timeless(capsys.readouterr().out)[: len(said)] == said

    write()
    follow("docs/tutorials/marketer.md", "check")
    write(("worth: 25}", "worth: 25, expires_days: 30}"), ("holdout: nothing", "customers: 2200\nholdout: nothing"))
    find_lost(sheet, out="data/private/spring")
    plan, file = lock(sheet, cohort=Path("data/private/spring/cohort.parquet"), today=today)
    locked = quoted("docs/tutorials/marketer.md")["design data/spring/sheet.yml --lock"]
    assert locked == [f"Locked on …: {file.as_posix()}, {plan.customers:,} customers, sha256 …"]
    head = "docs/tutorials/head-of-sales.md"
    follow(head, "assign")
    follow(head, "contacts data/spring/sheet.yml --out data/private/spring/calls.csv")
    write((", Cleo: {head: true}", ""))
    assert cli.main(["contacts", str(sheet), "--out", "other.csv"]) == 1
    (refused,) = re.findall(r"^```\n(winback: No list yet.*?)^```$", text(head), re.DOTALL | re.MULTILINE)
    assert capsys.readouterr().err == refused
    (script,) = re.findall(r"^```jinja\n(.*?)^```$", text(head), re.DOTALL | re.MULTILINE)
    Path("data/spring/scripts").mkdir()
    Path("data/spring/scripts/offer-coupon.j2").write_text(script, encoding="utf-8")
    write(("Bob: {}}", "Bob: {}, Cleo: {head: true}}"), ("  capacity", "  scripts: scripts\n  capacity"))
    filled("data/private/spring/calls.csv", "monday.csv", day=today.isoformat())
    follow(head, "contacts data/spring/sheet.yml --answers")
    follow(head, "contacts data/spring/sheet.yml --out data/private/spring/tuesday.csv")
    assert "I am calling because you have not been with us" in Path("data/private/spring/tuesday.csv").read_text(
        "utf-8-sig"
    )
    follow(head, "ledger")
    follow(head, "release")


@pytest.fixture
def own_data(tmp_path):
    """Return a folder with the README's own sheet and small tables with the columns it names."""
    (sheet,) = re.findall(r"^```yaml\n(.*?)^```$", text("README.md"), re.DOTALL | re.MULTILINE)
    (tmp_path / "sheet.yml").write_text(sheet, encoding="utf-8")
    arms = list(yaml.safe_load(sheet)["arms"])
    customers = [(f"c{place:03}", arms[(place + 1) // 2 % len(arms)]) for place in range(5 * 30)]
    tables = {
        "letters.csv": [{"client": name, "letter": arm, "sent_on": "2025-02-01"} for name, arm in customers],
        "answers.csv": [
            {"client": name, "sent_on": "2025-02-01", "accepted_on": "2025-02-09" if name.endswith("1") else ""}
            for name, arm in customers if arm != "nothing"
        ],
        "bills.csv": [
            {"client": name, "day": f"2025-{month:02}-11", "amount": "30.50"}
            for name, arm in customers for month in (3, 4, 5)
            if (name.endswith("1") and arm != "nothing") or name.endswith("4")
        ],
    }  # fmt: skip
    for file, lines in tables.items():
        with (tmp_path / file).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
    return tmp_path


def test_the_sheet_in_the_readme_is_checked_and_read_as_it_stands(own_data, capsys):
    assert cli.main(["check", str(own_data / "sheet.yml")]) == 0
    assert "assignments: kept all 150 rows" in capsys.readouterr().out
    readout = read_out(own_data / "sheet.yml")
    assert [arm.label for arm in readout.arms] == ["No letter", "Voucher", "Discount"]
    assert all(arm.estimates["roi"].value is not None for arm in readout.offers)


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_python_examples_run(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testfile(str(page), module_relative=False, optionflags=options).failed == 0


@pytest.mark.usefixtures("shared_data")
def test_the_readme_says_of_the_donor_test_what_the_readout_says():
    readout, told = read_out(ROOT / "data/donors/sheet.yml"), " ".join(text("README.md").split())
    everyone = readout.any_offer
    nets = [arm.estimates["net"] for arm in readout.offers]
    points = [f"{100 * number:.2f}" for number in (everyone.value, everyone.low, everyone.high)]
    assert f"{sum(arm.assigned for arm in readout.arms):,} letters" in told
    assert "{} points more than none ({} to {})".format(*points) in told
    assert f"net −${-max(n.value for n in nets):.2f} to −${-min(n.value for n in nets):.2f} a letter" in told
    assert all(net.high < 0 for net in nets)
    assert "no winner is named" in told
    assert len(readout.ranking.tied) == len(readout.offers)


def test_the_readme_quotes_the_benchmark_as_it_was_measured():
    measured = (ROOT / "benchmarks/readout.md").read_text(encoding="utf-8")
    (customers,) = re.findall(r"^([\d,]+) customers", measured, re.MULTILINE)
    lines = re.findall(r"^\| (\w[^|:]*)[^|]*\|[^|]+\|[^|]+\|[^|]+\| ([\d.]+) \|", measured, re.MULTILINE)
    floor = {name: float(ratio) for name, ratio in lines}  # processor time, as a multiple of the floor's
    true = [
        f"{customers} customers",
        f"{floor['winback']:.1f} times",
        f"{floor['pandas'] / floor['winback']:.1f} times",
    ]
    quoted = " ".join(sections("README.md")["How fast"].split())
    assert [words for words in true if words in quoted] == true, "README, How fast: quote benchmarks/readout.md anew"


def test_the_picture_of_the_report_is_small_and_wide_enough_to_read():
    picture = (ROOT / "docs/report.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(picture[16:20], "big") >= 1280
    assert len(picture) < 250_000


def test_the_readme_begins_with_the_two_commands_the_picture_and_one_sentence():
    title, commands, picture, sentence, *_ = text("README.md").split("\n\n")
    assert title.startswith("# ")
    assert re.findall(r"^    (make \w+)", commands, re.MULTILINE) == ["make demo", "make test"]
    assert picture.startswith("![")
    assert "docs/report.png" in picture
    assert re.fullmatch(r"[^.\n]+\.", sentence)


def test_the_changelog_has_the_version_of_the_project():
    (version,) = re.findall(r'^version = "(.+)"$', text("pyproject.toml"), re.MULTILINE)
    assert re.search(rf"^## {re.escape(version)}\b", text("CHANGELOG.md"), re.MULTILINE)
