"""The runner: typed parameters, one folder a run, a failure that replaces nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from notebooks import HANGS, alive, leftovers, make, wait_until

from experiments.common import run_records
from experiments.common.errors import WinbackError
from experiments.common.run_records import Run, commit_of, runs
from experiments.runner.documents import find_notebook, headline_of
from experiments.runner.notebooks import run
from experiments.runner.parameters import Parameter, parameters_of
from experiments.sheet.sheet import Sheet

HEADER = "from datetime import date\nfrom typing import Literal\n"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pages(monkeypatch):
    """Stand in for the room `pages`: tests of the runner need no template."""
    stand_in: Any = ModuleType("experiments.report.page")
    stand_in.render = lambda notebook, page: page.write_text(f"<html>{len(notebook.read_text())}")
    monkeypatch.setitem(sys.modules, "experiments.report.page", stand_in)
    return stand_in


# ---- parameters


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("int", "24", 24),
        ("int", "-3", -3),
        ("int", np.int64(7), 7),
        ("float", "0.1", 0.1),
        ("float", "3", 3.0),
        ("float", 2, 2.0),
        ("float", np.float64(0.5), 0.5),
        ("str", "007", "007"),
        ("str", "12:30", "12:30"),
        ("str", "none", "none"),
        ("str", "", ""),
        ("str", " a ", " a "),
        ("str", Path("data/sheet.yaml"), str(Path("data/sheet.yaml"))),
        ("bool", "false", False),
        ("bool", "True", True),
        ("bool", "0", False),
        ("bool", np.bool_(True), True),  # noqa: FBT003  # NumPy's bool has no other way
        ("date", "2026-01-31", date(2026, 1, 31)),
        ("date", date(2026, 1, 31), date(2026, 1, 31)),
        ("date", pd.Timestamp("2026-01-31"), date(2026, 1, 31)),
        ("Literal['profit', 'roi']", "roi", "roi"),
        ("list[int]", "6,12, 24", [6, 12, 24]),
        ("list[int]", np.array([6, 12]), [6, 12]),
        ("list[float]", (1, 0.5), [1.0, 0.5]),
        ("list[str]", "price, service", ["price", "service"]),
        ("list[str]", "", []),
        ("int | None", "none", None),
        ("int | None", "5", 5),
        ("None | int", None, None),
        ("str | None", "None", "None"),  # an offer may have this name
        ("Literal['none', 'all'] | None", "none", "none"),
        ("list[int] | None", "none", None),
    ],
)
def test_a_value_becomes_its_type(type_, text, value):
    read = Parameter(name="p", type=type_, default="").parse(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("type_", "value", "cure"),
    [
        ("int", "1.5", "for example 24"),
        ("int", "1e3x", "whole number"),
        ("int", "1_000", "whole number"),
        ("int", "", "whole number"),
        ("int", True, "whole number"),
        ("int", 5.0, "whole number"),
        ("int", "none", "whole number"),
        ("int", None, "whole number"),
        ("float", "nan", "finite"),
        ("float", "inf", "finite"),
        ("float", "1e999", "finite"),
        ("float", float("nan"), "finite"),
        ("float", 10**400, "finite"),
        ("float", "0,1", "decimal point"),
        ("float", True, "finite"),
        ("str", 7, "text"),
        ("str", None, "text"),
        ("bool", "maybe", "true or false"),
        ("bool", 1, "true or false"),
        ("date", "31.1.2026", "2026-01-31"),
        ("date", "20260131", "2026-01-31"),
        ("date", datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31"),
        ("date", pd.NaT, "2026-01-31"),
        ("Literal['profit', 'roi']", "profitt", "Did you mean 'profit'"),
        ("Literal['profit', 'roi']", 7, "Use one of"),
        ("list[int]", "6,,12", "commas"),
        ("list[int]", "6,x", "whole number"),
        ("list[int]", {6, 12}, "commas"),
        ("list[str]", 6, "commas"),
    ],
)
def test_a_value_of_another_type_is_refused_with_name_value_and_cure(type_, value, cure):
    with pytest.raises(WinbackError, match=cure) as caught:
        Parameter(name="months", type=type_, default="").parse(value)
    assert "'months'" in str(caught.value)
    assert repr(value)[:40] in str(caught.value)


def test_the_parameters_cell_is_read_in_order_with_types_defaults_and_help(tmp_path):
    source = (
        HEADER
        + 'question: str = "a = b"  # a line with two = and a # sign\n'
        + "horizon_months: int | None = 24\n"
        + "read_on: date = None  # the day\n"
        + 'since: date = date.fromisoformat("2026-01-31")\n'
        + 'objective: Literal["profit", "roi"] = "profit"\n'
        + "rates: list[float] = [\n    0.1,\n    -2,\n]  # some\n"
        + "share: float = 1"
    )
    found = parameters_of(make(tmp_path / "n.ipynb", source))
    assert [(p.name, p.type, p.default, p.help) for p in found.values()] == [
        ("question", "str", "a = b", "a line with two = and a # sign"),
        ("horizon_months", "int | None", 24, ""),
        ("read_on", "date", None, "the day"),
        ("since", "date", date(2026, 1, 31), ""),
        ("objective", "Literal['profit', 'roi']", "profit", ""),
        ("rates", "list[float]", [0.1, -2.0], "some"),
        ("share", "float", 1.0, ""),
    ]
    assert list(found) == [p.name for p in found.values()]
    assert found["read_on"].parse("none") is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a: int = 1\nb = 2", r"line 2: `b = 2` is not `name: type = default`"),
        ("a: int", "is not `name: type = default`"),
        ("print(1)", "is not `name: type = default`"),
        ("import os", "is not `name: type = default`"),
        ("a.b: int = 1", "is not `name: type = default`"),
        ("a: int = 1\na: int = 2", "line 2: 'a' stands there twice"),
        ("a: int = ", "line 1: invalid syntax"),
        ("%matplotlib inline", "line 1: invalid syntax"),
        ("a: dict = {}", r"type `dict` is not known. Use int, float"),
        ("a: list[date] = []", "is not known"),
        ("a: Literal[1, 2] = 1", "is not known"),
        ("a: int = 60 * 24", r"default `60 \* 24` is no plain value"),
        ("a: int = '5'", "default `'5'` of 'a' is no int"),
        ("a: str = 5", "must be text"),
        ("a: int = None", "default `None` of 'a' is no int"),
        ("a: bool = 1", "must be true or false"),
        ("a: list[int] = '1,2'", "is no list"),
        ("date: date = None", "would hide the type"),
        ("a: Annotated[int, '1 to 60'] = 61", "must be 1 to 60"),
        ("a: Annotated[int, 'one to 60'] = 6", "the range 'one to 60' is not known"),
        ("a: Annotated[int, '5'] = 5", "the range '5' is not known"),
        ("a: Annotated[str, '1 to 60'] = ''", "a range is for numbers"),
        ("a: Annotated[int, 'above 0.5'] = 1", "the range 'above 0.5' is not of whole numbers"),
        ("a: Annotated[int, 1] = 1", "is not known"),
    ],
)
def test_a_parameters_cell_that_says_something_else_is_refused(tmp_path, source, message):
    with pytest.raises(WinbackError, match=message):
        parameters_of(make(tmp_path / "n.ipynb", source))


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        ("1 to 60", ["1", "60"], ["0", "61"]),
        ("0 to below 1", ["0", "0.999"], ["-0.1", "1"]),
        ("above 0.5, below 1", ["0.501", "0.99"], ["0.5", "1", "2"]),
        ("above 0, up to 1", ["0.1", "1"], ["0", "1.1"]),
        ("-2 or more", ["-2", "1e9"], ["-2.5"]),
        ("above 0", ["0.1"], ["0", "-1"]),
    ],
)
def test_a_number_outside_its_range_is_refused_in_the_words_of_the_range(words, inside, outside):
    for many in ("", "list"):
        parameter = Parameter(name="p", type=f"{many}[float]" if many else "float", default=1.0, range=words)
        for text in inside:
            parameter.parse(text)
        for text in outside:
            with pytest.raises(WinbackError, match=f"it must be {words}"):
                parameter.parse(f"{inside[0]},{text}" if many else text)
    assert Parameter(name="p", type="float | None", default=None, range=words).parse("none") is None


def test_the_ranges_of_the_readout_are_those_of_the_sheet():
    fields, wrong = Sheet.model_fields, "from {}: {}"
    for name, parameter in parameters_of(find_notebook("3-readout")).items():
        bounds = {type(one).__name__: one for field in [fields.get(name)] if field for one in field.metadata}
        if {"Ge", "Gt", "Le", "Lt"} & set(bounds):
            low = f"above {bounds['Gt'].gt:g}" if "Gt" in bounds else f"{bounds['Ge'].ge:g}"
            high = f"below {bounds['Lt'].lt:g}" if "Lt" in bounds else f"{bounds['Le'].le:g}" if "Le" in bounds else ""
            joined = ", " if low.startswith("above") else " to "
            assert parameter.range == (f"{low}{joined}{high}" if high else f"{low} or more"), wrong.format(name, bounds)


def test_a_notebook_has_exactly_one_parameters_cell(tmp_path):
    with pytest.raises(WinbackError, match="'none' has no code cell tagged"):
        parameters_of(make(tmp_path / "none.ipynb", []))
    with pytest.raises(WinbackError, match="'two' has 2 code cells tagged"):
        parameters_of(make(tmp_path / "two.ipynb", ["a: int = 1", "b: int = 1"]))


@pytest.mark.parametrize(
    "text",
    ["", "not json", "[]", '{"worksheets": []}', '{"cells": [{}], "metadata": {}}', '{"cells": [], "metadata": null}',
     '{"cells": [{"cell_type": "code", "metadata": {}, "source": null}], "metadata": {}}'],
)  # fmt: skip
def test_a_file_that_is_no_notebook_is_refused(tmp_path, text):
    (tmp_path / "n.ipynb").write_text(text)
    with pytest.raises(WinbackError, match="is no notebook of format 4"):
        parameters_of(tmp_path / "n.ipynb")


def test_an_unknown_parameter_is_refused_and_out_is_not_for_the_user(tmp_path):
    notebook = make(tmp_path / "n.ipynb", "horizon_months: int = 24\nout: str = '.'")
    with pytest.raises(WinbackError, match=r"'n' has no parameter 'horizn_months'\. Did you mean 'horizon_months'"):
        run(notebook, {"horizn_months": 1}, out=tmp_path / "o")
    with pytest.raises(WinbackError, match="'out' is set by the run"):
        run(notebook, {"out": "x"}, out=tmp_path / "o")
    with pytest.raises(WinbackError, match=r"Input 'gone\.csv' cannot be read"):
        run(notebook, {}, out=tmp_path / "o", inputs=[Path("gone.csv")])
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("given", [{"mnths": "1"}, {"months": "x"}])
def test_parameters_are_refused_before_papermill_is_imported(tmp_path, given):
    make(tmp_path / "n.ipynb", "months: int = 24")
    script = f"""
