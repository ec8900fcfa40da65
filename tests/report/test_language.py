"""Pages in other languages: nothing is missing in a catalogue, nothing stays in English, the user's words stay."""

import ast
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from html import unescape
from pathlib import Path
from string import Formatter

import cohorts
import nbformat
import pytest
import yaml
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po
from matplotlib.text import Text
from nbformat.v4 import new_code_cell, new_notebook, new_output
from test_figures import READOUTS, meeting

from experiments.cli import commands as cli
from experiments.cli.options import language_given
from experiments.common import formatting
from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.language import CATALOGUES, LANGUAGES, language, plural, say, speaking
from experiments.compare.pool import pool_readouts
from experiments.compare.sweep import Setting, Sweep
from experiments.design import prior
from experiments.design.design import design_test
from experiments.lost.find import find_lost
from experiments.metrics.cube import make_cube
from experiments.readout import secondary
from experiments.readout.drivers import Driver, Returners
from experiments.readout.readout import read_cube
from experiments.report import compare as compare_page
from experiments.report import design as design_page
from experiments.report import html as parts
from experiments.report import lost as lost_page
from experiments.report import page as pages
from experiments.report import plots
from experiments.report import readout as readout_page
from experiments.report import sweep as sweep_page
from experiments.report.figures import compare as compare_figures
from experiments.report.figures import design as design_figures
from experiments.report.figures import lost as lost_figures
from experiments.report.figures import readout as readout_figures
from experiments.report.figures import sweep as sweep_figures
from experiments.report.wording.offers import offer_warning
from experiments.sheet.offer_checks import check_offers
from experiments.sheet.offers import Offer
from experiments.sheet.sheet import Sheet, read_sheet

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/experiments"
SHEET = ROOT / "data/telecom/sheet.yml"
SAID = {"say": None, "later": None, "plural": (1, 2)}  # our functions, and where their texts stand
OTHERS = [code for code in LANGUAGES if code != "en"]
ENGLISH = r"\b(the|of|and|with|which|they|from|that|every|each|is|are|it|for|to|a year|months?|tests?|offers?)\b"
LONG = 12  # letters of a text that cannot stand on a page of another language by chance


@cache
def texts():
    """Return every text of the source that a catalogue must know; of plurals both forms."""
    files = [*(("python", path) for path in SOURCE.rglob("*.py"))]
    files += [("jinja2.ext:babel_extract", path) for path in SOURCE.rglob("*.html.j2")]
    found = (row[1] for method, path in files for row in extract_from_file(method, path, keywords=SAID))
    return frozenset(found)


@cache
def catalogue(code):
    with (CATALOGUES / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


def entries(code):
    return [message for message in catalogue(code) if message.id]


def places(text):
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name)


def together(text):
    return " ".join(unescape(re.sub("<[^>]*>", " ", text)).split())


# The catalogues


@pytest.mark.parametrize("code", OTHERS)
def test_a_catalogue_knows_every_text_of_the_source_and_no_other(code):
    known = {message.id if isinstance(message.id, str) else tuple(message.id) for message in entries(code)}
    assert known - texts() == set()
    assert texts() - known == set()


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_translated_in_all_its_forms_and_nobody_is_unsure(code):
    assert [message.id for message in entries(code) if message.fuzzy] == []
    forms = catalogue(code).num_plurals
    for message in entries(code):
        said = (message.string,) if isinstance(message.id, str) else message.string
        assert len(said) == (1 if isinstance(message.id, str) else forms), message.id
        assert all(said), message.id


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_fills_in_what_its_text_does(code):
    for message in entries(code):
        ids, said = ((message.id,), (message.string,)) if isinstance(message.id, str) else (message.id, message.string)
        wanted = {tuple(places(text)) for text in ids if "{" in text and not re.search(r"`[^`]*\{[a-z]+: ", text)}
        # A form may leave out the number that it says in a word.
        for text in said if wanted else ():
            assert tuple(places(text)) in wanted, (message.id, text)


