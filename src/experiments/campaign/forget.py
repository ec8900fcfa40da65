"""Somebody asks to be forgotten: a pseudonym takes their place in every file that the product keeps.

Arm, stratum, bucket and all sums stay, so no readout changes. The company's own files are named, with the rows, and
never edited. Killed in the middle, it is run again and goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.campaign.settle import settle
from experiments.campaign.sheet_ledger import is_begun, ledger_of
from experiments.common.errors import WinbackError
from experiments.common.files import clear_parts, whole_file
from experiments.common.locks import locked
from experiments.common.run_records import sha256_of
from experiments.data.columns import literal, quote
from experiments.data.contracts import CONTRACTS
from experiments.data.identity import same
from experiments.data.kept import Kept, is_of_customers
from experiments.data.pseudonyms import Pseudonyms, pseudonyms
from experiments.data.spreadsheets import read_list
from experiments.data.tables import columns_of, connect
from experiments.sheet.contact_rules import FILLED_IN
from experiments.sheet.forgotten import FILE, note_change
from experiments.sheet.places import Private, tests_in
from experiments.sheet.sheet import Sheet, loaded, read_sheet

if TYPE_CHECKING:
    import duckdb

WORDS = ("refusal",)  # of contacts: what somebody said, in free words
SAID = "-"  # stands for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What became of customers to forget."""

    asked: int
    found: int  # in a file of the product, or in the ledger
    booked: int  # in the ledger, now without their names
    files: tuple[Path, ...]  # of the product, that were written anew or removed
    sources: tuple[tuple[Path, tuple[int, ...]], ...]  # the company's own files that hold them, with the rows

    def lines(self) -> Iterator[str]:
        """Yield what there is to tell, without a name."""
        yield f"forgotten {self.found:,} of {self.asked:,} customers, {self.booked:,} of them in the ledger"
        for file in self.files:
            yield f"  written anew without them: {file}" if file.exists() else f"  removed, can be made anew: {file}"
        for file, rows in self.sources:
            shown = ", ".join(f"{row:,}" for row in rows[:20]) + (", ..." if len(rows) > 20 else "")  # noqa: PLR2004
            yield f"  your own file still holds them, and is yours to change: {file}, rows {shown}"


