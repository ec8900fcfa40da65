"""The page an executive gets: safe, whole, readable; measured in a real browser where there is one."""

import base64
import json
import re
from html.parser import HTMLParser

import browsing
import nbformat
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from experiments.common.errors import WinbackError
from experiments.common.files import write_text
from experiments.common.language import speaking
from experiments.report import html as parts
from experiments.report import page as pages
from experiments.report.html import Html, bare

EVIL = """<script>document.title = "bad"</script> "quoted" 'single' <img src=x onerror=alert(1)> &amp;"""


class Seen(HTMLParser):
    """What a browser would see: tags with their attributes, and text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(str(html))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.lasttag != "style" or "{" not in data:
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return "".join(self.words)


def drawing(width=9, height=4.5):
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height))
    axes.scatter([45, 50, 55, 98], [317, 340, 358, 302])
    axes.set_xlabel("Cost per contacted customer, $")
    return figure


def ten_columns():
    names = [
        "Assigned",
        "Accepted",
        "Returned",
        "Lift",
        "Months",
        "Value",
        "Cost",
        "Net",
        "ROI",
        "Cost per extra return",
    ]
    row = ["7,952", "45.0 %\n43.9 to 46.1", "47.1 %", "42.7 pts", "5.80\n5.62 to 5.97", "$389.79", "$50.13", "$339.66"]
    offers = ["Discount\n$20 off for 6 months", "Upgrade", "Bundle", "Tailored", "Holdout", "Best offer by reason"]
    frame = pd.DataFrame([[*row, "678 %\n601 to 755", "$117"]] * 6, index=offers, columns=names)
    frame.index.name = "Offer"
    return frame


def full_page():
    """Everything a readout shows."""
    return [
        parts.verdict("Tailored earns $358 a customer.", word="Choose tailored", tone="go", detail="Discount follows.")
        + parts.facts([("Net per contacted", "$358", "95 % interval $319 to $397")] * 4),
        parts.verdict("Follow-up is short.", word="Not enough data", tone="wait"),
        parts.verdict("The arms have the wrong sizes.", word="Do not decide", tone="stop"),
        parts.section(
            "Return against cost",
            parts.picture(
                drawing(), alt="Tailored stands highest.", caption="Dots are estimates.", narrow=drawing(4, 4)
            ),
            parts.picture(drawing(), alt="The same for every width.", caption="One drawing."),
            intro="Two offers earn most.",
        ),
        parts.section("Offers", parts.table(ten_columns(), caption="Per assigned customer", notes=["95 % intervals."])),
        parts.section(
            "Can it be trusted?",
            parts.check_list([(f"Check {state}", state, "Reason.", "Act.") for state in parts.STATES]),
        ),
        parts.section("Method", parts.definitions({"Interval": "Grouped jackknife."}), "A paragraph.", open=False),
        parts.section("Provenance", parts.definitions({"Sheet": "sha256 " + "9f86d081" * 8}), open=False),
        Html(pd.DataFrame({f"column {i}": [1.5] for i in range(16)})._repr_html_()),
    ]


def shown(html):
    data, metadata = html._repr_mimebundle_() if isinstance(html, Html) else ({"text/html": html}, {})
    return new_code_cell("secret_code()", outputs=[new_output("display_data", data=data, metadata=metadata)])


def book_of(*outputs, heading="# Winning back customers\n\nWhich offer should we make?"):
    return new_notebook(cells=[new_markdown_cell(heading), *map(shown, outputs)])


@pytest.fixture
def rendered(tmp_path):
    def render(book):
        path = tmp_path / "3-readout.ipynb"
        nbformat.write(book, path)
        pages.render(path, tmp_path / "page.html")
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    return render


# Parts


@pytest.mark.parametrize(
    "part",
    [
        lambda text: parts.verdict(text, word=text, tone="go", detail=text),
        lambda text: parts.facts([(text, text, text)]),
        lambda text: parts.section(text, text, intro=text),
        lambda text: parts.section(text, text, intro=text, open=False),
        lambda text: parts.table(
            pd.DataFrame([[text]], index=pd.Index([text], name=text), columns=[text]), caption=text, notes=[text]
        ),
        lambda text: parts.picture(drawing(), alt=text, caption=text),
        lambda text: parts.check_list([(text, "pass", text, text)]),
        lambda text: parts.definitions({text: text}),
        lambda text: Html("") + text,
    ],
)
def test_every_text_stays_text(part):
    seen, harmless = Seen(part(EVIL)), Seen(part("harmless"))
    assert seen.text == harmless.text.replace("harmless", EVIL)
    assert [tag for tag, _ in seen.tags] == [tag for tag, _ in harmless.tags]
    for (_, evil), (_, good) in zip(seen.tags, harmless.tags, strict=True):
        assert evil.keys() == good.keys()


def test_html_passes_as_it_is():
    assert "<b>now</b>" in parts.section("Title", Html("<b>now</b>")).text
    assert "<td><b>yes</b></td>" in parts.table(pd.DataFrame({"a": [Html("<b>yes</b>")]}), caption="c").text
    assert 'aria-label="Table: &quot;now&quot;"' in parts.table(pd.DataFrame(), caption=Html('<b>"now"</b>')).text


def test_the_plain_twin_of_an_output_is_short():
    assert repr(Html("x" * 100_000)) == "Html(100000 characters)"
    assert bare(Html("<p>a</p>")._repr_html_()) == "<p>a</p>"


@pytest.mark.parametrize(("tone", "word"), [("go", "Go"), ("wait", "Wait"), ("stop", "Stop")])
def test_a_verdict_says_its_tone_in_words_sign_and_colour(tone, word):
    html = parts.verdict("Sentence.", word="Choose discount", tone=tone).text
    assert f"Verdict: {word}" in html
    assert f'class="verdict {tone}"' in html
    assert parts.SIGNS[tone] in html
    assert "detail" not in html


def test_signs_of_different_meaning_differ_in_shape():
    assert len({parts.SIGNS[tone] for tone in parts.TONES}) == 3
    assert len({parts.SIGNS[state] for state in parts.STATES}) == 3


def test_an_unknown_tone_or_state_is_refused():
    with pytest.raises(WinbackError, match=r"Unknown tone 'stopp'\. Did you mean 'stop'"):
        parts.verdict("s", word="w", tone="stopp")
    with pytest.raises(WinbackError, match=r"Unknown state of a check 'passed'\. Did you mean 'pass'"):
        parts.check_list([("name", "passed", "reason", "")])


def test_a_check_without_a_duty_shows_none():
    assert "To do" not in parts.check_list([("name", "pass", "reason", "")]).text
    assert "To do" in parts.check_list([("name", "warn", "reason", "act")]).text


def test_sections_are_named_by_their_own_title():
    first, second = parts.section("Offers", "a"), parts.section("Offers", "b")
    idents = [Seen(part).all("section")[0]["aria-labelledby"] for part in (first, second)]
    assert idents == [Seen(part).all("h2")[0]["id"] for part in (first, second)]
    assert idents[0] != idents[1]
    assert first == parts.section("Offers", "a")


def test_a_closed_section_folds():
    assert "<details><summary>" in parts.section("Method", "a", open=False).text
    assert "<details" not in parts.section("Method", "a").text


def test_a_table_has_headers_for_rows_and_columns():
    seen = Seen(parts.table(ten_columns(), caption="Per customer"))
    assert [head["scope"] for head in seen.all("th")] == ["col"] * 11 + ["row"] * 6
    region = next(attrs for attrs in seen.all("div") if attrs.get("role") == "region")
    assert region["aria-label"] == "Table: Per customer"
    assert region["tabindex"] == "0"
    assert len(seen.all("caption")) == 1


def test_numbers_stand_right_and_words_left():
    frame = pd.DataFrame(
        {"net": ["$339.66", "−$2.10", "–"], "roi": ["678 %", "n < 5", "3 %"], "said": ["yes", "no", "1 no"]},
        index=list("abc"),
    )
    html = parts.table(frame, caption="c").text
    assert re.findall(r'<th scope="col"( class="number")?>(\w+)', html) == [
        (' class="number"', "net"),
        ("", "roi"),
        ("", "said"),
    ]
    assert '<td class="number">–</td>' in html


@pytest.mark.parametrize(
    "text", ["1", "-1.5", "−3 %", "$ 12", "-$12", "€1,000", "EUR 12", "< .001", "≥ 5", ".62", "(1 to 2)"]
)
def test_a_number_is_known_by_its_looks(text):
    assert parts._numeric([text, "–"])


def test_a_missing_cell_is_a_dash_and_further_lines_are_small():
    html = parts.table(pd.DataFrame({"a": ["1\n0 to 2", None]}), caption="c").text
    assert '<td class="number">1<small>0 to 2</small></td>' in html
    assert '<td class="number">–</td>' in html


def test_a_table_leaves_the_frame_as_it_was():
    frame = pd.DataFrame({"a": ["1", None]})
    before = frame.copy()
    parts.table(frame, caption="c")
    pd.testing.assert_frame_equal(frame, before)


def svg_of(html):
    address = Seen(html).all("img")[0]["src"]
    assert address.startswith("data:image/svg+xml;base64,")
    return base64.b64decode(address.partition(",")[2]).decode()


def test_a_picture_is_the_same_in_every_run_and_knows_no_machine():
    first, second = (parts.picture(drawing(), alt="Dots.", caption="c") for _ in range(2))
    assert first == second
    svg = svg_of(first)
    assert "<text" in svg  # text stays text: it can be read, selected and searched
    assert set(re.findall('font-family: ([^;"]*)', svg)) == {"Helvetica, Arial, sans-serif"}
    assert not re.search("Matplotlib|metadata|dc:|<!", svg)


def test_a_picture_is_closed_and_has_its_size():
    from matplotlib import pyplot as plt

    image = Seen(parts.picture(drawing(), alt=" Dots. ", caption="c")).all("img")[0]
    assert plt.get_fignums() == []
    assert image["alt"] == "Dots."
    assert int(image["width"]) == pytest.approx(1.9 * int(image["height"]), rel=0.2)


def test_a_picture_can_bring_a_drawing_for_phones():
    seen = Seen(parts.picture(drawing(), alt="Dots.", caption="c", narrow=drawing(4, 4)))
    assert seen.all("source")[0]["srcset"] != seen.all("img")[0]["src"]


def test_a_picture_without_alt_text_is_refused():
    with pytest.raises(WinbackError, match="needs alt text"):
        parts.picture(drawing(), alt=" ", caption="c")


# The page


def test_the_page_is_one_small_file_that_loads_and_runs_nothing(rendered):
    html = rendered(book_of(*full_page()))
    seen = Seen(html)
    assert len(html) < 400_000
    assert "<script" not in html
    policy = next(meta["content"] for meta in seen.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    for _, attrs in seen.tags:
        for name in ("src", "srcset", "href", "poster", "data"):
            assert (attrs.get(name) or "data:").startswith(("data:", "#"))
    assert "url(" not in html
    assert "@import" not in html


def test_the_page_has_language_title_and_landmarks(rendered):
    seen = Seen(rendered(book_of("<p>x</p>")))
    assert seen.all("html") == [{"lang": "en"}]
    assert [len(seen.all(tag)) for tag in ("header", "main", "footer", "h1", "title")] == [1] * 5
    assert seen.text.count("Winning back customers") == 2
    assert seen.text.index("Which offer") < seen.text.index("x")
    assert seen.all("a")[0]["href"] == "#main"


def test_code_logs_and_plain_text_are_left_out_and_html_keeps_its_order(rendered):
    book = book_of("<p>first</p>")
    book.cells[1].outputs += [
        new_output("stream", name="stderr", text="a warning"),
        new_output("stream", name="stdout", text="a print"),
        new_output("execute_result", data={"text/plain": "a repr"}),
        new_output("execute_result", data={"text/plain": "a twin", "text/html": "<p>second</p>"}),
        new_output("display_data", data={"text/plain": "a source", "text/markdown": "Then *more*."}),
    ]
    book.cells += [new_markdown_cell("Prose *between*."), shown("<p>third</p>")]
    text = Seen(rendered(book)).text
    for gone in ("secret_code", "a warning", "a print", "a repr", "a twin", "a source"):
        assert gone not in text
    places = [text.index(word) for word in ("first", "second", "Then more.", "Prose between.", "third")]
    assert places == sorted(places)


def test_a_failed_notebook_is_refused_and_the_good_page_stays(rendered, tmp_path):
    good = rendered(book_of("<p>x</p>"))
    failed = book_of("<p>y</p>")
    failed.cells.append(
        new_code_cell("1/0", outputs=[new_output("error", ename="ZeroDivisionError", evalue="by zero")])
    )
    with pytest.raises(WinbackError, match=r"3-readout.ipynb: its cell 3 failed with ZeroDivisionError: by zero\."):
        rendered(failed)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == good


@pytest.mark.parametrize(
    ("output", "what"),
    [
        ("<p>ok</p><script>1</script>", "<script>"),
        ('<img src="https://example.org/a.png" alt="a">', "<img src=...>"),
        ('<img src="data:image/png;base64,AA">', "a picture without alt text"),
        ('<p onclick="x()">a</p>', "<p onclick=...>"),
        ('<a href="JavaScript:x()">a</a>', "<a href=...>"),
        ('<iframe srcdoc="x"></iframe>', "<iframe>"),
        ('<svg><use href="https://example.org/a.svg"/></svg>', "<use href=...>"),
        ('<meta http-equiv="refresh" content="0;url=https://example.org">', "<meta>"),
    ],
)
def test_what_cannot_stand_alone_is_left_out_with_a_warning(rendered, output, what):
    with pytest.warns(UserWarning, match=f"leaves out {re.escape(what)} of cell 2"):
        html = rendered(book_of(output, "<p>stays</p>"))
    assert output not in html
    assert "<p>stays</p>" in html


def test_a_bare_picture_is_left_out_with_a_warning(rendered):
    book = book_of("<p>stays</p>")
    book.cells[1].outputs.append(new_output("display_data", data={"image/png": "AAAA", "text/plain": "<Figure>"}))
    with pytest.warns(UserWarning, match=r"a picture without alt text of cell 2.*html\.picture\(figure, alt="):
        assert "AAAA" not in rendered(book)


def test_markdown_is_prose_and_its_html_is_text(rendered):
    html = rendered(
        book_of(heading="# T\n\nQ?\n\n## More\n\nIt cost **$5** and `x` <script>alert(1)</script>\n\n- a\n- b")
    )
    assert "<h2>More</h2>" in html
    assert "<strong>$5</strong>" in html
    assert "&lt;script&gt;" in html
    assert "<li>a</li>" in html


@pytest.mark.parametrize(
    ("heading", "title", "question"),
    [
        ("# A & B <i> *now*\n\nWhy **so**?", "A & B <i> now", "Why so?"),
        ("# Lost #\nOne line on", "Lost", "One line on"),
        ("\n\n# Lost\n\n- a list", "Lost", ""),
        ("# Lost", "Lost", ""),
        ("Only prose", "Readout", ""),
        ("## Second level", "Readout", ""),
    ],
)
def test_title_and_question_come_from_the_first_heading(rendered, heading, title, question):
    html = rendered(book_of(heading=heading))
    seen = Seen(re.search("<h1>.*?</h1>", html, flags=re.DOTALL)[0])
    assert seen.text == title
    assert Seen(re.search("<title>.*?</title>", html, flags=re.DOTALL)[0].replace("title>", "p>")).text == title
    asked = re.search('<div class="question">(.*?)</div>', html, flags=re.DOTALL)
    assert (Seen(asked[1]).text.strip() if asked else "") == question


def test_an_output_says_of_itself_what_it_is():
    heading, verdict = parts.heading("Which & why?", "Q"), parts.verdict("s", word="Choose\nA & B", tone="go")
    told = {"part": "heading", "title": "Which & why?", "question": "Q", "language": "en"}
    assert heading._repr_mimebundle_() == ({"text/html": heading._repr_html_()}, {"winback": told})
    assert verdict._repr_mimebundle_()[1] == {"winback": {"part": "verdict", "headline": "Choose A & B"}}
    assert (verdict + parts.facts([]))._repr_mimebundle_()[1] == verdict._repr_mimebundle_()[1]
    assert (parts.facts([]) + heading + verdict)._repr_mimebundle_()[1] == {"winback": told}
    assert parts.facts([])._repr_mimebundle_() == ({"text/html": parts.facts([])._repr_html_()}, {})


def test_what_an_output_says_of_itself_passes_the_kernel_and_the_file():
    format_ = DisplayFormatter().format
    heading = parts.heading("Which?", "")
    data, metadata = format_(heading)
    assert data == {"text/html": heading._repr_html_(), "text/plain": repr(heading)}
    assert metadata["winback"]["title"] == "Which?"
    assert format_(parts.facts([]))[1].get("winback") is None


def test_a_heading_among_the_outputs_goes_before_that_of_the_notebook(rendered):
    with speaking("fr"):
        top = parts.heading(f"Qui {EVIL}", "Pourquoi <b> ?")
    verdict = parts.verdict("s", word="Choose A", tone="go")
    for outputs in ((top, verdict), (top + verdict,)):
        seen = Seen(rendered(book_of(*outputs)))
        assert seen.all("html") == [{"lang": "fr"}]
        assert [len(seen.all(tag)) for tag in ("h1", "hgroup", "script")] == [1, 0, 0]
        assert f"Qui {EVIL}" in seen.text
        assert "Pourquoi <b> ?" in seen.text
        assert "Choose A" in seen.text
        assert "Winning back" not in seen.text


def test_a_title_in_the_metadata_serves_where_there_is_no_heading(rendered):
    book = book_of(heading="Prose.")
    book.metadata["title"] = "From <metadata>"
    assert "<h1>From &lt;metadata&gt;</h1>" in rendered(book)


def test_the_date_is_the_run_s_and_the_page_the_same_every_time(rendered):
    book = book_of("<p>x</p>")
    book.metadata["papermill"] = {"end_time": "2026-07-02T16:05:33+02:00"}
    html = rendered(book)
    assert "2 July 2026, 14:05 UTC" in html
    assert rendered(book) == html


def test_no_draft_is_left_behind(rendered, tmp_path, monkeypatch):
    rendered(book_of("<p>x</p>"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3-readout.ipynb", "page.html"]
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_text(tmp_path / "page.html", "half")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3-readout.ipynb", "page.html"]


# The list of runs


def add_run(reports, place, *, page=True, **told):
    folder = reports / place
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(told), encoding="utf-8")
    if page:
        (folder / "page.html").write_text("x", encoding="utf-8")


@pytest.fixture
def reports(tmp_path):
    add_run(
        tmp_path,
        "telecom/1-lost",
        notebook="/somewhere/1-lost.ipynb",
        parameters={"k": 1.5, "evil": EVIL},
        started="2026-07-01T09:00:00Z",
        seconds=72.4,
        status="done",
    )
    add_run(
        tmp_path, "telecom/3-readout", started="2026-07-03T09:00:00+00:00", status="done", headline=EVIL, seconds=3.24
    )
    add_run(tmp_path, "donors & co/3-readout", started="2026-07-02T09:00:00+00:00", status="done")
    add_run(tmp_path, "telecom/.3-readout-x1y2", started="2026-07-04T09:00:00+00:00", status="done")
    add_run(tmp_path, "telecom/2-design", page=False, started="never", status="failed")
    return tmp_path


def test_runs_stand_under_their_experiment_the_newest_first(reports):
    path = pages.index(reports)
    assert path == reports / "index.html"
    seen = Seen(path.read_text(encoding="utf-8"))
    links = [link["href"] for link in seen.all("a")][1:]
    assert links == ["telecom/3-readout/page.html", "telecom/1-lost/page.html", "donors%20%26%20co/3-readout/page.html"]
    assert "1 min 12 s" in seen.text
    assert "3.2 s" in seen.text
    assert "somewhere" not in seen.text
    assert seen.text.count(EVIL) == 2
    assert "Design (no page)" in " ".join(seen.text.split())
    assert "script" not in {tag for tag, _ in seen.tags}


@pytest.mark.parametrize("told", ["{", "[]", "null", '"text"'])
def test_a_run_that_cannot_be_read_is_listed_as_such(tmp_path, told):
    add_run(tmp_path, "telecom/1-lost")
    (tmp_path / "telecom/1-lost/run.json").write_text(told, encoding="utf-8")
    assert "Run.json cannot be read" in pages.index(tmp_path).read_text(encoding="utf-8")


def test_a_run_that_only_ever_failed_leads_to_its_notebook(tmp_path):
    add_run(tmp_path, "telecom/1-lost")
    add_run(tmp_path, "own/report", page=False, status="failed")
    for kept in ("telecom/1-lost", "own/report"):
        (tmp_path / kept / "failed.json").write_bytes((tmp_path / "own/report/run.json").read_bytes())
        (tmp_path / kept / "failed.ipynb").touch()
    (tmp_path / "own/report/run.json").unlink()
    seen = Seen(pages.index(tmp_path).read_text(encoding="utf-8"))
    assert {link["href"] for link in seen.all("a")[1:]} == {"telecom/1-lost/page.html", "own/report/failed.ipynb"}


def test_no_runs_give_a_friendly_page(tmp_path):
    html = pages.index(tmp_path / "reports").read_text(encoding="utf-8")
    assert "No report yet" in html
    assert "winback demo" in html


# In a real browser

browser, visit = browsing.browser, browsing.visit


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A full page, one with evil texts, the list of runs and the empty list."""
    folder = tmp_path_factory.mktemp("pages")
    evil = [
        parts.verdict(EVIL, word=EVIL, tone="go", detail=EVIL),
        parts.section(
            f"{EVIL} again", parts.picture(drawing(), alt=EVIL, caption=EVIL), parts.definitions({EVIL: EVIL})
        ),
        parts.table(pd.DataFrame({EVIL: [EVIL]}, index=[EVIL]), caption=EVIL),
    ]
    made = {}
    for name, book in {"full": book_of(*full_page()), "evil": book_of(*evil, heading=f"# {EVIL}\n\n{EVIL}")}.items():
        nbformat.write(book, folder / f"{name}.ipynb")
        made[name] = folder / f"{name}.html"
        pages.render(folder / f"{name}.ipynb", made[name])
    add_run(folder / "reports", "telecom/3-readout", started="2026-07-03T09:00:00Z", status="done", parameters={"k": 1})
    add_run(folder / "reports", "telecom/2-design", page=False, started="2026-07-02T09:00:00Z", status="failed")
    return made | {"list": pages.index(folder / "reports"), "empty": pages.index(folder / "none")}


