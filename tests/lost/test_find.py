"""Who is lost: against a real shop's reference answers, a second implementation in pandas, laws, and bad input."""

import calendar
import datetime as dt
import json
import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from experiments.common.errors import WinbackError
from experiments.common.language import LANGUAGES, speaking
from experiments.data.tables import connect
from experiments.lost import find as finder
from experiments.lost import look as looking
from experiments.lost import summary
from experiments.lost.find import find_lost
from experiments.lost.results import FLAGS, PRIORITY, RULES, STAGES, Change, Cohort
from experiments.metrics.cube import make_cube
from experiments.readout.lessons import learned_from
from experiments.readout.readout import Readout, read_out
from experiments.readout.segments import outcome_of, segment_table
from experiments.report.wording import lost as wording
from experiments.report.wording.accounts import account as said_of
from experiments.sheet.lost_rules import Limit, Lost
from experiments.sheet.sheet import Sheet, read_sheet
from experiments.stats.intervals import proportion

FLAG_COLUMNS = ("unreachable", "important", "do_not_contact", "natural_loss", "deliberate_loss")
OPINION = summary._opinion
UNASKED = [name for name in FLAGS if name not in ("no_consent", "expired")]  # flags of a sheet that asks for neither


@pytest.fixture(scope="module", autouse=True)
def no_opinion():
    """Leave P(alive) out: it costs more than all the rest, and has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "_opinion", lambda _: None)
        yield patch


@pytest.fixture
def with_opinion(monkeypatch):
    monkeypatch.setattr(summary, "_opinion", OPINION)


def rows_of(folder):
    """Return the rows of cohort.parquet by customer."""
    found = duckdb.sql(f"FROM '{folder}/cohort.parquet' ORDER BY customer_id")
    return {row[0]: dict(zip(found.columns, row, strict=True)) for row in found.fetchall()}


@pytest.fixture
def company(by_hand, tmp_path):
    """Return a function that finds the lost of tables given as CSV text: (cohort, rows of cohort.parquet)."""

    def look(lost=None, *, settings=None, sources=None, **tables):
        content = {"lost": {"as_of": "2024-03-31", "silent_days": 60} | (lost or {})} | (settings or {})
        found = find_lost(*by_hand(settings=content, sources=sources, **tables), out=tmp_path / "out")
        return found, rows_of(tmp_path / "out")

    return look


def bought(**days):
    """Return purchases of 10 as CSV text: a="2024-01-05 2024-02-05"."""
    rows = [f"{customer},{day},10" for customer, listed in days.items() for day in listed.split()]
    return "\n".join(["customer_id,at,amount", *rows, ""])


def every(days, *, until, times):
    """Return purchase days, the last on `until`."""
    last = dt.date.fromisoformat(until)
    return " ".join(str(last - dt.timedelta(days * back)) for back in reversed(range(times)))


# Oracle: a real shop.
@pytest.fixture(scope="module")
def shop(shared_data):
    """Return a function that finds the lost of the real shop, and its reference answers."""
    columns = {"customer_id": "CustomerID", "at": "day", "amount": "value"}
    source = {"file": "online_retail_purchase_days.csv.gz", "columns": columns}
    content = {"experiment": "shop", "currency": "GBP", "tables": {"purchases": source}}
    wanted = json.loads((shared_data / "reference.json").read_text())["online_retail_purchase_days"]

    def look(**lost):
        return find_lost(Sheet.model_validate(content | {"lost": {"as_of": wanted["cutoff"]} | lost}), shared_data)

    return look, wanted


@pytest.mark.parametrize("days", [60, 90, 120])
def test_silence_in_the_real_shop_is_that_of_the_reference(shop, days):
    # shared/data/reference.json, computed with pandas.
    look, reference = shop
    found, wanted = look(silent_days=days), reference[f"silent_over_{days}_days"]
    assert (found.customers, found.lost, found.contactable) == (reference["base"], wanted["lost"], wanted["lost"])
    assert round(found.lost_share.value, 6) == wanted["lost_ratio"]
    assert found.revenue_lost == wanted["revenue_of_lost"]
    (used,) = (trial for trial in found.trials if trial.used)
    assert (used.judged, used.lost) == (reference["base"], wanted["lost"])
    assert used.returned == wanted["bought_again_by_last_day"]
    assert used.returned_revenue == wanted["revenue_after_return"]
    assert sum(group.returned for group in found.groups["stage"]) == used.returned
    assert str(found.last_day) == reference["last_day"]


@pytest.mark.parametrize(("times", "name"), [(4 / 3, "4/3"), (2, "2"), (3, "3")])
def test_own_intervals_in_the_real_shop_are_those_of_the_reference(shop, times, name):
    look, reference = shop
    wanted = reference[f"silent_over_{name}_x_own_median_gap_min_3_purchase_days"]
    found = look(times=times, interval="median", minimum_days=0)
    (used,) = (trial for trial in found.trials if trial.used)
    assert (used.judged, used.lost, used.returned) == tuple(wanted.values())
    assert found.lost == wanted["lost"]
    # The same rule as one of the others beside a rule of silence.
    others = look(silent_days=90, interval="median").trials[1:]
    (other,) = (trial for trial in others if trial.limit == Limit(times=times))
    assert (other.judged, other.lost, other.returned) == tuple(wanted.values())


def test_classes_of_importance_in_the_real_shop_are_those_of_the_reference(shop):
    look, reference = shop
    found = look(silent_days=90)
    counts = [sum(cell.customers for cell in found.matrix if cell.abc == abc) for abc in "ABC"]
    assert counts == list(reference["abc_of_base_by_revenue_share_before"].values())
    assert said_of(found.accounts[0]).startswith("purchases: kept 10,367 of 16,763 rows; 6,396 left out")


# A second implementation, from the descriptions of the settings and section 6 of the design, in pandas.
CONTRACTS = {
    "purchases": ("customer_id", "at", "amount", "margin"),
    "customers": ("customer_id", "since", "manager", "line", "nps", "referrals", "complaint", *FLAG_COLUMNS, "hours",
                  "cancelled_at"),
    "reasons": ("customer_id", "reason", "source", "verified", "fixed_at"),
    "inquiries": ("customer_id", "at", "ordered"),
    "assignments": ("customer_id", "at"),
    "known_lost": ("customer_id", "at"),
}  # fmt: skip
DATES = {"at", "since", "cancelled_at", "fixed_at"}
TRUTHS = {*FLAG_COLUMNS, "verified", "ordered"}
NUMBERS = {"nps", "referrals", "hours"}
WORDS = {"yes": True, "no": False, True: True, False: False}


def typed(frame, table):
    """Return a table with all its columns in pandas' types; money in minor units."""
    found = frame.reindex(columns=CONTRACTS[table])
    if table == "purchases" and "margin" not in frame:
        found["margin"] = found["amount"]
    for column in found:
        if column in DATES:
            found[column] = pd.to_datetime(found[column]).astype("datetime64[s]")
        elif column in TRUTHS:
            found[column] = found[column].map(WORDS)
        elif column in NUMBERS:
            found[column] = found[column].astype(float)
        elif column in ("amount", "margin"):
            found[column] = (found[column].astype(float) * 100).round()
        else:
            found[column] = found[column].map(lambda value: None if pd.isna(value) else str(value)).astype(object)
    return found


def folded(purchases, *, start, day):
    """Return one row a customer: purchase days, money, intervals, share of months with a purchase."""
    seen = purchases[(purchases["at"] <= day) & (purchases["at"] >= start)]
    money = seen.groupby("customer_id")[["amount", "margin"]].sum()
    days = seen.loc[seen["amount"] > 0, ["customer_id", "at"]].drop_duplicates().sort_values(["customer_id", "at"])
    days["gap"] = days.groupby("customer_id")["at"].diff().dt.days
    days["month"] = days["at"].dt.year * 12 + days["at"].dt.month
    by = days.groupby("customer_id")
    found = money.join(by["at"].agg(purchases="count", first="min", last="max"))
    found = found.join(by["gap"].agg(mean="mean", median="median"))
    months = by["month"].agg(first_month="min", last_month="max", months="nunique")
    found["regularity"] = months["months"] / (months["last_month"] - months["first_month"] + 1)
    return found.rename(columns={"amount": "revenue"})


def allowed_days(people, rule):
    """Return the days each customer may be silent; nan: not judged."""
    found = []
    for customer in people.itertuples():
        limit = rule.limit
        if rule.by and getattr(customer, rule.by) in rule.each:
            limit = rule.limit_of(getattr(customer, rule.by))
        if limit.times is not None and customer.purchases >= rule.minimum_purchases:
            found.append(max(rule.minimum_days, limit.times * getattr(customer, rule.interval)))
        else:
            found.append(limit.silent_days)
    return pd.Series(found, people.index, float)


def asked_in_vain(inquiries, *, times, day):
    """Return who asked so often up to the day and never ordered, with the day from which on that is so."""
    seen, found = inquiries[~(inquiries["at"] > day)].sort_values("at"), {}
    for customer, asked in seen.groupby("customer_id"):
        if times and len(asked) >= times and not (asked["ordered"] == True).any():  # noqa: E712  or nobody knows
            found[customer] = asked["at"].iloc[times - 1]
    return pd.Series(found, dtype="datetime64[s]")


def stated(reasons, rule):
    """Return one row a customer and reason: the company's own, removed, verified."""
    day, causes = pd.Timestamp(rule.as_of), rule.reasons
    found = reasons.assign(
        ours=reasons["reason"].map(lambda name: name in causes and causes[name].ours),
        everywhere=reasons["reason"].map(
            lambda name: bool(name in causes and causes[name].fixed and causes[name].fixed <= rule.as_of)
        ),
        here=reasons["fixed_at"] <= day,
        sure=reasons["verified"] == True,  # noqa: E712
    ).astype({"ours": bool, "everywhere": bool})
    found["fixed"] = found["everywhere"] | found["here"]
    return found.groupby(["customer_id", "reason"], as_index=False)[["ours", "fixed", "sure"]].max()


def judged(tables, rule, *, hour_cost=0, margin_share=1.0):
    """Return one row a customer known to the company, judged by the rules. Money in minor units."""
    day, start = pd.Timestamp(rule.as_of), pd.Timestamp(rule.start or dt.date(1900, 1, 1))
    asked = asked_in_vain(tables["inquiries"], times=rule.asked, day=day)
    people = folded(tables["purchases"], start=start, day=day)
    ids = people.index.union(tables["customers"]["customer_id"]).union(asked.index)
    people = people.reindex(ids).join(tables["customers"].set_index("customer_id"))
    for column in ("purchases", "revenue", "margin", "hours"):
        people[column] = people[column].fillna(0)
    for flag in FLAG_COLUMNS:
        people[flag] = people[flag] == True  # noqa: E712  unknown is not
    people["profit"] = np.floor(people["margin"] * margin_share)
    _fire(people, rule, asked=asked, day=day)
    again = tables["purchases"].merge(tables["assignments"], on="customer_id", how="left", suffixes=("", "_test"))
    again = again[(again["at"] > day) & (again["amount"] > 0) & ~(again["at"] >= again["at_test"])]
    people["again"] = again.groupby("customer_id")["amount"].sum().reindex(people.index)
    people = people[(people["purchases"] > 0) | people["lost"]].copy()
    _classify(people, rule)
    _flag(people, stated(tables["reasons"], rule), hour_cost=hour_cost, fixed_first=rule.fixed_first)
    return people, len(ids) - len(people)