def forget(sheet: Sheet | str | Path, customers: Sequence[str], *, reason: str, by: str, today: date) -> Forgotten:
    """Put a pseudonym in the place of customers, in every file that the workspace of a sheet keeps, and the ledger.

    They keep their one chance: nobody assigns them again, as long as the key of the pseudonyms is there. `reason` and
    `by` stay in the ledger. Raises WinbackError: no reason, or a call list of theirs with answers nobody has read back.
    """
    for name, text in (("reason", reason), ("by", by)):
        if not text.strip():
            raise WinbackError(f"{name} is {text!r}. The history must tell it: write it.")
    content = settle(loaded(sheet))
    ignore_case = content.conventions.ignore_case
    names = list(dict.fromkeys(same(one, ignore_case=ignore_case) for one in customers if one.strip()))
    if not names:
        raise WinbackError("Say who is to be forgotten: the customers, as the tables write them.")
    about = {"day": today.isoformat(), "reason": reason, "by": by}
    wish = _Wish(names=names, words=pseudonyms(create=True) or Pseudonyms(""), about=about)
    root = content.private.folder.parent
    found: set[str] = set()
    files: list[Path] = []
    for private in tests_in(root):
        _refuse_answers(private, names)
    sources = list(_sources(content, root, wish))
    for private in tests_in(root):
        for file in _files(private, content):
            held = _rewrite(file, private, wish)
            found |= held
            files += [file] if held else []
    booked = 0
    if is_begun(content):
        with ledger_of(content) as ledger:
            booked = ledger.forget({one: wish.words.of(one) for one in names}, reason=reason, by=by, at=today)
    return Forgotten(
        asked=len(names), found=max(len(found), booked), booked=booked, files=tuple(dict.fromkeys(files)),
        sources=tuple(sources),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """Who is to be forgotten, what stands for them, and who says so."""

    names: Sequence[str]
    words: Pseudonyms
    about: dict[str, str]  # day, reason, by

    @property
    def listed(self) -> str:
        """The customers, as a list of SQL."""
        return ", ".join(map(literal, self.names))


def _files(private: Private, sheet: Sheet) -> Iterator[Path]:
    """Yield the files with customers of a test; those that its sheet places elsewhere, too."""
    yield from private.files()
    if private.folder == sheet.private.folder:
        for name in ("assignments", "contacts"):
            source = sheet.tables.get(name)
            if source is not None and name not in sheet.made:
                yield from (path for path in source.paths(sheet.folder) if path.suffix == ".parquet")


def _sheets(sheet: Sheet, root: Path) -> Iterator[Sheet]:
    """Yield the sheets of all tests of the workspace, as far as they lie near its private folder."""
    seen = {sheet.experiment}
    yield sheet
    for path in sorted({*root.parent.glob("*.y*ml"), *root.parent.glob("*/*.y*ml")}):
        try:
            other = read_sheet(path)
        except WinbackError:  # no sheet, or one that is being written
            continue
        if other.experiment not in seen and other.private.folder.parent.resolve() == root.resolve():
            seen.add(other.experiment)
            yield other


def _sources(sheet: Sheet, root: Path, wish: _Wish) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """Keep what the numbers of each test need of the customers; yield the company's own files that hold them."""
    told: dict[Path, set[int]] = {}
    for one in _sheets(sheet, root):
        kept = one.private.kept
        tables = {name: source for name, source in one.tables.items()
                  if is_of_customers(name) and name not in one.made and source.there(one.folder)}  # fmt: skip
        with connect() as con:
            for name, source in tables.items():
                if name in ("assignments", "contacts"):
                    continue  # the product's own, wherever they lie: they are written anew
                table = partial(
                    Kept,
                    con=con,
                    name=name,
                    source=source,
                    folder=one.folder,
                    conventions=replace(one.conventions, kept=None),
                )
                for customer in wish.names:
                    about = table(customer=customer)
                    for path, rows in about.rows():
                        told.setdefault(path, set()).update(rows)
                    if one.private.folder.is_dir():
                        kept.mkdir(mode=0o700, exist_ok=True)
                        about.keep(wish.words, into=kept)
        if kept.is_dir() and not any(kept.iterdir()):
            kept.rmdir()
    for path, found in told.items():
        yield path, tuple(sorted(found))


def _refuse_answers(private: Private, names: Sequence[str]) -> None:
    """Refuse where a call list of a customer holds answers: they would go with the list."""
    for path in (*private.folder.glob("calls*.csv"), *private.folder.glob("calls*.xlsx")):
        rows = read_list(path, wanted=("customer_id", *FILLED_IN), needed="customer_id")
        if any(same(row["customer_id"] or "") in names and any(row.get(name) for name in FILLED_IN) for row in rows):
            raise WinbackError(
                f"{path} holds answers of somebody to forget. Read it back first: `winback contacts <sheet> --answers "
                f"{path}`. Nothing was changed."
            )


def _rewrite(file: Path, private: Private, wish: _Wish) -> set[str]:
    """Write a file of the product without the customers, or remove it; return who of them was in it."""
    if file.suffix == ".parquet":
        with locked(file), connect() as con:
            return _rewrite_parquet(con, file, private, wish)
    if file.suffix == ".ipynb":  # of a run that failed: it is of no use but to see why
        text = file.read_text(encoding="utf-8", errors="replace")
        held = {name for name in wish.names if name in text}
    else:
        rows = read_list(file, wanted=("customer_id",), needed="customer_id")
        held = {same(row["customer_id"] or "") for row in rows} & set(wish.names)
    if held:
        file.unlink()  # a list can be made anew
    return held


def _rewrite_parquet(con: duckdb.DuckDBPyConnection, file: Path, private: Private, wish: _Wish) -> set[str]:
    clear_parts(file)
    rows = f"read_parquet({literal(file)})"
    columns = columns_of(con, f"SELECT * FROM {rows}")
    if "customer_id" not in columns:
        return set()
    is_one = f"CAST(customer_id AS VARCHAR) IN ({wish.listed})"
    found = con.execute(f"SELECT DISTINCT CAST(customer_id AS VARCHAR) FROM {rows} WHERE {is_one}").fetchall()
    if not found:
        return set()
    con.execute("SET preserve_insertion_order = true")
    known = CONTRACTS["contacts"] if file.name == "contacts.parquet" else columns
    cells = ", ".join(f"{_cell(column, is_one, wish, known=column in known)} AS {quote(column)}" for column in columns)
    before = sha256_of(file)
    with whole_file(file, durable=True, private=True) as part:
        con.execute(f"COPY (SELECT {cells} FROM {rows}) TO {literal(part)} (FORMAT parquet, COMPRESSION zstd)")
        with locked(private.folder / FILE):
            note_change(private.folder, file, before=before, after=sha256_of(part), about=wish.about)
    return {row[0] for row in found}


def _cell(column: str, is_one: str, wish: _Wish, *, known: bool) -> str:
    """Return the SQL of a column without the customers: what a company wrote there beside ours goes, too."""
    name, customer = quote(column), "CAST(customer_id AS VARCHAR)"
    if column == "customer_id":
        return f"CASE WHEN {is_one} THEN {wish.words.sql(customer)} ELSE {customer} END"
    if column in WORDS:
        return f"CASE WHEN {is_one} AND {name} IS NOT NULL THEN {literal(SAID)} ELSE {name} END"
    return name if known else f"CASE WHEN {is_one} THEN NULL ELSE {name} END"
