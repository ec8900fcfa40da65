"""The experiment sheet: what a marketer writes, checked at the door."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import available_timezones

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from experiments.common.errors import WinbackError, did_you_mean, short
from experiments.common.files import write_text
from experiments.common.formatting import is_currency, money_decimals
from experiments.common.language import ENGLISH, LANGUAGES, later
from experiments.data.contracts import CONTRACTS, Conventions, Source
from experiments.sheet.contact_rules import ContactRules
from experiments.sheet.design_rules import DesignRules
from experiments.sheet.ledger_address import HIDDEN, SECRET, secrets_in
from experiments.sheet.lost_rules import Lost
from experiments.sheet.offers import Offer, parts_of, tangled
from experiments.sheet.places import Private, private_of
from experiments.sheet.strict import ODD, SHOWN, Strict
from experiments.sheet.yaml_lines import WIDEST, explained, parsed, read_text, settings_at

Objective = Literal["profit", "roi", "returned", "months", "market_share", "profit_and_share"]
# Names of folders beside those of experiments, and those that Windows keeps for itself.
OWN, WINDOWS = ("compare", "own", "trial", "index", "lost", "sweep"), ("con", "prn", "aux", "nul")
RESERVED = frozenset((*OWN, *WINDOWS, *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))))
SEPARATOR = " / "  # between the factors of a stratum: "price / A"
QUESTION = later("Whom did we lose, and whom should we win back?")  # where the sheet asks nothing


class Identity(Strict):
    """Who is the same customer in two tables."""

    case: Literal["keep", "ignore"] = Field(
        default="keep", description="ignore: capital and small letters are no difference, as in mail addresses"
    )


class Sheet(Strict):
    """An experiment as its designer wrote it: question, arms and their offers, what decides, tables.

    Attributes are the settings of docs/sheet.md; `folder` is where it was read from.
    """

    experiment: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$", description="short name; also the folder of its reports"
    )
    question: str = Field(default=QUESTION, min_length=1, description="what the test should answer, one sentence")
    currency: str = Field(default="USD", description="ISO 4217 code")
    language: str = Field(default=ENGLISH, description="of the pages: en, fr or ru")
    objective: Objective = Field(
        default="profit", description="what decides: profit, roi, returned, months, market_share or profit_and_share"
    )
    horizon_months: int = Field(default=24, ge=1, le=60, description="months after assignment that count")
    window_months: int = Field(default=12, ge=1, le=60, description="returned: bought again within so many months")
    discount_rate: float = Field(default=0.10, ge=0, lt=1, description="nominal a year, applied mid-month")
    time_zone: str | None = Field(
        default=None, description="where an instant of the tables is a day, such as Europe/Berlin; needed for instants"
    )
    identity: Identity = Field(default_factory=Identity, description="who is the same customer in two tables")
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
    contact_basis: str | None = Field(
        default=None,
        min_length=1,
        description="on what ground customers may be contacted, in a few words; with a table `consents`, nobody is "
        "without one",
    )
    keep_months: int | None = Field(
        default=None, ge=1, le=600, description="nobody is contacted so many months after their own last contact"
    )
    calls: int | None = Field(default=None, ge=0, description="contacts for the policy, for as many customers as here")
    segments: tuple[str, ...] | None = Field(
        default=None, description="strata factors to read offers by; all if left out; joined as 'reason / tier'"
    )
    winsorise: bool = Field(
        default=True, description="also the net with each customer's value capped at the 99 % quantile"
    )
    adjust: bool = Field(default=True, description="also the net adjusted for strata and value of the first lifetime")
    tolerance: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="offers nearer than this on the objective are equivalent"
    )
    read_date: date | None = Field(default=None, description="registered day of the readout; earlier is interim")
    followed_until: date | None = Field(default=None, description="the first day the data know nothing about")
    margin_share: float = Field(default=1.0, gt=0, le=1, description="margin in revenue, where there is no margin")
    value_of_return: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="results without dates: worth of a customer who returned"
    )
    seed: int = Field(default=1, ge=0, description="the one source of chance")
    strata: tuple[str, ...] = Field(default=(), description="factors of a stratum, in its order")
    holdout: str | None = Field(default=None, description="the arm that gets no offer")
    lost: Lost | None = None
    customers: int | None = Field(default=None, ge=1, description="how many to assign; left out: all contactable")
    design: DesignRules = Field(default_factory=DesignRules, description="what the test must tell, and what is known")
    contacts: ContactRules = Field(default_factory=ContactRules, description="who calls whom, when and how")
    ledger: str | None = Field(
        default=None,
        description="of all experiments: a file, relative to the sheet, or postgresql://user@host/database; left out: "
        "in the private folder",
    )
    ledger_password: str | None = Field(
        default=None, repr=False, description="of a ledger in Postgres: the environment variable with its password"
    )
    arms: dict[str, Offer] = Field(default_factory=dict, description="arm: offer; none needed to see who is lost")
    catalogue: dict[str, Offer] = Field(default_factory=dict, description="offers no arm gives alone")
    sweep: dict[str, list[bool | int | float | str]] = Field(
        default_factory=dict, description="parameter of the readout: values to read the test with"
    )
    tables: dict[str, Source] = Field(description="table: file")
    _folder: Path = PrivateAttr(default_factory=Path)  # no setting: where the sheet was read from
    _made: tuple[str, ...] = PrivateAttr(default=())  # tables that the product writes, not named in the sheet

    def __eq__(self, other: object) -> bool:
        """Tell whether two sheets have the same settings, wherever they lie."""
        return isinstance(other, Sheet) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # settings hold mappings

    @classmethod
    def load(cls, path: str | Path) -> Sheet:
        """Return the sheet of a YAML file. Raises WinbackError naming the line, the value and the cure.

        A relative path is looked up here and in the folders above.
        """
        return read_sheet(path)

    def write(self, path: str | Path) -> None:
        """Write the settings that were given as a YAML file; names of files stay relative to its folder."""
        text = yaml.safe_dump(self.settings(exclude_unset=True), sort_keys=False, allow_unicode=True)
        write_text(Path(path), text)

    def settings(self, *, exclude_unset: bool = False) -> dict[str, Any]:
        """Return the settings as JSON; of the tables those that the sheet names."""
        settings: dict[str, Any] = json.loads(
            self.model_dump_json(exclude_unset=exclude_unset, exclude={"ledger_password"})  # in case it is one
        )
        for name in self._made:
            del settings["tables"][name]
        return settings

    def at(self, folder: Path) -> Sheet:
        """Return the sheet with its tables in another folder."""
        named = {name: source for name, source in self.tables.items() if name not in self._made}
        return _placed(self.model_copy(update={"tables": named}), folder)

    @property
    def folder(self) -> Path:
        """The folder of the sheet, to which the files of its tables are relative; here, if it was never in a file."""
        return self._folder

    @property
    def made(self) -> tuple[str, ...]:
        """The tables that the product wrote and the sheet does not name."""
        return self._made

    @property
    def private(self) -> Private:
        """Where what is about its customers lies."""
        return private_of(self._folder, self.experiment)

    @property
    def decimals(self) -> int:
        """Digits of the currency's minor unit."""
        return money_decimals(self.currency)

    @property
    def conventions(self) -> Conventions:
        """How every table is read."""
        kept = self.private.kept
        return Conventions(
            decimals=self.decimals,
            time_zone=self.time_zone,
            ignore_case=self.identity.case == "ignore",
            kept=kept if kept.is_dir() else None,
        )

    @property
    def offers(self) -> tuple[str, ...]:
        """The arms without the holdout, in the sheet's order."""
        return tuple(arm for arm in self.arms if arm != self.holdout)

    @property
    def every_offer(self) -> dict[str, Offer]:
        """The arms and the catalogue: offers by name."""
        return {**self.catalogue, **self.arms}

    @property
    def dated(self) -> bool:
        """Whether results have dates, so that there is a lifetime."""
        return "purchases" in self.tables

    def need_arms(self) -> None:
        """Refuse a sheet that plans no test."""
        if not self.arms:
            raise WinbackError(
                "The sheet plans no test: it has no `arms`. Add the holdout and the offers, or look at "
                "who is lost: `winback lost`."
            )

    @model_validator(mode="before")
    @classmethod
    def _refuse_secrets(cls, settings: Any) -> Any:  # noqa: ANN401  whatever was given
        """Refuse a password before anything else is looked at, so that no other error shows it."""
        found: list[InitErrorDetails] = [
            {"type": PydanticCustomError(SECRET, "{said}", {"said": said}), "loc": tuple(place), "input": HIDDEN}
            for *place, said in secrets_in(settings, cls.model_fields)
        ]
        if found:
            raise ValidationError.from_exception_data(cls.__name__, found)
        return settings

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Refuse settings that do not fit together; a message begins with the setting it is about."""
        if not is_currency(self.currency):
            raise ValueError(f"currency: {self.currency!r} is no code of ISO 4217. Write one, such as USD.")
        if self.experiment.partition(".")[0] in RESERVED:
            raise ValueError(f"experiment: {self.experiment!r} is the name of another folder. Choose one of its own.")
        if self.time_zone is not None and self.time_zone not in available_timezones():
            raise ValueError(f"time_zone: nobody knows {self.time_zone!r}. Write one such as Europe/Berlin or UTC.")
        if self.language not in LANGUAGES:
            raise ValueError(f"language: {self.language!r} is unknown. {did_you_mean(self.language, LANGUAGES)}")
        for factor in {part for segment in self.segments or () for part in segment.split(SEPARATOR)}:
            if factor not in self.strata:
                raise ValueError(
                    f"segments: {factor!r} is no factor of `strata`: segments are known before the "
                    f"assignment. {did_you_mean(factor, self.strata)}"
                )
        for name in self.tables:
            if name not in CONTRACTS:
                raise ValueError(f"tables.{name}: there is no table {name!r}. {did_you_mean(name, CONTRACTS)}")
        return self

    @model_validator(mode="after")
    def _arms_agree(self) -> Self:
        """Refuse names of arms that are none, and offers made of others that are nowhere."""
        if self.holdout is not None and self.holdout not in self.arms:
            raise ValueError(f"holdout: there is no arm {self.holdout!r}. {did_you_mean(self.holdout, self.arms)}")
        if self.arms and not self.offers:
            raise ValueError("arms: there is no offer beside the holdout. Add one.")
        for name in self.design.rates | self.design.like if self.arms else ():
            if name not in self.arms:
                raise ValueError(f"design: there is no arm {name!r}. {did_you_mean(name, self.arms)}")
        labels = Counter(offer.label or name for name, offer in self.arms.items())
        for name, offer in self.arms.items():
            if labels[offer.label or name] > 1:
                raise ValueError(
                    f"arms.{name}.label: two arms are called {offer.label or name!r}: a page could not "
                    "tell them apart. Give each its own."
                )
        self._refuse_parts()
        return self

    def _refuse_parts(self) -> None:
        for name, offer in self.arms.items():
            if "share" not in offer.model_fields_set:
                raise ValueError(
                    f"arms.{name}.share: {name!r} is an arm and needs its share of the customers, such as "
                    "`share: 1` for all arms alike."
                )
        if self.arms:
            self._refuse_shares()
        known = self.every_offer
        for home, offers in (("arms", self.arms), ("catalogue", self.catalogue)):
            for name, offer in offers.items():
                self._refuse_part(f"{home}.{name}", name, offer, known=known)
        self._refuse_tangles(known)

    def _refuse_shares(self) -> None:
        """Refuse arms that nobody would be assigned to, and fractions that do not sum to 1."""
        from experiments.stats.power import fractions

        try:
            fractions(tuple(self.arms), {name: offer.share for name, offer in self.arms.items()})
        except WinbackError as error:
            none = next((f"arms.{name}.share" for name, offer in self.arms.items() if offer.share <= 0), "arms")
            raise ValueError(f"{none}: {error}") from None

    def _refuse_tangles(self, known: Mapping[str, Offer]) -> None:
        """Refuse offers that are made of themselves, or of more parts than anybody means."""
        if found := tangled(known):
            name, said = found
            raise ValueError(f"{'arms' if name in self.arms else 'catalogue'}.{name}{said}")

    def _refuse_part(self, place: str, name: str, offer: Offer, *, known: Mapping[str, Offer]) -> None:
        for part in parts_of(offer):
            if part not in known:
                setting = "bundle" if part in offer.bundle else "choose"
                raise ValueError(
                    f"{place}.{setting}: {name!r} uses an offer {part!r} that is nowhere. "
                    f"{did_you_mean(part, set(known) - {name})}"
                )
        if offer.choose and offer.by not in self.strata:
            raise ValueError(
                f"{place}.by: {name!r} chooses by {offer.by!r}, no factor of `strata`. "
                f"{did_you_mean(offer.by, self.strata)}"
            )


def read_sheet(path: str | Path) -> Sheet:
    """Return a sheet; it knows its folder, to which the files of its tables are relative.

    A relative path is looked up here and in the folders above, so that a notebook opened in
    `notebooks/` finds it too. Raises WinbackError naming the line, the value and the cure.
    """
    found = _find(Path(path))
    content, lines = parsed(read_text(found), found.name)
    try:
        sheet = Sheet.model_validate(content, context={"written": True})
    except ValidationError as error:
        raise WinbackError(explained(error, Sheet, lines=lines, name=found.name)) from None
    return _placed(sheet, found.parent)


def _placed(sheet: Sheet, folder: Path) -> Sheet:
    """Return the sheet in its folder; tables of its test that are not named are those that the product wrote."""
    sheet._folder = folder  # noqa: SLF001  ours; no setting of the sheet
    own = {"assignments": sheet.private.assignments, "contacts": sheet.private.contacts}
    made = {name: path for name, path in own.items() if name not in sheet.tables and path.is_file()}
    sheet.tables.update({name: Source(file=str(path.absolute())) for name, path in made.items()})
    sheet._made = tuple(made)  # noqa: SLF001
    return sheet


def loaded(sheet: Sheet | str | Path, folder: Path | None = None) -> Sheet:
    """Return a sheet that is given as it is or by its path; with a `folder`, its tables are taken from there."""
    found = sheet if isinstance(sheet, Sheet) else read_sheet(sheet)
    return found if folder is None else found.at(folder)


def changed(sheet: Sheet, changes: Mapping[str, object]) -> Sheet:
    """Return the sheet with other settings, checked like the sheet itself."""
    wanted = {name: value for name, value in changes.items() if value is not None}
    try:
        named = {name: source for name, source in sheet.tables.items() if name not in sheet.made}
        other = _placed(
            Sheet.model_validate(sheet.model_dump(exclude_unset=True) | {"tables": named} | wanted), sheet.folder
        )
    except ValidationError as error:
        problem = error.errors()[0]
        about = problem.get("ctx", {})
        path = (*map(str, problem["loc"]), *about.get("path", ()))
        where, said = ".".join(path), problem["msg"].removeprefix("Value error, ")
        said += "" if said.endswith((".", "?")) else "."
        given = about["given"] if problem["type"] == ODD else short(repr(problem["input"]), SHOWN)
        if problem["type"] == "extra_forbidden":
            said = did_you_mean(path[-1], settings_at(Sheet, path))
        elif problem["type"] == SECRET or (isinstance(problem["input"], dict) and problem["type"] != ODD):
            given = ""
        # Settings that do not fit together are at no place; the message begins with the setting.
        said = f"{where}{given and f' is {given}'}. {said}" if where else said
        raise WinbackError(short(said, WIDEST)) from None
    return other


def files_of(path: str | Path) -> list[Path]:
    """Return the sheet and the files of its tables: the inputs of a run."""
    sheet = loaded(path)
    tables = dict.fromkeys(file for source in sheet.tables.values() for file in source.paths(sheet.folder))
    return [_find(Path(path)), *tables, *sorted(sheet.private.kept.glob("*.parquet"))]


def _find(path: Path) -> Path:
    for folder in (Path(), *Path.cwd().parents):
        if (folder / path).is_file():
            return folder / path
    near = [str(sheet) for sheet in Path().glob("data/*/*.y*ml")]
    raise WinbackError(f"There is no experiment sheet {str(path)!r}. {did_you_mean(path, near)}")
