"""Who returns, how long they stay and what they bring a month: the three questions of Kumar et al. (2015).

Customers are folded into sums by what was known of them before the test; the models see only the sums.
Descriptive: the factors were not randomised, so a difference is no effect of changing them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from experiments.common.estimate import Estimate
from experiments.data.tables import columns_of, connect, read, refuse_duplicates, statements
from experiments.metrics.clock import put_on_clock
from experiments.sheet.sheet import SEPARATOR, Sheet, changed, loaded
from experiments.stats.intervals import jackknife_covariance, normal_quantile, t_quantile

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    from numpy.typing import NDArray
    from statsmodels.genmod.families.family import Family

    Array = NDArray[np.float64]

Question = Literal["returned", "leaving", "value"]
LOWEST = "low"  # third of the values of first lifetimes
FEW = 5  # rows of sums below which a model says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level of a factor, and the one it is compared with: a column of the design."""

    factor: str
    level: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """How customers of one level of a factor differ from the reference level, all other factors held.

    `returned`: difference of the share returned (average marginal effect, share). `leaving`: ratio of the rate of
    ending the second lifetime. `value`: ratio of value a month of the second lifetime.
    """

    question: Question
    factor: str
    level: str
    reference: str
    effect: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Returners:
    """Who returns, stays and pays; and what a month of the second lifetime brings against one of the first."""

    drivers: tuple[Driver, ...]
    second_to_first: tuple[tuple[str, Estimate], ...]  # (arm, ratio of value a month), of returned customers


def find_drivers(
    sheet: str | Path | Sheet,
    folder: Path | None = None,
    *,
    horizon_months: int | None = None,
    window_months: int | None = None,
    level: float | None = None,
) -> Returners:
    """Fit the three models to the sums of a test; none where its results have no dates.

    `sheet` is a Sheet or its path; `folder`: of its tables, where they do not lie beside it. The
    settings replace the sheet's, None keeps them: months after the assignment that count, months within which a
    purchase is a return, confidence. Factors: the offer, the strata, and where the data have them complaint,
    referral, value of the first lifetime and time absent. Binomial logit, Poisson and gamma log-linear;
    statsmodels. `n` of an effect is customers: those watched to the window, who returned and could leave, who
    returned.
    """
    changes = {"horizon_months": horizon_months, "window_months": window_months, "level": level}
    sheet = changed(loaded(sheet, folder), changes)
    if not sheet.dated:
        return Returners(drivers=(), second_to_first=())
    sums, factors, twice = _sums(sheet, sheet.folder)
    levels = _levels(sums, factors)
    models = (_returned, _leaving, _value)
    return Returners(
        drivers=tuple(driver for model in models for driver in model(sums, levels, sheet.level)),
        second_to_first=_second_to_first(twice, sheet),
    )


def _second_to_first(twice: pd.DataFrame, sheet: Sheet) -> tuple[tuple[str, Estimate], ...]:
    """Return, for each arm, value a month of the second lifetime over that of the first: months of equal number.

    Ratio of ratios of sums over the same customers; grouped jackknife over their buckets.
    """
    found = []
    for arm in sheet.arms:
        rows = twice[twice["arm"] == arm]
        if len(rows) < FEW:
            continue
        names = ("first_value", "first_months", "second_value", "second_months")
        sums = rows[list(names)].to_numpy(float)
        left_out = np.concatenate((sums.sum(axis=0)[None], sums.sum(axis=0) - sums))
        ratios = (left_out[:, 2] / left_out[:, 3]) / (left_out[:, 0] / left_out[:, 1])
        half = t_quantile(sheet.level, df=len(rows) - 1) * float(jackknife_covariance(ratios[1:, None])[0, 0]) ** 0.5
        value, n = float(ratios[0]), int(rows["customers"].sum())
        ratio = Estimate(value=value, low=value - half, high=value + half, level=sheet.level, n=n, unit="times")
        found.append((arm, ratio))
    return tuple(found)