@pytest.mark.parametrize("code", OTHERS)
def test_a_text_keeps_its_blanks_and_commands(code):
    for message in entries(code):
        ids, said = ((message.id,), (message.string,)) if isinstance(message.id, str) else (message.id, message.string)
        for text in said:
            blank = (ids[-1][0] == " ", ids[-1][-1] == " ")
            assert (text[0] == " ", text[-1] == " ") == blank, message.id
            assert text.count("`") == ids[-1].count("`"), message.id
            assert text.count("\n") == ids[-1].count("\n"), message.id


def calls(node):
    """Return the calls of our functions within a piece of code."""
    found = (part for part in ast.walk(node) if isinstance(part, ast.Call) and isinstance(part.func, ast.Name))
    return [call for call in found if call.func.id in SAID]


def test_a_text_stands_where_the_catalogues_find_it():
    hidden = []
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        strings = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]  # Babel reads none
        hidden += [call for node in strings for call in calls(node) if isinstance(call.args[0], ast.Constant)]
        must = [call for call in calls(tree) if call.func.id != "say"]
        hidden += [call for call in must if not all(isinstance(text, ast.Constant) for text in call.args[:1])]
    assert [ast.unparse(node) for node in hidden] == []


# Numbers and dates


ESTIMATE = Estimate(value=0.4512, low=0.443, high=0.465, level=0.95, n=9, unit="share")
NUMBERS = {
    "en": ["−$1,234.50", "3 CHF", "¥1,235", "$1.23 million", "4.5 %", "40,000", "44.3 to 46.5 %", "1 May 2025", "May"],
    "ru": ["−1 234,50 $", "3 CHF", "1 235 ¥", "1,23 млн $", "4,5 %", "40 000", "44,3…46,5 %", "1 мая 2025", "май"],
    "fr": ["−1 234,50 $", "3 CHF", "1 235 ¥", "1,23 M $", "4,5 %", "40 000", "44,3 à 46,5 %", "1er mai 2025", "mai"],
}


@pytest.mark.parametrize("code", LANGUAGES)
def test_numbers_and_dates_are_written_as_the_language_writes_them(code):
    with speaking(code):
        found = [
            formatting.money(-1234.5, "USD"), formatting.money(3, "CHF", digits=0), formatting.money(1234.6, "JPY"),
            formatting.large(1_234_567, "USD"), formatting.share(0.0449), formatting.count(40_000),
            formatting.interval(ESTIMATE, currency="USD"), formatting.day(date(2025, 5, 1)), formatting.month_name(5),
        ]  # fmt: skip
    assert [re.sub("[\u00a0\u202f]", " ", text) for text in found] == NUMBERS[code]


def test_a_number_does_not_break_across_lines_in_another_language():
    with speaking("fr"):
        assert formatting.money(1_234_567.5, "EUR") == "1\u202f234\u202f567,50\u00a0€"
        assert formatting.date_told(date(2025, 5, 2)) == "2 mai 2025"
        assert formatting.moment(datetime(2025, 5, 2, 9, 30, tzinfo=UTC)) == "2 mai 2025, 09:30 UTC"


def test_money_has_the_digits_of_its_currency():
    assert [formatting.money(12.5, code) for code in ("USD", "JPY", "KWD")] == ["$12.50", "¥12", "12.500 KWD"]
    assert formatting.between(3.25, 9.75, "money", currency="KWD") == "3.250 to 9.750 KWD"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("en", {1: "1 customer", 2: "2 customers", 5: "5 customers", 21: "21 customers", 1000: "1,000 customers"}),
        ("ru", {1: "1 клиент", 2: "2 клиента", 5: "5 клиентов", 11: "11 клиентов", 21: "21 клиент", 0: "0 клиентов"}),
        ("fr", {0: "0 client", 1: "1 client", 2: "2 clients", 5: "5 clients"}),
    ],
)
def test_a_language_counts_in_its_own_forms(code, told):
    with speaking(code):
        assert {n: plural("{n} customer", "{n} customers", n) for n in told} == told


# Speaking


def test_english_is_the_same_before_and_after_another_language():
    before = str(lost_page.verdict(cohorts.cohort()))
    with speaking("ru"):
        assert str(lost_page.verdict(cohorts.cohort())) != before
    assert language() == "en"
    assert str(lost_page.verdict(cohorts.cohort())) == before