import sys
from pathlib import Path
from experiments.runner.notebooks import run
try:
    run("n.ipynb", {given!r}, out=Path("o"))
except ValueError as error:
    print(error)
print({{"papermill", "nbformat", "nbclient", "IPython", "pandas"}} & set(sys.modules))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "months" in answer.stdout
    assert answer.stdout.endswith("set()\n")


# ---- which notebook


def test_a_shipped_notebook_is_found_by_stem_name_and_number(tmp_path):
    shipped = make(tmp_path / "notebooks" / "93-farewell.ipynb", "")
    for name in ("93-farewell", "farewell", "93", "farewell.ipynb", shipped):
        assert find_notebook(name).samefile(shipped)


@pytest.mark.parametrize("name", ["farewel", "93-farewel", "notebooks/93-farwell.ipynb"])
def test_an_unknown_notebook_is_refused_with_the_nearest(tmp_path, name):
    make(tmp_path / "notebooks" / "93-farewell.ipynb", "")
    with pytest.raises(WinbackError, match=f"no notebook '{name}'. Did you mean '93-farewell'"):
        find_notebook(name)


def test_the_empty_name_is_no_notebook(tmp_path):
    make(tmp_path / "notebooks" / "plain.ipynb", "")
    with pytest.raises(WinbackError, match="no notebook ''"):
        find_notebook("")


