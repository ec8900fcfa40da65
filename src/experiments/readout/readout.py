"""Everything a test says, as one frozen value that writes and reads JSON exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.campaign.sheet_ledger import booked_plan
from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.finding import Fact, Finding
from experiments.common.results import Result
from experiments.data.tables import Account, upgraded_account
from experiments.metrics import objectives, retention
from experiments.metrics.cube import Cube, make_cube
from experiments.metrics.estimates import Reading
from experiments.readout import secondary
from experiments.readout.checks import CHECKS
from experiments.readout.drivers import Returners, find_drivers
from experiments.readout.secondary import Comparison, Lives, Targeting
from experiments.readout.verdict import Ranking, Verdict, rank, verdict
from experiments.sheet.locked_plan import Plan, deviations, differences, read_plan
from experiments.sheet.sheet import Sheet, changed, loaded

if TYPE_CHECKING:
    import pandas as pd

OLD_CHECKS = {  # how a program of format 1 called a check: its key
    "Sample ratio": "sample_ratio",
    "Read date": "read_date",
    "Holdout": "holdout",
    "Holdout left alone": "contamination",
    "Follow-up": "follow_up",
    "Even follow-up": "even_follow_up",
    "Balance": "balance",
    "Size of the arms": "small_arm",
    "Acceptances": "acceptances",
    "Accepted at all": "zero_events",
    "Enough customers": "enough_returned",
    "Power": "power",
    "Tail": "tail",
    "As planned": "as_planned",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One row of the readout: an offer or the holdout."""

    name: str
    label: str
    holdout: bool
    assigned: int
    estimates: dict[str, Estimate]
    simultaneous: dict[str, Estimate]  # the same, with intervals that hold for all offers at once
    active: tuple[float, ...]  # share active in each month up to the horizon
    kind: str | None = None  # of the offer, where the sheet names one


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout(Result):
    """What a test says. `write` and `load` keep every digit."""

    what: ClassVar[str] = "readout"
    command: ClassVar[str] = "winback readout <sheet>"
    page: ClassVar[str] = "readout"

    experiment: str
    question: str
    currency: str
    objective: str
    horizon_months: int
    window_months: int
    registered_window_months: int  # longer than the window of an early look, which ends with what was watched so far
    discount_rate: float
    level: float
    dated: bool
    arms: tuple[Arm, ...]
    variance_saved: float | None  # of the net, by the adjustment
    any_offer: Estimate | None  # lift of all offers together
    interim: bool  # read before the registered day: only shares, valid at every look
    anytime: dict[str, Estimate]  # lift of each offer while the test runs; empty at the read date
    ranking: Ranking | None
    comparison: Comparison | None
    lives: Lives | None
    targeting: Targeting | None
    checks: tuple[Finding, ...]
    verdict: Verdict
    accounts: tuple[Account, ...]  # where each row went
    drivers: Returners | None = None  # None: read from a cube, before the registered day, or by an earlier version

    @property
    def offers(self) -> tuple[Arm, ...]:
        """The arms without the holdout."""
        return tuple(arm for arm in self.arms if not arm.holdout)

    @property
    def assigned(self) -> int:
        """Customers in the test."""
        return sum(arm.assigned for arm in self.arms)

    def arm(self, name: str) -> Arm:
        """Return an arm by name."""
        return next(arm for arm in self.arms if arm.name == name)

    def frame(self) -> pd.DataFrame:
        """Return every estimate as a row: arm, label, metric, unit, value, low, high, level, n."""
        import pandas as pd

        rows = [
            {"arm": arm.name, "label": arm.label, "metric": metric, "unit": one.unit, "value": one.value,
             "low": one.low, "high": one.high, "level": one.level, "n": one.n}
            for arm in self.arms for metric, one in arm.estimates.items()
        ]  # fmt: skip
        return pd.DataFrame(rows)

    @classmethod
    def upgraded(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Return what a program of format 1 wrote as this one writes it: its sentences stand as they are."""
        said = content["verdict"]
        written = {name: said.get(name, "") for name in ("word", "sentence", "detail")}
        remark = {"key": "as_written", "state": "pass", "facts": written}
        if content["ranking"]:
            gaps = content["ranking"]["behind"]
            content["ranking"]["behind"] = [{"difference": gap[0], "low": gap[1], "high": gap[2]} for gap in gaps]
        return content | {
            "registered_window_months": content["window_months"],
            "accounts": [upgraded_account(sentence) for sentence in content["accounts"]],
            "checks": [_upgraded_check(check) for check in content["checks"]],
            "verdict": {"kind": "as_written", "tone": said["tone"], "remarks": [remark]},
        }


def _upgraded_check(check: dict[str, str]) -> dict[str, Any]:
    facts = {"said": check["reason"], "cure": check.get("todo", "")}
    return {"key": OLD_CHECKS.get(check["name"], check["name"]), "state": check["state"], "facts": facts}


def read_out(sheet: str | Path | Sheet, folder: Path | None = None, **changes: object) -> Readout:
    """Read a test: tables to cube, cube to estimates, estimates to a verdict; and who returns, stays and pays.

    `sheet` is a Sheet or its path; `folder`: of its tables, where they do not lie beside it. `changes` replace settings
    of the sheet, such as horizon_months=12; None keeps the sheet's.
    """
    planned = loaded(sheet, folder)
    read = changed(planned, changes)
    readout = read_cube(make_cube(read), read, planned=read_plan(read) or planned, booked=booked_plan(read))
    return readout if readout.interim else replace(readout, drivers=find_drivers(read))


def read_cube(cube: Cube, sheet: Sheet, *, planned: Plan | Sheet | None = None, booked: str | None = None) -> Readout:
    """Estimate everything from a cube. Well under a second, whatever the number of customers.

    `planned`: the locked plan, or the sheet as registered; what was read otherwise is told among the checks. `booked`:
    the sha256 of the plan in the ledger; another plan, or none, stops.
    """
    registered, interim = sheet, _is_early(sheet)
    if interim:
        sheet = _as_far_as_watched(cube, sheet)
    _refuse_unseen(cube, sheet)
    reading = Reading(cube=cube, sheet=sheet)
    as_planned = _as_planned(registered, planned, assigned=int(cube.assigned.sum()), booked=booked)
    checks = (*_checks(reading, interim=interim), *as_planned)
    arms = tuple(_arm(reading, a, interim=interim) for a in range(len(cube.arms)))
    ranking = None if interim else _rank(reading)
    any_offer = None if reading.holdout is None or interim else reading.lift(reading.offers)
    window = min(sheet.window_months, cube.months)
    return Readout(
        experiment=sheet.experiment,
        question=sheet.question,
        currency=sheet.currency,
        objective=sheet.objective,
        horizon_months=reading.horizon,
        window_months=window,
        registered_window_months=registered.window_months if interim else window,
        discount_rate=sheet.discount_rate,
        level=sheet.level,
        dated=cube.dated,
        arms=arms,
        any_offer=any_offer,
        variance_saved=None if interim else reading.variance_saved,
        interim=interim,
        anytime=secondary.anytime(reading) if interim else {},
        ranking=ranking,
        comparison=None if interim else secondary.comparison(reading),
        lives=None if interim else secondary.lives(reading),
        targeting=None if interim else secondary.targeting(reading),
        checks=checks,
        verdict=verdict(sheet, ranking=ranking, checks=checks, remarks=tuple(_remarks(sheet, arms, any_offer))),
        accounts=cube.accounts,
    )


def _is_early(sheet: Sheet) -> bool:
    """Tell whether the data end before the registered day: then the check `read_date` stops."""
    return bool(sheet.read_date and sheet.followed_until and sheet.followed_until < sheet.read_date)


OF_MONEY = ("power", "tail")  # what these checks say of money waits for the read date too


def _checks(reading: Reading, *, interim: bool) -> Iterator[Finding]:
    for key, check in CHECKS.items():
        if not (interim and key in OF_MONEY):
            yield check(reading.sheet, reading.cube)


def _remarks(sheet: Sheet, arms: tuple[Arm, ...], any_offer: Estimate | None) -> Iterator[Finding]:
    """Yield what is to be read with a ranking: offers that only together beat none, and other faces of success."""
    offers = [arm for arm in arms if not arm.holdout]
    if sheet.objective == "returned" and len(offers) > 1 and any_offer and any_offer.low and any_offer.low > 0:
        yield Finding(key="together", state="pass")
    nets = {arm.name: arm.estimates["net"] for arm in offers if "net" in arm.estimates}
    if nets and all(net.high is not None and net.high < 0 for net in nets.values()):
        if "net" not in objectives.OBJECTIVES[sheet.objective].needs:  # else the verdict says it
            least = max(nets, key=lambda name: nets[name].value or 0.0)
            yield Finding(key="all_lose", state="warn", facts={"offer": least})
        return
    uniform = [arm for arm in offers if not sheet.arms[arm.name].choose]
    found = _faces(offers, among="all") or _faces(uniform, among="uniform")
    if found:
        yield found


def _faces(arms: Sequence[Arm], *, among: str) -> Finding | None:
    """Return the finding that the most accepted of some offers is not the most profitable; None where it is.

    `among`: all offers, or those given uniformly to everyone.
    """
    best = {}
    for metric in ("accepted", "returned", "net", "roi"):
        values = {arm.name: arm.estimates[metric].value for arm in arms if metric in arm.estimates}
        known = {name: value for name, value in values.items() if value is not None}
        if known:
            best[metric] = max(known, key=lambda name: known[name])
    on = "accepted" if "accepted" in best else "returned"
    if on not in best or "net" not in best or best[on] == best["net"]:
        return None
    efficient = best.get("roi", best["net"])
    facts = {
        "among": among,
        "on": on,
        "liked": best[on],
        "earns": best["net"],
        "efficient": efficient if efficient != best["net"] else None,
    }
    return Finding(key="faces", state="pass", facts=facts)


def _as_planned(sheet: Sheet, planned: Plan | Sheet | None, *, assigned: int, booked: str | None) -> Iterator[Finding]:
    """Yield what was read otherwise than registered; nothing where no sheet was registered."""
    found = planned.sha256 if isinstance(planned, Plan) else None
    if booked is not None and found != booked:
        gone = {"booked": booked[:SHORT], "hash": (found or "")[:SHORT]}
        yield Finding(key="as_planned", state="stop", case="another" if found else "gone", facts=gone)
        return
    if planned is None:
        return
    facts: dict[str, Fact] = {}
    if isinstance(planned, Plan):
        other = deviations(replace(planned, amendments=()), sheet, assigned=assigned)  # an amendment is told, too
        first, *later = planned.sha256s
        facts = {"day": planned.locked_on.isoformat(), "hash": first[:SHORT]}
        if later:
            facts |= {
                "amended": tuple(one.at.isoformat() for one in planned.amendments),
                "reasons": tuple(one.reason for one in planned.amendments),
                "hashes": tuple(sha256[:SHORT] for sha256 in later),
            }
    else:
        other = differences(sheet.settings(), planned.settings())
    for name in ("setting", "planned", "now") if other else ():
        facts[name] = tuple(str(getattr(deviation, name)) for deviation in other)
    case = "plan" if isinstance(planned, Plan) else "sheet"
    yield Finding(key="as_planned", state="warn" if other else "pass", case=case, facts=facts)


SHORT = 12  # letters of a sha256 that a page shows
DATED = ("months", "market_share", "profit_and_share")  # objectives that need a clock
WHILE_IT_RUNS = ("reached", "accepted", "returned")  # lifetime and money wait for the read date


def _arm(reading: Reading, a: int, *, interim: bool) -> Arm:
    cube, name, estimates = reading.cube, reading.cube.arms[a], reading.estimates(a)
    return Arm(
        name=name,
        label=reading.sheet.arms[name].label or name,
        holdout=a == reading.holdout,
        assigned=int(cube.assigned[a].sum()),
        kind=reading.sheet.arms[name].kind,
        estimates={metric: estimates[metric] for metric in estimates if metric in WHILE_IT_RUNS or not interim},
        simultaneous={} if interim else reading.simultaneous(a),
        active=tuple(map(float, retention.active_share(cube)[0, a, : reading.horizon]))
        if cube.dated and not interim else (),
    )  # fmt: skip


def _rank(reading: Reading) -> Ranking | None:
    """Rank the offers on the objective; None where there is no holdout or the objective cannot be estimated."""
    sheet, offers = reading.sheet, reading.offers
    found = objectives.scores(
        sheet.objective,
        {name: replicates[:, offers] for name, replicates in reading.numbers.items()},
        offers=[reading.cube.arms[a] for a in offers],
        terms=objectives.terms_of(sheet),
    )
    if found is None:
        return None
    replicates, names, left_out = found
    return rank(
        replicates, names, df=reading.df, level=sheet.level, tolerance=sheet.tolerance, seed=sheet.seed,
        left_out=left_out)  # fmt: skip


def _watched(cube: Cube) -> int:
    """Return the months to which customers in two buckets or more of every arm were watched."""
    watched = ((cube.by_bucket("followed") > 0).sum(axis=1) > 1).all(axis=0)
    return cube.months if watched.all() else int(watched.argmin())


def _as_far_as_watched(cube: Cube, sheet: Sheet) -> Sheet:
    """Return the sheet of an interim look: horizon and window cut to what was watched so far."""
    far = max(1, _watched(cube))
    cut = {name: min(getattr(sheet, name), far) for name in ("horizon_months", "window_months")}
    return sheet.model_copy(update=cut)


def _refuse_unseen(cube: Cube, sheet: Sheet) -> None:
    """Refuse what has no uncertainty: an arm of one, one bucket, a month that too few were watched to."""
    if sheet.objective in DATED and not cube.dated:
        raise WinbackError(f"The objective is {sheet.objective!r}, but the results have no dates. "
                           "Choose returned, profit or roi.")  # fmt: skip
    for arm, buckets in zip(cube.arms, cube.by_bucket("assigned"), strict=True):
        if buckets.sum() < 2:  # noqa: PLR2004
            raise WinbackError(f"Arm {arm!r} has one customer: nothing can be said of it. Assign more, or remove it.")
        if (buckets > 0).sum() < 2:  # noqa: PLR2004
            raise WinbackError(f"All customers of arm {arm!r} stand in one bucket, so nothing varies. Leave the column "
                               "bucket out: buckets are then made from the seed.")  # fmt: skip
    longest = _watched(cube)
    for name in ("horizon_months", "window_months"):
        wanted = min(getattr(sheet, name), cube.months)
        if wanted > longest:
            raise WinbackError(
                f"{name} is {wanted}, but in some arm nobody was watched that long, or too few: "
                + (f"choose {longest} or less." if longest else "no customer has a whole month of follow-up yet.")
            )
