"""One table written in every way people write it: the same rows to the last bit, or a clear error, never other ones."""

import csv
import datetime as dt
import gzip
import io
import itertools
import random

import pytest
from xlsxwriter import Workbook

from experiments.common.errors import WinbackError
from experiments.data.contracts import Source
from experiments.data.tables import connect, read

PEOPLE = ["007", "7", "Zoé-1", "Ünal 2", "K;9", 'say "x"', "42"]
WESTERN, CYRILLIC = "Zoé-1", "Клиент 1"
DAYS = [dt.date(2023, 1, 31), dt.date(2024, 2, 29), dt.date(2025, 3, 4), dt.date(2025, 12, 13), dt.date(2025, 7, 1)]
CENTS = [5, 99, 1_200, 123_456, 100_000_001, -4_250, 0, 98_765_432]


def table(encoding, seed):
    """Return rows (customer, day, cents, order), the customers in letters that the encoding has."""
    draw = random.Random(seed)
    names = [name for name in PEOPLE if name.encode(encoding, "ignore").decode(encoding) == name]
    names += [CYRILLIC] if encoding in ("cp1251", "utf-8", "utf-16") else []
    orders = ["A-1", "two\nlines", 'with "quotes"', "semi;colon, comma", "tab\tpipe|", ""]
    rows = [(names[i % len(names)], DAYS[i % 5], CENTS[i % 8], orders[i % 6]) for i in range(24)]
    draw.shuffle(rows)
    return rows


def _grouped(cents, group, decimal, before="", after=""):
    whole, part = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{before}{whole:,}".replace(",", group) + f"{decimal}{part:02d}{after}"


NUMBERS = {
    "point": lambda c: _grouped(c, "", "."),
    "comma": lambda c: _grouped(c, "", ","),
    "blank": lambda c: _grouped(c, " ", ","),
    "hard blank": lambda c: _grouped(c, "\u00a0", ","),
    "thin blank": lambda c: _grouped(c, "\u202f", ","),
    "apostrophe": lambda c: _grouped(c, "'", "."),
    "english": lambda c: _grouped(c, ",", "."),
    "german": lambda c: _grouped(c, ".", ","),
    "dollars": lambda c: _grouped(c, ",", ".", before="$"),
    "euros": lambda c: _grouped(c, " ", ",", after=" €"),
    "roubles": lambda c: _grouped(c, "\u00a0", ",", after=" руб."),  # noqa: RUF001
    "code": lambda c: _grouped(c, "", ".", after=" EUR"),
}
DATES = {
    "iso": "%Y-%m-%d",
    "iso with time": "%Y-%m-%dT13:45:59",
    "russian": "%d.%m.%Y",
    "russian with time": "%d.%m.%Y 23:59",
    "french": "%d/%m/%Y",
    "american": "%m/%d/%Y",
    "american with time": "%m/%d/%Y 11:59:00 PM",
    "two digits": "%d.%m.%y",
    "compact": "%Y%m%d",
    "dashes": "%d-%m-%Y",
    "serial": None,
}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1251", "cp1252", "latin-1"]
DELIMITERS = [",", ";", "\t", "|"]
ENDS = ["\n", "\r\n", "\r", "mixed"]
EXTRAS = ["", "sep", "trailing", "index", "title", "empty rows"]


def written_day(day, style):
    return str((day - dt.date(1899, 12, 30)).days) if DATES[style] is None else day.strftime(DATES[style])


