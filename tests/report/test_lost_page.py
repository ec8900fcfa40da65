"""The page of the lost: what it says in every state of a company, and that it can be read on a desk and on a phone."""

import base64
import json
import re
from dataclasses import replace
from datetime import date
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import browsing
import cohorts
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from experiments.common.estimate import Estimate
from experiments.lost.results import Change, Cohort, Pace, pace_of
from experiments.report import lost as report
from experiments.report import page as pages
from experiments.report.figures import lost as figures
from experiments.stats.intervals import proportion

ROOT = Path(__file__).parents[2]
LARGEST = 400_000  # bytes of a page
KNOWN = cohorts.cohort()
browser, visit = browsing.browser, browsing.visit


def sections_of(cohort):
    """Return what every cell of the shipped notebook shows of a cohort."""
    book = json.loads((ROOT / "notebooks/1-lost.ipynb").read_text(encoding="utf-8"))
    lines = [line for cell in book["cells"] for line in "".join(cell["source"]).split("\n")]
    known = {"report": report, "cohort": cohort, "language": "en"}
    shown = [line for line in lines if line.startswith("report.")]
    return {line.removeprefix("report.").partition("(")[0]: str(eval(line, known)) for line in shown}


@cache
def all_known():
    return sections_of(KNOWN)


def shown(section):
    """Return a section of the page of a company that wrote everything down."""
    return all_known()[section]


def words(html):
    """Return the text of a piece of a page, what is to be typed in `backticks`."""
    typed = re.sub("</?code>", "`", re.sub("<img[^>]*>", " ", str(html)))
    return " ".join(unescape(re.sub("<[^>]*>", " ", typed)).split())


class Tables(HTMLParser):
    """The tables of a piece of a page: caption -> rows of cells, what is set small left out."""

    def __init__(self, html):
        super().__init__()
        self.found, self.rows, self.cell, self.small = {}, [], None, False
        self.feed(str(html))

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.rows = []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "caption"):
            self.cell = ""
        self.small = self.small or tag == "small"

    def handle_endtag(self, tag):
        self.small = self.small and tag != "small"
        if tag == "caption":
            self.found[self.cell], self.cell = self.rows, None
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None and not self.small:
            self.cell += data


def table(html, caption):
    """Return the rows of the table whose caption begins so, the head left out."""
    (rows,) = [rows for name, rows in Tables(html).found.items() if name.startswith(caption)]
    return rows[1:]


def count(cell):
    return int(cell.replace(",", "").replace("− ", "-") or 0)


def at_pace(yearly, *, low=None, high=None, **changes):
    share = Estimate(value=yearly, low=low or 0.95 * yearly, high=high or 1.05 * yearly, level=0.95, n=9, unit="share")
    month = replace(share, value=yearly / 12, low=yearly / 13, high=yearly / 11)
    return cohorts.cohort(pace=Pace(months=12, unsettled=3, monthly=month, yearly=share), **changes)


def with_groups(kind, *groups):
    return cohorts.cohort(groups=KNOWN.groups | {kind: groups})


# The first screen


@pytest.mark.parametrize(
    ("yearly", "tone", "light", "word"),
    [
        (0.072, "go", "Green", "Normal: 7.2 % of customers are lost a year"),
        (0.10, "go", "Green", "Normal: 10.0 % of customers are lost a year"),
        (0.143, "wait", "Amber", "Act: 14.3 % of customers are lost a year"),
        (0.20, "wait", "Amber", "Act: 20.0 % of customers are lost a year"),
        (0.341, "stop", "Red", "Alarm: 34.1 % of customers are lost a year"),
    ],
)
def test_the_traffic_light_says_in_words_how_bad_it_is(yearly, tone, light, word):
    card = str(report.verdict(at_pace(yearly)))
    assert f'class="verdict {tone}"' in card
    assert f"Traffic light: {light}" in words(card)
    assert f">{word}</h2>" in card
    limits = "Up to 10 % a year is normal (9 to 11 % is typical of good firms), over 10 % act, over 20 % alarm."
    assert limits in words(card)


def test_the_three_lights_have_three_signs():
    signs = {re.search("<svg.*?</svg>", str(report.verdict(at_pace(yearly))))[0] for yearly in (0.05, 0.15, 0.3)}
    assert len(signs) == 3


def test_an_interval_that_reaches_over_a_threshold_is_told():
    assert "The interval also allows “act”." in words(report.verdict(at_pace(0.22, low=0.19, high=0.25)))
    assert "The interval also allows" not in words(report.verdict(at_pace(0.30, low=0.25, high=0.35)))


