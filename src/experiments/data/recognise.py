"""What a company's export holds: which table it is, and which of its columns is which, from their names and contents.

A name tells the role in English, Russian or French; the contents must fit it. Where two columns could be one role, or
none could, nobody guesses: `Ambiguous`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.common.errors import Ambiguous, WinbackError
from experiments.data import cell_styles
from experiments.data.columns import literal, shape, trimmed
from experiments.data.contracts import CONTRACTS, Source
from experiments.data.formats import Opened, looks_like_a_row, opened

if TYPE_CHECKING:
    import duckdb

Table = Literal["purchases", "customers", "reasons"]
# Role: what its column is called, as the beginning of a word of its name; the earlier, the better.
NAMES: dict[str, str] = {
    "customer_id": r"customer|client|kunde|user|member|account|buyer|email|e mail|клиент|покупател|абонент|контрагент|"
    r"заказчик|адherent|acheteur|membre|abonne|adherent",
    "at": r"date|day|sold|paid|bought|invoiced|purchased|ordered at|order date|timestamp|дата|день|jour|le$",
    "amount": r"amount|revenue|total|price|sum|sales|paid|turnover|value|net|gross|сумм|выручк|оплат|стоимост|итого|"
    r"цена|montant|ca |ca$|prix|chiffre|total|ttc|ht$",
    "margin": r"margin|profit|маржа|прибыл|marge|benefice",
    "order_id": r"order id|order no|order number|order$|invoice|receipt|bill|transaction|заказ|чек|счет|накладн|"
    r"commande|facture|ticket|n commande|numero de commande",
    "line": r"line|category|product|department|категори|товар|направлен|линия|categorie|produit|rayon",
    "manager": r"manager|seller|sales rep|owner|менеджер|продавец|ответственн|vendeur|commercial|responsable",
    "name": r"name|full name|фио|имя|nom|prenom",
    "phone": r"phone|mobile|телефон|тел$|telephone|portable",
    "since": r"since|signup|sign up|registered|joined|created|регистрац|inscri|cree",
    "cancelled_at": r"cancel|churn|terminated|end date|ended|расторг|отказ|закрыт|resili|annul|fin ",
    "complaint": r"complaint|жалоб|reclam|plainte",
    "do_not_contact": r"do not contact|do not call|opt out|unsubscrib|не звонить|не беспокоить|отписал|ne pas",
    "nps": r"nps|recommend",
    "reason": r"reason|причин|raison|motif",
}
WHOLE = {
    "customer_id": r"\b(id|no|code|number|номер|код|n|numero|num)\b"
}  # what makes a name of a customer the better one
TABLES: dict[Table, tuple[str, ...]] = {
    "purchases": ("customer_id", "at", "amount", "margin", "order_id", "line"),
    "customers": ("customer_id", "name", "phone", "since", "manager", "line", "cancelled_at", "complaint",
                  "do_not_contact", "nps"),
    "reasons": ("customer_id", "reason"),
}  # fmt: skip
PRICES = r"price|цена|стоимост|prix|tarif"  # of one piece, where the number of pieces stands beside it
PIECES = r"quantity|qty|pieces|units|количество|кол во|шт|quantite|qte|nombre"
CALLED = {"customer_id": "customer", "at": "date"}  # how a question calls a role; others by their name
# Signs that are of one currency; a dollar is of many.
SIGNS = {"€": "EUR", "eur": "EUR", "euro": "EUR", "euros": "EUR", "евро": "EUR", "usd": "USD", "£": "GBP", "gbp": "GBP",
         "₽": "RUB", "руб": "RUB", "rub": "RUB", "chf": "CHF", "₸": "KZT", "₴": "UAH"}  # fmt: skip
FEW = 200  # values of a reason, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What a file holds: its table, our name of a column: the name in the file, and how each was told."""

    path: Path
    table: Table
    columns: dict[str, str]
    told_by: dict[str, Literal["name", "content", "you"]]
    unused: tuple[str, ...]
    rows: int
    currency: str | None = None
    settings: dict[str, str] = field(default_factory=dict)  # of the table: how its cells are written, where it was said


