"""Tables, answer files and sheets spoilt at random, and what came of reading them: for `make fuzz` and a short test."""

from __future__ import annotations

import csv
import io
import random
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from experiments.common.errors import WinbackError
from experiments.data.contracts import Source
from experiments.data.spreadsheets import read_list
from experiments.data.tables import connect, read
from experiments.sheet.sheet import read_sheet

SECRETS = ("Zebulon Quark", "+49 171 5550199")  # a name and a phone that no message may show
SLOW = 10.0  # seconds
SHIPPED = Path(__file__).parents[1] / "data/telecom/sheet.yml"


@dataclass
class Outcome:
    """What came of so many spoilt files."""

    files: int = 0
    read: int = 0
    refused: int = 0
    tracebacks: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        return [*self.tracebacks, *self.slow, *self.miscounted, *self.leaked]


def table(draw: random.Random) -> tuple[bytes, str]:
    """Return purchases as somebody may export them, and the name of the encoding."""
    encoding = draw.choice(["utf-8", "utf-8-sig", "utf-16", "cp1251", "cp1252", "latin-1"])
    delimiter, comma = draw.choice(",;\t|"), draw.random() < 0.5
    style = draw.choice(["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%Y-%m-%d %H:%M:%S"])
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=draw.choice(["\n", "\r\n"]))
    writer.writerow(["customer_id", "at", "amount", "line"])
    for n in range(draw.randint(2, 30)):
        day = time.strftime(style, time.gmtime(1_700_000_000 + 86_400 * draw.randint(0, 600)))
        cents = draw.randint(-500, 500_000)
        amount = f"{cents // 100}{',' if comma else '.'}{cents % 100:02d}"
        writer.writerow([draw.choice([f"{n:03d}", f"c{n}", str(n)]), day, amount, draw.choice(["a", "b c", *SECRETS])])
    return out.getvalue().encode(encoding), encoding


def answers(draw: random.Random) -> bytes:
    """Return a filled call list."""
    delimiter = draw.choice(",;")
    rows = [["customer_id", "name", "phone", "called_on", "reached", "accepted_at"]]
    rows += [[str(n), *SECRETS, "2025-02-01", draw.choice(["yes", "no", "да", "oui", ""]), ""] for n in range(12)]
    return "\r\n".join(delimiter.join(row) for row in rows).encode("utf-8-sig")


def spoilt(content: bytes, draw: random.Random) -> bytes:
    """Return the bytes with one to four mishaps."""
    for _ in range(draw.randint(1, 4)):
        content = draw.choice(MISHAPS)(bytearray(content), draw)
    return bytes(content)


def _flip(data: bytearray, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 8)):
        if data:
            data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def _insert(data: bytearray, draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    some = [b'"', b"'", b"\r", b"\n", b"\0", b";", b",", b"\t", b"  ", b"1e308", b"9" * 400, b"NaN", b"=1+1"]
    some += [b"sep=;\n", b"\xff\xfe", b"31.12.1899", b"9999-12-31", "Итого".encode(), "é".encode("latin-1"), b"\x1a"]
    return bytes(data[:place] + draw.choice(some) + data[place:])


def _cut(data: bytearray, draw: random.Random) -> bytes:
    return bytes(data[: draw.randrange(len(data) + 1)])


def _lines(data: bytearray, draw: random.Random) -> bytes:
    lines = bytes(data).split(b"\n")
    place = draw.randrange(len(lines))
    how = draw.randrange(4)
    if how == 0:
        del lines[place]
    elif how == 1:
        lines.insert(place, lines[draw.randrange(len(lines))])
    elif how == 2:
        draw.shuffle(lines)
    else:
        cells = lines[place].replace(b";", b",").split(b",")
        lines[place] = b",".join(cells[: draw.randint(0, len(cells))])
    return b"\n".join(lines)


def _swap(data: bytearray, draw: random.Random) -> bytes:
    old, new = draw.sample([b",", b";", b".", b"-", b"/", b"\t", b'"', b" ", b"0", b"\r\n", b"\n"], 2)
    return bytes(data).replace(old, new, draw.randint(1, 20))


MISHAPS = (_flip, _insert, _cut, _lines, _swap)


def counted(content: bytes, encodings: tuple[str, ...]) -> set[int]:
    """Return how many rows another reader finds below the header, for each encoding and separator it may have."""
    found = set()
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeError:
            continue
        for delimiter in ",;\t|":
            try:
                rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
            except csv.Error:
                continue
            filled = [row for row in rows if any(cell.strip() for cell in row)]
            named = [[cell.strip("\ufeff \xa0") for cell in row] for row in filled]
            places = [place for place, row in enumerate(named) if "customer_id" in row]
            found |= {len(filled) - place - 1 for place in places[:1]}
    return found


def _noted(outcome: Outcome, what: str, begun: float, error: Exception | None, name: str) -> None:
    outcome.files += 1
    if time.perf_counter() - begun > SLOW:
        outcome.slow.append(f"{name}: {time.perf_counter() - begun:.1f} s")
    if error is None:
        outcome.read += 1
    elif isinstance(error, WinbackError):
        outcome.refused += 1
        said = str(error)
        if any(secret in said or part in said for secret in SECRETS for part in secret.split()[:1]):
            outcome.leaked.append(f"{name}: {said[:200]}")
    else:
        outcome.tracebacks.append(f"{name}: {what}: {''.join(traceback.format_exception(error))[-600:]}")


def tables(folder: Path, *, seed: int, count: int) -> Outcome:
    """Read so many spoilt tables."""
    outcome = Outcome()
    for number in range(seed, seed + count):
        draw = random.Random(number)
        whole, encoding = table(draw)
        content, begun, error, rows = spoilt(whole, draw), time.perf_counter(), None, None
        (folder / "t.csv").write_bytes(content)
        try:
            with connect(threads=1) as con:
                account = read(con, "purchases", Source(file="t.csv"), folder=folder)
                rows = account.rows
        except Exception as caught:  # noqa: BLE001  whatever it is, it is counted
            error = caught
        _noted(outcome, "table", begun, error, f"table {number}")
        if rows is not None:
            independent = counted(content, ("utf-8-sig", "utf-16", encoding, "cp1251", "cp1252"))
            if rows not in independent:
                outcome.miscounted.append(f"table {number}: {rows} rows, another reader has {sorted(independent)}")
    return outcome


def lists(folder: Path, *, seed: int, count: int) -> Outcome:
    """Read so many spoilt answer files."""
    outcome = Outcome()
    for number in range(seed, seed + count):
        draw = random.Random(number)
        content, begun, error = spoilt(answers(draw), draw), time.perf_counter(), None
        (folder / "l.csv").write_bytes(content)
        try:
            list(read_list(folder / "l.csv", wanted=("customer_id", "reached"), needed="customer_id"))
        except Exception as caught:  # noqa: BLE001
            error = caught
        _noted(outcome, "list", begun, error, f"list {number}")
    return outcome


def sheets(folder: Path, *, seed: int, count: int) -> Outcome:
    """Read so many spoilt sheets."""
    outcome, text = Outcome(), SHIPPED.read_bytes()
    for number in range(seed, seed + count):
        draw = random.Random(number)
        content, begun, error = spoilt(text, draw), time.perf_counter(), None
        (folder / "s.yml").write_bytes(content)
        try:
            read_sheet(folder / "s.yml")
        except Exception as caught:  # noqa: BLE001
            error = caught
        _noted(outcome, "sheet", begun, error, f"sheet {number}")
    return outcome


KINDS = {"tables": tables, "answer files": lists, "sheets": sheets}