def _fire(people, rule, *, asked, day):
    """Add which rules fire, and since when a customer is lost."""
    people["allowed"] = allowed_days(people, rule)
    people["silent"] = (day - people["last"]).dt.days
    silence = (people["silent"] > people["allowed"]) & (not rule.contractual)
    fires = people["last"] + pd.to_timedelta(np.floor(people["allowed"].where(silence)) + 1, unit="D")
    people["silence_at"] = fires.astype("datetime64[s]")
    people["cancelled"] = people["cancelled_at"].where((people["cancelled_at"] <= day) & rule.cancelled)
    people["asked_at"] = asked.reindex(people.index).where(people["purchases"] == 0)  # who bought has ordered
    fired = {
        "silence": silence,
        "cancelled": people["cancelled"].notna(),
        "nps": people["nps"] <= (-1000 if rule.nps is None else rule.nps),
        "asked": people.index.isin(asked.index) & (people["purchases"] == 0),
        "unreachable": people["unreachable"] & rule.unreachable,
        "conflict": (people["complaint"] == "unresolved") & rule.conflict,
    }
    for name, fires in fired.items():
        people[f"rule_{name}"] = fires
    people["rules"] = sum(fires.astype(int) if isinstance(fires, pd.Series) else fires * 1 for fires in fired.values())
    people["lost"] = people["rules"] > 0
    dated = people[["silence_at", "cancelled", "asked_at"]].min(axis=1)
    people["lost_at"] = dated.fillna(people["last"]).fillna(people["since"]).fillna(day).clip(upper=day)
    people["lost_at"] = people["lost_at"].where(people["lost"])
    # Nobody is lost before the beginning: who cancelled before the first purchase there is began no later than that.
    people["began"] = pd.concat(
        [people["first"].fillna(people["since"]).fillna(day).clip(upper=day), dated], axis=1
    ).min(axis=1)
    people["missed_days"] = (day - people["lost_at"]).dt.days


def _classify(people, rule):
    """Add worth a year, importance, regularity, stage, priority."""
    span = (people["last"] - people["first"]).dt.days.fillna(0) + people[rule.interval].fillna(0)
    for name, source in (("worth", "revenue"), ("profit", "profit")):
        people[name] = np.floor(people[source] * 365 / span.clip(lower=365))
    positive = people.loc[people["revenue"] > 0, "revenue"]
    steps = positive.groupby(positive).sum()[::-1]  # customers of the same revenue are in the same class
    before = people["revenue"].map(steps.cumsum() - steps)
    ends = [share * positive.sum() for share in rule.abc]
    people["abc"] = np.where(before < ends[0], "A", np.where(before < ends[1], "B", "C"))
    regular = people["regularity"].where(people["purchases"] >= rule.minimum_purchases)
    people["xyz"] = np.where(regular >= rule.xyz[0], "X", np.where(regular >= rule.xyz[1], "Y", "Z"))
    people["stage"] = people["purchases"].clip(upper=3).map(dict(enumerate(STAGES)))
    people["referrer"] = people["referrals"].map(lambda number: "yes" if number > 0 else "no", na_action="ignore")
    people["priority"] = [PRIORITY[cell] for cell in zip(people["abc"], people["xyz"], strict=True)]
    people.loc[people["important"] & people["priority"].isin(["possible", "let_go"]), "priority"] = "must"


def _flag(people, why, *, hour_cost, fixed_first):
    """Add the reason, and the first flag that keeps a lost customer from being contacted."""
    by = why.groupby("customer_id")["reason"]
    names = by.first().where(by.size() == 1, by.size().map(lambda n: "both" if n == 2 else "several"))
    people["reason"] = names.reindex(people.index)
    open_causes = set(why.loc[why["ours"] & ~why["fixed"], "customer_id"])
    flags = {
        "natural": people["natural_loss"],
        "deliberate": people["deliberate_loss"],
        "loss_making": people["profit"] < people["hours"] * hour_cost,
        "do_not_contact": people["do_not_contact"],
        "unreachable": people["unreachable"],
        "not_fixed": people.index.isin(open_causes) & fixed_first,
    }
    people["step"] = "contactable"
    for name in reversed(list(flags)):
        people.loc[flags[name], "step"] = name
    people.loc[~people["lost"], "step"] = None


def month_of(days):
    return days.dt.year * 12 + days.dt.month


def months_wanted(people, rule):
    """Return (month, at risk, lost) of every whole month, and {start: (customers, staying)}."""
    began, left, day = month_of(people["began"]), month_of(people["lost_at"]), rule.as_of
    last = day.year * 12 + day.month - (day.day < calendar.monthrange(day.year, day.month)[1])
    oldest = max(began.min(), day.year * 12 + day.month - 60)  # five years, which a customer's history remembers
    label = {month: f"{(month - 1) // 12}-{(month - 1) % 12 + 1:02d}" for month in range(oldest, last + 1)}
    months = [
        (name, int(((began <= month) & ~(left < month)).sum()), int((left == month).sum()))
        for month, name in label.items()
    ]
    triangle = {
        name: (int((began == start).sum()),
               tuple(int(((began == start) & ~(left <= month)).sum()) for month in range(start, last + 1)))
        for start, name in label.items() if (began == start).any()
    }  # fmt: skip
    return months, triangle


def groups_wanted(people, column, *, knows_later):
    """Return customers, lost, contactable, worth of the lost, who returned; nothing if nobody knows."""
    if people[column].isna().all():
        return None
    found = {}
    for name, group in people.fillna({column: "unknown"}).groupby(column):
        lost = group[group["lost"]]
        found[name] = (len(group), len(lost), int((group["step"] == "contactable").sum()),
                       lost["worth"].sum() / 100,
                       int(lost["again"].notna().sum()) if knows_later else None)  # fmt: skip
    return found


def assert_agrees(found, rows, tables, rule, **settings):
    """Compare a cohort and its Parquet file with the second implementation, number by number."""
    people, never = judged(tables, rule, **settings)
    lost, later = people[people["lost"]], bool(tables["purchases"]["at"].max() > pd.Timestamp(rule.as_of))
    contactable = lost[lost["step"] == "contactable"]
    assert (found.customers, found.never_bought, found.lost, found.contactable) == (
        len(people), never, len(lost), len(contactable))  # fmt: skip
    assert (found.revenue, found.revenue_lost) == (people["revenue"].sum() / 100, lost["revenue"].sum() / 100)
    assert (found.worth, found.worth_lost) == (people["worth"].sum() / 100, lost["worth"].sum() / 100)
    assert found.missed == np.floor(lost["worth"] * lost["missed_days"] / 365).sum() / 100
    assert found.lost_share == proportion(len(lost), len(people), level=0.95)
    for used in found.rules:
        fires = people[f"rule_{used.name}"].astype(bool)
        assert (used.name, used.fired, used.alone) == (
            used.name, fires.sum(), (fires & (people["rules"] == 1)).sum())  # fmt: skip
    assert people.loc[~people["lost"], "rules"].sum() == 0
    left = len(lost)
    assert [step.name for step in found.steps] == [*UNASKED]
    for step in found.steps:
        left -= (lost["step"] == step.name).sum()
        assert (step.name, step.customers, step.left) == (step.name, (lost["step"] == step.name).sum(), left)
    months, triangle = months_wanted(people, rule)
    assert [(month.month, month.at_risk, month.lost) for month in found.months] == months
    rows_of_triangle = zip(found.triangle.customers, found.triangle.staying, strict=True)
    assert dict(zip(found.triangle.starts, rows_of_triangle, strict=True)) == triangle
    for column in summary.GROUPS:
        told = {group.name: (group.customers, group.lost, group.contactable, group.worth, group.returned)
                for group in found.groups.get(column, ())} or None  # fmt: skip
        assert (column, told) == (column, groups_wanted(people, column, knows_later=later))
    for cell in found.matrix:
        here = people[(people["abc"] == cell.abc) & (people["xyz"] == cell.xyz)]
        wanted = (len(here), here["lost"].sum(), here.loc[here["lost"], "worth"].sum() / 100)
        assert (cell.customers, cell.lost, cell.worth) == wanted
    for row in found.priorities:
        here = contactable[contactable["priority"] == row.name]
        wanted = ((lost["priority"] == row.name).sum(), len(here), here["worth"].sum() / 100)
        assert (row.lost, row.contactable, row.worth) == wanted
    assert_reasons(found, lost, stated(tables["reasons"], rule))
    assert_trials(found, people, rule, later=later)
    assert_rows(rows, lost)


def assert_reasons(found, lost, why):
    why = why[why["customer_id"].isin(lost.index)]
    assert found.without_reason == lost["reason"].isna().sum()
    assert sorted(reason.name for reason in found.reasons) == sorted(set(why["reason"]))
    for reason in found.reasons:
        here = why[why["reason"] == reason.name].set_index("customer_id")
        these = lost.loc[here.index]
        assert reason.share == proportion(len(here), int(lost["reason"].notna().sum()), level=0.95)
        assert (reason.customers, reason.worth, reason.fixed) == (
            len(here), these["worth"].sum() / 100, here["fixed"].sum())  # fmt: skip
        assert reason.verified in (None, here["sure"].sum())
        assert reason.complained == these["complaint"].isin(["resolved", "unresolved"]).sum()
        assert reason.referrers == (these["referrer"] == "yes").sum()
        assert sum(number for _, number in reason.sources) >= reason.customers


def assert_trials(found, people, rule, *, later):
    buyers = people[people["purchases"] > 0]
    assert [trial.limit is None for trial in found.trials] == [trial.used for trial in found.trials]
    assert len({trial.limit for trial in found.trials}) == len(found.trials)
    for trial in found.trials:
        if trial.used:
            allowed = buyers["allowed"]
        elif trial.limit.times:
            own = trial.limit.times * buyers[rule.interval]
            allowed = own.where(buyers["purchases"] >= rule.minimum_purchases)
        else:
            allowed = pd.Series(float(trial.limit.silent_days), buyers.index)
        gone = buyers[buyers["silent"] > allowed]
        wanted = (allowed.notna().sum(), len(gone), gone["again"].notna().sum(), gone["again"].sum() / 100)
        assert (trial.judged, trial.lost) == wanted[:2]
        assert (trial.returned, trial.returned_revenue) == (wanted[2:] if later else (None, None))


def plain(cell):
    return None if pd.isna(cell) else cell.date() if isinstance(cell, pd.Timestamp) else cell