def recognised(
    con: duckdb.DuckDBPyConnection, path: Path, *, key: str, given: Mapping[str, str], called: str = ""
) -> Recognised:
    """Return what a file holds. `given`: what the user said, a role or a setting of the table: its value.

    Raises Ambiguous where two columns could be one, WinbackError for a file without customers.
    """
    called = called or path.name
    said = {name: given[name] for name in ("encoding", "delimiter", "worksheet") if name in given}
    file = opened(con, key, path, Source.model_validate({"file": path.name, **said}), called=called, needed=())
    _refuse_headless(file, called)
    found = _Found(con=con, file=file, called=called, given=given)
    customer = found.role("customer_id", needed=True)
    if customer is None:
        raise WinbackError(f"{called}: no column is called like a customer. Say which is: `--set customer_id=<name>`.")
    table = found.table(customer)
    columns = {"customer_id": customer}
    for role in TABLES[table][1:]:
        name = found.role(role, needed=_needed(table, role), taken=columns.values())
        if name is not None:
            columns[role] = name
    told = {role: found.told_by[role] for role in columns}
    unused = tuple(name for name in file.columns if name not in columns.values())
    amount = columns.get("amount")
    return Recognised(
        path=path, table=table, columns=columns, told_by=told, unused=unused, rows=found.rows(),
        currency=found.currency(amount) if amount else None, settings=said,
    )  # fmt: skip


def _needed(table: Table, role: str) -> bool:
    return CONTRACTS[table][role].endswith("!")


def _refuse_headless(file: Opened, called: str) -> None:
    if looks_like_a_row(file.columns):
        raise WinbackError(f"{called} has no header: its first row is a row like the others. Write the names of the "
                           "columns above it.")  # fmt: skip


def plain(name: str) -> str:
    """Return the name of a column in small letters without accents and signs.

    >>> plain("N° Client"), plain("Order_Date")
    ('n client', 'order date')
    """
    letters = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-zа-я])(?=[A-ZА-Я])", " ", name).lower())
    bare = "".join(c for c in letters if not unicodedata.combining(c) or c == "\u0306")
    bare = unicodedata.normalize("NFC", bare)
    return " ".join(re.sub(r"[^\w€$£₽]+|_", " ", bare).split())


