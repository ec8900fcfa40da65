"""A sheet is read as everybody reads it, or refused with its line: nothing is bent until it fits."""

import random
from pathlib import Path

import pytest

from experiments.common.errors import WinbackError
from experiments.sheet import yaml_lines
from experiments.sheet.sheet import RESERVED, read_sheet

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
    assert all(len(line) <= 700 for line in said.splitlines())
    assert len(said.splitlines()) <= yaml_lines.PROBLEMS + 1
    assert "sheet.yml" in said
    return said


def test_the_sheet_of_these_tests_is_right(read):
    assert read(SHEET).seed == 7


@pytest.mark.parametrize(
    ("then", "now", "line", "told"),
    [
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
        ("read_date: 2026-03-01", "read_date: 20260301", 5, "Write a day as 2026-01-31"),
        ("read_date: 2026-03-01", "read_date: 01.03.2026", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 2026-3-1", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 2026/03/01", 5, "Write 2026-03-01."),
        ("read_date: 2026-03-01", "read_date: 01/03/2026", 5, "year, month, day"),
        ("read_date: 2026-03-01", "read_date: 31.02.2026", 5, "There is no such day"),
        ("currency: EUR", "currency: ZZZ", 2, "no code of ISO 4217"),
        ("currency: EUR", "currency: eur", 2, "no code of ISO 4217"),
        ("label: Ten off", 'label: ""', 11, "Write 1 to 300 letters"),
        ("label: Ten off", 'label: "  "', 11, "Write 1 to 300 letters"),
        ("label: Ten off", f"label: {'x' * 400}", 11, "Write 1 to 300 letters"),
        ("label: Ten off", 'label: "a\\u202eb"', 11, "a sign that nobody sees"),
        ("label: Ten off", 'label: "a\\x07b"', 11, "a sign that nobody sees"),
        ("label: Ten off", "label: no", 11, "Put it in quotes"),
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
        (b"a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n", "is a name for a part"),
    ],
    ids=["utf-16", "zeros", "picture", "deep", "many", "long", "large", "laughs"],
)
def test_what_is_no_sheet_is_refused_before_it_is_built(read, monkeypatch, content, told):
    def never(*_, **__):
        raise AssertionError("it was built")

    monkeypatch.setattr(yaml_lines.yaml, "load", never)
    assert told in complaint(read, content)


def test_many_problems_are_told_in_a_few_lines(read):
    said = complaint(read, SHEET + "".join(f"wrong_{n}: {'x' * 5_000}\n" for n in range(40)))
    assert said.splitlines()[-1] == "... and 30 more"


def test_whatever_is_done_to_a_sheet_it_is_read_or_refused_in_words(read):
    draw, text = random.Random(7), SHIPPED.read_text(encoding="utf-8")
    parts = [
        "yes",
        "010",
        "!!int",
        "&a",
        "*a",
        "%d",
        "\t",
        "\0",
        "{",
        "}",
        "[",
        "]",
        ":",
        "-",
        "'",
        '"',
        "\u202e",
        "9" * 400,
    ]
    longest = 0
    for _ in range(300):
        mutated = list(text)
        for _ in range(draw.randint(1, 4)):
            place, many = draw.randrange(len(mutated)), draw.randint(0, 12)
            mutated[place : place + many] = draw.choice([[], list(draw.choice(parts)), mutated[:many]])
        try:
            read("".join(mutated))
        except WinbackError as error:
            longest = max(longest, len(str(error)))
    assert longest < 8_000