def assert_rows(rows, lost):
    renamed = {"allowed": "days_allowed", "cancelled": "cancelled_at", "rule_nps": "nps_low",
               "rule_unreachable": "unreachable_rule", "rule_conflict": "conflict"}  # fmt: skip
    same = ("lost_at", "first", "last", "purchases", "silent", "silence_at", "asked_at", "rules", "step", "reason",
            "manager", "line", "stage", "complaint", "referrer", "revenue", "worth", "profit", "abc", "xyz", "priority",
            "important")  # fmt: skip
    wanted = lost.drop(columns="cancelled_at").rename(columns=renamed)[[*same, *renamed.values()]].astype(object)
    assert {str(customer) for customer in rows} == set(wanted.index)
    for customer, row in rows.items():
        told = {name: plain(cell) for name, cell in wanted.loc[str(customer)].items()}
        assert {name: row[name] for name in told} == told
        assert row["contactable"] == (told["step"] == "contactable")


BEGIN = dt.date(2022, 11, 1)
LONG_AGO = dt.date(2022, 10, 1)  # nobody buys or asks before
flags = st.sampled_from([None, "no", "no", "yes"])
days = st.integers(0, 540)


def on(day):
    return None if day is None else BEGIN + dt.timedelta(day)


@st.composite
def rules(draw):
    """Return settings of `lost:`, on the last day of a month or within one."""
    rule = {
        "as_of": draw(st.sampled_from([dt.date(2024, 1, 31), dt.date(2024, 2, 9)])),
        "start": draw(st.sampled_from([None, None, dt.date(2022, 12, 20)])),
        "silent_days": draw(st.sampled_from([None, 20, 75])),
        "times": draw(st.sampled_from([None, 4 / 3, 2.5])),
        "interval": draw(st.sampled_from(["mean", "median"])),
        "minimum_days": draw(st.sampled_from([0, 30])),
        "minimum_purchases": draw(st.sampled_from([2, 3])),
        "contractual": draw(st.booleans()) and draw(st.booleans()),
        "nps": draw(st.sampled_from([None, 6])),
        "asked": draw(st.sampled_from([None, 2])),
        "unreachable": draw(st.booleans()),
        "conflict": draw(st.booleans()),
        "fixed_first": draw(st.booleans()),
        "hour_cost": draw(st.sampled_from([None, 7.5])),
        "reasons": {"service": {"family": "company", "fixed": draw(st.sampled_from([None, None, "2024-01-31"]))},
                    "price": {"family": "competitor"}},
    }  # fmt: skip
    if draw(st.booleans()):
        limit = draw(st.sampled_from([{"silent_days": 9}, {"times": 1.0}, {"silent_days": 130, "times": 3.0}]))
        rule |= {"by": draw(st.sampled_from(["line", "manager"])), "each": {"north": limit}}
    return Lost.model_validate(rule)


@st.composite
def customers(draw):
    """Return one customer: its row, purchases, reasons and inquiries."""
    purchases = draw(st.lists(st.tuples(days, st.integers(-900, 9000)), max_size=7))
    if purchases and draw(st.booleans()):
        purchases.append((purchases[0][0], 500))  # twice on a day
    row = {name: draw(flags) for name in FLAG_COLUMNS} | {
        "since": draw(st.one_of(st.sampled_from([None, LONG_AGO]), days.map(on))),
        "manager": draw(st.sampled_from([None, "north", "south"])),
        "line": draw(st.sampled_from([None, "north", "tv"])),
        "nps": draw(st.sampled_from([None, 0, 6, 7, 10])),
        "referrals": draw(st.sampled_from([None, 0, 2])),
        "complaint": draw(st.sampled_from([None, "none", "resolved", "unresolved"])),
        "hours": draw(st.sampled_from([None, 0, 3])),
        "cancelled_at": draw(st.one_of(st.none(), st.none(), days.map(on))),
    }
    reasons = draw(st.lists(st.fixed_dictionaries({
        "reason": st.sampled_from(["price", "service", "moved"]), "source": st.sampled_from([None, "staff", "survey"]),
        "verified": flags, "fixed_at": st.one_of(st.none(), days.map(on))}), max_size=4))  # fmt: skip
    asked = draw(
        st.lists(st.fixed_dictionaries({"at": st.one_of(st.none(), days.map(on)), "ordered": flags}), max_size=4)
    )
    return {
        "row": row,
        "purchases": purchases,
        "reasons": reasons,
        "inquiries": asked,
        "known": draw(st.integers(0, 4)) > 0,
    }


@st.composite
def companies(draw):
    """Return (rule, tables as lists of rows): two customers with all that the settings speak of, and some more."""
    rule = draw(rules())
    unknown, nothing = (dict.fromkeys(CONTRACTS[name][1:]) for name in ("customers", "reasons"))
    first = {"row": unknown | {"line": "north", "manager": "north"}, "known": True,
             "purchases": [(30, 1000), (200, 1000), ((rule.as_of - BEGIN).days - 3, 1000)], "inquiries": [],
             "reasons": [nothing | {"reason": name} for name in ("price", "service")]}  # fmt: skip
    second = first | {"reasons": [], "purchases": [((rule.as_of - BEGIN).days - 2, 700)]}
    listed = [first, second, *draw(st.lists(customers(), max_size=12))]
    margin = draw(st.sampled_from([None, 0.4, -0.1]))
    tables = {name: [] for name in ("purchases", "customers", "reasons", "inquiries")}
    for customer, one in enumerate(listed):
        who = {"customer_id": str(customer)}
        if one["known"]:
            tables["customers"].append(who | one["row"])
        for name in ("reasons", "inquiries"):
            tables[name] += [who | row for row in one[name]]
        for day, cents in one["purchases"]:
            row = who | {"at": on(day), "amount": f"{cents / 100:.2f}"}
            tables["purchases"].append(row if margin is None else row | {"margin": f"{cents * margin / 100:.2f}"})
    found = {name: pd.DataFrame(rows, dtype=object) for name, rows in tables.items() if rows}
    needed = {rule.by, "nps" if rule.nps else None, "complaint" if rule.conflict else None, "cancelled_at",
              "unreachable" if rule.unreachable else None, "hours" if rule.hour_cost else None,
              "customer_id"}  # fmt: skip
    left_out = draw(st.sets(st.sampled_from([name for name in CONTRACTS["customers"] if name not in needed])))
    return rule, found | {"customers": found["customers"].drop(columns=list(left_out))}


def written(folder, tables, *, numbers=()):
    """Write tables as CSV, some as Parquet with customers as numbers; return {name: {file: ...}}."""
    files = {}
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
        files[name] = {"file": f"{name}.csv"}
        if name in numbers:
            rows = duckdb.sql(f"FROM read_csv('{folder}/{name}.csv', all_varchar = true)")
            rows.select("* REPLACE (customer_id::BIGINT AS customer_id)").write_parquet(f"{folder}/{name}.parquet")
            files[name] = {"file": f"{name}.parquet"}
    return files


@settings(max_examples=8, phases=[Phase.generate])
@given(companies(), st.sampled_from([(), ("purchases",), ("purchases", "customers", "reasons", "inquiries")]))
def test_a_second_implementation_finds_the_same_customers_and_sums(company, numbers):
    rule, tables = company
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = written(folder, tables, numbers=numbers)
        content = {
            "experiment": "toy",
            "tables": files,
            "lost": rule.model_dump(exclude_unset=True),
            "margin_share": 0.5,
        }
        if "inquiries" not in files:
            content["lost"]["asked"], rule = None, rule.model_copy(update={"asked": None})
        found, rows = find_lost(Sheet.model_validate(content), folder, out=folder), rows_of(folder)
    frames = {
        name: typed(tables.get(name, pd.DataFrame(columns=["customer_id", "amount"])), name) for name in CONTRACTS
    }
    share = 1.0 if "margin" in tables["purchases"] else 0.5
    assert_agrees(found, rows, frames, rule, hour_cost=100 * (rule.hour_cost or 0), margin_share=share)


TELECOM = ("customers", "purchases", "reasons", "inquiries", "contacts", "changes", "assignments", "known_lost")
EVERY_RULE = {"as_of": "2024-01-01", "nps": 4, "asked": 3, "unreachable": True, "conflict": True, "hour_cost": 20,
              "reasons": {"service": {"family": "company"}}}  # fmt: skip


def telecom_sheet_of(tables=TELECOM, **lost):
    files = {name: {"file": f"{name}.parquet"} for name in tables}
    return Sheet.model_validate({"experiment": "telecom", "tables": files, "lost": EVERY_RULE | lost})


@pytest.fixture(scope="module")
def telecom_frames(small_telecom):
    return {name: typed(duckdb.sql(f"FROM '{small_telecom}/{name}.parquet'").df(), name) for name in CONTRACTS}


@pytest.mark.parametrize(
    "more", [{}, {"interval": "median", "by": "line", "each": {"tv": {"times": 2}}, "fixed_first": False}]
)
def test_a_second_implementation_finds_the_same_in_a_simulated_telecom(small_telecom, telecom_frames, tmp_path, more):
    sheet = telecom_sheet_of(**more)
    found = find_lost(sheet, small_telecom, out=tmp_path)
    assert_agrees(found, rows_of(tmp_path), telecom_frames, sheet.lost, hour_cost=2000)
    assert found.lost > 4000
    assert {rule.name for rule in found.rules if rule.fired} == set(RULES)
    assert all(step.customers for step in found.steps if step.name != "not_fixed" or sheet.lost.fixed_first)


# Laws.
@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """Return a function that writes a random company, changed as asked, and finds its lost: (cohort, rows)."""
    rng, folder = np.random.default_rng(11), tmp_path_factory.mktemp("shops")
    customer = rng.integers(0, 150, 900)
    frame = pd.DataFrame({"customer_id": [f"c{number}" for number in customer], "at": on_all(rng.integers(0, 470, 900)),
                          "cents": rng.integers(-500, 9000, 900)})  # fmt: skip
    people = pd.DataFrame({"customer_id": [f"c{number}" for number in range(160)],
                           "manager": rng.choice(["A", "B"], 160),
                           "cancelled_at": np.where(rng.random(160) < 0.1, "2024-01-15", None)})  # fmt: skip

    def look(change=lambda frame: frame, *, people=people, **lost):
        purchases = change(frame)
        purchases = purchases.assign(amount=[f"{cents / 100:.2f}" for cents in purchases["cents"]]).drop(
            columns="cents"
        )
        files = written(folder, {"purchases": purchases, "customers": people})
        rule = {"as_of": "2024-01-31", "silent_days": 90, "times": 1.5} | lost
        sheet = Sheet.model_validate({"experiment": "toy", "tables": files, "lost": rule})
        return find_lost(sheet, folder, out=folder), rows_of(folder)

    return look


def on_all(numbers):
    return [str(on(int(number))) for number in numbers]


def test_the_order_of_rows_changes_nothing(shops):
    assert shops(lambda frame: frame.sample(frac=1, random_state=3)) == shops()


@pytest.mark.parametrize("interval", ["mean", "median"])
def test_in_how_many_parts_customers_are_folded_changes_nothing(shops, monkeypatch, interval):
    whole = shops(interval=interval)
    monkeypatch.setattr(finder, "_parts", lambda *_: 7)
    assert shops(interval=interval) == whole


