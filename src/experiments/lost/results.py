"""What a loss is: how many, how fast, how much money, why, and whom first. Values without a customer in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import exp, log, prod, sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from experiments.common.estimate import Estimate
from experiments.common.finding import Finding
from experiments.common.results import Result
from experiments.data.tables import Account, upgraded_account
from experiments.readout.lessons import Learned, upgraded_lesson
from experiments.sheet.lost_rules import Limit, Lost
from experiments.stats.intervals import normal_quantile, wilson

if TYPE_CHECKING:
    import pandas as pd

NORMAL_BELOW = 0.10  # share lost a year; 9-11 % is typical of good firms
ALARM_ABOVE = 0.20  # share lost a year; above it the loss is an alarm
YEAR = 12  # months
UNSETTLED = 3  # latest months in which some of those called lost by silence may only be late

Light = Literal["normal", "act", "alarm"]

# Codes, in the order in which the page names them; `report.wording.lost` has their words.
RULES = ("silence", "cancelled", "nps", "asked", "unreachable", "conflict")
# Who is not contacted; the two of the law only where a sheet asks for them.
FLAGS = ("natural", "deliberate", "loss_making", "do_not_contact", "no_consent", "expired", "unreachable", "not_fixed")
PRIORITIES = ("first", "must", "possible", "let_go")
STAGES = ("asked", "one", "two", "regular")  # how often a customer bought
# Importance (A, B, C: share of revenue) x regularity (X, Y, Z): whom to win back first.
PRIORITY = {
    ("A", "X"): "first", ("A", "Y"): "first", ("A", "Z"): "must",
    ("B", "X"): "must", ("B", "Y"): "possible", ("B", "Z"): "possible",
    ("C", "X"): "possible", ("C", "Y"): "let_go", ("C", "Z"): "let_go",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRule:
    """How many customers a rule calls lost, and how many no other rule does; its numbers are in the settings."""

    name: str  # of RULES
    fired: int
    alone: int
    said: str = ""  # the rule in words, where a file of format 1 has nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterfallStep:
    """One step of the waterfall from lost to contactable."""

    name: str  # of FLAGS
    customers: int  # taken out here
    left: int  # after it


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerGroup:
    """Customers of one manager, line, stage, reason, complaint or referral. Money in currency."""

    name: str
    customers: int
    lost: int
    ratio: Estimate  # lost / customers
    contactable: int
    worth: float  # that the lost brought a year
    watched: int  # of the lost, got no offer in a test
    returned: int | None  # of those watched, bought again after the day; nothing known: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One month of the company."""

    month: str  # 2023-05
    at_risk: int  # customers who began by its end and were not lost before it
    lost: int  # of them, in it

    @property
    def ratio(self) -> float:
        """Share of the customers lost in the month; nan without customers."""
        return self.lost / self.at_risk if self.at_risk else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast customers are lost: over `months` months, a year at most, before the `unsettled` latest ones."""

    months: int
    unsettled: int = 0
    one_day: date | None = None  # on which all were lost: then nobody knows how fast
    monthly: Estimate  # share lost a month
    yearly: Estimate  # share lost a year at this pace

    @property
    def light(self) -> Light:
        """The traffic light of the yearly share."""
        return light_of(self.yearly.value or 0.0)


def light_of(yearly: float) -> Light:
    """Return the traffic light of a share lost a year.

    >>> light_of(0.10), light_of(0.15), light_of(0.21)
    ('normal', 'act', 'alarm')
    """
    return "alarm" if yearly > ALARM_ABOVE else "act" if yearly > NORMAL_BELOW else "normal"


def pace_of(months: Sequence[Month], *, level: float, unsettled: int = 0) -> Pace:
    """Return the share lost a month and a year from twelve whole months, the last before the `unsettled` ones.

    Product-limit over calendar months, Greenwood's variance on the log scale; the month is the geometric mean:
    (1 - monthly)^12 = 1 - yearly, so 3 % a month is 30.6 % a year. Months of the first year before any loss, in
    which the history is too young to lose anybody, are left out; so are the unsettled ones while others remain.
    Nobody lost: Wilson's bound of none among all, over these months. Without customers at risk: no value.
    """
    first = next((place for place, month in enumerate(months) if month.lost), 0)
    begin = first if first < YEAR else 0
    unsettled = min(unsettled, max(0, len(months) - begin - 1))
    settled = months[begin : len(months) - unsettled]
    seen = [month for month in settled[-YEAR:] if month.at_risk]
    n = max((month.at_risk for month in seen), default=0)
    stay = prod(1 - month.ratio for month in seen)
    if not seen or stay <= 0:  # nobody to lose, or nobody left
        value = 1.0 if seen else None
        nothing = Estimate(value=value, low=None, high=value, level=level, n=n, unit="share")
        return Pace(months=len(seen), unsettled=unsettled, monthly=nothing, yearly=nothing)
    hazard = -log(stay) / len(seen)
    variance = sum(month.lost / (month.at_risk * (month.at_risk - month.lost)) for month in seen)
    error = normal_quantile(level) * sqrt(variance) if variance else -log(1 - wilson(0, n, level=level)[1])
    half = error / len(seen)

    def lost_within(months: int) -> Estimate:
        value, low, high = (1 - exp(-months * max(0.0, rate)) for rate in (hazard, hazard - half, hazard + half))
        return Estimate(value=value, low=low, high=high, level=level, n=n, unit="share")

    return Pace(months=len(seen), unsettled=unsettled, monthly=lost_within(1), yearly=lost_within(YEAR))


@dataclass(frozen=True, slots=True, kw_only=True)
class Triangle:
    """How customers who began in one month leave: the survival of every starting month."""

    starts: tuple[str, ...]  # 2022-01
    customers: tuple[int, ...]
    staying: tuple[tuple[int, ...], ...]  # [start][months since]: not lost so far; shorter for later starts


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceTrial:
    """What a rule of silence says of the same customers, and how many of its lost bought again by themselves."""

    limit: Limit | None  # how long customers may be silent; None: the rule in use
    used: bool  # the rule in use
    judged: int  # customers the rule can judge
    lost: int
    watched: int  # of the lost, got no offer in a test
    returned: int | None  # of those watched
    returned_revenue: float | None
    said: str = ""  # the rule in words, where a file of format 1 has nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The rules against customers truly known to be lost."""

    known: int  # truly lost among the customers judged
    precision: Estimate  # of those called lost, truly lost
    recall: Estimate  # of those truly lost, called lost
    late_days: float | None  # median days from the true loss to the day the rule fires


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """A second opinion on the silence rule: the chance to be still a customer, P(alive), by modified BG/NBD."""

    lost_alive: int  # called lost, P(alive) of one half or more
    lost_gone: int
    kept_alive: int
    kept_gone: int
    lost_mean: float  # mean P(alive) of those called lost
    kept_mean: float
    r: float  # shape of the purchase rates
    alpha: float  # their scale, weeks
    a: float  # of the chance to leave after a purchase, beta(a, b)
    b: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason of the lost; a customer may have several, so the rows add up to more than all."""

    name: str
    family: str  # competitor, company, customer; empty: the sheet does not say
    ours: bool | None  # the company can remove it
    customers: int
    share: Estimate  # of the lost customers with any reason
    worth: float  # money a year
    verified: int | None  # customers for whom it is verified; None: nobody wrote it down
    fixed: int  # customers for whom it is removed
    complained: int
    referrers: int
    watched: int  # got no offer in a test
    returned: int | None  # of those watched
    sources: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCell:
    """One cell of the matrix: importance x regularity, over all customers."""

    abc: str
    xyz: str
    customers: int
    lost: int
    worth: float  # of the lost, a year

    @property
    def priority(self) -> str:
        """Its class, of PRIORITIES."""
        return PRIORITY[self.abc, self.xyz]


@dataclass(frozen=True, slots=True, kw_only=True)
class Priority:
    """Whom to win back first."""

    name: str  # of PRIORITIES
    lost: int
    contactable: int
    worth: float  # of the contactable, a year
    expected: float | None  # P(return) x second value - cost, summed over the contactable; None: no past test
    hopeless: int | None  # contactable of whom it is not positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Time against profit: where the hours go and where the profit comes from. Shares of all customers."""

    abc: str
    customers: int
    hours: float  # share of the hours
    profit: float  # share of the profit a year
    loses: int  # customers whose hours cost more than they bring


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something the company changed."""

    at: date
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort(Result):
    """The lost customers of a company on a day. Money in currency; customers are only counted."""

    what: ClassVar[str] = "cohort"
    command: ClassVar[str] = "winback lost <sheet>"
    page: ClassVar[str] = "lost"

    experiment: str
    currency: str
    sheet: str  # its path; empty: none was read
    as_of: date
    start: date | None
    settings: Lost | None  # the sheet's `lost:` as it was used, `each` with all of its limits; None: of format 1
    level: float
    last_day: date  # of any purchase: how far the data reach beyond `as_of`
    customers: int  # who ever bought, or whom a rule calls lost
    never_bought: int  # known, but neither bought nor lost: not counted anywhere else
    lost: int
    lost_share: Estimate
    contactable: int
    strata: tuple[tuple[str, int], ...]  # contactable by stratum of the test; empty: no strata, or nobody knows them
    revenue: float  # of all customers, before the day
    revenue_lost: float  # of the lost
    worth: float  # of all customers, a year: purchase x purchases a year
    worth_lost: float  # of the lost, a year
    missed: float  # worth of the lost from their loss to the day
    rules: tuple[LostRule, ...]
    steps: tuple[WaterfallStep, ...]
    months: tuple[Month, ...]  # whole months, oldest first
    pace: Pace
    triangle: Triangle
    changes: tuple[Change, ...]
    groups: dict[str, tuple[CustomerGroup, ...]]  # "manager", "line", "stage", "reason", "complaint", "referrer"
    reasons: tuple[Reason, ...]
    without_reason: int  # lost customers of whom nobody knows why
    trials: tuple[SilenceTrial, ...]
    accuracy: Accuracy | None  # None: nobody knows who is truly lost
    opinion: Opinion | None  # None: too few bought twice, or customers have contracts
    matrix: tuple[MatrixCell, ...]
    priorities: tuple[Priority, ...]
    efforts: tuple[Effort, ...]  # empty: nobody wrote hours down
    learned: Learned | None
    signs: tuple[Finding, ...]  # the seven signs that a company manages its losses; nobody answered: warn
    accounts: tuple[Account, ...]
    contact_basis: str | None = None  # on what ground customers may be contacted, in the sheet's words
    asks_consent: bool = False  # whether a table says who consented

    def frame(self) -> pd.DataFrame:
        """Return a row for each group of customers: kind and name, how many are lost, money in currency.

        Columns: kind, name, customers, lost, lost_share (0 to 1) with low, high and level, contactable, worth (a year),
        watched, returned.
        """
        import pandas as pd

        rows = [
            {"kind": kind, "name": group.name, "customers": group.customers, "lost": group.lost,
             "lost_share": group.ratio.value, "low": group.ratio.low, "high": group.ratio.high,
             "level": group.ratio.level, "contactable": group.contactable, "worth": group.worth,
             "watched": group.watched, "returned": group.returned}
            for kind, groups in self.groups.items() for group in groups
        ]  # fmt: skip
        return pd.DataFrame(rows)

    @classmethod
    def upgraded(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Return a lost.json of format 1 as this program writes it: its sentences stay as they stand."""
        for row in (*content["rules"], *content["trials"]):
            row["said"] = row.pop("told")
        for trial in content["trials"]:
            trial["limit"] = None
        if content["opinion"]:
            content["opinion"] |= dict(zip(("r", "alpha", "a", "b"), content["opinion"].pop("parameters"), strict=True))
        if content["learned"]:
            content["learned"]["lessons"] = [upgraded_lesson(lesson, level=content["level"])
                                             for lesson in content["learned"]["lessons"]]  # fmt: skip
        signs = [
            {"key": "said", "state": sign["state"],
             "facts": {"name": sign["name"], "said": sign["reason"], "cure": sign["todo"]}}
            for sign in content["signs"]
        ]  # fmt: skip
        accounts = list(map(upgraded_account, content["accounts"]))
        return content | {"sheet": "", "settings": None, "signs": signs, "accounts": accounts}