class _Found:
    """A file whose columns are being told."""

    def __init__(self, *, con: duckdb.DuckDBPyConnection, file: Opened, called: str, given: Mapping[str, str]) -> None:
        self.con, self.file, self.called, self.given = con, file, called, given
        self.told_by: dict[str, Literal["name", "content", "you"]] = {}

    def rows(self) -> int:
        """Return the number of rows."""
        number: int = self.con.execute(f"SELECT count(*) FROM {self.file.relation}").fetchall()[0][0]
        return number

    def cell(self, name: str) -> str:
        """Return the SQL of a column as text."""
        return trimmed(f"CAST({self.file.columns[name][0]} AS VARCHAR)")

    def table(self, customer: str) -> Table:
        """Return which table it is: with amounts, purchases; with reasons, reasons; else customers."""
        names = [plain(name) for name in self.file.columns]
        cell = self.cell(customer)
        rows, people = self.con.execute(
            f"SELECT count({cell}), count(DISTINCT {cell}) FROM {self.file.relation}"
        ).fetchall()[0]
        days = any(self._says("at", name) for name in names) or "at" in self.given
        about = any(
            self._says(role, name) for role in ("manager", "name", "phone", "since", "cancelled_at") for name in names
        )
        if rows == people and (about or not days):  # one row a customer: who they are, not what they bought
            reason = any(self._says("reason", name) for name in names) and not about
            return "reasons" if reason else "customers"
        if any(self._says("amount", name) for name in names) or "amount" in self.given:
            return "purchases"
        return "reasons" if any(self._says("reason", name) for name in names) else "purchases"

    @staticmethod
    def _says(role: str, name: str) -> bool:
        return bool(re.search(rf"(?:^|\s)(?:{NAMES[role]})", name))

    def role(self, role: str, *, needed: bool, taken: Collection[str] = ()) -> str | None:
        """Return the column of a role; None where nothing is called like it and it is not needed."""
        free = [name for name in self.file.columns if name not in taken]
        called = CALLED.get(role, role)
        if (said := self.given.get(role)) in self.file.columns:
            self.told_by[role] = "you"
            return said
        named = [name for name in free if self._says(role, plain(name)) and self._fits(role, name)]
        if role == "amount" and any(re.search(rf"(?:^|\s)(?:{PIECES})", plain(name)) for name in free):
            named = [name for name in named if not re.search(rf"(?:^|\s)(?:{PRICES})", plain(name))]
        if role in WHOLE and len(named) > 1:
            better = [name for name in named if re.search(WHOLE[role], plain(name))]
            named = better or named
        if len(named) > 1:
            exact = [name for name in named if plain(name) == role.replace("_", " ")]
            named = exact if len(exact) == 1 else named
        if len(named) > 1 and needed:
            raise Ambiguous(
                f"{self.called}: {' and '.join(map(repr, named))} could each be the {called}. Say which one it is.",
                setting=role,
                choices={name: self._sample(name) for name in named},
            )
        if len(named) == 1:
            self.told_by[role] = "name"
            return named[0]
        return self._by_content(role, free) if needed else None

    def _by_content(self, role: str, free: Sequence[str]) -> str | None:
        """Return the only column whose cells can be the role; what is needed and nowhere is asked for."""
        fitting = [name for name in free if role in ("at", "amount") and self._fits(role, name, strictly=True)]
        if role == "amount":
            fitting = [name for name in fitting if not re.search(rf"(?:^|\s)(?:{PRICES})", plain(name))]
        if len(fitting) == 1:
            self.told_by[role] = "content"
            return fitting[0]
        choices = {name: self._sample(name) for name in fitting or free}
        why = "several columns could be it" if fitting else "no column looks like it"
        called = CALLED.get(role, role)
        raise Ambiguous(
            f"{self.called}: which column is the {called}? {why[:1].upper()}{why[1:]}. Say it: `--set {role}=<name>`; "
            f"there are {', '.join(map(repr, free))}.",
            setting=role,
            choices=choices,
        )

    def _fits(self, role: str, name: str, *, strictly: bool = False) -> bool:
        """Tell whether the cells of a column can be the role; `strictly`: no other number may pass for it."""
        kind = self.file.columns[name][1]
        if role in ("at", "since", "cancelled_at"):
            return kind.startswith(("DATE", "TIMESTAMP")) or (
                kind == "VARCHAR" and self._dates(name, strictly=strictly)
            )
        if role in ("amount", "margin"):
            if kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
                return True
            return (kind == "VARCHAR" and self._numbers(name, strictly=strictly)) or (
                (not strictly and kind.endswith("INT")) or kind == "INTEGER"
            )
        if role == "reason":
            query = f"SELECT count(DISTINCT {self.cell(name)}) FROM {self.file.relation}"
            return int(self.con.execute(query).fetchall()[0][0]) <= FEW
        return True

    def _dates(self, name: str, *, strictly: bool) -> bool:
        cell = self.cell(name)
        if strictly and self._share(name, f"{cell} LIKE '%-%' OR {cell} LIKE '%.%' OR {cell} LIKE '%/%'") < 1:
            return False
        try:
            style = cell_styles.date_style(self.con, self.file.relation, cell, where=self.called, zone="UTC")
        except Ambiguous:
            return True  # a date in each reading: which one, the table's own reading asks
        return (style is not None and style.fits) or "dates" in self.given

    def _numbers(self, name: str, *, strictly: bool) -> bool:
        cell = self.cell(name)
        if strictly and self._share(name, f"regexp_matches({cell}, '[0-9][.,][0-9]{{2}}([^0-9]|$)')") < 0.5:  # noqa: PLR2004
            return False
        try:
            style = cell_styles.number_style(self.con, self.file.relation, cell, where=self.called, decimal=None)
        except Ambiguous:
            return True
        return style is not None

    def _share(self, name: str, test: str) -> float:
        cell = self.cell(name)
        fit, filled = self.con.execute(
            f"SELECT count(CASE WHEN {test} THEN 1 END), count({cell}) FROM {self.file.relation}"
        ).fetchall()[0]
        return float(fit / filled) if filled else 0.0

    def _sample(self, name: str) -> str:
        cell = self.cell(name)
        rows = self.con.execute(f"SELECT {cell} FROM {self.file.relation} WHERE {cell} IS NOT NULL LIMIT 3").fetchall()
        # A number or a day is shown; of all else, only what it looks like.
        plainly = all(re.fullmatch(r"[-+\d.,:/ '\u00a0\u202fT€$£₽]{1,24}", str(row[0])) for row in rows)
        number = plainly and (self._says("at", plain(name)) or self._says("amount", plain(name)))
        return ", ".join(str(row[0]) if number else shape(str(row[0])) for row in rows)

    def currency(self, amount: str) -> str | None:
        """Return the one currency whose sign stands in the name or the cells of a column."""
        words = {*plain(amount).split(), *re.findall("[€£₽₸₴]", amount)}
        found = {code for sign, code in SIGNS.items() if sign in words}
        cell = self.cell(amount)
        for sign, code in SIGNS.items():
            alone = literal(rf"(^|[^a-zа-я]){re.escape(sign)}([^a-zа-я]|$)")
            word = f"regexp_matches(lower({cell}), {alone})"
            if code not in found and self._share(amount, word) > 0:
                found.add(code)
        return found.pop() if len(found) == 1 else None