def as_csv(rows, encoding, delimiter, number, date, ends, extra):  # noqa: PLR0917
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    tail = [""] if extra == "trailing" else []
    head = [""] if extra == "index" else []
    if extra == "sep":
        out.write(f"sep={delimiter}\n")
    if extra == "title":
        out.write("Sales of the year\n\n")
    writer.writerow([*head, "customer_id", "at", "amount", "order_id", *tail])
    for place, (name, day, cents, order) in enumerate(rows):
        first = [place] if head else []
        writer.writerow([*first, name, written_day(day, date), NUMBERS[number](cents), order, *tail])
    if extra == "empty rows":
        out.write(delimiter * 3 + "\n" + "\n" + delimiter * 3 + "\n")
    text = out.getvalue()
    if ends == "mixed":
        lines = text.split("\n")
        text = "".join(line + ("\r\n" if place % 2 else "\n") for place, line in enumerate(lines[:-1]))
    else:
        text = text.replace("\n", ends)
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    return mark + text.encode(encoding)


def combinations(count=430):
    """Return a seeded sample of all combinations in which every two values of two parts meet often."""
    draw = random.Random(13)
    product = [list(part) for part in (ENCODINGS, DELIMITERS, NUMBERS, DATES, ENDS, EXTRAS, ["csv", "csv.gz"])]
    found = [tuple(draw.choice(part) for part in product) for _ in range(count)]
    return sorted({one for one in found if _can_be_written(*one)})


def _can_be_written(encoding, _delimiter, number, _date, _ends, _extra, _kind):
    try:
        NUMBERS[number](123_456).encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def same_lines(order):
    return (order or "").replace("\r\n", "\n").replace("\r", "\n")


def read_back(folder, name, **source):
    with connect() as con:
        read(con, "purchases", Source(file=name, **source), folder=folder)
        found = con.execute('SELECT customer_id, "at", amount, order_id FROM purchases').fetchall()
    return sorted((str(row[0]), row[1], row[2], same_lines(row[3])) for row in found)


def expected(rows):
    return sorted((name, day, cents, order) for name, day, cents, order in rows)


@pytest.mark.parametrize("part", range(8))
def test_the_same_rows_come_from_every_way_of_writing_a_csv(tmp_path, part):
    wrong = []
    for place, one in enumerate(combinations()[part::8]):
        encoding, delimiter, number, date, ends, extra, kind = one
        rows = table("utf-8" if encoding.startswith("utf") else encoding, place)
        content = as_csv(rows, encoding, delimiter, number, date, ends, extra)
        name = f"bills-{place}.{kind}"
        (tmp_path / name).write_bytes(gzip.compress(content) if kind == "csv.gz" else content)
        try:
            found = read_back(tmp_path, name)
        except WinbackError as error:
            try:  # only the encoding of letters of one byte may have to be said
                assert not encoding.startswith("utf")
                found = read_back(tmp_path, name, encoding=encoding)
            except (AssertionError, WinbackError):
                wrong.append((one, str(error)))
                continue
        if found != expected(rows):
            wrong.append((one, [pair for pair in zip(found, expected(rows), strict=False) if pair[0] != pair[1]][:1]))
    assert not wrong, "\n".join(map(str, wrong[:5]))


@pytest.mark.parametrize(
    ("number", "date"), [*itertools.product(["typed", *NUMBERS], ["typed", "iso", "russian", "french", "american"])]
)
def test_the_same_rows_come_from_a_workbook(tmp_path, number, date):
    rows = table("utf-8", 3)
    with Workbook(str(tmp_path / "bills.xlsx")) as book:
        day_format = book.add_format({"num_format": "dd.mm.yyyy"})
        sheet = book.add_worksheet()
        sheet.write_row(1, 1, ["customer_id", "at", "amount", "order_id"])  # not at the top left
        for place, (name, day, cents, order) in enumerate(rows, 2):
            sheet.write_string(place, 1, name)
            if date == "typed":
                sheet.write_datetime(place, 2, dt.datetime.combine(day, dt.time()), day_format)
            else:
                sheet.write_string(place, 2, written_day(day, date))
            if number == "typed":
                sheet.write_number(place, 3, cents / 100)
            else:
                sheet.write_string(place, 3, NUMBERS[number](cents))
            sheet.write_string(place, 4, order)
    assert read_back(tmp_path, "bills.xlsx") == expected(rows)
