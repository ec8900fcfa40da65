"""Pictures can be read: no two texts meet and none is cut, whatever the numbers and the width."""

from dataclasses import fields, replace
from datetime import date
from importlib.resources import files as inside
from itertools import combinations, pairwise

import browsing
import cohorts
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from experiments.common.estimate import Estimate
from experiments.common.finding import Finding
from experiments.design.design import Design, Difference, PlannedArm, Size
from experiments.design.prior import Source
from experiments.lost.results import Change, pace_of
from experiments.metrics.estimates import METRICS
from experiments.readout.readout import Arm, Readout
from experiments.readout.verdict import Verdict
from experiments.report import html
from experiments.report.figures import compare, lost
from experiments.report.figures import design as planned
from experiments.report.figures import readout as read
from experiments.stats.meta_analysis import pool

MONTHS = 24


def estimate(metric, value, half):
    return Estimate(value=value, low=value - half, high=value + half, level=0.95, n=1000, unit=METRICS[metric].unit)


def arm(label, estimates, *, active, holdout=False):
    about = {"name": label, "label": label, "holdout": holdout, "assigned": 1000, "active": active}
    return Arm(**dict.fromkeys(field.name for field in fields(Arm)) | about | {"estimates": estimates})


def offer(label, *, accepted, value, cost, end, half=None):
    net = value - cost
    numbers = {
        "accepted": (accepted, 0.01),
        "returned": (accepted, 0.01),
        "value_gained": (value, half or 0.1 * abs(value)),
        "cost_added": (cost, 0.02 * cost),
        "net": (net, 0.1 * abs(value)),
        "roi": (net / cost, 0.1 * abs(value) / cost),
    }
    active = tuple(accepted + (end - accepted) * month / (MONTHS - 1) for month in range(MONTHS))
    return arm(label, {metric: estimate(metric, *about) for metric, about in numbers.items()}, active=active)


def readout(*offers, name="telecom"):
    """Return a readout that knows what pictures need, and nothing else."""
    alone = {"returned": estimate("returned", 0.043, 0.005)}
    holdout = arm("Holdout", alone, active=(0.01,) * MONTHS, holdout=True)
    about = {
        "experiment": name,
        "question": "Which?",
        "currency": "USD",
        "objective": "profit",
        "horizon_months": MONTHS,
        "level": 0.95,
        "dated": True,
        "arms": (holdout, *offers),
        "verdict": Verdict(kind="choose", tone="go"),
    }
    return Readout(**dict.fromkeys(field.name for field in fields(Readout)) | about)


READOUTS = {
    "as the simulated telecom": readout(
        offer("Discount", accepted=0.454, value=400.1, cost=50.4, end=0.118),
        offer("Upgrade", accepted=0.417, value=382.2, cost=45.6, end=0.113),
        offer("Bundle", accepted=0.468, value=400.4, cost=96.9, end=0.110),
        offer("Tailored", accepted=0.470, value=432.3, cost=54.6, end=0.121),
    ),
    "all cost the same": readout(
        *(offer(f"Match {n}:1", accepted=0.02, value=1.0, cost=0.5, end=0.001) for n in (1, 2, 3)), name="donors"
    ),
    "as the donors": readout(
        *(
            offer(f"Match {n}:1", accepted=0.02, value=value, cost=0.5, half=0.2, end=0.001)
            for n, value in ((1, 0.12), (2, 0.21), (3, 0.12))
        ),
        name="lapsed",
    ),
    "losses, great and small": readout(
        offer("A loss", accepted=0.3, value=-1200.0, cost=900.0, end=0.2),
        offer("No gain", accepted=0.0, value=3.0, cost=3000.0, end=0.0),
    ),
    "one that just pays": readout(offer("Only one", accepted=0.999, value=101.0, cost=100.0, end=0.9)),
    "many with long names": readout(
        *(offer(f"A rather long offer, {n}", accepted=0.4, value=4e4 + n, cost=1e4 + 40 * n, end=0.3) for n in range(8))
    ),
    "two with very long names": readout(
        offer("Rabatt 5 Euro im Monat für drei Monate", accepted=0.10, value=2.0, cost=0.6, end=0.04),
        offer("Gutschein 15 Euro auf den nächsten Einkauf", accepted=0.08, value=2.9, cost=1.4, end=0.05),
    ),
}