def _sums(sheet: Sheet, folder: Path) -> tuple[pd.DataFrame, list[str], pd.DataFrame]:
    """Return one row a kind of customer, the factors that vary, and the customers who have lived twice."""
    months = max(sheet.horizon_months, sheet.window_months)
    with connect() as con:
        clocked = put_on_clock(con, sheet, folder, months=months)
        steps, known = statements("drivers"), _known(con, sheet, folder)
        con.execute(steps["first"].format(value=clocked.value))
        con.execute(steps["known"].format(**known))
        sums = con.execute(steps["sums"].format(window=min(sheet.window_months, months))).df()
        twice = con.execute(steps["twice"]).df()
    for place, factor in enumerate(sheet.strata):
        sums[factor] = [stratum.split(SEPARATOR)[place] for stratum in sums["stratum"]]
    names = ["arm", *sheet.strata, "complaint", "referred", "first_value", "absent"]
    return sums, [name for name in dict.fromkeys(names) if len(set(sums[name])) > 1], twice


def _known(con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path) -> dict[str, str]:
    """Return the SQL of what the table of customers knows."""
    if "customers" not in sheet.tables:
        return {"complaint": "'unknown'", "referred": "'unknown'", "customers": ""}
    read(con, "customers", sheet.tables["customers"], folder=folder, conventions=sheet.conventions)
    refuse_duplicates(con, "customers")
    columns = columns_of(con, "customers")
    referred = "CASE WHEN c.referrals > 0 THEN 'yes' ELSE 'no' END" if "referrals" in columns else "'unknown'"
    return {
        "complaint": "coalesce(c.complaint, 'unknown')" if "complaint" in columns else "'unknown'",
        "referred": referred,
        "customers": "LEFT JOIN customers AS c ON a.customer_id = c.customer_id",
    }


def _returned(sums: pd.DataFrame, levels: list[Level], level: float) -> list[Driver]:
    """Model the share returned: logit on counts; average marginal effects by the delta method."""
    import statsmodels.api as sm

    rows = sums[sums["watched"] > 0]
    levels = _seen(rows, levels)
    if len(rows) < FEW or not levels:
        return []
    counts = np.column_stack((rows["returned"], rows["watched"] - rows["returned"])).astype(float)
    fit = _fitted(sm.GLM(counts, _design(rows, levels), family=sm.families.Binomial()))
    if fit is None:
        return []
    weights, n, z, found = rows["watched"].to_numpy(float), int(rows["watched"].sum()), normal_quantile(level), []
    for one in levels:
        value, error = _marginal(fit, rows, levels, one, weights)
        half = z * error
        effect = Estimate(value=value, low=value - half, high=value + half, level=level, n=n, unit="share")
        found.append(_driver("returned", one, effect))
    return found


def _leaving(sums: pd.DataFrame, levels: list[Level], level: float) -> list[Driver]:
    """Model the rate of leaving: Poisson on departures per month at risk, so that exp is a ratio of rates."""
    import statsmodels.api as sm

    rows = sums[sums["at_risk"].fillna(0) > 0]
    months, n = rows["at_risk"].to_numpy(float), int(rows["leavable"].sum())
    rates = rows["ended"].to_numpy(float) / months
    return _ratios(
        "leaving", rows, levels, level=level, n=n, outcome=rates, weights=months, family=sm.families.Poisson()
    )


def _value(sums: pd.DataFrame, levels: list[Level], level: float) -> list[Driver]:
    """Model value a month of the second lifetime: gamma with log link on means, weighted by months."""
    import statsmodels.api as sm

    rows = sums[(sums["bought"].fillna(0) > 0) & (sums["value"].fillna(0) > 0)]
    months, n = rows["bought"].to_numpy(float), int(rows["buyers"].sum())
    family = sm.families.Gamma(link=sm.families.links.Log())
    means = rows["value"].to_numpy(float) / months
    return _ratios("value", rows, levels, level=level, n=n, outcome=means, weights=months, family=family)


