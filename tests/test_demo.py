"""The whole way, once, on a small simulated telecom: what it makes, and its pages in a real browser."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import browsing
import duckdb
import pytest
from sharing import alone, once

from experiments.cli import commands as cli
from experiments.common.run_records import runs
from experiments.lost.results import Cohort
from experiments.readout.readout import Readout
from experiments.report.wording.verdict import worded_verdict

ROOT = Path(__file__).parents[1]
DONORS = ROOT.parent / "shared/data/donor_match_offers.csv.gz"
PAGES = {
    "lost": "telecom/1-lost",
    "design": "telecom/2-design",
    "readout": "telecom/3-readout",
    "north": "telecom-north/3-readout",
    "compare": "compare/4-compare",
}
SWEEP = ["sweep", "data/telecom/sheet.yml", "--over", "horizon_months=12,24", "--lang", "ru"]
OTHERS = {  # page: where it lies, and the command that makes it beside the demo
    "sweep": ("ru/telecom/sweep", SWEEP),
    "russian": ("ru/telecom/sweep/settings/horizon_months=24", SWEEP),
    "french": ("fr/telecom/2-design", ["design", "data/telecom/sheet.yml", "--lang", "fr"]),
    "donors": ("en/donors/3-readout", ["readout", str(ROOT / "data/donors/sheet.yml")]),
}
PICTURES = {"lost": 6, "design": 1, "readout": 8, "north": 8, "compare": 1, "list": 0}
LARGEST = 400_000  # bytes of a page
browser, visit = browsing.browser, browsing.visit


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Return the folder where `winback demo --customers 2000` ran, and what it told: once for all workers."""

    def make(home):
        command = [Path(sys.executable).with_name("winback"), "demo", "--customers", "2000"]
        answer = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
        assert (answer.returncode, answer.stderr) == (0, "")
        (home / "told.txt").write_text(answer.stdout, encoding="utf-8")

    home = once(tmp_path_factory, "demo", make)
    return home, (home / "told.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def files(demo):
    reports = demo[0] / "reports"
    others = {name: demo[0] / "other" / place / "page.html" for name, (place, _) in OTHERS.items()}
    return (
        {name: reports / place / "page.html" for name, place in PAGES.items()}
        | {"list": reports / "index.html"}
        | others
    )


@pytest.fixture
def other(demo, files, request):
    """Return the name of a page that is not of the demo, made once for all workers."""
    name, home = request.param, demo[0]
    if name == "donors" and not DONORS.is_file():
        pytest.skip("the donors' data are not there")
    with alone(home / "other.lock"):
        if not files[name].is_file():
            folder = Path("other", Path(OTHERS[name][0]).parts[0])
            command = [Path(sys.executable).with_name("winback"), *OTHERS[name][1], "--reports", str(folder)]
            answer = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
            assert (answer.returncode, answer.stderr) == (0, "")
    return name


def outputs_of(folder):
    """Yield every text that the notebooks of a run put out."""
    for path in sorted(folder.rglob("notebook.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                yield from map("".join, (output.get("text", ""), *output.get("data", {}).values()))


# What it makes


def test_the_demo_tells_the_verdict_and_where_the_report_lies(demo, files):
    home, told = demo
    assert f"Open the report:   {files['readout'].relative_to(home)}\n" in told
    assert f"Everything made:   {files['list'].relative_to(home)}\n" in told
    said = worded_verdict(Readout.load(home / "reports/telecom/3-readout/readout.json"))
    assert f"\n{said.word}\n{said.sentence}\n" in told


def test_every_notebook_has_its_page_and_the_list_leads_there(files):
    text = files["list"].read_text(encoding="utf-8")
    for name, place in PAGES.items():
        assert 10_000 < files[name].stat().st_size < LARGEST
        assert f'href="{place}/page.html"' in text
    assert files["list"].stat().st_size < LARGEST


def test_the_list_shows_the_verdict_of_every_run(demo, files):
    text = files["list"].read_text(encoding="utf-8")
    found = runs(demo[0] / "reports")
    assert len(found) == len(PAGES)
    for run in found:
        heading = re.search('class="verdict.*?<h2[^>]*>(.*?)</h2>', run.page.read_text(encoding="utf-8"), re.DOTALL)[1]
        assert run.headline
        assert run.headline == heading
        assert f'<p class="headline">{heading}</p>' in text


def test_every_input_of_a_run_is_on_record(demo):
    inputs = {run.notebook: run.inputs for run in runs(demo[0] / "reports") if run.out.parent.name != "telecom-north"}
    names = ("customers", "purchases", "reasons", "assignments", "contacts", "inquiries", "changes", "known_lost")
    tables = {f"data/telecom/{table}.parquet" for table in names}
    assert set(inputs["1-lost"]) == set(inputs["3-readout"]) == {"data/telecom/sheet.yml"} | tables
    assert len(inputs["4-compare"]) == 2


def test_the_page_of_the_lost_tells_how_right_the_rule_is(demo, files):
    folder, text = files["lost"].parent, files["lost"].read_text(encoding="utf-8")
    cohort = Cohort.load(folder / "lost.json")
    assert f"{cohort.lost:,} of {cohort.customers:,} customers are lost." in text
    for share, name in ((cohort.accuracy.precision, "precision"), (cohort.accuracy.recall, "recall")):
        assert f"{share.value:.1%}".replace("%", " %") in text
        assert f"{name}; {100 * share.low:.1f} to {100 * share.high:.1f} %" in text
    with duckdb.connect() as con:
        rows = con.execute(f"SELECT count(*) FROM '{demo[0] / 'data/private/telecom/cohort.parquet'}'").fetchall()
    assert rows == [(cohort.lost,)]


def test_no_output_holds_a_customer(demo):
    outputs = list(outputs_of(demo[0] / "reports"))
    assert len(outputs) > 20
    assert [text for text in outputs if "customer_id" in text] == []
    rows = [table.count("<tr") for text in outputs for table in re.findall("<table.*?</table>", text, re.DOTALL)]
    assert rows
    assert max(rows) <= 17  # a head, ten pairs of five arms and six pairs of four offers


# A run that fails


def test_a_failed_run_leaves_the_good_page(demo, tmp_path, monkeypatch, capsys):
    shutil.copytree(demo[0], tmp_path / "demo")
    monkeypatch.chdir(tmp_path / "demo")
    kept = {path: path.read_bytes() for path in Path("reports").rglob("*") if path.is_file()}
    purchases = Path("data/telecom/purchases.parquet")
    purchases.write_bytes(purchases.read_bytes()[:1000])
    assert cli.main(["readout", "data/telecom/sheet.yml"]) == 1
    told, complaint = capsys.readouterr()
    assert told == ""
    assert complaint.startswith("winback: Notebook '3-readout' failed")
    assert "purchases" in complaint
    assert "Traceback" not in complaint
    assert len(complaint.splitlines()) <= 15
    failed = Path("data/private/telecom/failed/3-readout.ipynb")
    assert f"The failed notebook: {failed}" in complaint
    left = {path: path.read_bytes() for path in Path("reports").rglob("*") if path.is_file()}
    record = Path("reports/telecom/3-readout/failed.json")  # its notebook may show customers, and is kept apart
    assert (left, failed.is_file()) == (kept | {record: record.read_bytes()}, True)


# In a real browser


class TestInBrowser:
    pytestmark = browsing.in_browser
    every_page = pytest.mark.parametrize("name", [*PAGES, "list"])
    every_width = pytest.mark.parametrize("width", browsing.WIDTHS)

    @every_page
    @every_width
    def test_a_page_asks_for_nothing_and_nothing_is_cut(self, visit, files, name, width):
        assert browsing.faults_of(visit(name, width), files[name]) == []

    @every_page
    def test_axe_finds_no_barrier(self, visit, name):
        assert browsing.barriers_of(visit(name, "phone", bypass_csp=True)) == []

    @every_page
    def test_every_picture_is_drawn_and_described(self, visit, name):
        pictures = browsing.pictures_of(visit(name))
        assert len(pictures) == PICTURES[name]
        assert all(len(words) > 60 and drawn for words, drawn in pictures)

    @pytest.mark.parametrize("other", OTHERS, indirect=True)
    def test_a_page_beside_the_demo_is_as_good(self, visit, files, other):
        assert files[other].stat().st_size < LARGEST
        for width in browsing.WIDTHS:
            assert browsing.faults_of(visit(other, width), files[other]) == []
        assert browsing.barriers_of(visit(other, "phone", bypass_csp=True)) == []
        pictures = browsing.pictures_of(visit(other))
        assert pictures
        assert all(len(words) > 60 and drawn for words, drawn in pictures)

    @every_page
    def test_a_page_survives_the_mail(self, browser, files, name, tmp_path):
        """Alone in a folder, without a network, without scripts: verdict, pictures and tables are there."""
        alone = shutil.copyfile(files[name], tmp_path / "Fwd of the page.html")
        context = browser.new_context(java_script_enabled=False, offline=True)
        page = context.new_page()
        page.goto(alone.as_uri())
        assert page.locator("h1").is_visible()
        assert name == "list" or page.locator(".verdict h2").first.is_visible()
        assert page.locator("img").count() == PICTURES[name]
        context.close()
