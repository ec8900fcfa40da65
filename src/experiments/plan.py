"""The experiment sheet: what a marketer writes, checked at the door."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from experiments.errors import WinbackError, did_you_mean
from experiments.offers import Offer
from experiments.tables import CONTRACTS, Source, money_decimals

Objective = Literal["profit", "roi", "returned", "months"]
SEPARATOR = " / "  # between the factors of a stratum: "price / A"


class Lost(BaseModel):
    """Who counts as lost: the silence rule, and the share of revenue that is margin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: date = Field(description="the day on which the company looks at its customers")
    silent_days: int = Field(default=90, ge=1, description="lost after so many days without a purchase")


class Sheet(BaseModel):
    """An experiment as its designer wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="short name; also the folder of its reports")
    question: str = Field(min_length=1, description="what the test should answer, one sentence")
    currency: str = Field(default="USD", description="ISO 4217 code")
    objective: Objective = Field(default="profit", description="what decides: profit, roi, returned or months")
    horizon_months: int = Field(default=24, ge=1, le=60, description="months after assignment that count")
    window_months: int = Field(default=12, ge=1, le=60, description="returned: bought again within so many months")
    discount_rate: float = Field(default=0.10, ge=0, lt=1, description="nominal a year, applied mid-month")
    level: float = Field(default=0.95, gt=0.5, lt=1, description="confidence level of every interval")
    tolerance: float = Field(default=0.0, ge=0, description="offers nearer than this on the objective are equivalent")
    read_date: date | None = Field(default=None, description="registered day of the readout; earlier is interim")
    followed_until: date | None = Field(default=None, description="the first day the data know nothing about")
    margin_share: float = Field(default=1.0, gt=0, le=1, description="margin in revenue, where there is no margin")
    seed: int = Field(default=1, ge=0, description="the one source of chance")
    strata: tuple[str, ...] = Field(default=(), description="factors of a stratum, in its order")
    holdout: str | None = Field(default=None, description="the arm that gets no offer")
    lost: Lost | None = None
    arms: dict[str, Offer] = Field(min_length=1, description="arm: offer")
    catalogue: dict[str, Offer] = Field(default_factory=dict, description="offers no arm gives alone")
    tables: dict[str, Source] = Field(description="table: file")

    @property
    def decimals(self) -> int:
        """Digits of the currency's minor unit."""
        return money_decimals(self.currency)

    @property
    def offers(self) -> tuple[str, ...]:
        """The arms without the holdout, in the sheet's order."""
        return tuple(arm for arm in self.arms if arm != self.holdout)

    @property
    def dated(self) -> bool:
        """Whether results have dates, so that there is a lifetime."""
        return "purchases" in self.tables

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        money_decimals(self.currency)
        if self.holdout is not None and self.holdout not in self.arms:
            raise ValueError(f"holdout: there is no arm {self.holdout!r}. {did_you_mean(self.holdout, self.arms)}")
        for name in self.tables:
            if name not in CONTRACTS:
                raise ValueError(f"tables: there is no table {name!r}. {did_you_mean(name, CONTRACTS)}")
        known = {**self.arms, **self.catalogue}
        for arm, offer in known.items():
            for part in (*offer.bundle, *offer.choose.values()):
                if part not in known or part == arm:
                    raise ValueError(f"arms: {arm!r} uses an offer {part!r}. {did_you_mean(part, set(known) - {arm})}")
            if offer.choose and offer.by not in self.strata:
                raise ValueError(f"arms: {arm!r} chooses by {offer.by!r}, no factor of `strata`. "
                                 f"{did_you_mean(offer.by, self.strata)}")  # fmt: skip
        return self


def read_sheet(path: str | Path) -> tuple[Sheet, Path]:
    """Return the sheet and its folder, to which the files of its tables are relative.

    A relative path is looked up here and in the folders above, so that a notebook opened in
    `notebooks/` finds it too. Raises WinbackError naming the line, the value and the cure.
    """
    found = _find(Path(path))
    text = found.read_text(encoding="utf-8-sig")
    content, lines = _parse(text, found.name)
    try:
        return Sheet.model_validate(content), found.parent
    except ValidationError as error:
        raise WinbackError(_explain(error, lines, found.name)) from None


def files_of(path: str | Path) -> list[Path]:
    """Return the sheet and the files of its tables: the inputs of a run."""
    sheet, folder = read_sheet(path)
    return [_find(Path(path)), *dict.fromkeys(folder / source.file for source in sheet.tables.values())]


def _find(path: Path) -> Path:
    for folder in (Path(), *Path.cwd().parents):
        if (folder / path).is_file():
            return folder / path
    near = [str(sheet) for sheet in Path().glob("data/*/*.y*ml")]
    raise WinbackError(f"There is no experiment sheet {str(path)!r}. {did_you_mean(path, near)}")


def _parse(text: str, name: str) -> tuple[Any, dict[tuple[str, ...], int]]:
    """Return the content of a YAML text and the line of every key."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise WinbackError(f"The sheet {name} is empty. Start from data/telecom/sheet.yml.")
        lines = dict(_lines(node, (), name))
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        row = text.splitlines()[line - 1] if 0 < line <= len(text.splitlines()) else ""
        cure = "Replace the tab by spaces." if "\t" in row else "Compare with data/telecom/sheet.yml."
        raise WinbackError(f"The sheet {name}, line {line}, {row.strip()!r}: {error.problem}. {cure}") from None
    if not isinstance(content, dict):
        raise WinbackError(f"The sheet {name} is no list of `name: value` lines. Start from data/telecom/sheet.yml.")
    return content, lines


def _lines(node: yaml.Node, path: tuple[str, ...], name: str) -> Iterator[tuple[tuple[str, ...], int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                where = ".".join((*path, key.value))
                raise WinbackError(f"The sheet {name}, line {key.start_mark.line + 1}: {where!r} is there twice. "
                                   "Keep one.")  # fmt: skip
            seen.add(key.value)
            yield from _lines(value, (*path, str(key.value)), name)
            yield (*path, str(key.value)), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _lines(value, (*path, str(place)), name)


def _explain(error: ValidationError, lines: dict[tuple[str, ...], int], name: str) -> str:
    """Return one line for each thing wrong with a sheet."""
    told = []
    for problem in error.errors():
        path = tuple(str(part) for part in problem["loc"])
        line = lines.get(path) or lines.get(path[:-1]) or 1
        cure = _cure(path, problem["msg"].removeprefix("Value error, "), problem["type"])
        value = "" if problem["type"] in ("missing", "value_error") else f" is {problem['input']!r}"
        told.append(f"The sheet {name}, line {line}: {'.'.join(path) or 'sheet'}{value}. {cure}".replace("sheet. ", ""))
    return "\n".join(told)


def _cure(path: tuple[str, ...], message: str, kind: str) -> str:
    if kind == "extra_forbidden":
        return f"There is no such setting. {did_you_mean(path[-1], _settings(path))}"
    if kind == "missing":
        return f"This setting is needed: {_settings(path).get(path[-1], 'write it')}."
    return message if message.endswith(".") else f"{message}."


def _settings(path: tuple[str, ...]) -> dict[str, str]:
    """Return the settings that may stand where `path` points, with their help."""
    model: type[BaseModel] = Sheet
    if path[0] in ("arms", "catalogue") and len(path) > 2:  # noqa: PLR2004  arms.<name>.<setting>
        model = Offer
    elif path[0] == "tables" and len(path) > 2:  # noqa: PLR2004
        model = Source
    elif path[0] == "lost" and len(path) > 1:
        model = Lost
    return {name: field.description or "" for name, field in model.model_fields.items()}
