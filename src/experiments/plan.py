"""The experiment sheet: what a marketer writes, checked at the door."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from experiments.errors import WinbackError, did_you_mean
from experiments.offers import Monthly, Offer, made_of
from experiments.tables import CONTRACTS, Source, money_decimals

Objective = Literal["profit", "roi", "returned", "months", "market_share", "profit_and_share"]
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
    objective: Objective = Field(
        default="profit", description="what decides: profit, roi, returned, months, market_share or profit_and_share"
    )
    horizon_months: int = Field(default=24, ge=1, le=60, description="months after assignment that count")
    window_months: int = Field(default=12, ge=1, le=60, description="returned: bought again within so many months")
    discount_rate: float = Field(default=0.10, ge=0, lt=1, description="nominal a year, applied mid-month")
    level: float = Field(default=0.95, gt=0.5, lt=1, description="confidence level of every interval")
    minimum_returned: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, le=1, description="lift below which no offer wins on its roi"
    )
    retained_value: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="w: worth of a customer still active at the horizon"
    )
    budget: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="money for the policy, for as many customers as here"
    )
    calls: int | None = Field(default=None, ge=0, description="contacts for the policy, for as many customers as here")
    segments: tuple[str, ...] | None = Field(default=None, description="strata factors to read offers by; all if left "
                                             "out; joined as 'reason / tier'")  # fmt: skip
    winsorise: bool = Field(default=True, description="also the net with each customer's value capped at the 99 % "
                            "quantile")  # fmt: skip
    adjust: bool = Field(default=True, description="also the net adjusted for strata and value of the first lifetime")
    tolerance: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="offers nearer than this on the objective are equivalent"
    )
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
        """Refuse settings that do not fit together; a message begins with the setting it is about."""
        if not re.fullmatch("[A-Z]{3}", self.currency):
            raise ValueError(f"currency: {self.currency!r} is no code of ISO 4217. Write one, such as USD.")
        if self.holdout is not None and self.holdout not in self.arms:
            raise ValueError(f"holdout: there is no arm {self.holdout!r}. {did_you_mean(self.holdout, self.arms)}")
        if not self.offers:
            raise ValueError("arms: there is no offer beside the holdout. Add one.")
        for factor in {part for segment in self.segments or () for part in segment.split(SEPARATOR)}:
            if factor not in self.strata:
                raise ValueError(f"segments: {factor!r} is no factor of `strata`: segments are known before the "
                                     f"assignment. {did_you_mean(factor, self.strata)}")  # fmt: skip
        for name in self.tables:
            if name not in CONTRACTS:
                raise ValueError(f"tables.{name}: there is no table {name!r}. {did_you_mean(name, CONTRACTS)}")
        self._refuse_parts()
        return self

    def _refuse_parts(self) -> None:
        for home, offers in (("arms", self.arms), ("catalogue", self.catalogue)):
            for name, offer in offers.items():
                self._refuse_part(f"{home}.{name}", name, offer)

    def _refuse_part(self, place: str, name: str, offer: Offer) -> None:
        known = {**self.catalogue, **self.arms}
        for setting, parts in (("bundle", offer.bundle), ("choose", tuple(offer.choose.values()))):
            for part in parts:
                if part not in known:
                    raise ValueError(f"{place}.{setting}: {name!r} uses an offer {part!r} that is nowhere. "
                                     f"{did_you_mean(part, set(known) - {name})}")  # fmt: skip
                if name in made_of(part, known):
                    raise ValueError(f"{place}.{setting}: {name!r} is made of {part!r}, which is made of {name!r}. "
                                     "Break the circle.")  # fmt: skip
        if offer.choose and offer.by not in self.strata:
            raise ValueError(f"{place}.by: {name!r} chooses by {offer.by!r}, no factor of `strata`. "
                             f"{did_you_mean(offer.by, self.strata)}")  # fmt: skip


def read_sheet(path: str | Path) -> tuple[Sheet, Path]:
    """Return the sheet and its folder, to which the files of its tables are relative.

    A relative path is looked up here and in the folders above, so that a notebook opened in
    `notebooks/` finds it too. Raises WinbackError naming the line, the value and the cure.
    """
    found = _find(Path(path))
    try:
        text = found.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise WinbackError(f"The sheet {found.name} is not UTF-8 text. Save it as UTF-8.") from None
    content, lines = _parse(text, found.name)
    try:
        return Sheet.model_validate(content), found.parent
    except ValidationError as error:
        raise WinbackError(_explain(error, lines, found.name)) from None


def changed(sheet: Sheet, changes: Mapping[str, object]) -> Sheet:
    """Return the sheet with other settings, checked like the sheet itself."""
    wanted = {name: value for name, value in changes.items() if value is not None}
    try:
        return Sheet.model_validate(sheet.model_dump() | wanted)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        cure = did_you_mean(where, Sheet.model_fields) if problem["type"] == "extra_forbidden" else f"{problem['msg']}."
        if not where:  # settings that do not fit together; the message begins with the setting
            raise WinbackError(problem["msg"].removeprefix("Value error, ")) from None
        raise WinbackError(f"{where} is {problem.get('input')!r}. {cure}") from None


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


class _Loader(yaml.SafeLoader):
    """YAML in which a date is text: pydantic reads it, and says what is wrong with it."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _parse(text: str, name: str) -> tuple[Any, dict[tuple[str, ...], int]]:
    """Return the content of a YAML text and the line of every key."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            raise WinbackError(f"The sheet {name} is empty. Start from data/telecom/sheet.yml.")
        lines = dict(_lines(node, (), name))
        content = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        row = text.splitlines()[line - 1] if 0 < line <= len(text.splitlines()) else ""
        cure = "Replace the tab by spaces." if "\t" in row else "Compare with data/telecom/sheet.yml."
        raise WinbackError(f"The sheet {name}, line {line}, {row.strip()!r}: {error.problem}. {cure}") from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise WinbackError(f"The sheet {name} cannot be read: {first}. Compare with data/telecom/sheet.yml.") from None
    if not isinstance(content, dict):
        raise WinbackError(f"The sheet {name} is no list of `name: value` lines. Start from data/telecom/sheet.yml.")
    return content, lines


def _lines(node: yaml.Node, path: tuple[str, ...], name: str) -> Iterator[tuple[tuple[str, ...], int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise WinbackError(f"The sheet {name}, line {key.start_mark.line + 1}: a list stands where a name must "
                                   "stand. Compare with data/telecom/sheet.yml.")  # fmt: skip
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
        path, message = tuple(str(part) for part in problem["loc"]), problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "value_error" and not path:  # from _agrees: "setting: what is wrong"
            setting, _, message = message.partition(": ")
            path = tuple(setting.split("."))
        line = next((lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in lines), 1)
        value = "" if problem["type"] in ("missing", "value_error") else f" is {problem['input']!r}"
        cure = _cure(path, message, problem["type"])
        told.append(f"The sheet {name}, line {line}: {'.'.join(path)}{value}. {cure}")
    return "\n".join(told)


def _cure(path: tuple[str, ...], message: str, kind: str) -> str:
    if kind == "extra_forbidden":
        return f"There is no such setting. {did_you_mean(path[-1], _settings(path))}"
    if kind == "missing":
        return f"This setting is needed: {_settings(path).get(path[-1], 'write it')}."
    message = message[:1].upper() + message[1:]
    if "valid string" in message:
        message += " Put it in quotes"
    return message if message.endswith((".", "?")) else f"{message}."


def _settings(path: tuple[str, ...]) -> dict[str, str]:
    """Return the settings that may stand where `path` points, with their help."""
    model: type[BaseModel] = Sheet
    if path[0] in ("arms", "catalogue") and "monthly" in path[2:-1]:  # arms.<name>.monthly.<place>.<setting>
        model = Monthly
    elif path[0] in ("arms", "catalogue") and len(path) > 2:  # noqa: PLR2004  arms.<name>.<setting>
        model = Offer
    elif path[0] == "tables" and len(path) > 2:  # noqa: PLR2004
        model = Source
    elif path[0] == "lost" and len(path) > 1:
        model = Lost
    return {name: field.description or "" for name, field in model.model_fields.items()}
