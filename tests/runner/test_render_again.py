"""The page of a finished run in another language: the same as if it had been run in it, and nothing is computed."""

import html
import re
from pathlib import Path

import pytest
from notebooks import leftovers, make

from experiments.cli import commands as cli
from experiments.common.errors import WinbackError
from experiments.common.run_records import find_run
from experiments.runner import render_again as module
from experiments.runner.notebooks import run
from experiments.runner.render_again import render_again
from experiments.runner.verify import verify
from experiments.sheet.locked_plan import inputs_of

ROOT = Path(__file__).parents[2]
PAGES = ("1-lost", "2-design", "3-readout", "4-compare")


@pytest.fixture(scope="module")
def home(small_telecom, tmp_path_factory):
    """Return a folder with the pages of a small telecom, run in English and in French."""
    home = tmp_path_factory.mktemp("home")
    (home / "data").symlink_to(small_telecom)
    sheet = home / "data/sheet.yml"
    sheet.write_text((ROOT / "data/telecom/sheet.yml").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for language in ("en", "fr"):
            for name in PAGES[:3]:
                parameters = {"sheet": "data/sheet.yml", "language": language}
                run(name, parameters, out=Path(language, name), inputs=inputs_of(Path("data/sheet.yml")))
            readouts = [Path("en/3-readout/readout.json")]
            run("4-compare", {"readouts": readouts, "language": language}, out=Path(language, "4-compare"))
    return home


@pytest.fixture(autouse=True)
def _in_the_folder(home, monkeypatch):
    monkeypatch.chdir(home)


@pytest.fixture
def nothing_runs(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a notebook was run")

    monkeypatch.setattr(module, "produce", refuse)


def text_of(page):
    """Return the words of a page, those in its pictures too, without its style and the time it was made."""
    shown = re.sub(r"(?s)<style.*?</style>|<time.*?</time>", "", Path(page).read_text(encoding="utf-8"))
    return [line for line in map(str.strip, html.unescape(re.sub(r"<[^>]+>", "\n", shown)).splitlines()) if line]


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("name", PAGES)
def test_the_french_page_of_an_english_run_is_that_of_a_french_run(name):
    page = render_again(Path("en", name), language="fr")
    assert page == Path("en", name, "page.fr.html")
    assert text_of(page) == text_of(Path("fr", name, "page.html"))


@pytest.mark.usefixtures("nothing_runs")
def test_without_a_language_the_page_is_that_of_the_run():
    for language in ("en", "fr"):
        page = render_again(Path(language, "1-lost"), page=Path("again.html"))
        assert page.read_bytes() == Path(language, "1-lost/page.html").read_bytes()


def test_the_run_stays_as_it_is_and_its_other_pages_go_with_it(capsys):
    before = find_run("en/1-lost")
    assert cli.main(["page", "en/1-lost", "--lang", "ru"]) == 0
    assert capsys.readouterr() == ("The page: en/1-lost/page.ru.html\n", "")
    assert (find_run("en/1-lost"), before.changed_files()) == (before, [])
    assert verify(before).is_equal
    assert leftovers("en") == []
    inputs = inputs_of(Path("data/sheet.yml"))
    again = run("1-lost", before.parameters, out=before.out, inputs=inputs)
    assert (again.reused, Path("en/1-lost/page.ru.html").exists()) == (True, True)
    run("1-lost", before.parameters, out=before.out, inputs=inputs, fresh=True)
    assert not Path("en/1-lost/page.ru.html").exists()


def test_a_notebook_with_cells_of_ones_own_is_run_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    show = "from experiments.report import html\nwith open('times', 'a') as times:\n    times.write('x')\n"
    make(Path("own.ipynb"), "language: str = 'en'\ndata: str = 'in.csv'", show + "html.section('Title', language)")
    Path("in.csv").write_text("four")
    run("own.ipynb", {}, out=Path("o"))
    with pytest.warns(UserWarning, match="'own' shows more than its result holds: it is run again"):
        assert cli.main(["page", "o", "--lang", "fr"]) == 0
    assert capsys.readouterr().out == "The page: o/page.fr.html\n"
    assert "fr" in text_of("o/page.fr.html")
    assert Path("times").read_text() == "xx"
    assert find_run("o").changed_files() == []

    Path("in.csv").write_text("five5")
    with (
        pytest.warns(UserWarning, match="run again"),
        pytest.raises(WinbackError, match=r"'o' are not as they were: in\.csv: changed"),
    ):
        render_again("o", language="fr")
    make(Path("own.ipynb"), "data: str = 'in.csv'", "1")
    run("own.ipynb", {}, out=Path("o"))
    with pytest.raises(WinbackError, match="'own' has no parameter `language`"):
        render_again("o", language="fr")


def test_what_cannot_be_rendered_again_is_refused():
    with pytest.raises(WinbackError, match="is the page of the run itself"):
        render_again("en/2-design", language="fr", page=Path("en/2-design/page.html"))
    with pytest.raises(WinbackError, match="no run in 'nowhere'"):
        render_again("nowhere")
    result = Path("en/2-design/design.json")
    kept = result.read_bytes()
    result.write_text("{}", encoding="utf-8")
    with pytest.raises(WinbackError, match=r"design\.json' was changed after its run"):
        render_again("en/2-design", language="fr")
    result.write_bytes(kept)
