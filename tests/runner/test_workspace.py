"""A workspace of one's own, and a page on paper."""

import re
import shutil
import subprocess
import sys

import pytest

from experiments import design_test, read_out
from experiments.cli import commands
from experiments.common.errors import WinbackError
from experiments.report import html
from experiments.report.pdf import find_browser, print_page
from experiments.report.wording.design import sentence
from experiments.report.wording.verdict import headline
from experiments.runner.workspace import make_workspace

SQUARE = "%3Csvg xmlns='http://www.w3.org/2000/svg'%3E%3Crect width='9' height='9'/%3E%3C/svg%3E"
PAGE = f"""<!doctype html><html lang="en"><head><title>A page</title></head><body><main><h1>The verdict</h1>
<img alt="A blue square" src="data:image/svg+xml,{SQUARE}">
<table><tr><th scope="col">Offer</th></tr><tr><td>Gift</td></tr></table></main></body></html>"""


@pytest.fixture
def page(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/page.html").write_text(PAGE, encoding="utf-8")
    return tmp_path / "run/page.html"


# The workspace.


def test_a_workspace_reads_its_own_test(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert commands.main(["init", "mine", "--customers", "300"]) == 0
    monkeypatch.chdir(tmp_path / "mine")
    assert commands.main(["check", "data/telecom/sheet.yml"]) == 0
    assert "a correct sheet" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        ".gitignore",
        "README.md",
        "data",
        "notebooks",
    ]
    assert {path.stem for path in (tmp_path / "mine/notebooks").iterdir()} >= {"0-welcome", "3-readout"}


def test_the_commands_of_its_readme_exist(tmp_path):
    make_workspace(tmp_path / "mine", customers=0)
    text = (tmp_path / "mine/README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"winback (\w+)", text)) - {"workspace"}
    assert named <= set(commands.parser()._subparsers._group_actions[0].choices)
    assert not list((tmp_path / "mine/data").rglob("*.parquet"))


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(WinbackError, match="is not empty"):
        make_workspace(tmp_path / "mine", customers=0)
    with pytest.raises(WinbackError, match="is a file"):
        make_workspace(tmp_path / "mine/notes.txt", customers=0)
    with pytest.raises(WinbackError, match="cannot be made"):
        make_workspace(tmp_path / "mine/notes.txt/deep", customers=0)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


# What an analyst sees in a notebook.


def test_results_show_themselves_and_become_a_table(small_telecom, telecom_sheet):
    readout = read_out(telecom_sheet, small_telecom)
    assert headline(readout) in readout._repr_html_()
    frame = readout.frame().set_index(["arm", "metric"])
    net = readout.arm("discount").estimates["net"]
    assert tuple(frame.loc[("discount", "net"), ["value", "low", "high"]]) == (net.value, net.low, net.high)
    assert len(frame) == sum(len(arm.estimates) for arm in readout.arms)
    assert 'width="24"' in html.sign("go")  # without a style sheet it would fill the screen


def test_a_design_shows_itself(tmp_path):
    make_workspace(tmp_path / "mine", customers=0)
    design = design_test(tmp_path / "mine/data/telecom/sheet.yml", customers=5_000)
    assert sentence(design).split(" but ")[0] in design._repr_html_()


# On paper.


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no program `chromium`")
def test_a_page_is_printed_with_tags_language_and_the_words_of_its_pictures(page, capsys):
    assert commands.main(["pdf", str(page.parent)]) == 0
    made = page.with_suffix(".pdf")
    pdf = made.read_bytes()
    assert str(made) in capsys.readouterr().out
    assert pdf.startswith(b"%PDF")
    for mark in (b"/StructTreeRoot", b"/Marked true", b"/Lang (en)", b"/Outlines", b"A blue square", b"/TH"):
        assert mark in pdf, mark
    assert [path.name for path in page.parent.iterdir() if path.name.startswith(".")] == []


def test_what_cannot_be_printed_is_said(page, tmp_path, monkeypatch):
    with pytest.raises(WinbackError, match=r"no page .*nowhere"):
        print_page(tmp_path / "nowhere")
    (page.parent / "readout.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WinbackError, match=r"readout\.json is no page"):
        print_page(page.parent / "readout.json")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WinbackError, match="apt install chromium"):
        find_browser()
    broken = tmp_path / "chromium"
    broken.write_text(f"#!{sys.executable}\nimport sys; sys.exit('no display')\n", encoding="utf-8")
    broken.chmod(0o755)
    with pytest.raises(WinbackError, match="no display"):
        print_page(page)
    assert not page.with_suffix(".pdf").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_a_printed_page_survives_a_failure(page, tmp_path, monkeypatch):
    page.with_suffix(".pdf").write_bytes(b"%PDF the last good one")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(subprocess.TimeoutExpired("c", 1)))
    monkeypatch.setattr("experiments.report.pdf.find_browser", lambda: "chromium")
    with pytest.raises(WinbackError, match="did not print"):
        print_page(page)
    assert page.with_suffix(".pdf").read_bytes() == b"%PDF the last good one"