def test_folding_blocks_of_days_first_changes_nothing_where_no_day_has_two_purchases(shops, monkeypatch):
    def once_a_day(frame):
        return frame.drop_duplicates(["customer_id", "at"])

    def months_first(name):
        found = whole(name)
        return found | {"each_row": found["each_block"]}

    whole = looking.statements
    by_row = shops(once_a_day)
    monkeypatch.setattr(looking, "statements", months_first)
    assert shops(once_a_day) == by_row


def test_doubling_all_money_doubles_what_is_money_and_moves_no_customer(shops):
    (one, before), (two, after) = shops(), shops(lambda frame: frame.assign(cents=2 * frame["cents"]))
    money = ("revenue", "worth", "profit")
    for customer, row in before.items():
        assert after[customer]["revenue"] == 2 * row["revenue"]
        assert abs(after[customer]["worth"] - 2 * row["worth"]) <= 1  # minor units, rounded down
        assert {**after[customer], **dict.fromkeys(money)} == {**row, **dict.fromkeys(money)}
    assert before.keys() == after.keys()
    assert (two.revenue, two.revenue_lost) == (2 * one.revenue, 2 * one.revenue_lost)
    assert two.worth == pytest.approx(2 * one.worth, abs=0.01 * one.customers)
    for same in ("customers", "lost", "contactable", "months", "pace", "triangle", "rules", "steps"):
        assert getattr(one, same) == getattr(two, same)


def test_a_longer_silence_never_loses_more(shops):
    lost = [shops(silent_days=days, times=None)[1].keys() for days in (30, 60, 61, 120, 400)]
    assert all(fewer <= more for more, fewer in pairwise(lost))
    assert len(lost[0]) > len(lost[-1])


def test_the_sums_of_the_page_agree_with_each_other(shops):
    found, rows = shops()
    assert 0 < found.lost < found.customers
    assert found.lost == len(rows) == sum(step.customers for step in found.steps) + found.contactable
    for groups in found.groups.values():
        assert sum(group.customers for group in groups) == found.customers
        assert sum(group.lost for group in groups) == found.lost
        assert sum(group.contactable for group in groups) == found.contactable
        assert sum(group.worth for group in groups) == pytest.approx(found.worth_lost)
    assert sum(cell.customers for cell in found.matrix) == found.customers
    assert sum(row.lost for row in found.priorities) == found.lost
    assert sum(row.worth for row in found.priorities) == pytest.approx(found.worth_lost)
    assert sum(rule.alone for rule in found.rules) <= found.lost <= sum(rule.fired for rule in found.rules)


@pytest.mark.parametrize(
    ("day", "last"), [("2024-01-31", "2024-01"), ("2024-01-30", "2023-12"), ("2024-02-29", "2024-02")]
)
def test_every_lost_customer_is_counted_in_one_month_and_the_open_month_waits(shops, day, last):
    found, rows = shops(as_of=day)
    assert found.months[-1].month == last
    assert sum(month.lost for month in found.months) == sum(str(row["lost_at"])[:7] <= last for row in rows.values())
    assert all(month.lost <= month.at_risk for month in found.months)
    for customers, staying in zip(found.triangle.customers, found.triangle.staying, strict=True):
        assert list(staying) == sorted(staying, reverse=True)
        assert customers >= staying[0]
    end = found.months[-1]
    assert sum(staying[-1] for staying in found.triangle.staying) == end.at_risk - end.lost


@pytest.mark.parametrize("interval", ["mean", "median"])
def test_who_buys_every_30_days_is_lost_after_40_by_either_interval(company, interval):
    tables = {"purchases": bought(a=every(30, until="2024-02-20", times=6), b=every(30, until="2024-02-19", times=6),
                                  c="2024-03-30")}  # fmt: skip
    _, rows = company({"times": 4 / 3, "silent_days": None, "interval": interval}, **tables)
    assert list(rows) == ["b"]  # 41 days; a is silent for 40
    assert (rows["b"]["silent"], rows["b"]["days_allowed"], rows["b"]["silence_at"]) == (41, 40.0, dt.date(2024, 3, 31))


# The rules: who, since when, and by which rule alone.
def fired(found):
    return {rule.name: (rule.fired, rule.alone) for rule in found.rules}


def test_silence_of_61_days_is_more_than_60_and_of_60_is_not(company):
    found, rows = company(purchases=bought(a="2024-01-30", b="2024-01-31", c="2024-03-30"))
    assert list(rows) == ["a"]
    assert rows["a"]["silence_at"] == rows["a"]["lost_at"] == dt.date(2024, 3, 31)
    assert fired(found) == {"silence": (1, 1)}
    assert "more than 60 days" in wording.rule(found.rules[0], found.settings)


def test_who_bought_too_seldom_is_judged_by_the_fallback_or_not_at_all(company):
    purchases = bought(one="2024-01-05", two="2024-01-03 2024-01-04", three=every(2, until="2024-03-01", times=3),
                       here="2024-03-30")  # fmt: skip
    rule = {"times": 3, "minimum_days": 0}
    _, with_fallback = company(rule, purchases=purchases)
    assert {name: row["days_allowed"] for name, row in with_fallback.items()} == {"one": 60, "two": 60, "three": 6}
    _, without = company(rule | {"silent_days": None}, purchases=purchases)
    assert list(without) == ["three"]
    _, patient = company(rule | {"minimum_days": 30}, purchases=purchases)
    assert "three" not in patient  # 30 days of silence are not more than 30
    _, sooner = company(rule | {"minimum_purchases": 2}, purchases=purchases)
    assert sooner["two"]["days_allowed"] == 3


def test_the_median_forgives_one_long_pause_and_the_mean_does_not_see_it(company):
    purchases = bought(a="2023-01-01 2023-01-11 2023-01-21 2024-01-21", b="2024-03-30")
    allowed = {interval: company({"times": 1.0, "silent_days": None, "minimum_days": 0, "interval": interval},
                                 purchases=purchases)[1].get("a") for interval in ("mean", "median")}  # fmt: skip
    assert allowed["mean"] is None  # 385 / 3 = 128 days
    assert allowed["median"]["days_allowed"] == 10


def test_every_line_has_its_own_limit(company):
    tables = {"purchases": bought(tv="2024-03-10", net="2024-03-10", none="2024-03-10", stranger="2024-03-10"),
              "customers": "customer_id,line\ntv,it's tv\nnet,net\nnone,\n"}  # fmt: skip
    found, rows = company(
        {"by": "line", "each": {"it's tv": {"silent_days": 20}, "net": {"silent_days": 21}}}, **tables
    )
    assert list(rows) == ["tv"]
    assert rows["tv"]["silence_at"] == dt.date(2024, 3, 31)
    assert "it's tv: no purchase for more than 20 days" in wording.rule(found.rules[0], found.settings)
    assert {group.name: group.customers for group in found.groups["line"]} == {"it's tv": 1, "net": 1, "unknown": 2}


def test_customers_with_contracts_are_lost_when_they_cancel_and_not_by_silence(company):
    tables = {"purchases": bought(a="2023-01-05", b="2023-01-05", c="2023-01-05", d="2024-03-30"),
              "customers": "customer_id,cancelled_at\na,2023-06-01\nb,2024-04-01\nc,\nnew,2024-02-02\n"}  # fmt: skip
    found, rows = company({"contractual": True, "silent_days": None}, **tables)
    assert {name: row["lost_at"] for name, row in rows.items()} == {
        "a": dt.date(2023, 6, 1),
        "new": dt.date(2024, 2, 2),
    }
    assert fired(found) == {"cancelled": (2, 2)}
    assert found.trials == ()
    assert rows["a"]["silence_at"] is None
    assert (found.customers, rows["new"]["stage"]) == (5, "asked")


def test_a_cancelled_contract_does_not_count_where_the_sheet_says_so(company):
    tables = {"purchases": bought(a="2024-03-30"), "customers": "customer_id,cancelled_at\na,2024-03-31\n"}
    assert company(**tables)[0].lost == 1
    found, _ = company({"cancelled": False}, **tables)
    assert (found.lost, fired(found)) == (0, {"silence": (0, 0)})


def test_who_would_not_recommend_is_lost_from_the_last_purchase(company):
    tables = {"purchases": bought(a="2024-03-05", b="2024-03-30"),
              "customers": "customer_id,nps,since\na,6,\nb,7,\nnew,0,2024-02-01\nnone,0,\nunasked,,\n"}  # fmt: skip
    found, rows = company({"nps": 6}, **tables)
    assert {name: str(row["lost_at"]) for name, row in rows.items()} == {
        "a": "2024-03-05", "new": "2024-02-01", "none": "2024-03-31"}  # fmt: skip
    assert fired(found)["nps"] == (3, 3)
    assert (found.customers, found.never_bought) == (4, 1)


def test_who_asks_twice_and_never_orders_is_lost_from_the_second_time_on(company):
    asked = """customer_id,at,ordered
twice,2024-02-01,no
twice,2024-01-01,
once,2024-01-01,no
ordered,2024-01-01,no
ordered,2024-01-02,no
ordered,2024-01-03,yes
later,2024-03-01,no
later,2024-04-01,no
undated,,no
undated,,no
"""
    found, rows = company({"asked": 2}, purchases=bought(a="2024-03-30"), inquiries=asked)
    assert {name: str(row["asked_at"]) for name, row in rows.items()} == {"twice": "2024-02-01", "undated": "None"}
    assert {name: str(row["lost_at"]) for name, row in rows.items()} == {"twice": "2024-02-01", "undated": "2024-03-31"}
    assert fired(found)["asked"] == (2, 2)
    assert {row["stage"] for row in rows.values()} == {"asked"}


def test_who_bought_has_ordered_whatever_the_inquiries_say(company):
    asked = "customer_id,at,ordered\na,2024-01-01,no\na,2024-01-02,no\nb,2024-01-01,no\nb,2024-01-02,no\n"
    _, rows = company({"asked": 2}, purchases=bought(a="2024-03-25"), inquiries=asked)
    assert list(rows) == ["b"]


def test_who_only_got_money_back_has_not_ordered(company):
    asked = "customer_id,at,ordered\na,2024-01-01,no\n"
    purchases = "customer_id,at,amount\na,2024-01-02,-5\nb,2024-03-30,5\n"
    assert list(company({"asked": 1}, purchases=purchases, inquiries=asked)[1]) == ["a"]


@pytest.mark.parametrize(
    ("rule", "column", "values"),
    [("unreachable", "unreachable", ("yes", "no")), ("conflict", "complaint", ("unresolved", "resolved"))],
)
def test_who_cannot_be_reached_or_has_an_open_complaint_is_lost_where_the_sheet_says_so(company, rule, column, values):
    tables = {"purchases": bought(a="2024-03-05", b="2024-03-06"),
              "customers": f"customer_id,{column}\na,{values[0]}\nb,{values[1]}\n"}  # fmt: skip
    found, rows = company({rule: True}, **tables)
    assert {name: row["lost_at"] for name, row in rows.items()} == {"a": dt.date(2024, 3, 5)}
    assert fired(found)[rule] == (1, 1)
    assert company(**tables)[0].lost == 0


