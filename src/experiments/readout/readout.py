"""Everything a test says, as one frozen value that writes and reads JSON exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.formatting import date_told, interval, told
from experiments.common.language import later, say
from experiments.common.results import keep, kept
from experiments.data.tables import Account
from experiments.metrics import objectives, retention
from experiments.metrics.cube import Cube, make_cube
from experiments.metrics.estimates import Reading
from experiments.readout import secondary
from experiments.readout.checks import CHECKS, Check
from experiments.readout.secondary import Comparison, Lives, Targeting
from experiments.readout.verdict import Ranking, Verdict, faces, rank, verdict
from experiments.sheet.locked_plan import ASSIGNED, Deviation, Plan, deviations, differences, read_plan, settings_of
from experiments.sheet.sheet import Sheet, changed, read_sheet

if TYPE_CHECKING:
    import pandas as pd


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
class Readout:
    """What a test says. `write` and `read_readout` keep every digit."""

    experiment: str
    question: str
    currency: str
    objective: str
    horizon_months: int
    window_months: int
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
    checks: tuple[Check, ...]
    verdict: Verdict
    accounts: tuple[Account, ...]

    @property
    def offers(self) -> tuple[Arm, ...]:
        """The arms without the holdout."""
        return tuple(arm for arm in self.arms if not arm.holdout)

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

    def write(self, path: str | Path) -> None:
        """Write the readout as JSON, whole or not at all."""
        keep(self, path)


def read_readout(path: str | Path) -> Readout:
    """Return a readout written by `Readout.write`: equal to it, to the last digit."""
    return kept(Readout, path, what="readout", command="winback readout <sheet>")


def read_out(sheet: str | Path | Sheet, folder: Path | None = None, **changes: object) -> Readout:
    """Read a test: tables to cube, cube to estimates, estimates to a verdict.

    `sheet` is a path or a Sheet with the folder of its tables. `changes` replace settings of the sheet,
    such as horizon_months=12; None keeps the sheet's.
    """
    if not isinstance(sheet, Sheet):
        sheet, folder = read_sheet(sheet)
    read, home = changed(sheet, changes), folder or Path()
    return read_cube(make_cube(read, home), read, planned=read_plan(home, sheet.experiment) or sheet)


def read_cube(cube: Cube, sheet: Sheet, *, planned: Plan | Sheet | None = None) -> Readout:
    """Estimate everything from a cube. Well under a second, whatever the number of customers.

    `planned`: the locked plan, or the sheet as registered; what was read otherwise is told among the checks.
    """
    registered = sheet
    if sheet.read_date and sheet.followed_until and sheet.followed_until < sheet.read_date:
        sheet = _as_far_as_watched(cube, sheet)
    _refuse_unseen(cube, sheet)
    reading = Reading(cube=cube, sheet=sheet)
    checks = (
        *(check(sheet, cube) for check in CHECKS.values()),
        *_deviations(registered, planned, assigned=int(cube.assigned.sum())),
    )
    interim = any(check.name == "Read date" and check.state == "stop" for check in checks)
    if interim:  # what a check says of money waits for the read date too
        checks = tuple(check for check in checks if check.name not in ("Power", "Tail"))
    arms = tuple(_arm(reading, a, interim=interim) for a in range(len(cube.arms)))
    ranking = None if interim else _rank(reading)
    any_offer = None if reading.holdout is None or interim else reading.lift(reading.offers)
    detail = " ".join(filter(None, (_together(sheet, any_offer, offers=len(reading.offers)), _faces(sheet, arms))))
    said = verdict(sheet, ranking=ranking, checks=checks, detail=detail, customers=int(cube.assigned.sum()))
    return Readout(
        experiment=sheet.experiment,
        question=sheet.question,
        currency=sheet.currency,
        objective=sheet.objective,
        horizon_months=reading.horizon,
        window_months=min(sheet.window_months, cube.months),
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
        verdict=said,
        accounts=cube.accounts,
    )


def _together(sheet: Sheet, lift: Estimate | None, *, offers: int) -> str:
    """Say what all offers together bring back, where response decides and they do."""
    if sheet.objective != "returned" or offers == 1 or lift is None or lift.low is None or lift.low <= 0:
        return ""
    return say(
        "Any offer beats none: together they raise the share who returned by {lift} ({bounds}).",
        lift=told(lift, currency=sheet.currency), bounds=interval(lift, currency=sheet.currency),
    )  # fmt: skip


def _faces(sheet: Sheet, arms: tuple[Arm, ...]) -> str:
    """Say where the most accepted offer is not the most profitable one: of all, or of those given to everyone.

    Where every offer loses money, say that instead, unless the verdict is on the net and says so.
    """
    offers = [arm for arm in arms if not arm.holdout]
    nets = {arm.label: arm.estimates["net"] for arm in offers if "net" in arm.estimates}
    if nets and all(net.high is not None and net.high < 0 for net in nets.values()):
        if "net" in objectives.OBJECTIVES[sheet.objective].needs:
            return ""
        least, net = max(nets.items(), key=lambda one: one[1].value or 0.0)
        return say(
            "Every offer loses money: the least bad is {offer} with a net per customer of {net} ({bounds}).",
            offer=least, net=told(net, currency=sheet.currency), bounds=interval(net, currency=sheet.currency),
        )  # fmt: skip
    uniform = [arm for arm in offers if not sheet.arms[arm.name].choose]
    return faces(_best(offers), among=say("Of the offers")) or faces(
        _best(uniform), among=say("Of the offers made to everyone")
    )


def _best(arms: Sequence[Arm]) -> dict[str, str]:
    """Return, for each metric that may be taken for success, the label of the offer with the highest value."""
    best = {}
    for metric in ("accepted", "returned", "net", "roi"):
        values = {arm.label: arm.estimates[metric].value for arm in arms if metric in arm.estimates}
        known = {label: value for label, value in values.items() if value is not None}
        if known:
            best[metric] = max(known, key=lambda label: known[label])
    return best


def _deviations(sheet: Sheet, planned: Plan | Sheet | None, *, assigned: int) -> tuple[Check, ...]:
    """Return what was read otherwise than registered; nothing where no sheet was registered."""
    if planned is None:
        return ()
    name = later("As planned")
    if isinstance(planned, Plan):
        other, locked = deviations(planned, sheet, assigned=assigned), date_told(planned.locked_on)
        where = say("plan locked on {day}, sha256 {hash}", day=locked, hash=planned.sha256[:12])
    else:
        other, where = differences(settings_of(sheet), settings_of(planned)), say("sheet")
    if not other:
        same = say("Read with the settings registered in the {where}.", where=where)
        return (Check(name=name, state="pass", reason=same),)
    todo = say("Decide by the settings registered before the test; take this page as an exploration.")
    reason = say(
        "Not as planned in the {where}: {settings}.", where=where, settings="; ".join(map(deviation_said, other))
    )
    return (Check(name=name, state="warn", reason=reason, todo=todo),)


def deviation_said(of: Deviation) -> str:
    """Say what is not as planned. Moves to report.wording.accounts.deviation with the sentences of the readout."""
    if of.setting == ASSIGNED:
        return say(later("{n} customers assigned instead of {planned}"), n=int(of.now), planned=int(of.planned))
    if not of.planned:
        return say("{setting} was added", setting=of.setting)
    if not of.now:
        return say("{setting} was taken out", setting=of.setting)
    return say("{setting} {now} instead of {then}", setting=of.setting, now=of.now, then=of.planned)


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
    watched = ((cube.followed.sum(axis=1) > 0).sum(axis=1) > 1).all(axis=0)
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
    for arm, buckets in zip(cube.arms, cube.assigned.sum(axis=1), strict=True):
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
