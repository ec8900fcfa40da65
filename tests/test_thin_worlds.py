"""Tests and companies with next to nothing in them: a page, with right words, or one clear error; never a traceback."""

import re
import warnings

import pytest

from experiments import find_lost, read_out
from experiments.common.errors import WinbackError
from experiments.readout.checks import independence_p, sample_ratio_p
from experiments.report import lost as lost_page
from experiments.report import readout as readout_page

SECTIONS = ("question", "verdict", "picture", "offers", "faces", "separable", "segments", "lifetime",
            "price_of_a_return", "drivers", "checks", "method")  # fmt: skip
LOST = ("question", "verdict", "by_month", "contactable", "priorities", "reasons", "places", "leaving", "rule", "signs")
WRONG = re.compile(
    r"\bnan\b|\binf\b|p = <|\bNone\b|(?<![\d.,])1 (customers|months|rows)\b|\{[a-z]+\}|−−|\de[+-]\d\d|Traceback"
)
SHEET = """experiment: thin
currency: EUR
horizon_months: {horizon}
window_months: {horizon}
read_date: 2025-07-15
followed_until: 2025-07-15
{more}arms:
{arms}tables: {{assignments: {{file: a.csv}}, purchases: {{file: p.csv}}{contacts}}}
"""


def tenth(i, arm):
    """Tell whether customer i comes back: 1 in 10 by itself, 4 in 10 with an offer."""
    return i // 3 % 10 < (1 if arm == "none" else 4)