def texts_of(figure):
    """Return the visible texts of a drawn figure with their boxes, in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    beyond = {id(label) for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for label in not_drawn(axis)}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [(text, text.get_window_extent(canvas.get_renderer())) for text in texts if id(text) not in beyond]


def not_drawn(axis):
    """Return the tick labels beyond the ends of an axis."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]


def meeting(figure, apart=1.0):
    """Return the pairs of texts nearer than `apart` pixels."""
    boxes = [(text.get_text(), box.padded(apart / 2)) for text, box in texts_of(figure)]
    return [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if a.overlaps(b)]


def design(customers, *, prices=True):
    arms = [PlannedArm(name=name, label=name.title(), holdout=name == "holdout", share=1 / 3, best_share=None,
                       customers=customers, expected_cost=1.0, worst_cost=2.0, fixed=0.0)
            for name in ("holdout", "discount", "upgrade")]  # fmt: skip
    told = {"unit": "money", "first": "Discount", "second": "Upgrade", "detectable": 60.0, "power": 0.1}
    pairs = [Difference(metric="profit", hoped=hoped, needed=needed, **told)
             for hoped, needed in ((55.0, 9_000), (20.0, 68_000))]  # fmt: skip
    share = Difference(metric="returned", hoped=0.04, needed=2404, **(told | {"unit": "share"}))
    smallest = sorted({customers, *(round(10 ** (2 + step / 4)) for step in range(17))})
    sizes = [Size(customers=3 * n, smallest=n, cost=5.0 * n, weeks=None, returned=1.95 / n**0.5,
                  objective=5_200 / n**0.5 if prices else None) for n in smallest]  # fmt: skip
    return Design(
        experiment="telecom", question="Which?", currency="USD", objective="profit", horizon_months=24,
        customers=3 * customers, contactable=None, arms=tuple(arms), source=Source(kind="past", name="north"),
        prices=prices, power=0.8, level=0.95, correction="simultaneous",
        asked=(Finding(key="best", state="stop", facts={"needs": 9_000}),), too_small=None, differences=(*pairs, share),
        sizes=tuple(sizes), bound="customers", possible=3 * customers, weeks=None, calendar=(), risks=(), plan=None,
    )  # fmt: skip


def managers(cohort):
    return lost.spread(cohort, cohort.groups["manager"])


def changes(count):
    days = sorted(date(2022 + n % 3, 1 + n % 12, 1 + n % 28) for n in range(count))
    return tuple(Change(at=day, what=f"Change of prices, {n}") for n, day in enumerate(days))


def of_months(count, **about):
    months = cohorts.months_of(count, **about)
    return cohorts.cohort(months=months, pace=pace_of(months, level=0.95), triangle=cohorts.triangle_of(count))


def rich_in(currency):
    """Return a cohort of very many customers and very much money."""
    matrix = [replace(cell, worth=1e7 * cell.worth) for cell in cohorts.matrix_of(9_000_000, 4_000_000)]
    reasons = [replace(reason, worth=9e6 * reason.worth) for reason in cohorts.REASONS]
    return cohorts.cohort(currency=currency, matrix=tuple(matrix), reasons=tuple(reasons))


def managed_by(count):
    groups = [cohorts.group(f"Manager number {n}", 300, 3 * n) for n in range(count)]
    return cohorts.cohort(groups=cohorts.cohort().groups | {"manager": tuple(groups)})