def test_a_page_speaks_the_language_it_is_asked_in_and_one_that_nobody_knows_is_refused():
    cohort = cohorts.cohort()
    pages = [str(lost_page.verdict(cohort, language=code)) for code in ("en", "fr", "ru", "en")]
    assert pages[0] == pages[3]
    assert len(set(pages)) == 3
    with pytest.raises(WinbackError, match=r"Unknown language 'rus'. Did you mean 'ru'"):
        lost_page.verdict(cohort, language="rus")
    assert language() == "en"


def test_a_sheet_says_the_language_of_its_pages_and_must_know_it():
    content = {"experiment": "a", "tables": {"outcomes": {"file": "a.csv"}}}
    assert Sheet.model_validate(content).language == "en"
    with pytest.raises(ValueError, match="language: 'russian' is unknown"):
        Sheet.model_validate(content | {"language": "russian"})


def test_the_command_sets_the_parameter_of_the_notebook():
    parser = cli.parser()
    some = (["readout", "a"], ["lost", "a"], ["design", "a"], ["sweep", "a"], ["compare"], ["run", "1"], ["demo"])
    for command in some:
        assert language_given(parser.parse_args([*command, "--lang", "fr"])) == {"language": "fr"}
        assert language_given(parser.parse_args(command)) == {}