def world(folder, *, n=120, arms=("none", "offer"), back=tenth, amount=lambda i: 50 + i % 5, months=1, before=True,
          contacts=True, horizon=6, more="", stratum=""):  # fmt: skip
    """Write a test with so many customers; return its sheet."""
    assigned, bought, calls = [], [], []
    for i in range(n):
        arm = arms[i % len(arms)]
        assigned.append(f"{1000 + i},{arm},2025-01-15{stratum}")
        bought += [f"{1000 + i},2024-12-01,{30 + i % 7}"] if before else []
        returned = back(i, arm)
        bought += [f"{1000 + i},2025-0{2 + k}-20,{amount(i)}" for k in range(months if returned else 0)]
        calls += [f"{1000 + i},2025-01-17,{'2025-01-18' if returned else ''}"] if arm != "none" else []
    head = "customer_id,arm,at" + (",stratum" if stratum else "")
    for name, header, rows in (("a", head, assigned), ("p", "customer_id,at,amount", bought or ["1000,2024-12-01,5"]),
                               ("c", "customer_id,at,accepted_at", calls)):  # fmt: skip
        (folder / f"{name}.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    offers = "".join(f"  {arm}: {{share: 1{'' if arm == 'none' else ', contact: 1.2, gift: 5'}}}\n" for arm in arms)
    more += "holdout: none\n" if "none" in arms else ""
    table = ", contacts: {file: c.csv}" if contacts else ""
    text = SHEET.format(horizon=horizon, more=more, arms=offers, contacts=table)
    (folder / "sheet.yml").write_text(text, encoding="utf-8")
    return folder / "sheet.yml"


WORLDS = {
    "one price": {"amount": lambda _: 2_980},
    "nobody leaves again": {"months": 5},
    "everybody returns": {"back": lambda *_: True},
    "nobody returns": {"back": lambda *_: False},
    "only the holdout returns": {"back": lambda _, arm: arm == "none"},
    "one arm": {"arms": ("offer",)},
    "one stratum": {"stratum": ",x", "more": "strata: [kind]\n"},
    "one month": {"horizon": 1},
    "amounts of nothing": {"amount": lambda _: 0},
    "a negative total": {"amount": lambda _: -20},
    "twelve customers": {"n": 12},
    "one purchase": {"before": False, "back": lambda i, _: i == 1},
    "no purchase before": {"before": False},
    "no contacts": {"contacts": False},
    "by returns": {"more": "objective: returned\n"},
}


def texts(page, sections, result, language):
    """Return what a reader sees of a page, section by section; pictures and their numbers aside."""
    for name in sections:
        shown = getattr(page, name)(result, language=language)._repr_html_()
        plain = re.sub(r"<svg.*?</svg>|<style.*?</style>|base64,[^\"]*", " ", shown, flags=re.DOTALL)
        yield name, re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", plain))


def wrong(page, sections, result, language):
    return [(name, found[0], text[max(0, found.start() - 60) : found.end() + 40])
            for name, text in texts(page, sections, result, language) for found in WRONG.finditer(text)]  # fmt: skip


@pytest.mark.parametrize("name", WORLDS)
def test_a_thin_test_has_a_page_with_right_words(tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        readout = read_out(world(tmp_path, **WORLDS[name]))
    assert "nan" not in readout.verdict.kind
    assert not wrong(readout_page, SECTIONS, readout, "en")
    readout.write(tmp_path / "readout.json")
    assert "NaN" not in (tmp_path / "readout.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["fr", "ru"])
def test_its_words_are_right_in_other_languages(tmp_path, language):
    readout = read_out(world(tmp_path, **WORLDS["one purchase"]))
    assert not wrong(readout_page, SECTIONS, readout, language)


@pytest.mark.parametrize("n", [2, 3])
def test_an_arm_of_one_customer_is_refused_with_its_name(tmp_path, n):
    with pytest.raises(WinbackError, match="Arm 'none' has one customer"):
        read_out(world(tmp_path, n=n, arms=("none", "a", "b")[:n]))


def test_a_single_arm_fits_its_planned_share_and_one_row_is_independent():
    import numpy as np

    assert sample_ratio_p([120], [1]) == 1.0
    assert independence_p(np.array([[3, 4]])) == 1.0


def test_a_significant_loss_has_power(tmp_path):
    rows = [
        f"{i},{'offer' if i < 5000 else 'none'},{int(i % 5000 < (400 if i < 5000 else 600))},0" for i in range(10_000)
    ]
    (tmp_path / "all.csv").write_text("\n".join(["customer_id,arm,returned,value", *rows, ""]), encoding="utf-8")
    (tmp_path / "sheet.yml").write_text(
        "experiment: loss\n"
        "holdout: none\nobjective: returned\narms: {none: {share: 1}, offer: {share: 1, contact: 1}}\n"
        "tables: {assignments: {file: all.csv}, outcomes: {file: all.csv}}\n", encoding="utf-8")  # fmt: skip
    readout = read_out(tmp_path / "sheet.yml")
    assert readout.verdict.kind == "no_offer_better"
    assert {check.key: check.state for check in readout.checks}["power"] == "pass"


def test_where_nobody_is_left_nothing_is_to_come(tmp_path):
    # 40 % accept and buy once, in February; the test is read in July.
    readout = read_out(world(tmp_path, n=600))
    assert all(life.all_left and life.projection is None for life in readout.lives.offers)
    assert "none: nobody was still there" in dict(texts(readout_page, ("lifetime",), readout, "en"))["lifetime"]


def company(folder, *, cancelled, bills, more=""):
    """Write a company whose contracts end; return its sheet."""
    (folder / "b.csv").write_text("\n".join(["customer_id,at,amount", *bills, ""]), encoding="utf-8")
    (folder / "k.csv").write_text("\n".join(["customer_id,cancelled_at", *cancelled, ""]), encoding="utf-8")
    (folder / "sheet.yml").write_text(
        f"experiment: firm\nlost: {{as_of: 2024-12-31, contractual: true{more}}}\n"
        "tables: {purchases: {file: b.csv}, customers: {file: k.csv}}\n", encoding="utf-8")  # fmt: skip
    return folder / "sheet.yml"


def monthly(n, amount=10):
    return [f"{i},2024-{month:02d}-05,{amount}" for i in range(1, n + 1) for month in range(1, 13)]


def test_losses_that_are_all_on_one_day_have_no_pace(tmp_path):
    cancelled = [f"{i},{'2024-12-31' if i <= 25 else ''}" for i in range(1, 101)]
    found = find_lost(company(tmp_path, cancelled=cancelled, bills=monthly(100)))
    assert (found.lost, found.pace.yearly.value, str(found.pace.one_day)) == (25, None, "2024-12-31")
    verdict = dict(texts(lost_page, LOST, found, "en"))["verdict"]
    assert "All of them were lost on one day, 31 December 2024" in verdict
    assert "a year, at this pace –" in verdict
    assert not wrong(lost_page, LOST, found, "en")


def test_a_negative_total_has_no_shares(tmp_path):
    cancelled = [f"{i},{f'2024-{i % 12 + 1:02d}-20' if i <= 25 else ''}" for i in range(1, 101)]
    bills = [*monthly(100, -10), *(f"{i},2023-12-01,1" for i in range(1, 101))]
    found = find_lost(company(tmp_path, cancelled=cancelled, bills=bills))
    shown = dict(texts(lost_page, LOST, found, "en"))
    assert "of what all customers bring" not in shown["verdict"]
    assert not wrong(lost_page, LOST, found, "en")