COHORT, EVIL = cohorts.cohort(), cohorts.hostile()
LOST = {
    lost.by_month: {
        "as a telecom": COHORT,
        "nobody lost": cohorts.nobody_lost(),
        "bad names": EVIL,
        "one month": of_months(1),
        "nine years, little lost": of_months(108, rate=0.002),
        "few customers, much lost": of_months(8, at_risk=30, rate=0.4),
        "many changes": cohorts.cohort(changes=changes(20)),
        "changes at the ends": cohorts.cohort(changes=changes(40)[::39]),
    },
    lost.waterfall: {"as a telecom": COHORT, "nobody taken out": cohorts.cohort(steps=(), contactable=cohorts.LOST)},
    lost.matrix: {"as a telecom": COHORT, "millions": rich_in("RUB"), "suffixed": rich_in("CHF")},
    lost.reasons: {"as a telecom": COHORT, "bad names": EVIL, "millions": rich_in("CHF")},
    managers: {"as a telecom": COHORT, "bad names": EVIL, "two": managed_by(2), "fifteen": managed_by(15)},
    lost.survival: {
        "as a telecom": COHORT,
        "nobody lost": cohorts.nobody_lost(),
        "two months": of_months(2),
        "nine years": of_months(108),
    },
}


def together(*nets, offers=("Discount", "Upgrade"), unit="money", name="telecom"):
    """Return offers pooled over tests that found `nets`, each with a standard error of a tenth of the largest."""
    error, several = max(map(abs, nets)) / 10, []
    for step, label in enumerate(offers):
        values = [net * (1 + step / 5) for net in nets]
        found = [Estimate(value=net, low=net - 2 * error, high=net + 2 * error, level=0.95, n=900, unit=unit, se=error)
                 for net in values]  # fmt: skip
        names = [f"{name}-{place}" for place in range(len(nets))]
        metric = {"money": "net", "points": "lift", "ratio": "roi", "months": "months_gained"}[unit]
        several.append(pool(found, offer=label, metric=metric, experiments=names, alike={"currency": "USD"}))
    return several


TOGETHER = {
    "one test": together(300.0),
    "two tests": together(300.0, 420.0, offers=("Discount", "Upgrade", "Bundle", "Tailored")),
    "ten tests": together(*range(200, 400, 20)),
    "losses and gains": together(-1200.0, 40.0, 900.0),
    "shares": together(0.41, 0.38, 0.44, unit="points"),
    "small shares": together(0.004, 0.006, 0.005, unit="points"),
    "ratios": together(6.5, 7.7, 2.9, unit="ratio"),
    "months": together(5.1, 4.8, 5.5, unit="months"),
    "millions": together(4e6, 5e6, 7e6),
    "long names": together(300.0, 310.0, 330.0, offers=[f"A rather long offer, {n}" for n in range(3)],
                           name="autumn-letter-in-the-north"),
}  # fmt: skip
PICTURES = {
    **{
        f"{draw.__name__}, {about}": (draw, told)
        for draw in (read.faces_of_success, read.return_against_cost, read.active_by_month)
        for about, told in READOUTS.items()
    },
    **{f"tests together: {about}": (compare.forest, known) for about, known in TOGETHER.items()},
    **{
        f"lost: {draw.__name__}, {about}": (draw, told)
        for draw, tellings in LOST.items()
        for about, told in tellings.items()
    },
    **{f"a design of {size}": (planned.tell_apart, design(size)) for size in (100, 8000, 80_000, 1_000_000)},
}