def _ratios(
    question: Question,
    rows: pd.DataFrame,
    levels: list[Level],
    *,
    level: float,
    n: int,
    outcome: Array,
    weights: Array,
    family: Family,
) -> list[Driver]:
    """Return ratios to the reference by a model with a log link, with robust errors (HC1)."""
    import statsmodels.api as sm

    levels = _seen(rows, levels)
    if len(rows) < FEW or not levels:
        return []
    fit = _fitted(sm.GLM(outcome, _design(rows, levels), family=family, var_weights=weights), cov_type="HC1")
    if fit is None:
        return []
    z, found = normal_quantile(level), []
    for place, one in enumerate(levels, 1):
        value, half = float(fit.params[place]), z * float(fit.bse[place])
        middle, low, high = (float(np.exp(part)) for part in (value, value - half, value + half))
        found.append(_driver(question, one, Estimate(value=middle, low=low, high=high, level=level, n=n, unit="times")))
    return found


def _fitted(model: Any, **how: str) -> Any:  # noqa: ANN401  statsmodels has no types
    """Return the fit of a model; None where the data hold none: a level of nobody or of everybody, one price only."""
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an iteration on the way; what it ends in is looked at below
        warnings.simplefilter("error", PerfectSeparationWarning)
        try:
            fit = model.fit(**how)
        except (PerfectSeparationWarning, ValueError):
            return None
    return fit if np.isfinite(fit.params).all() and np.isfinite(fit.bse).all() else None


def _levels(rows: pd.DataFrame, factors: list[str]) -> list[Level]:
    """Return the levels of every factor against its most frequent one, or against the lowest of thirds."""
    levels = []
    for factor in factors:
        known = rows.groupby(factor)["watched"].sum().sort_values(ascending=False, kind="stable").index.tolist()
        known.sort(key=lambda level: level != LOWEST)  # thirds are equally frequent but for luck
        levels += [Level(factor=factor, level=str(one), reference=str(known[0])) for one in sorted(known[1:])]
    return levels


def _seen(rows: pd.DataFrame, levels: list[Level]) -> list[Level]:
    """Return the levels that are, like their reference, among the rows, and that the others do not tell."""
    seen = {one.factor: set(rows[one.factor].astype(str)) for one in levels}
    kept: list[Level] = []
    for one in levels:
        design = _design(rows, [*kept, one])
        if {one.level, one.reference} <= seen[one.factor] and np.linalg.matrix_rank(design) == design.shape[1]:
            kept.append(one)
    return kept


def _design(rows: pd.DataFrame, levels: list[Level]) -> Array:
    """Return the design matrix: a constant and an indicator for each level."""
    columns = [(rows[one.factor].astype(str) == one.level).to_numpy(float) for one in levels]
    return np.column_stack([np.ones(len(rows)), *columns])


def _driver(question: Question, one: Level, effect: Estimate) -> Driver:
    return Driver(question=question, factor=one.factor, level=one.level, reference=one.reference, effect=effect)


def _marginal(fit: object, rows: pd.DataFrame, levels: list[Level], one: Level, weights: Array) -> tuple[float, float]:
    """Return the average difference of predicted shares when everybody had the level or the reference, and its se."""
    matrix = _design(rows, levels)
    same = [place for place, other in enumerate(levels, 1) if other.factor == one.factor]
    with_level, without = matrix.copy(), matrix.copy()
    with_level[:, same] = without[:, same] = 0.0
    with_level[:, levels.index(one) + 1] = 1.0
    p1, p0 = fit.predict(with_level), fit.predict(without)  # type: ignore[attr-defined]
    share = weights / weights.sum()
    gradient = share @ ((p1 * (1 - p1))[:, None] * with_level - (p0 * (1 - p0))[:, None] * without)
    variance = gradient @ fit.cov_params() @ gradient  # type: ignore[attr-defined]
    return float(share @ (p1 - p0)), float(np.sqrt(variance))