def test_a_page_is_framed_in_the_language_its_heading_was_told_in(tmp_path):
    with speaking("fr"):
        bundles = [part._repr_mimebundle_() for part in (parts.heading("Qui ?", ""), parts.section(say("Method"), "…"))]
    shown = [new_output("display_data", data, metadata=metadata) for data, metadata in bundles]
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=shown)]), tmp_path / "a.ipynb")
    pages.render(tmp_path / "a.ipynb", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert '<html lang="fr">' in page
    assert "Aller à la réponse" in page
    assert "Fait avec <b>winback</b> le <time" in page
    assert "Made with" not in page
    assert language() == "en"


# Pages


@pytest.fixture(scope="module")
def tested(small_telecom):
    """Return cube, sheet and readout of a test."""
    sheet = read_sheet(SHEET)
    cube = make_cube(sheet, small_telecom)
    return cube, sheet, read_cube(cube, sheet)


@pytest.fixture
def read_again(tested, monkeypatch):
    """Return a function that reads the test in the language spoken; what has no words is not estimated again."""
    cube, sheet, known = tested
    monkeypatch.setattr(secondary, "comparison", lambda _: known.comparison)
    monkeypatch.setattr(secondary, "lives", lambda _: known.lives)
    monkeypatch.setattr(secondary, "targeting", lambda _: known.targeting)
    return lambda: read_cube(cube, sheet)


@pytest.fixture
def drawn(monkeypatch):
    """Return the texts of every picture of a page; they are drawn once and not painted, which would take long."""
    seen = []

    def once(draw, *, alt, caption):
        seen.extend(text.get_text() for text in draw(narrow=False).findobj(Text))
        return plots.Picture(figure=None, narrow=None, alt=alt, caption=caption)

    monkeypatch.setattr(parts, "_svg", lambda _: ("data:,", 1, 1))
    for figures in (lost_figures, design_figures, readout_figures, compare_figures, sweep_figures):
        monkeypatch.setattr(figures, "both", once)
    return seen


RETURNERS = Returners(
    drivers=tuple(
        Driver(question=question, factor=factor, level=level, reference=reference, effect=ESTIMATE)
        for question in ("returned", "leaving", "value")
        for factor, level, reference in (("complaint", "resolved", "none"), ("absent", "over 2 years", "under 1 year"))
    ),
    second_to_first=(("upgrade", replace(ESTIMATE, unit="times")),),
)


def pieces_of_readout(readout):
    page = readout_page
    one = (page.question, page.verdict, page.picture, page.offers, page.faces, page.separable, page.segments,
           page.lifetime, page.price_of_a_return, page.checks, page.method)  # fmt: skip
    told = replace(readout, drivers=RETURNERS)
    return [*(str(part(readout)) for part in one), str(page.drivers(told)), str(page.provenance(readout, SHEET))]


def pieces_of_lost(cohort):
    page = lost_page
    one = (page.question, page.verdict, page.by_month, page.contactable, page.priorities, page.reasons, page.places,
           page.leaving, page.rule, page.signs, page.method, page.provenance)  # fmt: skip
    return [str(part(cohort)) for part in one]


def english(page, code):
    """Return the English texts that a page still has, though the language says them otherwise."""
    plain = [message for message in entries(code) if isinstance(message.id, str) and "{" not in message.id]
    return [m.id for m in plain if len(m.id) > LONG and m.id != m.string and m.id.strip() in page]


def test_english_on_a_page_of_another_language_would_be_seen():
    page = together("".join(map(str, (lost_page.verdict(cohorts.cohort()), lost_page.signs(cohorts.cohort())))))
    assert {"Lost customers", "Can be contacted now", "Lost a year, at this pace"} <= set(english(page, "ru"))


@pytest.mark.parametrize("code", OTHERS)
def test_no_english_is_left_on_the_page_of_a_readout(read_again, drawn, code):
    with speaking(code):
        page = together(" ".join(pieces_of_readout(read_again())))
        alts = " ".join(drawn)
    assert english(page, code) == []
    assert english(alts, code) == []


@pytest.mark.parametrize("code", OTHERS)
def test_no_english_is_left_on_the_page_of_the_lost(small_telecom, drawn, code):
    with speaking(code):
        found = find_lost(read_sheet(SHEET), small_telecom)
        page = together(" ".join(pieces_of_lost(found)))
        known = together(" ".join(pieces_of_lost(cohorts.cohort())))  # of a company that wrote everything down
    assert english(page + known + " ".join(drawn), code) == []


@pytest.fixture(scope="module")
def simulated():
    """Return what the simulated telecom knows before a test: it has no words, and takes long."""
    sheet = read_sheet(SHEET)
    return prior._simulated(sheet, dict.fromkeys(sheet.arms, 1))


def foreign(texts, code):
    """Return the English words on a page of another language, but for names, commands and settings."""
    shared = {"fr": {"test", "tests", "is", "to", "it"}}.get(code, set())
    plain = re.sub(r"`[^`]*`|[\w-]+\.json|&lt;.*?&gt;", " ", together(" ".join(texts)))
    alts = re.findall('alt="([^"]*)"', " ".join(texts))
    return {found[0] for found in re.finditer(ENGLISH, " ".join([plain, *alts]))} - shared


def pieces_of_design(design):
    page = design_page
    one = (page.verdict, page.told, page.arms, page.sizes, page.calendar, page.risks, page.method)
    return [str(part(design)) for part in one]


DESIGNS = {  # changes of the telecom's sheet: what the page must then say
    "as it is": {},
    "on rates, without a holdout, a day or callers": {
        "holdout": None, "read_date": None, "design": {"rates": {"discount": 0.45, "upgrade": 0.41}},
    },
    "too small for its money": {
        "read_date": date(2024, 5, 1), "design": {"rates": {"discount": 0.45, "upgrade": 0.41}, "budget": 5000},
        "contacts": {"first_day": date(2024, 1, 8), "callers": {"Ann": {"capacity": 2}}, "deadline_days": 30},
    },
}  # fmt: skip


@pytest.fixture
def planned(tmp_path, telecom_sheet, simulated, monkeypatch):
    """Return a function that plans a test by a changed sheet of the telecom."""
    monkeypatch.setattr(prior, "_simulated", lambda *_: simulated)

    def plan(changes):
        content = telecom_sheet.model_dump(mode="json", exclude_unset=True) | changes
        if "holdout" in changes:
            content["arms"].pop("holdout")
        (tmp_path / "sheet.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return design_test(tmp_path / "sheet.yml", cohort=cohorts.cohort(), customers=15_000)

    return plan


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("changes", DESIGNS.values(), ids=DESIGNS)
def test_no_english_is_left_on_the_page_of_a_design(planned, drawn, code, changes):
    with speaking(code):
        found = pieces_of_design(planned(changes))
    assert english(together(" ".join([*found, *drawn])), code) == []
    assert foreign([*found, *drawn], code) == set()


BAD_OFFERS = [
    {"kind": "apology"}, {"kind": "discount", "percent": 2}, {"kind": "coupon", "worth": 900, "take_up": 0},
    {"kind": "coupon", "worth": 9, "expires_days": 3}, {"lock_in_months": 6},
    {"kind": "discount", "worth": 90, "months": 3, "lock_in_months": 9},
    {"kind": "guarantee", "worth": 50, "take_up": 1}, {"bundle": ["a", "a"]}, {"bundle": ["a"]},
]  # fmt: skip


@pytest.mark.parametrize("code", OTHERS)
def test_no_english_is_left_in_a_warning_of_an_offer(code):
    known = {"a": Offer(kind="gift", worth=5, marginal_share=1)}
    known |= {f"offer_{place}": Offer.model_validate(told) for place, told in enumerate(BAD_OFFERS)}
    with speaking(code):
        found = check_offers(known, second_value=20.0, monthly_value=10.0)
        told = [text for warning in found for text in offer_warning(warning, currency="USD")]
    assert len({warning.key for warning in found}) > 8
    assert foreign(told, code) == set()


def pieces_of_compare(readouts):
    page, known, paths = compare_page, pool_readouts(readouts), ["a/readout.json"]
    both = (page.verdict, page.picture, page.table, page.agreement, page.shrinkage, page.settings)
    pieces = [*(part(readouts, known) for part in both), page.within(readouts), page.method(known)]
    return [str(piece) for piece in (page.question(), *pieces, page.provenance(paths))]


@pytest.mark.parametrize("code", OTHERS)
def test_no_english_is_left_on_the_page_of_several_tests(read_again, drawn, code):
    with speaking(code):
        readout = read_again()
        others = [replace(readout, experiment=name) for name in ("north", "south")]
        unlike = [readout, replace(others[0], horizon_months=12), readout]
        found = [
            piece for some in ([readout, *others], [readout, others[0]], unlike) for piece in pieces_of_compare(some)
        ]
    assert english(together(" ".join([*found, *drawn])), code) == []
    assert foreign([*found, *drawn], code) == set()


@pytest.mark.parametrize("code", OTHERS)
def test_no_english_is_left_on_the_page_of_a_sweep(read_again, drawn, code):
    with speaking(code):
        readout = read_again()
        settings = tuple(Setting(parameters={"horizon_months": n, "level": None}, readout=readout) for n in (6, 12))
        sweep = Sweep(over=("horizon_months", "level"), settings=settings, failed=("horizon_months=99: …",))
        page = sweep_page
        found = [str(part(sweep)) for part in (page.question, page.verdict, page.picture, page.table)]
        found.append(str(page.provenance(sweep, ["a", "b"])))
    assert english(together(" ".join([*found, *drawn])), code) == []
    assert foreign([*found, *drawn], code) == set()


def test_the_list_of_runs_is_in_the_language_of_the_command(tmp_path):
    assert '<html lang="fr">' in pages.index(tmp_path, spoken="fr").read_text(encoding="utf-8")
    assert '<html lang="en">' in pages.index(tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize("code", OTHERS)
def test_the_words_of_the_user_are_never_translated(code, drawn):
    company = cohorts.cohort()
    mine = ("Manager", "First", "not known")
    reasons = tuple(replace(reason, name=name) for name, reason in zip(mine, company.reasons, strict=False))
    told = READOUTS["one that just pays"]
    offers = tuple(replace(arm, label="Returned") if not arm.holdout else arm for arm in told.arms)
    with speaking(code):
        table = str(lost_page.reasons(replace(company, reasons=reasons)))
        alt = readout_figures.faces_of_success(replace(told, arms=offers)).alt
        question = str(readout_page.question(replace(told, question="Method")))
    assert [name for name in mine if f'<th scope="row">{name}</th>' not in table] == []
    assert "Returned" in alt
    assert "<h1>Method</h1>" in question


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("picture", ["by_month", "waterfall", "matrix", "reasons", "survival"])
def test_no_word_meets_another_in_a_picture_of_the_lost(code, picture):
    with speaking(code):
        shown = getattr(lost_figures, picture)(cohorts.cohort())
        assert (meeting(shown.figure), meeting(shown.narrow)) == ([], [])


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("picture", ["faces_of_success", "return_against_cost", "active_by_month"])
def test_no_word_meets_another_in_a_picture_of_a_readout(code, picture):
    with speaking(code):
        shown = getattr(readout_figures, picture)(READOUTS["as the simulated telecom"])
        assert (meeting(shown.figure), meeting(shown.narrow)) == ([], [])