def test_rules_combine_with_or_and_the_earliest_date_counts(company):
    tables = {
        "purchases": bought(all="2023-12-01", two="2023-12-01", one="2023-12-01", here="2024-03-30"),
        "customers": """customer_id,cancelled_at,nps,unreachable,complaint
all,2023-12-15,1,yes,unresolved
two,2024-03-01,9,no,none
one,,,,
here,,10,no,resolved
""",
        "inquiries": "customer_id,at,ordered\nasker,2024-02-01,no\n",
    }
    found, rows = company({"nps": 6, "asked": 1, "unreachable": True, "conflict": True}, **tables)
    assert {name: row["rules"] for name, row in rows.items()} == {"all": 5, "two": 2, "one": 1, "asker": 1}
    assert fired(found) == {"silence": (3, 1), "cancelled": (2, 0), "nps": (1, 0), "asked": (1, 1),
                            "unreachable": (1, 0), "conflict": (1, 0)}  # fmt: skip
    assert str(rows["all"]["lost_at"]) == "2023-12-15"
    assert str(rows["two"]["lost_at"]) == str(rows["two"]["silence_at"]) == "2024-01-31"


def test_a_rule_that_is_off_loses_nobody(company):
    tables = {"purchases": bought(a="2024-03-30", b="2024-03-30"),
              "customers": "customer_id,nps,unreachable,complaint\na,0,yes,unresolved\nb,,,\n",
              "inquiries": "customer_id,at,ordered\nc,2024-01-01,no\n"}  # fmt: skip
    found, rows = company(**tables)
    assert (rows, fired(found), found.never_bought) == ({}, {"silence": (0, 0)}, 0)


# Money and classes.
def test_a_year_of_a_customer_is_worth_no_more_than_was_seen_in_a_year(company):
    days = {"once": "2023-12-01", "monthly": every(30, until="2023-12-01", times=25), "here": "2024-03-30"}
    found, rows = company(purchases=bought(**days))
    assert rows["once"]["worth"] == rows["once"]["revenue"] == 1000
    # 25 purchases of 10 in 24 intervals of 30 days, and one interval more to come: a year has 365 / 30 of them.
    assert rows["monthly"]["worth"] == 1000 * 365 // 30
    lost_days = 60  # from 2024-01-31 to 2024-03-31
    assert found.missed == pytest.approx((1000 + 12166) / 100 * lost_days / 365, abs=0.02)


def test_refunds_are_no_purchases_but_their_money_counts(company):
    purchases = "customer_id,at,amount\na,2023-12-01,100\na,2024-03-20,-30\na,2024-03-21,0\nb,2024-03-30,5\n"
    found, rows = company(purchases=purchases)
    assert (rows["a"]["purchases"], rows["a"]["revenue"], str(rows["a"]["last"])) == (1, 7000, "2023-12-01")
    assert "2 of 0 or less are refunds" in said_of(found.accounts[0])
    assert found.revenue == 75.0


def test_several_purchases_on_a_day_are_one_occasion_with_all_their_money(company):
    found, rows = company(purchases=bought(a="2023-12-01 2023-12-01 2023-12-01 2023-12-11", b="2024-03-30"))
    assert (rows["a"]["purchases"], rows["a"]["stage"], rows["a"]["revenue"]) == (2, "two", 4000)
    assert "2 on a day with another of the same customer" in said_of(found.accounts[0])


def test_in_a_large_table_a_sample_of_customers_tells_whether_days_have_several_purchases(company, monkeypatch):
    purchases = bought(a="2023-12-01 2023-12-01 2023-12-01 2023-12-11", b="2024-03-30")
    monkeypatch.setattr(finder, "MANY", 0)
    assert "one customer in 64 was looked at" in said_of(
        company(purchases=purchases)[0].accounts[0]
    )  # "a" is not among them
    monkeypatch.setattr(finder, "SAMPLE", 1)
    found, rows = company(purchases=purchases)
    assert rows["a"]["purchases"] == 2
    assert "2 on a day with another of the same customer" in said_of(found.accounts[0])


def test_a_share_of_margin_is_exact_to_the_cent(company):
    # 29 % of 1.00 is .29; as binary fractions it is a little less.
    purchases = "customer_id,at,amount\na,2023-12-01,1\nb,2024-03-30,1\n"
    assert company(settings={"margin_share": 0.29}, purchases=purchases)[1]["a"]["profit"] == 29


