"""A sheet is read as everybody reads it, or refused with its line: nothing is bent until it fits."""

import datetime as dt
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from experiments.common.errors import WinbackError
from experiments.sheet import yaml_lines
from experiments.sheet.contact_rules import ContactRules
from experiments.sheet.offers import DEEPEST, Offer
from experiments.sheet.sheet import RESERVED, Sheet, changed, read_sheet
from experiments.sheet.strict import Strict, kinds_of

SHEET = """experiment: spring
currency: EUR
horizon_months: 24
seed: 7
read_date: 2026-03-01
followed_until: 2026-07-01
holdout: hold
design: {rates: {A: 0.2, hold: 0.1}}
arms:
  hold: {share: 1}
  A: {share: 2, contact: 5, label: Ten off}
tables: {assignments: {file: a.csv}, purchases: {file: p.csv}}
"""
SHIPPED = Path(__file__).parents[2] / "data/telecom/sheet.yml"


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a sheet and reads it; what it raises is short and names the file."""

    def enter(text):
        file = tmp_path / "sheet.yml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_sheet(file)

    return enter


def complaint(read, text):
    with pytest.raises(WinbackError) as found:
        read(text)
    said = str(found.value)
    assert all(len(line) <= yaml_lines.WIDEST for line in said.splitlines())
    assert len(said.splitlines()) <= yaml_lines.PROBLEMS + 1
    assert "sheet.yml" in said
    return said


def test_the_sheet_of_these_tests_is_right(read):
    assert read(SHEET).seed == 7


@pytest.mark.parametrize(
    ("then", "now", "line", "told"),
    [
        ("seed: 7", 'seed: "1_000"', 4, "Write a plain number"),
        ("seed: 7", "seed: 1e3", 4, "Write it out: 1000."),
        ("seed: 7", "seed: .nan", 4, "not the number it looks like"),
        ("contact: 5", 'contact: "\u0665"', 11, "Write a plain number"),
        ("contact: 5", "contact: 1e300", 11, "at most 18 digits"),
        ("contact: 5", "contact: 1e-400", 11, "at most 18 digits"),
        ("contact: 5", "contact: 0.123456789012345678", 11, "not the number it looks like"),
        ("seed: 7", "seed: 7\nbudget: 9007199254740993", 5, "a computer keeps no more"),
        ("seed: 7", "seed: 7\nsweep: {seed: [010]}", 5, "sweep.seed.0 is 010"),
        ("seed: 7", "seed: 7\nlost: {as_of: 2026-01-01, abc: [yes, 0.9]}", 5, "lost.abc.0 is yes"),
        ("contact: 5", "monthly: [{cost: 2, months: true}]", 11, "arms.A.monthly.0.months is true"),
        ("read_date: 2026-03-01", 'read_date: "0"', 5, "Write a day as 2026-01-31"),
        ("read_date: 2026-03-01", "read_date: yes", 5, "Write a day as 2026-01-31"),
        ("read_date: 2026-03-01", "read_date: 12.5", 5, "Write a day as 2026-01-31"),
        ("read_date: 2026-03-01", "read_date: 2026-03-01 10:30", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 1 March 2026", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: Mar 1st, 2026", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 1 mars 2026", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 1 марта 2026", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 25/03/2026", 5, "Write 2026-03-25."),
        ("seed: 7", "seed: 7\ncontacts: {holidays: [01.11.2026]}", 5, "is '01.11.2026'. Write 2026-11-01."),
        ("label: Ten off", 'label: "a\\nb"', 11, "a sign that nobody sees"),
        ("label: Ten off", "label: ~", 11, "Write a text, or leave the line out."),
        ("label: Ten off", "label: 12", 11, 'label is 12. Write it in quotes: label: "12".'),
        ("label: Ten off", "label: <<", 11, "Put it in quotes"),
        ("  A: {", '  "  ": {', 11, "Write 1 to 300 letters"),
        ("  A: {", f"  {'x' * 301}: {{", 11, "Write 1 to 300 letters"),
        ("  A: {", '  "a\\nb": {', 11, "a sign that nobody sees"),
        ("  A: {", "  <<: {", 11, "the name '<<' is no text to YAML"),
        ("  A: {", "  ? [a]\n  : {", 11, "a list stands where a name must stand"),
        ("experiment: spring", f"experiment: {'x' * 101}", 1, "should match pattern"),
        ("file: p.csv", "file: 5", 12, 'tables.purchases.file is 5. Write it in quotes: file: "5".'),
        ("file: p.csv", "file: p.csv, missing: [-999]", 12, 'Write it in quotes: "-999".'),
        ("file: p.csv", "file: *.csv", 12, 'Write it in quotes: file: "*.csv".'),
        ("seed: 7", "seed: 7\nquestion: Which: one?", 5, 'Write it in quotes: question: "Which: one?".'),
        ("seed: 7", "seed: yes", 4, "Yes and no are no numbers"),
        ("horizon_months: 24", "horizon_months: true", 3, "Yes and no are no numbers"),
        ("contact: 5", "contact: no", 11, "Yes and no are no numbers"),
        ("A: 0.2", "A: on", 8, "Yes and no are no numbers"),
        ("seed: 7", "seed: 010", 4, "not the number it looks like"),
        ("seed: 7", "seed: 0x10", 4, "not the number it looks like"),
        ("seed: 7", "seed: 0b11", 4, "not the number it looks like"),
        ("seed: 7", "seed: 1_000", 4, "not the number it looks like"),
        ("seed: 7", "seed: 12:30", 4, "not the number it looks like"),
        ("seed: 7", f"seed: {'9' * 5_000}", 4, "not the number it looks like"),
        ("contact: 5", "contact: .inf", 11, "not the number it looks like"),
        ("read_date: 2026-03-01", "read_date: 0", 5, "Write a day as 2026-01-31"),
        ("read_date: 2026-03-01", "read_date: 20260301", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 01.03.2026", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 2026-3-1", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 2026/03/01", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 01/03/2026", 5, "Write 2026-03-01 or 2026-01-03."),
        ("read_date: 2026-03-01", "read_date: 31.02.2026", 5, "There is no such day"),
        ("currency: EUR", "currency: ZZZ", 2, "no code of ISO 4217"),
        ("currency: EUR", "currency: eur", 2, "no code of ISO 4217"),
        ("label: Ten off", 'label: ""', 11, "Write 1 to 300 letters"),
        ("label: Ten off", 'label: "  "', 11, "Write 1 to 300 letters"),
        ("label: Ten off", f"label: {'x' * 400}", 11, "Write 1 to 300 letters"),
        ("label: Ten off", 'label: "a\\u202eb"', 11, "a sign that nobody sees"),
        ("label: Ten off", 'label: "a\\x07b"', 11, "a sign that nobody sees"),
        ("label: Ten off", "label: no", 11, 'label is no. Write it in quotes: label: "no".'),
        ("experiment: spring", "experiment: compare", 1, "the name of another folder"),
        ("experiment: spring", "experiment: con", 1, "the name of another folder"),
        ("  A: {", "  yes: {", 11, "the name 'yes' is no text to YAML"),
        ("  A: {", "  1: {", 11, "the name '1' is no text to YAML"),
        ("  A: {", "  null: {", 11, "the name 'null' is no text to YAML"),
        ("share: 2", "share: &two 2", 11, "is a name for a part"),
        ("{share: 1}", "*hold", 10, "is a name for a part"),
        ("contact: 5", "contact: !!int 5", 11, "is a tag"),
        ("contact: 5", "contact: !!python/object:os.system 5", 11, "is a tag"),
        ("file: p.csv", "file: p.csv, dates: %d.%m.%Y", 12, 'dates: "%d.%m.%Y"'),
        ("seed: 7", "seed: 7\nseed: 8", 5, "is there twice"),
        ("tables:", "---\ntables:", 12, "a second document begins"),
    ],
)
def test_what_yaml_or_pydantic_would_bend_is_refused_with_its_line_and_the_cure(read, then, now, line, told):
    assert then in SHEET
    said = complaint(read, SHEET.replace(then, now, 1))
    assert f"sheet.yml, line {line}" in said
    assert told in said


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_experiment_has_the_name_of_a_folder_that_is_another(read, name):
    assert "another folder" in complaint(read, SHEET.replace("spring", name))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfea\0", "UTF-16"),
        (b"experiment: a\0b\n", "bytes of zero"),
        (b"\x89PNG\r\n\x1a\n\xff", "not UTF-8"),
        (b"a: " + b"[" * 30 + b"]" * 30, "over 20 levels"),
        (b"a: [" + b"1, " * 25_000 + b"1]", "over 20 levels or 20,000 values"),
        (b"a: " + b"x" * 20_000, "more than 10,000 letters"),
        (b"#" + b"x" * 300_000, "more than 256 KB"),
        (b"a: " + b"[" * 200_000, "over 20 levels"),
        (b"- " * 100_000, "over 20 levels"),
        (b"a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n", "is a name for a part"),
    ],
    ids=["utf-16", "zeros", "picture", "deep", "many", "long", "large", "unclosed", "dashes", "laughs"],
)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml_lines._Events], ids=["of Python", "of here"])
def test_what_is_no_sheet_is_refused_before_it_is_built(read, monkeypatch, content, told, loader):
    def never(*_, **__):
        raise AssertionError("it was built")

    monkeypatch.setattr(yaml_lines.yaml, "compose", never)
    monkeypatch.setattr(yaml_lines, "_Events", loader)
    assert told in complaint(read, content)


def test_many_problems_are_told_in_a_few_lines(read):
    said = complaint(read, SHEET + "".join(f"wrong_{n}: {'x' * 5_000}\n" for n in range(40)))
    assert said.splitlines()[-1] == "... and 30 more"


def test_a_large_file_is_never_given_to_the_parser(read, monkeypatch):
    monkeypatch.setattr(yaml_lines.yaml, "parse", lambda *_, **__: pytest.fail("it was parsed"))
    assert "more than 256 KB" in complaint(read, SHEET + "#" * yaml_lines.LARGEST)


@pytest.mark.parametrize("broken", ['"', "a: %", "a: @", "a: b: "], ids=repr)
def test_a_long_line_that_breaks_is_looked_at_only_at_its_beginning(read, broken):
    assert len(complaint(read, broken + "a" * 200_000)) <= yaml_lines.WIDEST


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_lines(read):
    said = complaint(read, SHEET.replace("seed: 7", "seed: yes").replace("2026-07-01", "1.7.2026").replace("5,", "-5,"))
    assert [line.partition(":")[0].split()[-1] for line in said.splitlines()] == ["4", "6", "11"]


# Every setting there is, and those that come.
def models(kind, seen=()):
    for one in kinds_of(kind):
        if isinstance(one, type) and issubclass(one, BaseModel) and one not in seen:
            yield one
            for field in one.model_fields.values():
                yield from models(field.annotation, (*seen, one))
        else:
            for part in getattr(one, "__args__", ()):
                yield from models(part, seen)


SETTINGS = {
    (model, name): kinds_of(field.annotation) for model in models(Sheet) for name, field in model.model_fields.items()
}


def leaves(kinds, wrap=lambda value: value):
    """Yield the kinds of a setting, and how a value stands in it: itself, in a list, under a name."""
    yield set(kinds), wrap
    for one in kinds:
        if (origin := getattr(one, "__origin__", None)) is dict:
            yield from leaves(kinds_of(one.__args__[1]), lambda value, wrap=wrap: wrap({"a": value}))
        elif origin in (list, tuple):
            size = 1 if one.__args__[-1] is ... else len(one.__args__)
            yield from leaves(kinds_of(one.__args__[0]), lambda value, wrap=wrap, size=size: wrap([value] * size))


NUMBERS = {int, float, Decimal}
NUMERIC = [
    (model, name, wrap)
    for (model, name), kinds in SETTINGS.items()
    for found, wrap in leaves(kinds)
    if found & NUMBERS and bool not in found
]
DATES = [
    (model, name, wrap)
    for (model, name), kinds in SETTINGS.items()
    for found, wrap in leaves(kinds)
    if dt.date in found
]


def refused(model, name, value):
    with pytest.raises(ValidationError) as error:
        model.model_validate({name: value})
    return [one for one in error.value.errors() if one["loc"] == (name,) and one["type"] == "odd"]


def test_there_are_as_many_numbers_and_days_as_one_would_think():
    assert len(NUMERIC) > 40
    assert len(DATES) >= 6


@pytest.mark.parametrize(("model", "name", "wrap"), NUMERIC, ids=lambda value: getattr(value, "__name__", value))
def test_no_number_is_yes_or_no_or_written_otherwise_than_it_is_read(model, name, wrap):
    for value in (True, False, "1_000", "nan", "inf", " 5", "010", "\u0665", float("nan"), float("inf")):
        assert refused(model, name, wrap(value)), value


@pytest.mark.parametrize(("model", "name", "wrap"), DATES, ids=lambda value: getattr(value, "__name__", value))
def test_no_day_is_a_number_an_instant_or_written_otherwise(model, name, wrap):
    for value in (0, 20260131, 1.5, True, "0", "20260131", "2026-1-5", "01.11.2026", "2026-01-31T00:00", "2026-02-30"):
        assert refused(model, name, wrap(value)), value
    with pytest.raises(ValidationError, match="zero time"):
        model.model_validate({name: wrap(dt.datetime(2026, 1, 31, 10, tzinfo=dt.UTC))})


def test_every_part_of_a_sheet_that_is_ours_is_strict():
    assert [one for one, _ in SETTINGS if not issubclass(one, Strict) and one.__name__ != "Source"] == []


def test_values_of_a_sweep_may_be_yes_or_no(read):
    assert read(SHEET + "sweep: {winsorise: [yes, no], horizon_months: [6, 12]}\n").sweep["winsorise"] == [True, False]


def test_a_question_may_be_folded_over_lines(read):
    assert read(SHEET + "question: >\n  Which\n  offer?\n").question == "Which offer?\n"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": True},
        {"read_date": 0},
        {"seed": "1_000"},
        {"lost": {"as_of": "1.2.2026"}},
        {"arms": {"A": {"share": True}}},
        {"experiment": "x" * 90_000},
    ],
)
def test_a_changed_setting_is_as_strict_and_its_error_as_short(read, change):
    with pytest.raises(WinbackError) as found:
        changed(read(SHEET), change)
    assert len(str(found.value)) <= yaml_lines.WIDEST


def test_a_changed_sheet_that_was_written_is_read_again(read, tmp_path):
    other = changed(read(SHEET), {"seed": 8})
    other.write(tmp_path / "other.yml")
    assert read_sheet(tmp_path / "other.yml") == other


def test_offers_and_rules_are_strict_by_themselves():
    with pytest.raises(ValidationError, match="Yes and no are no numbers"):
        Offer.model_validate({"worth": True})
    with pytest.raises(ValidationError, match="Write 2026-01-05"):
        ContactRules.model_validate({"first_day": "2026-1-5"})


# Offers made of offers.
def chain(length, *, times=1):
    names = [f"a{place}" for place in range(length)]
    made = [f"  {name}: {{share: 1, bundle: [{', '.join([part] * times)}]}}\n" for name, part in pairwise(names)]
    return SHEET.replace("  A: {", "".join(made) + f"  {names[-1]}: {{share: 1}}\n  A: {{")


def test_offers_in_offers_are_read_to_some_depth(read):
    assert len(read(chain(DEEPEST)).arms) == DEEPEST + 2


@pytest.mark.parametrize("content", [chain(DEEPEST + 1), chain(2_500), chain(8, times=3)], ids=["deep", "long", "wide"])
def test_offers_without_end_in_offers_are_refused(read, content):
    assert "is made of too many offers" in complaint(read, content)


def test_a_long_circle_of_offers_is_found(read):
    content = chain(2_500).replace("a2499: {share: 1}", "a2499: {share: 1, bundle: [a7]}")
    assert "Break the circle" in complaint(read, content)


# Whatever somebody writes.
TOKENS = [
    "yes",
    "010",
    "!!int",
    "!!python/name:os.system",
    "&a",
    "*a",
    "<<: ",
    "%d",
    "\t",
    "\0",
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "'",
    '"',
    "|",
    ">",
    "?",
    "---\n",
    "#",
    "\n",
    "\u202e",
    "\ufeff",
    "é",
    "9" * 400,
    "x" * 20_000,
    "1e999",
    ".nan",
    "12:30",
    "0x10",
    "null",
    "2026-02-30",
    "20260131",
    "01.11.2026",
    "bundle",
    "arms",
]
PLACE = st.integers(0, 10**6)
CHANGES = st.lists(
    st.tuples(PLACE, st.integers(0, 12), st.one_of(st.sampled_from(TOKENS), st.text(max_size=3), PLACE)),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mutants")


@settings(max_examples=300, derandomize=True)
@given(changes=CHANGES)
def test_whatever_is_done_to_a_sheet_it_is_read_or_refused_in_words(folder, changes):
    text = SHIPPED.read_text(encoding="utf-8")
    for place, many, new in changes:
        at = place % (len(text) + 1)
        new = text[new % (len(text) + 1) :][:many] if isinstance(new, int) else new  # noqa: PLW2901  a copy of a part
        text = text[:at] + new + text[at + many :]
    (folder / "sheet.yml").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        said = ""
        assert isinstance(read_sheet(folder / "sheet.yml"), Sheet)
    except WinbackError as error:
        said = str(error)
    assert len(said) <= 8_000
    assert all(len(line) <= yaml_lines.WIDEST for line in said.splitlines())