def test_what_is_to_be_typed_looks_like_that_and_stays_text():
    page = str(parts.check_list([("Size", "warn", "as `a <b>` and `c: <d>`", "Write `customers: 45`.")]))
    assert "<code>customers: 45</code>" in page
    assert "<b>`" not in page
    assert "<d>" not in page


class TestInBrowser:
    pytestmark = browsing.in_browser
    every_page = pytest.mark.parametrize("name", ["full", "evil", "list", "empty"])
    every_width = pytest.mark.parametrize("width", browsing.WIDTHS)

    @every_page
    @every_width
    def test_a_page_asks_for_nothing_and_nothing_is_cut(self, visit, files, name, width):
        assert browsing.faults_of(visit(name, width), files[name]) == []

    @every_page
    @pytest.mark.parametrize(("width", "scheme"), [("phone", "light"), ("desk", "dark")])
    def test_axe_finds_no_barrier(self, visit, name, width, scheme):
        assert browsing.barriers_of(visit(name, width, color_scheme=scheme, bypass_csp=True)) == []

    def test_every_picture_is_drawn_and_described(self, visit):
        pictures = browsing.pictures_of(visit("full"))
        assert len(pictures) == 2
        assert all(words and drawn for words, drawn in pictures)

    def test_evil_text_is_read_not_run(self, visit):
        page = visit("evil")
        shown = " ".join(EVIL.split())
        assert page.locator(".verdict .sentence").inner_text() == shown
        assert page.locator("td").last.inner_text() == shown
        assert page.locator("img").get_attribute("alt") == shown
        assert page.locator("script").count() == 0
        assert page.title() != "bad"

    def test_the_first_screen_holds_title_verdict_and_facts(self, visit):
        for selector in ("h1", ".verdict >> nth=0", ".facts"):
            box = visit("full").locator(selector).bounding_box()
            assert box["y"] + box["height"] <= 800

    def test_a_wide_table_scrolls_in_its_own_region_by_keyboard(self, visit):
        page = visit("full", "phone")
        region = page.get_by_role("region", name="Table: Per assigned customer")
        assert region.evaluate("e => e.scrollWidth > e.clientWidth")
        region.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("e => e.scrollLeft > 0", arg=region.element_handle())
        assert page.locator("tbody th").first.bounding_box()["x"] >= 0

    def test_the_first_tab_shows_the_skip_link(self, visit):
        page = visit("full")
        page.keyboard.press("Tab")
        skip = page.locator(".skip:focus")
        assert skip.bounding_box()["x"] >= 0
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"

    def test_in_the_dark_pictures_stay_on_white(self, visit):
        page = visit("full", color_scheme="dark")
        colour = "e => getComputedStyle(e).backgroundColor"
        assert page.locator(".card").first.evaluate(colour) == "rgb(255, 255, 255)"
        assert page.locator("body").evaluate(colour) != "rgb(255, 255, 255)"

    def test_it_prints_unfolded_light_and_whole(self, visit):
        page = visit("full", color_scheme="dark")
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = false })")
        page.set_viewport_size({"width": 688, "height": 1000})  # A4 less its margins, at 96 dots an inch
        page.emulate_media(media="print")
        assert page.get_by_text("Grouped jackknife.").bounding_box()["height"] > 0
        assert page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"
        region = page.get_by_role("region", name="Table: Per assigned customer")
        assert region.evaluate("e => e.scrollWidth - e.clientWidth") <= 1
        file = page.pdf(tagged=True, prefer_css_page_size=True)
        assert b"/StructTreeRoot" in file
        assert b"/Lang (en)" in file
