"""What the tables of a company must look like: their columns and kinds, and what a sheet says of a file."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from experiments.common.errors import WinbackError

Kind = Literal["id", "text", "date", "past", "money", "cost", "flag", "integer", "complaint"]

# Section 3 of the design. A column marked with ! is required. A day that is `past` may not lie in the future.
CONTRACTS: dict[str, dict[str, str]] = {
    "customers": {"customer_id": "id!", "name": "text", "phone": "text", "since": "date", "manager": "text",
                  "line": "text", "nps": "integer",
                  "referrals": "integer", "complaint": "complaint", "unreachable": "flag", "important": "flag",
                  "do_not_contact": "flag", "natural_loss": "flag", "deliberate_loss": "flag", "hours": "integer",
                  "cancelled_at": "date"},
    "purchases": {"customer_id": "id!", "at": "past!", "amount": "money!", "margin": "money", "line": "text",
                  "order_id": "text"},
    "inquiries": {"customer_id": "id!", "at": "past", "ordered": "flag"},
    "reasons": {"customer_id": "id!", "reason": "text!", "source": "text", "verified": "flag", "fixed_at": "date"},
    "assignments": {"experiment": "text", "customer_id": "id!", "arm": "text!", "at": "date", "stratum": "text",
                    "bucket": "integer"},
    "outcomes": {"customer_id": "id!", "returned": "flag", "value": "money", "cost": "cost"},
    "contacts": {"experiment": "text", "customer_id": "id!", "arm": "text", "at": "past", "channel": "text",
                 "caller": "text", "reached": "flag", "accepted_at": "past", "refused_at": "past", "refusal": "text"},
    "consents": {"customer_id": "id!", "channel": "text", "basis": "text", "given_at": "date", "withdrawn_at": "date"},
    "changes": {"at": "date!", "what": "text!"},
    "known_lost": {"customer_id": "id!", "at": "date"},
}  # fmt: skip
WORDS = {"complaint": ("none", "resolved", "unresolved")}  # kind: all that may stand there
TYPES = {"id": "VARCHAR", "text": "VARCHAR", "date": "DATE", "past": "DATE", "money": "BIGINT", "cost": "BIGINT",
         "flag": "BOOLEAN", "integer": "BIGINT", "complaint": "VARCHAR"}  # fmt: skip
DELIMITERS = {",": ",", ";": ";", "tab": "\t", "|": "|"}  # as the sheet says it: as it stands in the file


class Source(BaseModel):
    """Where a table lies, what its columns are called there, and how its cells are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | tuple[str, ...] = Field(
        description="CSV, CSV.gz, XLSX, XLS, ODS, Parquet or DuckDB file, relative to the sheet; several as a list, or "
        "by a pattern such as 'sales-*.csv'"
    )
    table: str | None = Field(default=None, description="name of the table in a DuckDB file")
    worksheet: str | None = Field(default=None, description="name of the sheet in a spreadsheet; left out: the first")
    columns: dict[str, str] = Field(default_factory=dict, description="our name: name in the file")
    dates: str | None = Field(default=None, description="format of dates, for example '%d.%m.%Y' or '%Y%m%d'")
    decimal: Literal[",", "."] | None = Field(
        default=None, description="what stands before the cents; left out: told from the whole column"
    )
    delimiter: Literal[",", ";", "tab", "|"] | None = Field(
        default=None, description="what separates the cells of a CSV; left out: told from its first line"
    )
    encoding: str | None = Field(
        default=None, description="of a CSV: utf-8, utf-16, cp1251, cp1252, latin-1; left out: told from its bytes"
    )
    values: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="our name: word in the file: what it means, such as {ja: yes}"
    )
    fill: dict[str, str] = Field(default_factory=dict, description="our name: what an empty cell stands for; stated")
    missing: list[str] = Field(default_factory=list, description="texts that mean a missing value, for example '-999'")
    repeats: Literal["keep", "drop"] | None = Field(
        default=None,
        description="purchases: what to do with rows that repeat customer, day and amount; left out: they count, and a "
        "check warns",
    )

    @property
    def named(self) -> str:
        """The file as the sheet names it; several, separated by commas."""
        return self.file if isinstance(self.file, str) else ", ".join(self.file)

    def paths(self, folder: Path) -> list[Path]:
        """Return the files there are, in the order of the sheet; a pattern gives all that fit it, by name."""
        given = (self.file,) if isinstance(self.file, str) else self.file
        found = [path for name in given for path in _paths(folder, name)]
        return list(dict.fromkeys(path for path in found if path.is_file()))

    def there(self, folder: Path) -> bool:
        """Tell whether there is a file."""
        return bool(self.paths(folder))

    def written(self, folder: Path) -> Path:
        """Return the one file that the product writes this table to. Raises WinbackError for several."""
        if not isinstance(self.file, str) or glob.has_magic(self.file):
            raise WinbackError(f"The table of {self.named!r} is written by a test: name one file for it.")
        return folder / self.file


def _paths(folder: Path, name: str) -> list[Path]:
    path = folder / name
    if path.is_file() or not glob.has_magic(name):
        return [path]
    pattern = str(Path(glob.escape(str(folder))) / name)  # a pattern may be absolute, or lead upwards
    return sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """How every table of a company is read: its currency, its clock, how customers are written."""

    decimals: int = 2  # digits of the currency's minor unit
    time_zone: str | None = None  # in which an instant is a day, such as Europe/Berlin
    ignore_case: bool = False  # Ann@example.com and ann@example.com are one customer
    kept: Path | None = None  # folder with what is kept of those who were forgotten, a Parquet file a table


PLAIN = Conventions()