def test_a_customer_may_bring_a_hundred_billion(company):
    # Rupiah: about six million dollars, with two decimals.
    purchases = "customer_id,at,amount\na,2023-12-01,100000000000\nb,2024-03-30,5\n"
    for share, profit in ((1.0, 10**13), (0.25, 10**13 // 4)):
        _, rows = company(settings={"currency": "IDR", "margin_share": share}, purchases=purchases)
        assert (rows["a"]["revenue"], rows["a"]["profit"]) == (10**13, profit)


@pytest.mark.parametrize(("first", "months"), [("2021-01", 24), ("2016-01", 84), ("2012-01", 60)])
def test_who_bought_every_month_is_regular_however_long_ago(company, first, months):
    days = " ".join(f"{month}-05" for month in pd.period_range(first, periods=months, freq="M"))
    _, rows = company(purchases=bought(a=days, b="2024-03-30"))
    assert rows["a"]["xyz"] == "X"


def test_important_customers_are_a_must_at_least(company):
    tables = {"purchases": bought(a="2023-12-01 " * 100, b="2023-12-01", c="2023-12-01", d="2024-03-30"),
              "customers": "customer_id,important\na,yes\nb,yes\nc,no\n"}  # fmt: skip
    found, rows = company(**tables)
    assert {name: (row["abc"] + row["xyz"], row["priority"]) for name, row in rows.items()} == {
        "a": ("AZ", "must"), "b": ("CZ", "must"), "c": ("CZ", "let_go")}  # fmt: skip
    assert {row.name: row.lost for row in found.priorities} == {"first": 0, "must": 2, "possible": 0, "let_go": 1}


# From lost to contactable.
def test_everyone_leaves_the_waterfall_at_the_first_flag_that_holds(company):
    names = [*UNASKED]
    columns = ("natural_loss", "deliberate_loss", "hours", "do_not_contact", "unreachable")
    rows = ["customer_id," + ",".join(columns)]
    for place, name in enumerate(names):  # each has its own flag and all that come after it
        cells = ["yes" if k >= place else "no" for k in range(len(columns))]
        cells[2] = "9" if place <= 2 else "0"
        rows.append(",".join([name, *cells]))
    purchases = bought(here="2024-03-30", free="2023-12-01", **dict.fromkeys(names, "2023-12-01"))
    reasons = "customer_id,reason\n" + "".join(f"{name},service\n" for name in names)
    rule = {"hour_cost": 5, "reasons": {"service": {"family": "company"}}}
    tables = {"purchases": purchases, "customers": "\n".join([*rows, ""]), "reasons": reasons}
    found, lost = company(rule, **tables)
    assert {name: row["step"] for name, row in lost.items()} == {name: name for name in names} | {"free": "contactable"}
    assert [(step.name, step.customers, step.left) for step in found.steps] == [
        (name, 1, 6 - place) for place, name in enumerate(names)]  # fmt: skip
    assert company(rule | {"fixed_first": False}, **tables)[0].contactable == 2


def test_nobody_is_contacted_without_a_consent_that_stands(company):
    names = ["none", "never", "withdrawn", "again", "other", "all", "later", "same"]
    purchases = bought(here="2024-03-30", **dict.fromkeys(names, "2023-12-01"))
    consents = (
        "customer_id,channel,given_at,withdrawn_at\nnever,,,2023-01-01\nwithdrawn,Call,2023-01-01,2023-06-01\n"
        "again,call,2023-01-01,2023-06-01\nagain,call,2023-07-01,\nother,letter,2023-01-01,\nall,,,\n"
        "later,call,2024-05-01,\nsame,call,2023-01-01,\nsame,,,2023-01-01\n"
    )
    found, lost = company({}, purchases=purchases, consents=consents)
    assert {name for name, row in lost.items() if row["contactable"]} == {"again", "all"}
    assert {step.name: step.customers for step in found.steps}["no_consent"] == 6
    assert found.asks_consent


@pytest.mark.parametrize(
    ("cause", "fixed_at", "contacted"),
    [
        ({"family": "company"}, "", False),
        ({"family": "competitor"}, "", True),
        ({"family": "competitor", "controllable": True}, "", False),
        ({"family": "company", "controllable": False}, "", True),
        ({"family": "company"}, "2024-03-31", True),
        ({"family": "company"}, "2024-04-01", False),
        ({"family": "company", "fixed": "2024-03-31"}, "", True),
        ({"family": "company", "fixed": "2024-04-01"}, "", False),
        (None, "", True),
    ],
)
def test_nobody_is_contacted_before_a_cause_of_the_company_is_removed(company, cause, fixed_at, contacted):
    tables = {"purchases": bought(a="2023-12-01", b="2024-03-30"),
              "reasons": f"customer_id,reason,fixed_at\na,service,{fixed_at}\nb,price,\n"}  # fmt: skip
    found, rows = company({"reasons": {"service": cause}} if cause else {}, **tables)
    assert rows["a"]["contactable"] is contacted
    assert found.steps[-1].customers == (not contacted)


def test_one_cause_removed_is_not_enough_where_there_are_two(company):
    tables = {"purchases": bought(a="2023-12-01", b="2024-03-30"),
              "reasons": "customer_id,reason,fixed_at\na,service,2024-01-01\na,late,\n"}  # fmt: skip
    causes = {name: {"family": "company"} for name in ("service", "late")}
    assert company({"reasons": causes}, **tables)[1]["a"]["step"] == "not_fixed"


@pytest.mark.parametrize(
    ("hours", "cost", "step"), [(2, 5.0, "contactable"), (2, 5.01, "loss_making"), ("", 9, "contactable")]
)
def test_who_costs_more_hours_than_they_bring_is_loss_making(company, hours, cost, step):
    tables = {"purchases": bought(a="2023-12-01", b="2024-03-30"), "customers": f"customer_id,hours\na,{hours}\nb,1\n"}
    found, rows = company({"hour_cost": cost}, **tables)
    assert rows["a"]["step"] == step
    assert [(effort.abc, effort.customers, effort.profit) for effort in found.efforts] == [("A", 2, 1.0)]
    assert found.efforts[0].loses == (step == "loss_making")


def test_a_negative_margin_is_loss_making_without_any_hours(company):
    purchases = "customer_id,at,amount,margin\na,2023-12-01,10,-1\nb,2024-03-30,10,4\n"
    assert company(purchases=purchases)[1]["a"]["step"] == "loss_making"


# Reasons.
def test_reasons_are_counted_once_a_customer_with_their_sources(company):
    tables = {
        "purchases": bought(
            a="2023-12-01", b="2023-12-02", c="2023-12-03", d="2023-12-04", here="2024-03-30 2024-04-01"
        ),
        "customers": "customer_id,complaint,referrals\na,resolved,2\nb,none,0\nc,unresolved,\n",
        "reasons": """customer_id,reason,source,verified,fixed_at
a,price,staff,no,
a,price,survey,yes,
b,price,,,
b,service,staff,,2024-01-01
c,price,staff,,
c,service,staff,,
c,moved,staff,,
here,price,staff,yes,
""",
    }
    found, rows = company({"reasons": {"service": {"family": "company"}}}, **tables)
    told = {reason.name: reason for reason in found.reasons}
    assert {name: (one.customers, one.family, one.ours, one.verified, one.fixed) for name, one in told.items()} == {
        "price": (3, "", None, 1, 0), "service": (2, "company", True, None, 1),
        "moved": (1, "", None, None, 0)}  # fmt: skip
    assert (told["price"].complained, told["price"].referrers, told["price"].returned) == (2, 1, 0)
    assert told["price"].sources == (("staff", 2), ("survey", 1), ("unknown", 1))
    assert told["price"].share == proportion(3, 3, level=0.95)
    assert [row["reason"] for row in rows.values()] == ["price", "both", "several", None]
    assert found.without_reason == 1


def test_nobody_is_without_a_reason_where_everybody_has_one(company):
    tables = {"purchases": bought(a="2023-12-01", b="2024-03-30"), "reasons": "customer_id,reason\na,price\nb,price\n"}
    found, _ = company(**tables)
    assert (found.lost, found.without_reason) == (1, 0)
    assert found.signs[0].state == "pass"


def test_changes_up_to_the_day_are_told_in_their_order(company):
    changes = "at,what\n2024-02-01,staff\n2023-05-01,price\n2024-04-01,later\n"
    assert company(purchases=bought(a="2024-03-30"), changes=changes)[0].changes == (
        Change(at=dt.date(2023, 5, 1), what="price"), Change(at=dt.date(2024, 2, 1), what="staff"))  # fmt: skip


# Who came back, and what a past test teaches.
def test_who_bought_again_without_an_offer_is_returned_and_the_others_are_the_tests(company):
    tables = {"purchases": bought(alone="2023-12-01 2024-04-05", won="2023-12-01 2024-04-05",
                                  before="2023-12-01 2024-04-05",
                                  gone="2023-12-01", here="2024-03-30"),
              "assignments": "customer_id,arm,at\nwon,A,2024-04-05\nbefore,A,2024-04-06\n"}  # fmt: skip
    found, _ = company(**tables)
    used = found.trials[0]
    assert (used.used, used.judged, used.lost, used.watched, used.returned) == (True, 5, 4, 2, 1)
    assert used.returned_revenue == 10.0


def test_where_the_data_end_on_the_day_nobody_knows_who_returned(company):
    found, _ = company(purchases=bought(a="2023-12-01", b="2024-03-31"))
    assert {trial.returned for trial in found.trials} == {None}
    assert {group.returned for group in found.groups["stage"]} == {None}


def test_who_was_lost_without_a_purchase_and_buys_after_the_day_has_returned(company):
    tables = {"purchases": bought(a="2024-03-30", asker="2024-04-10"),
              "inquiries": "customer_id,at,ordered\nasker,2024-02-01,no\n"}  # fmt: skip
    found, _ = company({"asked": 1}, **tables)
    assert [(group.name, group.lost, group.returned) for group in found.groups["stage"]] == [
        ("asked", 1, 1),
        ("one", 0, 0),
    ]


@pytest.fixture
def past_test(by_hand, tmp_path):
    """Return a function that reads a past test of 400 customers: half an offer at 5 a contact, half nothing."""

    def read(*, holdout="hold", **settings):
        reasons = ",stratum" if "strata" in settings else ""
        stratum = (",service", ",price") if reasons else ("", "")
        arms = [f"c{i},{('hold', 'A')[i % 2]}{stratum[i < 200]}\n" for i in range(400)]
        assignments = f"customer_id,arm{reasons}\n" + "".join(arms)
        # 10 % of the holdout and 30 % of the offer return, worth 150 each in the first half and 50 in the second.
        back = [(150 if i < 200 else 50) * (i % 20 in (0, 1, 3, 5)) for i in range(400)]
        outcomes = "customer_id,returned,value\n" + "".join(f"c{i},{int(b > 0)},{b}\n" for i, b in enumerate(back))
        readout = read_out(*by_hand(holdout=holdout, settings=settings, assignments=assignments, outcomes=outcomes))
        readout.write(tmp_path / "readout.json")
        return readout

    return read


def test_a_past_test_gives_what_each_customer_may_bring(company, past_test):
    past_test()
    purchases = "customer_id,at,amount\na,2023-12-01,300\nb,2023-12-01,90\nc,2023-12-01,30\nhere,2024-03-30,1\n"
    tables = {"purchases": purchases, "customers": "customer_id,natural_loss\nc,yes\n"}
    found, rows = company({"learn_from": "readout.json"}, **tables)
    # Lift .2, cost 5, value gained 20, so the net is 15 and one more return is worth (15 + 5) / .2 = 100.
    (lesson,) = found.learned.lessons
    assert (lesson.segment, lesson.offer, found.learned.source) == ("", "A", "toy")
    assert lesson.gain.value == pytest.approx(15)
    assert (lesson.p_return, lesson.second_value, lesson.cost) == pytest.approx((0.2, 100, 5))
    # In proportion to worth; the contactable are worth (300 + 90) / 2 = 195 on average. In cents.
    wanted = {"a": 2000 * 300 / 195 - 500, "b": 2000 * 90 / 195 - 500, "c": 2000 * 30 / 195 - 500}
    for name, minor in wanted.items():
        assert rows[name]["expected"] == pytest.approx(minor, abs=1)
    assert rows["c"]["expected"] < 0
    assert [(row["abc"], row["step"]) for row in rows.values()] == [
        ("A", "contactable"), ("A", "contactable"), ("B", "natural")]  # fmt: skip
    must = next(row for row in found.priorities if row.name == "must")
    assert (must.lost, must.contactable, must.hopeless) == (2, 2, 0)
    assert must.expected == pytest.approx((wanted["a"] + wanted["b"]) / 100, abs=0.02)


def test_without_a_past_test_nothing_is_expected(company):
    found, rows = company(purchases=bought(a="2023-12-01", b="2024-03-30"))
    assert (found.learned, rows["a"]["expected"]) == (None, None)
    assert {(row.expected, row.hopeless) for row in found.priorities} == {(None, None)}


@pytest.fixture
def by_reason(company, past_test):
    """Return a past test by reason and what it teaches: (readout, cohort, contactable rows)."""
    readout = past_test(strata=["reason"], objective="profit")
    buys = {f"{reason}{place}": f"{1 + place}00" for reason in ("price", "service", "none") for place in range(3)}
    rows = [f"{name},2023-12-01,{3 * int(money) if 'price' in name else money}" for name, money in buys.items()]
    reasons = [f"{name},{name[:-1]}" for name in buys if "none" not in name]
    found, rows = company({"learn_from": "readout.json"},
                          purchases="\n".join(["customer_id,at,amount", *rows, "here,2024-03-30,1", ""]),
                          reasons="\n".join(["customer_id,reason", *reasons, ""]))  # fmt: skip
    return readout, found, list(rows.values())


def test_by_reason_the_best_offer_of_the_past_test_is_expected(by_reason):
    readout, found, rows = by_reason
    (table,) = readout.targeting.tables
    lessons = {lesson.segment: lesson for lesson in found.learned.lessons}
    assert set(lessons) == {"", *table.segments} == {"", "price", "service"}
    for segment in table.segments:
        assert (lessons[segment].offer, lessons[segment].gain) == ("A", table.cell(segment, "A").shrunk)
    assert lessons["price"].gain.value > lessons["service"].gain.value
    assert sum(row["expected"] for row in rows) / 100 == pytest.approx(sum(row.expected for row in found.priorities))
    assert sum(row["expected"] <= 0 for row in rows) == sum(row.hopeless for row in found.priorities)


def test_the_customers_of_a_reason_bring_together_what_the_past_test_gained_there(by_reason):
    # The gain by reason knows already that customers of this reason are worth more or less than others.
    _, found, rows = by_reason
    for lesson in found.learned.lessons:
        here = [row["expected"] / 100 for row in rows if (row["reason"] or "") == lesson.segment]
        assert np.mean(here) == pytest.approx(lesson.gain.value, abs=0.01)


def test_of_a_reason_neither_the_lift_nor_the_cost_of_all_customers_is_told(by_hand, tmp_path):
    # 400 customers; of the reason service 40 % more return with the offer and bring 100, of price 4 % and bring 600.
    def outcome(i):
        reason, offer, place = ("service" if i < 200 else "price"), i % 2, i % 200 // 2
        back = place < (5 + offer * (40 if reason == "service" else 4))
        return reason, ("hold", "A")[offer], int(back), back * (100 if reason == "service" else 600)

    rows = [(f"c{i}", *outcome(i)) for i in range(400)]
    assignments = "customer_id,arm,stratum\n" + "".join(f"{who},{arm},{reason}\n" for who, reason, arm, *_ in rows)
    outcomes = "customer_id,returned,value\n" + "".join(f"{who},{back},{worth}\n" for who, *_, back, worth in rows)
    settings = {"strata": ["reason"], "objective": "profit"}
    readout = read_out(*by_hand(settings=settings, assignments=assignments, outcomes=outcomes, holdout="hold"))
    all_of_them, *by_reason = learned_from(readout).lessons
    assert all_of_them.p_return == pytest.approx(0.22)  # of all; there .40 and .04
    assert all_of_them.second_value * 0.22 - all_of_them.cost == pytest.approx(all_of_them.gain.value)
    table, names = readout.targeting.tables[0], [lesson.segment for lesson in by_reason]
    assert sorted(names) == ["price", "service"]
    for lesson in by_reason:
        assert (lesson.p_return, lesson.second_value) == (None, None)
        assert lesson.gain == table.cell(lesson.segment, "A").shrunk
        assert table.cell(lesson.segment, "A").gain.value == pytest.approx({"price": 19, "service": 35}[lesson.segment])


def test_what_the_simulated_telecom_taught_of_a_reason_is_what_it_measured_there(small_telecom, telecom_sheet):
    readout = read_out(telecom_sheet, small_telecom)
    cube = make_cube(telecom_sheet, small_telecom)
    back, cost = (segment_table(outcome_of(cube, telecom_sheet, name=name), level=0.95, factors=["reason"])[0]
                  for name in ("returned", "cost"))  # fmt: skip
    all_of_them, *by_reason = learned_from(readout).lessons
    names = {arm.label: arm.name for arm in readout.offers}
    two = next(lesson for lesson in by_reason if lesson.segment == "both")
    lift, spent = (part.cell("both", names[two.offer]).gain.value for part in (back, cost))
    # Who left for two reasons returns seldom, and a return is worth much: the lift of all would hide both.
    assert lift < all_of_them.p_return / 2
    assert (two.gain.value + spent) / lift > 2 * (two.gain.value + two.cost) / all_of_them.p_return
    assert (two.p_return, two.second_value) == (None, None)
    tables = {part.factor: part for part in readout.targeting.tables}
    assert two.gain == tables["reason"].cell("both", names[two.offer]).shrunk


def test_a_past_test_in_another_currency_is_refused(company, past_test, names):
    past_test(currency="EUR")
    with pytest.raises(WinbackError, match=names("readout.json", "EUR", "USD", "learn_from")):
        company({"learn_from": "readout.json"}, purchases=bought(a="2024-03-30"))


def test_a_past_test_without_a_holdout_or_that_is_not_there_is_refused(company, past_test, names, tmp_path):
    assert learned_from(past_test(holdout=None)) is None
    with pytest.raises(WinbackError, match=names("readout.json", "no holdout", "learn_from")):
        company({"learn_from": "readout.json"}, purchases=bought(a="2024-03-30"))
    with pytest.raises(WinbackError, match=names("nowhere.json", "winback readout")):
        company({"learn_from": "nowhere.json"}, purchases=bought(a="2024-03-30"))
    assert Readout.load(tmp_path / "readout.json").arms


# Against those truly lost, and a second opinion.
def test_the_rules_are_measured_against_those_truly_lost(company):
    tables = {
        "purchases": bought(
            right="2023-12-01", late="2023-12-01", false="2023-12-01", missed="2024-03-30", here="2024-03-30"
        ),
        "known_lost": "customer_id,at\nright,2024-01-21\nright,2024-03-01\nlate,2024-01-01\nmissed,\nhere,2024-04-01\n",
    }
    found, _ = company(**tables)
    assert found.accuracy.known == 3
    assert found.accuracy.precision == proportion(2, 3, level=0.95)
    assert found.accuracy.recall == proportion(2, 3, level=0.95)
    assert found.accuracy.late_days == 20  # by the rule from 2024-01-31 on: 10 and 30 days late


def test_nobody_known_to_be_lost_is_no_accuracy(company):
    assert company(purchases=bought(a="2023-12-01", b="2024-03-30"))[0].accuracy is None


@pytest.mark.usefixtures("with_opinion")
def test_a_second_opinion_agrees_with_itself_and_knows_the_silent(shops):
    found, rows = shops(silent_days=120, times=None)
    opinion, silent = found.opinion, sum(row["silence_at"] is not None for row in rows.values())
    assert opinion.lost_alive + opinion.lost_gone == silent
    assert opinion.kept_alive + opinion.kept_gone == found.customers - silent
    assert 0 <= opinion.lost_mean < opinion.kept_mean <= 1
    assert min(opinion.r, opinion.alpha, opinion.a, opinion.b) > 0


@pytest.mark.usefixtures("with_opinion")
def test_where_nobody_buys_twice_or_customers_have_contracts_there_is_no_second_opinion(company):
    purchases = bought(a="2023-12-01", b="2024-03-30")
    assert company(purchases=purchases)[0].opinion is None
    tables = {"purchases": bought(a=every(9, until="2024-03-30", times=9), b=every(9, until="2023-12-30", times=9)),
              "customers": "customer_id,cancelled_at\na,\n"}  # fmt: skip
    assert company({"contractual": True}, **tables)[0].opinion is None


# Bad input: accounted for, or refused with table, value and cure.
def refused(look, names, *parts):
    with pytest.raises(WinbackError, match=names(*parts)):
        look()


def test_every_purchase_is_accounted_for(company):
    days = "2020-01-01 2020-01-02 2024-01-05 2024-04-01 2024-05-01 2024-06-01"
    found, rows = company({"start": "2024-01-01"}, purchases=bought(a=days, b="2024-03-30"))
    assert said_of(found.accounts[0]) == (
        "purchases: kept 2 of 7 rows; 5 left out: 2 before 2024-01-01, 3 after 2024-03-31, which only tell "
        "who came back"
    )
    assert (str(rows["a"]["first"]), rows["a"]["revenue"]) == ("2024-01-05", 1000)


def test_purchases_before_since_and_customers_without_the_other_table_are_told(company):
    tables = {"purchases": bought(early="2024-03-30", stranger="2024-03-30"),
              "customers": "customer_id,since\nearly,2024-03-31\nnever,2024-01-01\n"}  # fmt: skip
    found, _ = company(**tables)
    assert tuple(map(said_of, found.accounts[-3:])) == (
        "customers: 1 bought before their `since`; their first purchase counts",
        "purchases: 1 who bought are not in the table customers; nothing more is known of them",
        "customers: 1 never bought up to 2024-03-31; they count only where a rule calls them lost",
    )
    assert (found.customers, found.never_bought) == (2, 1)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("reasons", "customer_id,reason\na,price\nghost,price\n"),
        ("known_lost", "customer_id,at\na,2024-01-01\nghost,2024-01-01\n"),
        ("known_lost", "customer_id,at\na,2024-01-01\nb,2024-05-01\n"),
        ("inquiries", "customer_id,at,ordered\nghost,2024-05-01,no\nb,2024-01-01,yes\n"),
        ("changes", "at,what\n2024-01-01,price\n2024-05-01,later\n"),
    ],
)
def test_rows_of_other_tables_that_count_for_nobody_are_told(company, table, text):
    found, _ = company({"asked": 1} if table == "inquiries" else {}, purchases=bought(a="2023-12-01", b="2024-03-30"),
                       **{table: text})  # fmt: skip
    assert f"{table}: kept all 2 rows" not in map(said_of, found.accounts)
    assert any(f"{table}:" in told and "1" in told for told in map(said_of, found.accounts))