def test_the_card_says_how_many_what_it_costs_and_how_many_can_be_contacted():
    text = words(shown("verdict"))
    assert "4,210 of 12,400 customers are lost. They brought $1.23 million a year, 23.1 % of what all" in text
    assert "2,920 of them can be contacted now." in text
    for fact in ("34.0 % of 12,400 (33.1 to 34.8 %)", "$1.90 million since each was lost", "69.4 % of the lost"):
        assert fact in text


def test_without_a_whole_month_there_is_no_pace_and_no_light():
    nothing = Estimate(value=None, low=None, high=None, level=0.95, n=0, unit="share")
    cohort = cohorts.cohort(months=(), pace=Pace(months=0, unsettled=0, monthly=nothing, yearly=nothing))
    text = words(report.verdict(cohort))
    assert "Traffic light: not known 34.0 % of customers are lost 4,210 of" in text
    assert "Normal" not in text
    assert "the loss by month is not known" in words(report.by_month(cohort))


def test_where_everybody_was_lost_the_pace_has_no_bound_and_the_page_says_so():
    everyone = Estimate(value=1.0, low=None, high=1.0, level=0.95, n=9, unit="share")
    pace = Pace(months=3, unsettled=0, monthly=everyone, yearly=everyone)
    text = words(report.verdict(cohorts.cohort(pace=pace)))
    assert "Alarm: 100.0 % of customers are lost a year" in text
    assert "over 3 months: no bounds a year" in text