# ---- a run that succeeds


def test_a_run_puts_notebook_page_files_and_run_json_into_its_folder(tmp_path):
    """With the real page."""
    (tmp_path / "in.csv").write_text("a\n1\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "part.csv").write_text("b")
    source = HEADER + "months: int = 24\nday: date = None\nwhy: str = 'x'\nout: str = '.'"
    write = "from pathlib import Path\nPath(out, 'pictures').mkdir()\nPath(out, 'pictures', 'a.txt').write_text(why)"
    make(tmp_path / "notebooks" / "3-readout.ipynb", source, write, "print(months, repr(day), out)")
    out, begun = Path("reports/demo/3-readout"), datetime.now(UTC)

    done = run("readout", {"months": "36", "day": "2026-01-31"}, out=out, inputs=[Path("in.csv"), Path("folder")])

    assert sorted(path.name for path in out.iterdir()) == ["notebook.ipynb", "page.html", "pictures", "run.json"]
    assert (out / "pictures" / "a.txt").read_text() == "x"
    assert done.page.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert leftovers(tmp_path / "reports") == []

    stored = json.loads((out / "run.json").read_text())
    names = "notebook parameters inputs code versions commit started seconds status headline files time_zone"
    assert " ".join(stored) == names
    assert stored["notebook"] == "3-readout"
    assert stored["parameters"] == {"months": 36, "day": "2026-01-31", "why": "x"}
    assert stored["inputs"] == {
        "in.csv": sha256(b"a\n1\n").hexdigest(),
        str(Path("folder/part.csv")): sha256(b"b").hexdigest(),
    }
    assert set(stored["versions"]) == {"python", *run_records.PACKAGES}
    assert None not in stored["versions"].values()
    assert stored["versions"]["pandas"] == pd.__version__
    assert stored["commit"] is None
    assert stored["status"] == "done"
    assert stored["headline"] == ""
    started, ended = datetime.fromisoformat(stored["started"]), datetime.now(UTC)
    assert begun - timedelta(milliseconds=1) <= started <= ended  # it is written in milliseconds
    assert 0 < stored["seconds"] <= (ended - begun).total_seconds()
    assert Run.read(out / "run.json") == done
    assert runs(Path("reports")) == [done]

    executed = nbformat.read(out / "notebook.ipynb", as_version=4)
    nbformat.validate(executed)
    assert executed.cells[1].metadata.tags == ["injected-parameters"]
    assert executed.cells[-1].outputs[0].text == "36 datetime.date(2026, 1, 31) reports/demo/3-readout\n"
    assert executed.metadata.papermill.parameters == stored["parameters"]
    assert str(tmp_path) not in (out / "notebook.ipynb").read_text()
    assert "output_path" not in executed.metadata.papermill

    make(tmp_path / "o.ipynb", "months: int = 1")
    again = run(out / "notebook.ipynb", {"months": 1}, out=tmp_path / "again")  # an executed notebook runs again
    assert again.parameters["months"] == 1
    assert (tmp_path / "again" / "notebook.ipynb").read_text().count('"injected-parameters"') == 2  # its tag, its id


SHOW = """from IPython.display import HTML, display
def show(part, headline):
    display(HTML('<p>x</p>'), metadata={'winback': {'part': part, 'headline': headline}})"""


@pytest.mark.usefixtures("pages")
def test_the_headline_is_that_of_the_first_verdict_shown(tmp_path):
    cells = ("show('table', 'No verdict')", "show('verdict', 'Choose \"A & <B>\"')", "show('verdict', 'Second')")
    assert run(make(tmp_path / "n.ipynb", "", SHOW, *cells), {}, out=Path("o")).headline == 'Choose "A & <B>"'
    assert json.loads(Path("o/run.json").read_text())["headline"] == 'Choose "A & <B>"'


@pytest.mark.usefixtures("pages")
def test_the_verdict_of_a_page_is_the_headline(tmp_path):
    choose = "from experiments.report import html\nhtml.verdict('Sentence.', word='Choose \"A & <B>\"', tone='go')"
    assert run(make(tmp_path / "n.ipynb", "", choose), {}, out=Path("o")).headline == 'Choose "A & <B>"'


@pytest.mark.parametrize("metadata", [{}, {"winback": {}}, {"winback": {"part": "table", "headline": "No"}}])
def test_without_a_verdict_there_is_no_headline(metadata):
    outputs = [{"output_type": "stream", "text": "log"}, {"data": {"text/html": ["<p>"]}, "metadata": metadata}]
    assert headline_of({"cells": [{"cell_type": "markdown"}, {"outputs": outputs}]}) == ""


@pytest.mark.usefixtures("pages")
def test_a_value_stays_text_whatever_is_in_it(tmp_path):
    evil = '"); import os; os._exit(1)\n\'\'\'"""\\\n%%bash\n{pm}\x00\udc80 ☎'
    cells = ("import json\nfrom pathlib import Path\nPath(out, 'text.json').write_text(json.dumps([text, texts]))",)
    notebook = make(tmp_path / "{n}.ipynb", "text: str = ''\ntexts: list[str] = []\nout: str = ''", *cells)
    run(notebook, {"text": evil, "texts": [evil]}, out=tmp_path / "{pm} 'o'")
    assert json.loads((tmp_path / "{pm} 'o'" / "text.json").read_text()) == [evil, [evil]]


@pytest.mark.usefixtures("pages")
def test_success_replaces_the_run_before_and_leaves_what_is_not_its_own(tmp_path):
    cells = ("from pathlib import Path\nPath(out, f'{name}.txt').write_text(name)",)
    notebook = make(tmp_path / "n.ipynb", "name: str = 'a'\nout: str = ''", *cells)
    out = tmp_path / "o"
    run(notebook, {}, out=out)
    (out / "notes.md").write_text("mine")
    for stale in ("failed.ipynb", "page.pdf"):
        (out / stale).write_text("{}")
    run(notebook, {"name": "b"}, out=out)
    assert sorted(contents(out)) == ["b.txt", "notebook.ipynb", "notes.md", "page.html", "run.json"]


@pytest.mark.usefixtures("pages")
def test_two_runs_at_once_do_not_mix(tmp_path, start):
    write = "import time\nfrom pathlib import Path\nPath(out, 'a').write_text(str(n))\nPath(f'begun{n}').touch()\n"
    write += f"end = time.monotonic() + {HANGS}\n"
    write += "while len([*Path().glob('begun*')]) < 3 and time.monotonic() < end:\n    time.sleep(0.01)\n"
    notebook = make(tmp_path / "n.ipynb", "n: int = 0\nout: str = ''", write + "Path(out, 'b').write_text(str(n))")
    script = "import sys, types; from pathlib import Path; from experiments.runner.notebooks import run\n"
    script += "sys.modules['experiments.report.page'] = types.SimpleNamespace(render=lambda n, p: p.write_text('x'))\n"
    script += "run('n.ipynb', {'n': sys.argv[1]}, out=Path('o'))"
    others = [start([sys.executable, "-c", script, n]) for n in ("1", "2")]
    run(notebook, {"n": 3}, out=Path("o"))
    assert [other.wait(timeout=HANGS) for other in others] == [0, 0]
    assert len([*tmp_path.glob("begun*")]) == 3
    stored = Run.read(Path("o/run.json"))
    assert stored.parameters["n"] == int(Path("o/a").read_text()) == int(Path("o/b").read_text())
    assert sorted(contents(Path("o"))) == ["a", "b", "notebook.ipynb", "page.html", "run.json"]
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no lock on folders")
def test_the_files_in_a_folder_are_of_one_run(tmp_path):
    def publish(number: int) -> None:
        work = tmp_path / f"work{number}"
        work.mkdir()
        names = [f"{name}.txt" for name in range(number, number + 100)]
        for name in names:
            (work / name).write_text(str(number))
        done = stored(tmp_path / "o", started="2026-01-31T00:00:00+00:00", files=names)
        barrier.wait()
        run_records.publish(done, work)

    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = contents(tmp_path / "o")
    assert sorted(left) == sorted(["run.json", *Run.read(tmp_path / "o" / "run.json").files])
    assert len({text for name, text in left.items() if name != "run.json"}) == 1


# ---- a run that fails


@pytest.mark.usefixtures("pages")
def test_a_failed_run_replaces_nothing_and_keeps_the_failed_notebook(tmp_path):
    cells = ("from pathlib import Path\nPath(out, 'a.txt').write_text(secret)", "\n# divide\n1 / zero")
    notebook = make(tmp_path / "n.ipynb", "zero: int = 1\nsecret: str = ''\nout: str = ''", *cells)
    out = Path("o")
    run(notebook, {}, out=out)
    before = contents(out)
    with pytest.raises(WinbackError) as caught:
        run(notebook, {"zero": 0, "secret": "hush-hush"}, out=out)
    assert str(caught.value).splitlines() == [
        "Notebook 'n' failed in the cell that begins `# divide`:",
        "ZeroDivisionError: division by zero",
        f"The failed notebook: {Path('o/failed.ipynb')}",
    ]
    after = contents(out)
    failed = nbformat.reads(after.pop("failed.ipynb"), as_version=4)
    record = json.loads(after.pop("failed.json"))
    assert after == before
    assert (record["status"], record["headline"]) == ("failed", "ZeroDivisionError: division by zero")
    assert "ZeroDivisionError" in str(failed.cells[-1].outputs)
    assert failed.metadata.papermill.keys().isdisjoint({"input_path", "output_path"})
    assert leftovers(tmp_path) == []

    run(notebook, {}, out=out)
    assert sorted(contents(out)) == sorted(before)


@pytest.mark.usefixtures("pages")
def test_an_error_of_ours_is_told_without_traceback_in_at_most_15_lines(tmp_path):
    raise_it = (
        "from experiments.common.errors import WinbackError\nraise WinbackError('\\n'.join(['No offer.'] + ['x'] * 40))"
    )
    with pytest.raises(WinbackError) as caught:
        run(make(tmp_path / "n.ipynb", "", raise_it), {}, out=Path("o"))
    lines = str(caught.value).splitlines()
    assert len(lines) <= 15
    assert lines[1] == "No offer."
    assert lines[-2] == "... 32 more lines in the failed notebook"
    assert "Traceback" not in str(caught.value)


@pytest.mark.usefixtures("pages")
@pytest.mark.skipif(sys.platform == "win32", reason="no signal 9")
def test_a_killed_kernel_is_a_failure(tmp_path, capfd):
    notebook = make(tmp_path / "n.ipynb", "", "import os\nos.kill(os.getpid(), 9)", "print('never')")
    with pytest.raises(WinbackError, match="begins `import os`:\nDeadKernelError: its Python was killed"):
        run(notebook, {}, out=Path("o"))
    failed = nbformat.read("o/failed.ipynb", as_version=4)
    nbformat.validate(failed)
    assert failed.metadata.papermill.exception is True
    assert failed.cells[-2].outputs[0].ename == "DeadKernelError"
    assert sorted(contents(Path("o"))) == ["failed.ipynb", "failed.json"]
    assert capfd.readouterr() == ("", "")  # jupyter's own warnings are not the user's


@pytest.mark.usefixtures("pages")
def test_leaving_a_notebook_before_its_end_is_a_failure(tmp_path):
    notebook = make(tmp_path / "n.ipynb", "", "import sys\nsys.exit(0)", "print('never')")
    with pytest.raises(WinbackError, match="left before its end"):
        run(notebook, {}, out=Path("o"))


def test_a_page_that_cannot_be_made_is_a_failure(tmp_path, pages):
    def render(notebook: Path, page: Path) -> None:
        raise KeyError(notebook.name + page.name)

    pages.render = render
    with pytest.raises(WinbackError, match=r"while its page was made:\nKeyError: 'notebook\.ipynbpage\.html'"):
        run(make(tmp_path / "n.ipynb", "", "1"), {}, out=Path("o"))
    assert sorted(contents(Path("o"))) == ["failed.ipynb", "failed.json"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "o").write_text("mine")
    with pytest.raises(WinbackError, match="'o' is a file"):
        run(make(tmp_path / "n.ipynb", ""), {}, out=Path("o"))
    with pytest.raises(WinbackError, match="Folder 'o' cannot be written"):
        run(make(tmp_path / "n.ipynb", ""), {}, out=Path("o/p"))


@pytest.mark.skipif(sys.platform == "win32", reason="no signals between processes")
def test_an_interrupt_ends_the_kernel_and_changes_nothing(tmp_path, start):
    wait = "import os, time\nfrom pathlib import Path\nPath('new').write_text(str(os.getpid()))\n"
    make(tmp_path / "n.ipynb", "out: str = ''", wait + "Path('new').rename('pid')\ntime.sleep(3600)")
    (tmp_path / "o").mkdir()
    script = "import sys, types; from pathlib import Path; from experiments.runner.notebooks import run\n"
    script += "sys.modules['experiments.report.page'] = types.SimpleNamespace(render=None)\n"
    script += "try:\n    run('n.ipynb', {}, out=Path('o'))\nexcept KeyboardInterrupt:\n    print('interrupted')"
    process = start([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until((tmp_path / "pid").exists, process)
    kernel = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=HANGS) == ("interrupted\n", "")
    wait_until(lambda: not alive(kernel))
    assert contents(tmp_path / "o") == {}
    assert leftovers(tmp_path) == []


# ---- the register of runs


def stored(out: Path, *, started: str, files: list[str] | None = None) -> Run:
    return Run(
        out=out,
        notebook=out.name,
        parameters={},
        inputs={},
        code={},
        versions={},
        commit=None,
        started=started,
        seconds=1.0,
        files=dict.fromkeys(files or [], ""),
    )


def test_runs_come_newest_first_and_unreadable_ones_are_noted(tmp_path, caplog):
    times = {"a": "2026-01-31T10:00:00+00:00", "b": "2026-01-31T12:00:00+00:00", "c": "2026-01-31T11:00:00.500+00:00"}
    for name, started in times.items():
        (tmp_path / "demo" / name).mkdir(parents=True)
        stored(tmp_path / "demo" / name, started=started).write(tmp_path / "demo" / name / "run.json")
    for name, text in {"broken": "{", "other": '{"a": 1}', "list": "[]", ".unfinished": "{"}.items():
        (tmp_path / "demo" / name).mkdir()
        (tmp_path / "demo" / name / "run.json").write_text(text)
    assert [found.notebook for found in runs(tmp_path)] == ["b", "c", "a"]
    assert len(caplog.messages) == 3
    assert all(message.startswith("Skipped") for message in caplog.messages)


def test_the_commit_says_whether_files_were_changed_since(tmp_path):
    def git(*words: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        identity = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *words]
        return subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True).stdout

    git("init")
    assert commit_of(tmp_path) is None
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "a", "--no-verify")
    commit = git("rev-parse", "HEAD").strip()
    assert commit_of(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert commit_of(tmp_path) == f"{commit}-dirty"