def test_reasons_of_who_asked_in_vain_are_kept_as_they_are_used(company):
    found, rows = company({"asked": 1}, purchases=bought(a="2024-03-30"),

                    inquiries="customer_id,at,ordered\nq,2024-01-01,no\n",
                          reasons="customer_id,reason\nq,price\n", known_lost="customer_id\nq\n")  # fmt: skip
    assert (rows["q"]["reason"], found.accuracy.known) == ("price", 1)
    assert {"reasons: kept all 1 rows", "known_lost: kept all 1 rows"} <= set(map(said_of, found.accounts))


def test_a_silence_that_the_end_of_the_data_overstates_is_told(company):
    assert "the last is 10 days before 2024-03-31" in said_of(company(purchases=bought(a="2024-03-21"))[0].accounts[0])
    assert said_of(company(purchases=bought(a="2024-03-24"))[0].accounts[0]) == "purchases: kept all 1 rows"


def test_where_nobody_is_lost_all_is_zero_and_the_file_is_empty(company):
    found, rows = company(purchases=bought(a="2024-03-30", b="2024-01-31 2024-03-30"))
    assert (found.lost, found.contactable, found.missed, found.revenue_lost, rows) == (0, 0, 0.0, 0.0, {})
    assert found.lost_share.value == 0
    assert {(step.customers, step.left) for step in found.steps} == {(0, 0)}
    assert {row.lost for row in found.priorities} == {0}
    assert found.pace.light == "normal"


@pytest.mark.parametrize("day", ["2024-03-30", "2024-03-31"])
def test_one_customer_with_one_purchase_is_enough(company, day):
    found, _ = company(purchases=bought(a=day))
    assert (found.customers, found.lost, found.revenue) == (1, 0, 10.0)


def test_a_day_before_the_first_purchase_is_refused(company, names):
    refused(lambda: company(purchases=bought(a="2024-04-01")), names, "2024-03-31", "2024-04-01", "as_of")


def test_a_start_after_the_last_purchase_is_refused_for_what_it_is(company, names):
    look = partial(company, {"start": "2024-03-15"}, purchases=bought(a="2024-03-01"))
    refused(look, names, "2024-03-15", "start")


def test_a_day_long_after_the_data_end_is_refused_where_all_would_be_lost(company, names):
    refused(lambda: company(purchases=bought(a="2024-01-30")), names, "2024-01-30", "61 days", "as_of: 2024-01-30")
    assert company(purchases=bought(a="2024-01-31"))[0].lost == 0


def test_a_line_that_may_be_silent_for_longer_is_not_all_lost(company):
    tables = {"purchases": bought(a="2023-12-01"), "customers": "customer_id,line\na,yearly\n"}
    assert company({"by": "line", "each": {"yearly": {"silent_days": 400}}}, **tables)[0].lost == 0


def test_customers_who_buy_once_a_year_are_judged_after_a_quiet_quarter(company):
    # By 4/3 of their own interval nobody is lost; the 90 days of the default are for those who bought once or twice.
    days = " ".join(f"{year}-12-01" for year in range(2015, 2024))
    found, rows = company({"silent_days": None}, purchases=bought(a=days, b=days))
    assert (found.lost, rows) == (0, {})


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        ({"nps": 6}, ("nps", "'nps'", "customers")),
        ({"nps": 0}, ("nps", "'nps'", "customers")),
        ({"asked": 2}, ("asked", "'ordered'", "inquiries")),
        ({"conflict": True}, ("conflict", "'complaint'", "customers")),
        ({"unreachable": True}, ("unreachable", "customers")),
        ({"contractual": True}, ("contractual", "'cancelled_at'", "customers")),
        ({"hour_cost": 20}, ("hour_cost", "'hours'", "customers")),
        ({"by": "line", "each": {"tv": {"times": 2}}}, ("by", "'line'", "customers")),
        ({"reasons": {"price": {"family": "competitor"}}}, ("reasons",)),
    ],
)
@pytest.mark.parametrize("customers", [None, "customer_id,important\na,yes\n"])
def test_a_rule_whose_column_nobody_has_is_refused(company, names, rule, parts, customers):
    tables = {"purchases": bought(a="2024-03-30")} | ({"customers": customers} if customers else {})
    refused(partial(company, rule, **tables), names, *parts)


def test_a_rule_that_cannot_fire_is_not_among_the_rules(company):
    found, _ = company(purchases=bought(a="2024-03-30"), customers="customer_id,important\na,yes\n")
    assert [rule.name for rule in found.rules] == ["silence"]


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        ({"by": "line", "each": {"tvv": {"times": 2}}}, ("each", "'tvv'", "customers.line", "Did you mean 'tv'?")),
        ({"reasons": {"prise": {"family": "company"}}}, ("'prise'", "reasons.reason", "Did you mean 'price'?")),
    ],
)
def test_a_value_that_no_customer_has_is_refused(company, names, rule, parts):
    tables = {"purchases": bought(a="2024-03-30"), "customers": "customer_id,line\na,tv\n",
              "reasons": "customer_id,reason\na,price\n"}  # fmt: skip
    refused(partial(company, rule, **tables), names, *parts)