def test_a_rule_whose_lost_come_back_by_themselves_is_called_too_early_on_the_card():
    back = tuple(replace(trial, returned=trial.lost // 2) for trial in KNOWN.trials)
    text = words(report.verdict(cohorts.cohort(trials=back)))
    assert "But 50.0 % of those called lost by silence bought again by themselves within 244 days" in text
    assert "too early" not in words(shown("verdict"))


# By month


def test_changes_stand_on_the_curve_and_in_the_table_with_the_loss_before_and_after():
    section = shown("by_month")
    first = table(section, "What the company changed")[0]
    before = KNOWN.months[5:8], KNOWN.months[8:11]  # changed in September 2022; the months begin in January
    shares = [100 * sum(month.lost for month in part) / sum(month.at_risk for month in part) for part in before]
    assert first == ["1 Prices up 6 %", "12 Sep 2022", *(f"{share:.2f} %" for share in shares)]
    assert [mark.number for mark in figures.marks(KNOWN)] == [1, 2, 3]
    assert [mark.x for mark in figures.marks(KNOWN)] == pytest.approx([8 + 11 / 31 - 0.5, 22 - 0.5, 26 + 17 / 31 - 0.5])


def test_months_too_young_for_a_loss_and_months_not_settled_are_told():
    young = tuple(replace(month, lost=0) for month in cohorts.months_of(6))
    later = tuple(replace(month, month=f"2024-{place + 1:02d}") for place, month in enumerate(cohorts.months_of(12)))
    months = (*(replace(month, month=f"2023-{place + 7:02d}") for place, month in enumerate(young)), *later)
    picture = figures.by_month(cohorts.cohort(months=months, pace=pace_of(months, level=0.95, unsettled=3)))
    assert "Left out: 6 months before the first loss." in picture.caption
    assert "Dotted: the last 3 months, in which some are only late; the pace leaves them out." in picture.caption
    assert picture.alt.startswith("Line of the share of customers lost in each month from Jan 2024 to Dec 2024")


def test_a_change_outside_the_months_is_in_the_table_but_not_on_the_curve():
    cohort = cohorts.cohort(changes=(Change(at=date(2019, 3, 1), what="Opened"), *cohorts.CHANGES))
    assert [mark.number for mark in figures.marks(cohort)] == [2, 3, 4]
    assert table(report.by_month(cohort), "What the company changed")[0] == ["1 Opened", "1 Mar 2019", "–", "–"]


def test_only_so_many_changes_get_a_row():
    many = tuple(Change(at=date(2022, 1 + n % 12, 1), what=f"Change {n}") for n in range(40))
    section = report.by_month(cohorts.cohort(changes=many))
    assert len(table(section, "What the company changed")) == 15
    assert "25 older changes are left out." in words(section)


# Who can be contacted


def test_the_waterfall_accounts_for_every_lost_customer():
    rows = table(shown("contactable"), "From lost to contactable")
    assert (rows[0][0], rows[-1][0]) == ("Lost", "Can be contacted now")
    left = count(rows[0][2])
    assert left == KNOWN.lost
    for _, taken, rest in rows[1:-1]:
        left -= abs(count(taken))
        assert count(rest) == left
    assert count(rows[-1][2]) == left == KNOWN.contactable


def test_where_nobody_is_taken_out_the_page_says_that_nothing_is_known():
    all_in = cohorts.cohort(steps=cohorts.steps_of(cohorts.LOST, ()), contactable=cohorts.LOST)
    section = str(report.contactable(all_in))
    assert "All 4,210 can be contacted, as far as is known" in words(section)
    assert "<img" not in section


def test_the_rules_account_for_every_lost_customer_once():
    rows = table(shown("contactable"), "Why they are called lost")
    *rules, total = [count(row[2]) for row in rows]
    assert sum(rules) == total == KNOWN.lost
    assert rows[-2][0] == "By several rules"
    assert "131 more are known but never bought" in words(shown("contactable"))


# Whom first


def test_the_four_classes_come_with_their_money_and_what_a_past_test_promises():
    rows = table(shown("priorities"), "The four classes")
    assert [row[0] for row in rows] == ["1 First", "2 Must", "3 If possible", "4 Let go"]
    assert rows[0] == ["1 First", "337", "240", "$401,200", "$96,300", "3"]
    assert rows[3][4] == "−$18,200"
    taught = table(shown("priorities"), "What the test telecom-2023 taught")
    assert taught[0] == ["Everybody else", "Discount", "$278.00", "41.0 %", "$800.00", "$50.00"]
    assert taught[1] == ["price", "Discount", "$310.20", "–", "–", "–"]  # by reason the test tells the gain alone
    assert "Of one reason the test tells the gain alone" in words(shown("priorities"))


def test_without_a_past_test_nobody_promises_anything():
    section = report.priorities(cohorts.nothing_known())
    assert [len(row) for row in table(section, "The four classes")] == [4] * 4
    assert "learn_from" in words(section)


def test_the_matrix_says_its_classes_in_words_and_numbers():
    picture = figures.matrix(KNOWN)
    told = [text.get_text() for text in picture.figure.axes[0].texts]
    classes = ["1 First"] * 2 + ["2 Must", "2 Must"] + ["3 If possible"] * 3 + ["4 Let go"] * 2
    assert sorted(text for text in told if text[0] in "1234" and text[1] == " ") == classes
    assert "First: 336 lost, $555,720 a year" in picture.alt


# Why


def test_reasons_come_with_money_family_and_whether_they_can_be_removed():
    section = shown("reasons")
    rows = table(section, "Reasons")
    assert rows[0] == ["price", "1,220", "40.7 %", "$463,600", "Competitor", "No", "0"]
    assert rows[1][5:] == ["Yes", "910"]
    assert "For 1,210 of 4,210 lost customers (28.7 %) nobody knows why." in words(section)
    assert table(section, "Who told us")[4][1] == "–"  # not verified: not zero
    once = table(section, "Each lost customer once")
    assert [row[0] for row in once[-3:]] == ["Two reasons", "Three reasons or more", "Nobody knows why"]
    assert sum(count(row[1]) for row in once) == KNOWN.lost


def test_rare_reasons_are_joined():
    rare = tuple(cohorts.reason(f"rare {n}", "", 4) for n in range(6))
    section = report.reasons(cohorts.cohort(reasons=(*cohorts.REASONS, *rare)))
    rows = table(section, "Reasons")
    assert rows[-1][:4] == ["All other reasons (6)", "24", "–", "$7,440"]
    assert "rare" not in words(table(section, "Who told us"))


def test_a_reason_without_a_family_asks_for_it():
    section = report.reasons(cohorts.cohort(reasons=(cohorts.reason("price", "", 90, ours=None),)))
    assert table(section, "Reasons")[0][4:6] == ["Not known", "Not known"]
    assert "lost: {reasons: {price: {family: competitor}}}" in words(section)


# Where


def test_managers_are_sorted_by_money_and_shown_with_intervals():
    section = shown("places")
    rows = table(section, "Manager")
    money = [int(row[4].replace(",", "").lstrip("$")) for row in rows]
    assert money == sorted(money, reverse=True)
    assert len(rows) == len(cohorts.MANAGERS)
    assert "Where intervals overlap, the order says nothing" in words(section)


def test_of_many_managers_fifteen_have_a_row_and_all_are_counted():
    groups = [cohorts.group(f"Manager {n}", 100 + n, 30 + n) for n in range(40)]
    section = report.places(with_groups("manager", *groups, cohorts.group("unknown", 12, 5)))
    rows = table(section, "Manager")
    assert [row[0] for row in rows[-2:]] == ["All others (25)", "Not known"]
    assert len(rows) == 17
    assert sum(count(row[1]) for row in rows) == sum(group.customers for group in groups) + 12
    assert "The 15 with the most money lost; 25 more are summed as “All others”." in words(section)


def test_groups_under_five_customers_are_joined():
    small = [cohorts.group(f"Small {n}", n, 1) for n in (1, 2, 4)]
    section = report.places(with_groups("manager", cohorts.group("Big", 50, 20), *small))
    assert table(section, "Manager")[-1][:3] == ["Others (groups under 5 customers)", "7", "3"]
    assert "Small" not in words(section)


def test_too_few_to_be_joined_are_only_counted():
    section = report.places(with_groups("manager", cohorts.group("Big", 50, 20), cohorts.group("Lone", 2, 1)))
    assert [row[0] for row in table(section, "Manager")] == ["Big"]
    assert "Groups with 2 customers together are too small to be shown." in words(section)
    assert "Lone" not in words(section)


def test_one_manager_is_not_compared_with_anybody():
    assert "<img" not in str(report.places(with_groups("manager", cohorts.group("Only", 50, 20))))


def test_a_manager_is_dark_only_if_unlike_the_company_when_all_are_looked_at():
    group = cohorts.group("Anna", 200, 82)  # 41 %, alone it would be unlike 34 %, as one of twelve it is not
    assert not group.ratio.low <= 0.34 <= group.ratio.high
    assert figures.differs(group, 0.34, of=1)
    assert not figures.differs(group, 0.34, of=12)


# How they leave


def test_many_months_are_joined_to_quarters_and_lose_nobody():
    rows = figures.joined(KNOWN)
    assert [row.name for row in rows[:2]] == ["Jan–Mar 2022", "Apr–Jun 2022"]
    assert sum(row.customers for row in rows) == sum(KNOWN.triangle.customers)
    assert rows[0].staying[0] == sum(staying[0] for staying in KNOWN.triangle.staying[:3])
    assert len(rows[0].staying) == len(KNOWN.triangle.staying[2])  # as long as the youngest of them is followed


@pytest.mark.parametrize(("months", "first"), [(24, "Jan 2022"), (25, "Jan–Mar 2022"), (73, "2022")])
def test_the_starts_are_months_quarters_or_years(months, first):
    assert figures.joined(cohorts.cohort(triangle=cohorts.triangle_of(months)))[0].name == first


def test_customers_who_began_just_now_are_no_picture():
    assert "Too few customers" in words(report.leaving(cohorts.cohort(triangle=cohorts.triangle_of(1))))


# How good the rule is


def test_rules_of_silence_are_compared_by_who_came_back():
    section = shown("rule")
    rows = table(section, "What other rules")
    assert rows[0] == ["60 days", "12,000", "5,810", "48.4 %", "22.7 %", "$402,000"]
    used = (
        "1.33 times the customer's own mean interval, 30 days at least with fewer than 3 purchase days for more than 90"
    )
    assert f"{used} days the rule of this page" in words(section)
    assert "within the 244 days that the data go on after 1 May 2025" in words(section)
    assert "85.0 % precision; 83.9 to 86.1 %" in words(section)
    assert "47 days late" in words(section)
    assert "Rule and model agree on 88.6 % of 12,400 customers." in words(section)


def test_a_look_on_the_last_day_knows_nobody_who_came_back():
    trials = tuple(replace(trial, returned=None, returned_revenue=None) for trial in KNOWN.trials)
    section = report.rule(cohorts.cohort(trials=trials, last_day=KNOWN.as_of))
    assert {len(row) for row in table(section, "What other rules")} == {4}
    assert "the data end on the day of the look" in words(section)


def test_a_model_that_takes_nobody_for_gone_is_no_opinion():
    blind = replace(KNOWN.opinion, lost_gone=0, kept_gone=0)
    assert "It is no second opinion here." in words(report.rule(cohorts.cohort(opinion=blind)))


def test_a_rule_that_fires_before_the_loss_is_early():
    known = replace(KNOWN.accuracy, late_days=-3.0)
    assert "3 days early" in words(report.rule(cohorts.cohort(accuracy=known)))


# What is not known


def test_what_nobody_knows_is_said_once_with_the_cure():
    said = {name: words(html) for name, html in sections_of(cohorts.nothing_known()).items()}
    cures = {
        "by_month": "a table `changes` (at, what)",
        "priorities": "`lost: {learn_from: path/to/readout.json}`",
        "reasons": "a table `reasons` (customer_id, reason, source, verified)",
        "places": "`manager`, `line`, `complaint` and `referrals`",
        "rule": "a table `known_lost` (customer_id, at)",
    }
    for name, cure in cures.items():
        assert said[name].count(cure) == 1
    assert "the column `hours`" in said["priorities"]
    assert "no second opinion" in said["rule"]
    assert all(row[-1] != "" for row in table(report.places(cohorts.nothing_known()), "Purchases"))


def test_signs_that_nobody_answered_are_not_known():
    section = words(shown("signs"))
    assert section.startswith("Is the loss managed? 3 of 7 signs are fine")
    assert (section.count(" Fine "), section.count(" Not known "), section.count(" Missing ")) == (3, 2, 2)


# Nobody lost


def test_an_empty_cohort_is_good_news_without_empty_sections():
    said = sections_of(cohorts.nobody_lost())
    assert "Nobody is lost By the rules below none of 12,400 customers is lost on 1 May 2025." in words(said["verdict"])
    assert 'class="verdict go"' in said["verdict"]
    assert (said["reasons"], said["places"]) == ("", "")
    assert re.findall(r"\bnan\b", words("".join(said.values()))) == []
    assert table(said["contactable"], "Why they are called lost")[-1] == ["Lost", "", "0"]


# From the JSON alone


@pytest.mark.parametrize("make", [cohorts.cohort, cohorts.nothing_known], ids=["known", "unknown"])
def test_the_page_can_be_rendered_from_its_json_alone_in_any_language(make, tmp_path):
    make().write(tmp_path / "lost.json")
    again = Cohort.load(tmp_path / "lost.json")
    assert again == make()
    assert words(report.question(again, language="fr")) == words(report.question(make(), language="fr"))
    assert words(report.method(again)) == words(report.method(make()))
    assert words(report.verdict(again, language="ru")) != words(report.verdict(again, language="en"))


def test_what_an_earlier_version_wrote_is_shown_as_it_stands(tmp_path):
    KNOWN.write(tmp_path / "lost.json")
    old = json.loads((tmp_path / "lost.json").read_text(encoding="utf-8"))
    for name in ("format", "sheet", "settings"):
        del old[name]
    for row in (*old["rules"], *old["trials"]):
        del row["said"]
        row["told"] = "no purchase for more than 33 days, as it was said"
    for trial in old["trials"]:
        del trial["limit"]
    old["question"] = "Whom did we lose, and whom should we win back?"
    old["opinion"]["parameters"] = [old["opinion"].pop(name) for name in ("r", "alpha", "a", "b")]
    old["signs"] = [{"name": "Reasons were told", "state": "stop", "reason": "A third said why.", "todo": "Ask."}]
    lesson = {"segment": "both", "offer": "Bundle", "p_return": 0.426, "second_value": 560.76, "cost": 51.0}
    old["learned"]["lessons"] = [lesson | {"segment": ""}, lesson]
    old["accounts"] = ["purchases: kept all 61,204 rows, as was said"]
    (tmp_path / "lost.json").write_text(json.dumps(old), encoding="utf-8")
    shown = {name: words(html) for name, html in sections_of(Cohort.load(tmp_path / "lost.json")).items()}
    assert "no purchase for more than 33 days, as it was said" in shown["contactable"]
    assert "33 days, as it was said the rule of this page" in shown["rule"]
    assert "Reasons were told A third said why. To do: Ask." in shown["signs"]
    assert "purchases: kept all 61,204 rows, as was said" in shown["provenance"]
    assert "A, B, C" not in shown["method"]  # which shares they were, the file does not tell
    gain = f"${0.426 * 560.76 - 51:.2f}"
    taught = table(report.priorities(Cohort.load(tmp_path / "lost.json")), "What the test")
    assert taught == [["Everybody else", "Bundle", gain, "42.6 %", "$560.76", "$51.00"],
                      ["both", "Bundle", gain, "–", "–", "–"]]  # fmt: skip


# Bad names


def test_text_from_the_data_stays_text():
    said = "".join(sections_of(cohorts.hostile()).values())
    assert "<script" not in said
    assert "&lt;script&gt;" in said
    drawn = [base64.b64decode(data).decode() for data in re.findall(r"svg\+xml;base64,([^\"]+)", said)]
    assert len(drawn) == 12
    assert all("<script" not in picture for picture in drawn)
    assert any("&lt;script&gt;" in picture for picture in drawn)


def test_a_name_in_a_picture_is_one_line_and_no_formula():
    assert figures.plain("$x^2$\nand\x00 so on") == "$x^2$ and so on"  # no picture takes it for a formula
    assert len(figures.plain("x" * 200)) == 26


# Method


def test_the_method_tells_the_thresholds_of_the_sheet():
    settings = cohorts.SETTINGS.model_copy(update={"abc": (0.7, 0.9), "xyz": (0.6, 0.3), "hour_cost": 40.0})
    told = words(report.method(cohorts.cohort(settings=settings)))
    assert "bring 70 % of it, with B 90 %" in told
    assert "X 60 % or more, Y 30 % or more" in told
    assert "$40.00 an hour" in told
    for term in ("Lost a year", "Traffic light", "Money a year", "Missed so far", "P(alive)", "Bonferroni", "Wilson"):
        assert term in told


def test_shares_are_percent_and_numbers_have_intervals():
    page = words("".join(all_known().values()))
    assert re.findall(r"(?<![\d.,v])0\.\d+(?! %|\d)", page.partition("P(alive) Chance")[0]) == []
    share = proportion(cohorts.LOST, cohorts.CUSTOMERS, level=0.95)
    assert f"({100 * share.low:.1f} to {100 * share.high:.1f} %)" in page


# The whole page


STATES = {
    "known": cohorts.cohort,
    "unknown": cohorts.nothing_known,
    "nobody": cohorts.nobody_lost,
    "evil": cohorts.hostile,
}
PICTURES = {"known": 6, "unknown": 4, "nobody": 2, "evil": 6}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the page of every state, made as the runner makes it."""
    folder = tmp_path_factory.mktemp("lost")
    for name, make in STATES.items():
        outputs = [new_output("display_data", data={"text/html": html}) for html in sections_of(make()).values()]
        cells = [new_code_cell("shown()", outputs=[output]) for output in outputs]
        nbformat.write(new_notebook(cells=[new_markdown_cell("# Who?\n\nWhom."), *cells]), folder / f"{name}.ipynb")
        pages.render(folder / f"{name}.ipynb", folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in STATES}


@pytest.mark.parametrize("name", STATES)
def test_a_page_is_small_and_begins_with_its_verdict(files, name):
    text = files[name].read_text(encoding="utf-8")
    assert files[name].stat().st_size < LARGEST
    assert "<h1>Whom did we lose, and whom should we win back?</h1>" in text
    assert text.index('class="verdict') < text.index("<section") + 30


class TestInBrowser:
    pytestmark = browsing.in_browser
    every_state = pytest.mark.parametrize("name", STATES)
    every_width = pytest.mark.parametrize("width", browsing.WIDTHS)

    @every_state
    @every_width
    def test_nothing_is_cut_and_nothing_is_asked_for(self, visit, files, name, width):
        assert browsing.faults_of(visit(name, width), files[name]) == []

    @every_state
    def test_axe_finds_no_barrier(self, visit, name):
        assert browsing.barriers_of(visit(name, "phone", bypass_csp=True)) == []

    @every_state
    def test_every_picture_is_drawn_and_described(self, visit, name):
        pictures = browsing.pictures_of(visit(name))
        assert len(pictures) == PICTURES[name]
        assert all(len(told) > 60 and drawn for told, drawn in pictures)

    @every_width
    def test_the_first_screen_has_the_verdict_and_the_numbers(self, visit, width):
        page = visit("known", width)
        bottom = page.evaluate("document.querySelector('.verdict').getBoundingClientRect().bottom")
        facts = page.evaluate("document.querySelector('.facts').getBoundingClientRect().top")
        assert bottom < facts < browsing.WIDTHS[width][1]

    def test_a_long_name_leaves_room_for_the_numbers_on_a_phone(self, visit):
        page = visit("evil", "phone")
        widths = page.evaluate("[...document.querySelectorAll('tbody th')].map(cell => cell.clientWidth)")
        assert max(widths) < 390 / 2