@pytest.mark.parametrize("about", PICTURES)
@pytest.mark.parametrize("width", ["figure", "narrow"])
def test_no_two_texts_of_a_picture_meet_and_none_is_cut(about, width):
    draw, told = PICTURES[about]
    figure = getattr(draw(told), width)
    assert meeting(figure) == []
    width, height = figure.canvas.get_width_height()
    boxes = texts_of(figure)
    outside = [t.get_text() for t, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    assert outside == []


@pytest.mark.parametrize("about", READOUTS)
def test_tick_labels_of_neighbouring_panels_keep_a_letter_apart(about):
    figure = read.faces_of_success(READOUTS[about]).figure
    boxes = texts_of(figure)
    labels = [[box for text, box in boxes if text in ax.get_xticklabels()] for ax in figure.axes]
    for left, right in pairwise(labels):
        assert max(box.x1 for box in left) + 10 < min(box.x0 for box in right)


@pytest.mark.parametrize("about", PICTURES)
def test_a_picture_tells_its_numbers_in_words(about):
    draw, told = PICTURES[about]
    picture = draw(told)
    assert len(picture.alt) > 60
    assert picture.caption.endswith(".")


def test_the_frontier_joins_what_no_offer_and_no_mix_dominates():
    upgrade, discount, tailored, bundle = (45, 362), (50, 385), (55, 413), (97, 400)
    joined = read._on_frontier([discount, upgrade, bundle, tailored])
    assert joined == [(0.0, 0.0), upgrade, tailored]  # the discount lies below the line between its neighbours
    assert read._on_frontier([(10, -5)]) == [(0.0, 0.0)]


@pytest.mark.parametrize("draw", [read.faces_of_success, read.return_against_cost, read.active_by_month])
@pytest.mark.parametrize("about", READOUTS)
def test_long_names_leave_half_of_a_phone_for_the_plot(draw, about):
    figure = draw(READOUTS[about]).narrow
    FigureCanvasAgg(figure).draw()
    assert min(ax.get_position().width for ax in figure.axes) >= 0.5


@pytest.mark.parametrize("width", ["figure", "narrow"])
@pytest.mark.parametrize("about", ["all cost the same", "as the donors"])
def test_offers_of_one_cost_stand_side_by_side(about, width):
    figure = getattr(read.return_against_cost(READOUTS[about]), width)
    FigureCanvasAgg(figure).draw()
    ax = figure.axes[0]
    places = sorted(ax.transData.transform(bar.lines[0].get_xydata())[0, 0] for bar in ax.containers)
    assert all(right - left > 8 / 72 * figure.dpi for left, right in pairwise(places))  # a dot is 8 points wide
    assert places[-1] - places[0] < 0.2 * ax.bbox.width
    assert "side by side" in read.return_against_cost(READOUTS[about]).caption
    assert "side by side" not in read.return_against_cost(READOUTS["losses, great and small"]).caption


@pytest.mark.parametrize("width", ["figure", "narrow"])
@pytest.mark.parametrize("about", READOUTS)
def test_no_name_of_an_offer_lies_on_the_line_of_break_even(about, width):
    told = READOUTS[about]
    figure = getattr(read.return_against_cost(told), width)
    names, ax = {arm.label for arm in told.offers}, figure.axes[0]
    boxes = {text.get_text(): box.transformed(ax.transData.inverted()) for text, box in texts_of(figure)
             if text in ax.texts and text.get_text() in names}  # fmt: skip
    assert [label for label, box in boxes.items() if box.x0 < box.y1 and box.x1 > box.y0] == []


WIDEST = {  # the columns of a readout of a small test in which one offer lost money
    "Assigned": "600",
    "Accepted": "14.7 %\n12.1 to 17.7 %",
    "Returned": "14.7 %\n12.1 to 17.7 %",
    "Lift": "−4.17 points\n−6.08 to −2.69 points",
    "Months retained": "0.45\n0.36 to 0.54",
    "Value gained": "€5.80\n€4.06 to €7.54",
    "Cost added": "€1.20\n€1.20 to €1.20",
    "Net": "−€2.54\n−€3.17 to −€1.92",
    "Incremental ROI": "−212 %\n−264 to −160 %",
    "Gross ROI": "−100 %\n−100 to −100 %",
}


browser, visit = browsing.browser, browsing.visit


class TestTable:
    pytestmark = browsing.in_browser

    @pytest.fixture
    def files(self, tmp_path):
        frame = pd.DataFrame(WIDEST, index=pd.Index(["Voucher"], name="Offer"))
        style = inside("experiments").joinpath("templates/page.css").read_text()
        table = html.table(frame, caption="Estimates per assigned customer")
        page = tmp_path / "page.html"
        page.write_text(
            f'<meta charset="utf-8"><style>{style}</style><main><div class="wide">{table.text}</div></main>'
        )
        return {"table": page}

    def test_a_readout_of_eleven_columns_is_whole_on_a_desk(self, visit):
        region = visit("table").locator(".scroll")
        assert region.evaluate("e => e.scrollWidth - e.clientWidth") == 0