@pytest.mark.parametrize(("column", "value"), [("nps", "11"), ("nps", "-999"), ("complaint", "open"), ("hours", "-5")])
def test_a_value_outside_its_range_is_refused(company, names, column, value):
    other = {"nps": "3", "complaint": "unresolved", "hours": "2"}[column]
    rule = {"nps": {"nps": 6}, "complaint": {"conflict": True}, "hours": {"hour_cost": 1}}[column]
    tables = {"purchases": bought(a="2024-03-30"), "customers": f"customer_id,{column}\na,{value}\nb,{other}\n"}
    shown = "aaaa" if column == "complaint" else value  # of a text only its shape
    refused(partial(company, rule, **tables), names, "customers", column, shown)


@pytest.mark.parametrize(
    ("tables", "parts"),
    [
        (
            {"purchases": "customer_id,at,amount\na,2024-01-01,12 pieces\n"},
            ("purchases", "'amount'", "99 aaaaaa", "row 2", "1234.50"),
        ),
        (
            {"purchases": "customer_id,at,amount\na,yesterday,12\n"},
            ("purchases", "'at'", "aaaaaaaaa", "row 2", "dates"),
        ),
        ({"purchases": "customer_id,at,amount\n,2024-01-01,12\n"}, ("purchases", "'customer_id'", "empty cell")),
        ({"purchases": bought(a="2024-03-30"), "customers": "customer_id\na\na\nb\n"}, ("customers", "'a'", "2 times")),
        (
            {"purchases": bought(a="2024-03-30"), "customers": "customer_id,nps\na,high\n"},
            ("customers", "'nps'", "aaaa", "row 2"),
        ),
        ({"purchases": "customer_id,at,amount,margin\na,2024-01-01,12,\n"}, ("purchases", "'margin'", "empty cell")),
    ],
)
def test_tables_that_do_not_fit_are_refused(company, names, tables, parts):
    refused(partial(company, **tables), names, *parts)


def test_a_sheet_without_a_day_or_without_purchases_is_refused(by_hand, names):
    refused(lambda: find_lost(*by_hand(purchases=bought(a="2024-03-30"))), names, "as_of: 2026-01-31")
    sheet, folder = by_hand(customers="customer_id\na\n", settings={"lost": {"as_of": "2024-03-31"}})
    refused(lambda: find_lost(sheet, folder), names, "`purchases`")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("silentdays: 60", ("line 3", "silentdays", "Did you mean 'silent_days'?")),
        ("nps: 11", ("line 3", "lost.nps is 11", "10")),
        ("abc: [0.95, 0.8]", ("[0.95, 0.8]", "rising")),
        ("xyz: [0.5, 0.8]", ("[0.5, 0.8]", "falling")),
        ("start: 2024-04-01", ("2024-04-01", "2024-03-31")),
        ("by: line", ("`by`", "`each`")),
        ("contractual: true\n  cancelled: false", ("cancelled: false",)),
        ("minimum_purchases: 1", ("line 3", "minimum_purchases is 1", "2")),
        ("times: .nan", ("line 3", "times")),
        ("interval: mode", ("line 3", "'mode'", "median")),
        ("reasons: {price: {family: ours}}", ("line 3", "'ours'", "competitor")),
        ("reasons: {price: {famly: company}}", ("line 3", "famly", "Did you mean 'family'?")),
        ("audit: {scrip: true}", ("line 3", "scrip", "Did you mean 'script'?")),
        ("by: line\n  each: {tv: {silent: 9}}", ("line 4", "silent", "Did you mean 'silent_days'?")),
    ],
)
def test_a_setting_that_is_wrong_is_refused_with_its_line_and_the_cure(tmp_path, names, text, parts):
    path = tmp_path / "sheet.yml"
    path.write_text(f"lost:\n  as_of: 2024-03-31\n  {text}\nexperiment: toy\ntables:\n  purchases: {{file: p.csv}}\n")
    refused(lambda: read_sheet(path), names, "sheet.yml", *parts)


def test_a_setting_can_be_changed_for_one_look_and_none_keeps_the_sheets(company, by_hand):
    look = by_hand(
        purchases=bought(a="2024-03-01", b="2024-03-30"), settings={"lost": {"as_of": "2024-03-31", "silent_days": 60}}
    )
    assert find_lost(*look, silent_days=None).lost == 0
    assert find_lost(*look, silent_days=20).lost == 1
    assert find_lost(*look, as_of="2024-03-02", silent_days=20).lost == 0
    assert find_lost(*look, audit={"script": True}).signs[2].state == "pass"


def test_a_day_in_a_call_is_enough(by_hand):
    sheet, folder = by_hand(purchases=bought(a="2024-03-01", b="2024-03-30"))
    assert find_lost(sheet, folder, as_of="2024-03-31").customers == 2


@pytest.mark.parametrize(
    ("changes", "parts"),
    [({"silent_dayz": 9}, ("silent_dayz", "Did you mean 'silent_days'?")), ({"nps": 11}, ("lost.nps is 11", "10")),
     ({"as_of": "31.12.2024"}, ("lost.as_of", "'31.12.2024'")), ({"abc": (0.95, 0.8)}, ("[0.95, 0.8]", "rising"))],
)  # fmt: skip
def test_a_change_that_is_wrong_is_refused_in_plain_words(by_hand, changes, parts, names):
    look = by_hand(purchases=bought(a="2024-03-30"), settings={"lost": {"as_of": "2024-03-31"}})
    with pytest.raises(WinbackError, match=names(*parts)) as caught:
        find_lost(*look, **changes)
    assert "Value error" not in str(caught.value)
    assert "datetime.date(" not in str(caught.value)


def test_a_contract_cancelled_before_the_first_purchase_there_is_breaks_no_month(company):
    # The purchases begin later than the contracts, or a customer came back on a new one.
    tables = {"purchases": bought(a="2024-01-05 2024-03-05", b="2023-10-05 2024-03-30"),
              "customers": "customer_id,cancelled_at\na,2023-12-01\n"}  # fmt: skip
    found, rows = company({"silent_days": 180}, **tables)
    assert list(rows) == ["a"]
    assert sum(month.lost for month in found.months) == 1
    assert all(month.lost <= month.at_risk for month in found.months)
    assert found.pace.monthly.value < 1
    assert sum(staying[-1] for staying in found.triangle.staying) == found.customers - found.lost


def test_nobody_is_lost_after_the_day(company):
    tables = {"purchases": bought(a="2024-03-30"), "customers": "customer_id,since,nps\nz,2024-12-01,3\n"}
    _, rows = company({"nps": 6}, **tables)
    assert all(row["lost_at"] <= dt.date(2024, 3, 31) for row in rows.values())


def test_customers_as_numbers_in_one_table_and_text_in_another_are_the_same(company, tmp_path):
    rows = "VALUES (7, DATE '2023-12-01', 10.0), (8, DATE '2024-03-30', 10.0)"
    text = f'SELECT * FROM ({rows}) AS t(customer_id, "at", amount)'
    duckdb.sql(text).write_parquet(str(tmp_path / "bills.parquet"))
    tables = {
        "purchases": "",
        "customers": "customer_id,manager\n7,Ann\n8,Bob\n",
        "reasons": "customer_id,reason\n7,price\n",
    }
    found, rows = company(sources={"purchases": {"file": "bills.parquet"}}, **tables)
    assert [(group.name, group.lost) for group in found.groups["manager"]] == [("Ann", 1), ("Bob", 0)]
    assert rows["7"]["reason"] == "price"


# What leaves the engine.
def test_no_customer_stands_in_the_cohort(company, tmp_path):
    who = "customer_id\nXQ-1\nXQ-2\nXQ-3\n"
    tables = {
        "purchases": bought(**{"XQ-1": "2023-12-01 2023-12-08 2023-12-20", "XQ-2": "2024-03-30", "XQ-9": "2024-03-30"}),
        "customers": "customer_id,manager,line,nps\nXQ-1,Ann,tv,3\nXQ-2,Bob,,\nXQ-3,,,9\n",
        "reasons": "customer_id,reason,source\nXQ-1,price,staff\n",
        "inquiries": "customer_id,at,ordered\nXQ-4,2024-01-01,no\n",
        "known_lost": who,
        "contacts": "customer_id,refused_at,refusal\nXQ-1,2024-01-01,price\n",
    }
    found, rows = company({"asked": 1, "nps": 6}, **tables)
    assert set(rows) == {"XQ-1", "XQ-4"}
    found.write(tmp_path / "lost.json")
    text = (tmp_path / "lost.json").read_text()
    assert "price" in text
    assert "XQ" not in text
    assert "customer_id" not in text


def test_a_cohort_read_again_is_equal_to_the_last_digit(shops, company, tmp_path, names):
    empty = company(purchases=bought(a="2024-03-30"))[0]
    for found in (shops()[0], empty):
        found.write(tmp_path / "lost.json")
        again = Cohort.load(tmp_path / "lost.json")
        assert again == found
        again.write(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == (tmp_path / "lost.json").read_bytes()
    (tmp_path / "other.json").write_text('{"experiment": "toy"}')
    for name in ("other.json", "none.json"):
        refused(partial(Cohort.load, tmp_path / name), names, name, "winback lost")


def test_a_cohort_has_the_same_bytes_whatever_the_language(company, tmp_path):
    kept = set()
    for code in LANGUAGES:
        with speaking(code):
            company({"nps": 6, "asked": 2}, purchases=bought(a="2023-12-01", b="2024-03-30", c="2024-05-01"),
                    customers="customer_id,nps,line\na,3,tv\nb,9,\n",
                    inquiries="customer_id,at,ordered\nq,2024-01-01,no\n",
                    sources={"customers": {"file": "customers.csv", "fill": {"line": "none"}}},
                    )[0].write(tmp_path / "lost.json")  # fmt: skip
        kept.add((tmp_path / "lost.json").read_bytes())
    assert len(LANGUAGES) == 3
    assert len(kept) == 1


def test_a_cohort_is_a_table_of_its_groups(company):
    customers = "customer_id,manager\na,Ann\nb,Bob\n"
    frame = company(purchases=bought(a="2023-12-01", b="2024-03-30"), customers=customers)[0].frame()
    managers = frame[frame["kind"] == "manager"].set_index("name")
    assert managers["lost_share"].to_dict() == {"Ann": 1.0, "Bob": 0.0}
    assert (managers["low"] <= managers["lost_share"]).all()


def test_a_look_that_fails_leaves_the_old_file(company, tmp_path):
    company(purchases=bought(a="2023-12-01", b="2024-03-30"))
    with pytest.raises(WinbackError):
        company(purchases=bought(a="2023-12-01"))
    assert list(rows_of(tmp_path / "out")) == ["a"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cohort.parquet"]


@pytest.mark.usefixtures("with_opinion")
def test_the_same_bits_whatever_the_threads(small_telecom, tmp_path, monkeypatch):
    sheet = telecom_sheet_of(interval="median")
    kept = []
    for threads in (1, 2):
        monkeypatch.setattr(finder, "connect", partial(connect, threads=threads))
        find_lost(sheet, small_telecom, out=tmp_path).write(tmp_path / "lost.json")
        kept.append(((tmp_path / "lost.json").read_bytes(), rows_of(tmp_path)))
    assert kept[0] == kept[1]
    assert len(kept[0][1]) > 4000
