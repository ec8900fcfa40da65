"""The experiment sheet: what a marketer may write, and what a wrong line is answered with."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.language import speaking
from experiments.readout.readout import changed
from experiments.report.wording.accounts import deviation
from experiments.sheet.locked_plan import FILE, deviations, differences, read_plan
from experiments.sheet.offers import Costs, Offer, costs_of, durations
from experiments.sheet.sheet import Sheet, read_sheet
from experiments.sheet.yaml_lines import settings_at

SHEET = """\
experiment: toy
question: Which offer?
holdout: hold
horizon_months: 2
followed_until: 2026-07-01
arms:
  hold: {share: 1}
  A:
    share: 2
    contact: 5
    monthly: [{cost: 20, months: 6}]
tables:
  assignments: {file: assignments.csv}
  purchases:
    file: bills.csv
    columns: {amount: total}
"""


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a sheet and reads it."""

    def read(content, name="sheet.yml"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_sheet(tmp_path / name)

    return read


# What is read.
def test_a_sheet_is_read_with_the_folder_of_its_tables(written, tmp_path):
    sheet = written(SHEET)
    assert sheet.folder == tmp_path
    assert (sheet.experiment, sheet.offers, sheet.dated) == ("toy", ("A",), True)
    assert sheet.followed_until == dt.date(2026, 7, 1)
    assert sheet.tables["purchases"].columns == {"amount": "total"}
    assert sheet.arms["A"].contact == Decimal(5)


@pytest.mark.parametrize(
    "content", ["\ufeff" + SHEET, SHEET.replace("\n", "\r\n"), "# Die Prüfung – çà et là\n" + SHEET], ids=repr
)
def test_a_sheet_from_any_editor_is_read(written, content):
    assert written(content) == written(SHEET)


def test_offers_keep_the_order_of_the_sheet_and_any_of_them_may_be_the_holdout(written):
    content = SHEET.replace("  hold: {share: 1}\n", "  Z: {share: 1}\n").replace(
        "tables:", "  hold: {share: 1}\ntables:"
    )
    sheet = written(content)
    assert (tuple(sheet.arms), sheet.offers) == (("Z", "A", "hold"), ("Z", "A"))


def test_an_offer_called_none_is_an_offer(written):
    sheet = written(SHEET.replace("  A:", "  None:"))
    assert sheet.offers == ("None",)


def test_the_sheets_of_the_repository_are_read(telecom_sheet, donor_sheet):
    assert telecom_sheet.offers == ("discount", "upgrade", "bundle", "tailored")
    assert (telecom_sheet.dated, donor_sheet.dated) == (True, False)
    assert [offer.share for offer in donor_sheet.arms.values()] == [3, 2, 2, 2]


def test_a_sheet_is_found_from_a_folder_below(tmp_path, monkeypatch):
    (tmp_path / "sheet.yml").write_text(SHEET)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert read_sheet("sheet.yml").experiment == "toy"


# What is refused: the line, the value, the cure.
@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("horizon_months", "horizon_month", ("line 4", "horizon_month is 2", "Did you mean 'horizon_months'?")),
        ("contact:", "contct:", ("line 10", "arms.A.contct is 5", "Did you mean 'contact'?")),
        ("columns:", "colums:", ("line 16", "tables.purchases.colums", "Did you mean 'columns'?")),
        ("months: 6", "month: 6", ("line 11", "arms.A.monthly.0.month is 6", "Did you mean 'months'?")),
        ("experiment: toy\n", "", ("experiment", "needed", "short name")),
        ("  purchases:\n", "  purchase:\n", ("'purchase'", "Did you mean 'purchases'?")),
        ("holdout: hold", "holdout: hodl", ("'hodl'", "Did you mean 'hold'?")),
    ],
    ids=["a setting", "of an offer", "of a table", "of a running cost", "left out", "a table", "the holdout"],
)
def test_a_misspelt_setting_is_refused_with_the_nearest_one(written, names, old, new, parts):
    with pytest.raises(WinbackError, match=names("sheet.yml", *parts)):
        written(SHEET.replace(old, new))


@pytest.mark.parametrize(
    ("change", "line", "parts"),
    [
        (("horizon_months: 2", "horizon_months: two"), 4, ("horizon_months is 'two'", "integer")),
        (("horizon_months: 2", "horizon_months: 0"), 4, ("horizon_months is 0", "greater than or equal to 1")),
        (("horizon_months: 2", "horizon_months: 2.5"), 4, ("horizon_months is 2.5", "integer")),
        (("2026-07-01", "01.07.2026"), 5, ("followed_until is '01.07.2026'", "Write 2026-07-01.")),
        (("contact: 5", "contact: -5"), 10, ("arms.A.contact is -5", "greater than or equal to 0")),
        (("contact: 5", "contact: five"), 10, ("arms.A.contact is 'five'", "decimal")),
        (("share: 2", "share: 0"), 9, ("arms.A.share", "'A' has a share of 0", "nobody", "leave the arm out")),
        (("share: 2", "share: -1"), 9, ("arms.A.share", "'A' has a share of -1", "above 0", "leave the arm out")),
        (("share: 2", "share: .nan"), 9, ("arms.A.share is .nan", "plain number")),
        (("share: 2", "share: .inf"), 9, ("arms.A.share is .inf", "plain number")),
        (("hold: {share: 1}", "hold:"), 7, ("arms.hold is None",)),
        (("experiment: toy", "experiment: Toy Test"), 1, ("experiment is 'Toy Test'",)),
        (("experiment: toy", "experiment: ../toy"), 1, ("experiment is '../toy'",)),
        (("cost: 20, months: 6", "cost: 20, months: 0"), 11, ("arms.A.monthly.0.months is 0",)),
        (("holdout: hold", "objective: profits\nholdout: hold"), 3, ("objective is 'profits'", "'profit'")),
        (("holdout: hold", "level: 95\nholdout: hold"), 3, ("level is 95", "less than 1")),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(written, names, change, line, parts):
    with pytest.raises(WinbackError, match=names(f"sheet.yml, line {line}:", *parts)):
        written(SHEET.replace(*change))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("holdout: hold", "holdout: hodl", 3),
        ("holdout: hold", "currency: dollars\nholdout: hold", 3),
        ("  purchases:\n", "  purchase:\n", 14),
        ("contact: 5", "bundle: [B]", 10),
    ],
    ids=["holdout", "currency", "table", "bundle"],
)
def test_a_setting_that_does_not_agree_with_the_others_is_refused_with_its_line(written, names, old, new, line):
    with pytest.raises(WinbackError, match=names(f"sheet.yml, line {line}:")):
        written(SHEET.replace(old, new))


@pytest.mark.parametrize(
    ("hold", "offer", "told"),
    [(0.5, 0.4, "sum to 0.9"), (0.9, 0.9, "sum to 1.8"), (0.5, 0.5, ""), (0.33, 0.67, ""), (1, 0.5, ""), (3, 2, "")],
)
def test_fractions_must_sum_to_1_and_whole_parts_need_not(written, names, hold, offer, told):
    content = SHEET.replace("share: 1", f"share: {hold}").replace("share: 2", f"share: {offer}")
    if told:
        with pytest.raises(WinbackError, match=names("line 6: arms", told, "Fractions must sum to 1", "2 : 1 : 1")):
            written(content)
    else:
        assert [arm.share for arm in written(content).arms.values()] == [hold, offer]


@pytest.mark.parametrize("day", ["2026-13-01", "2026-02-30"])
def test_a_day_that_is_in_no_calendar_is_refused_with_its_line(written, names, day):
    with pytest.raises(WinbackError, match=names("sheet.yml", "line 5", day)):
        written(SHEET.replace("2026-07-01", day))


def test_everything_wrong_is_told_at_once(written, names):
    with pytest.raises(WinbackError, match=names("line 1", "line 4", "line 10")) as caught:
        written(SHEET.replace("toy", "T T").replace("horizon_months: 2", "horizon_months: x").replace("5", "-5", 1))
    assert len(str(caught.value).splitlines()) == 3


def test_a_tab_is_refused_with_its_line_and_the_cure(written, names):
    with pytest.raises(WinbackError, match=names("sheet.yml, line 10", "contact: 5", "Replace the tab by spaces")):
        written(SHEET.replace("    contact", "\tcontact"))


@pytest.mark.parametrize(
    ("content", "line", "setting"),
    [
        (SHEET + "seed: 1\nseed: 2\n", 18, "'seed'"),
        (SHEET.replace("  A:\n", "  hold: {share: 2}\n  A:\n"), 8, "'arms.hold'"),
        (SHEET.replace("    contact: 5\n", "    contact: 5\n    contact: 6\n"), 11, "'arms.A.contact'"),
    ],
)
def test_a_setting_that_is_there_twice_is_refused_with_its_line(written, names, content, line, setting):
    with pytest.raises(WinbackError, match=names(f"sheet.yml, line {line}:", setting, "twice", "Keep one")):
        written(content)


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "hello\n", "- a\n- b\n", SHEET + "}\n"])
def test_a_file_that_is_no_sheet_is_refused_with_an_example_to_start_from(written, names, content):
    with pytest.raises(WinbackError, match=names("sheet.yml", "data/telecom/sheet.yml")):
        written(content)


@pytest.mark.parametrize("encoding", ["cp1251", "utf-16", "latin-1"])
def test_a_sheet_that_is_not_utf_8_is_refused_with_the_cure(written, names, encoding):
    content = SHEET.replace("Which", "Какой" if encoding == "cp1251" else "Où").encode(encoding)
    with pytest.raises(WinbackError, match=names("sheet.yml", "UTF-8")):
        written(content)


@pytest.mark.parametrize("content", [SHEET + "\x00", SHEET + "? [a, b]\n: c\n"], ids=["a zero byte", "a list as key"])
def test_a_strange_sheet_is_refused_like_any_other(written, names, content):
    with pytest.raises(WinbackError, match=names("sheet.yml")):
        written(content)


def test_a_misspelt_path_of_a_sheet_is_refused_with_the_nearest_one(monkeypatch, names):
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(WinbackError, match=names("'data/telecom/shet.yml'", "Did you mean 'data/telecom/sheet.yml'?")):
        read_sheet("data/telecom/shet.yml")


def test_a_folder_is_no_sheet(tmp_path, names):
    with pytest.raises(WinbackError, match=names(str(tmp_path))):
        read_sheet(tmp_path)


# Offers that use other offers.
def test_an_offer_made_of_an_unknown_one_is_refused(written, names):
    with pytest.raises(WinbackError, match=names("'A'", "'hodl'", "Did you mean 'hold'?")):
        written(SHEET.replace("contact: 5", "bundle: [hodl]"))


def test_an_offer_made_of_itself_is_refused(written, names):
    with pytest.raises(WinbackError, match=names("'A'")):
        written(SHEET.replace("contact: 5", "bundle: [A]"))


def test_offers_made_of_each_other_are_refused(written, names):
    content = SHEET.replace("contact: 5", "bundle: [B]").replace("tables:", "  B: {share: 1, bundle: [A]}\ntables:")
    with pytest.raises(WinbackError, match=names("'A'", "'B'")):
        written(content)


def test_an_offer_chosen_by_an_unknown_factor_is_refused(written, names):
    content = SHEET.replace("contact: 5", "by: reson\n    choose: {price: hold}")
    with pytest.raises(WinbackError, match=names("'A'", "'reson'", "Did you mean 'reason'?")):
        written("strata: [reason, tier]\n" + content)


def test_a_sheet_without_an_offer_is_refused(written, names):
    head, tail = SHEET.split("  A:\n")
    with pytest.raises(WinbackError, match=names("sheet.yml", "arms")):
        written(head + "tables:" + tail.split("tables:")[1])


# What an offer costs, by hand: cents.
OFFERS = {
    "discount": Offer.model_validate({"share": 1, "contact": "5", "monthly": [{"cost": 20, "months": 6}]}),
    "upgrade": Offer.model_validate({"share": 1, "contact": "0.29", "gift": 3, "monthly": [{"cost": 35, "months": 3}]}),
    "both": Offer.model_validate({"share": 1, "bundle": ["discount", "upgrade"]}),
    "tailored": Offer.model_validate(
        {"share": 1, "contact": 1, "by": "reason", "choose": {"price": "discount", "service": "both"}}
    ),
    "match": Offer.model_validate({"share": 1, "value_share": 2}),
}


def costs(name, **factors):
    return costs_of(name, OFFERS, factors=factors, decimals=2)


def test_the_costs_of_an_offer_are_in_minor_units():
    assert costs("upgrade") == Costs(contact=29, gift=300, monthly=((3500, 3),))
    assert costs_of("upgrade", OFFERS, factors={}, decimals=3).contact == 290
    assert costs("match") == Costs(value_share=2.0)


def test_a_bundle_is_one_contact_and_the_sum_of_everything_else():
    assert costs("both") == Costs(contact=500, gift=300, monthly=((2000, 6), (3500, 3)))


def test_a_tailored_offer_costs_what_the_customer_gets():
    assert costs("tailored", reason="price", tier="A") == Costs(contact=500, monthly=((2000, 6),))
    assert costs("tailored", reason="service") == costs("both")


def test_a_tailored_offer_that_forgets_a_reason_is_refused(names):
    with pytest.raises(WinbackError, match=names("'tailored'", "'reason'", "'pric'", "Did you mean 'price'?")):
        costs("tailored", reason="pric")


def test_the_promotions_of_a_catalogue_have_these_lengths():
    assert durations(OFFERS) == (3, 6)


# Settings changed for one run.
def test_a_changed_setting_is_checked_like_the_sheet_itself(written, names):
    sheet = written(SHEET)
    assert changed(sheet, {"horizon_months": 12, "seed": None}) == Sheet.model_validate(
        sheet.model_dump() | {"horizon_months": 12}
    )
    with pytest.raises(WinbackError, match=names("horizon_months", "'x'", "integer")):
        changed(sheet, {"horizon_months": "x"})


def test_a_misspelt_change_is_refused_with_the_nearest_setting(written, names):
    with pytest.raises(WinbackError, match=names("horizon_month", "Did you mean 'horizon_months'?")):
        changed(written(SHEET), {"horizon_month": 12})


def test_an_error_names_the_nearest_word_or_all_of_them():
    assert did_you_mean("lifetme", ["lifetime", "payoff"]) == "Did you mean 'lifetime'?"
    assert did_you_mean("zzz", ["lifetime", "payoff"]) == "Use one of: 'lifetime', 'payoff'."
    assert did_you_mean("zzz", []) == "Use one of: (none)."


OLD_PLAN = """\
# A locked plan: do not edit. Whoever changes it, or the sheet, finds that on the page of the readout.
experiment: toy
locked_on: '2026-01-05'
customers: 600
cohort_customers: 640
cohort_sha256: abababababababababababababababababababababababababababababababab
sheet:
  experiment: toy
  horizon_months: 24
  holdout: none
  arms:
    none: {share: 1.0}
    gift: {share: 1.0, gift: '50'}
  tables:
    purchases: {file: p.csv}
sha256: 81eb409c9d288344b22bafa1842f17e2402e1c479cb3a9c15c9d2b3baae53e30
"""


def test_a_plan_of_an_earlier_version_is_read_and_settings_that_came_since_are_no_deviation(written, tmp_path):
    (tmp_path / FILE).write_text(OLD_PLAN)
    plan = read_plan(written("experiment: toy\narms: {}\ntables: {purchases: {file: p.csv}}\n"))
    assert (plan.customers, plan.registered().offers) == (600, ("gift",))
    sheet = written("""
experiment: toy
horizon_months: 12
holdout: none
read_date: 2026-06-01
arms:
  none: {share: 1}
  gift: {share: 1, kind: gift, worth: 40, label: A gift}
tables:
  purchases: {file: p.csv}
""")
    found = deviations(plan, sheet, assigned=1_599)
    assert [(one.setting, one.planned, one.now) for one in found if not one.setting.startswith("arms")] == [
        ("horizon_months", "24", "12"), ("read_date", "None", "2026-06-01"), ("assigned", "600", "1599"),
    ]  # fmt: skip
    assert "horizon_months 12 instead of 24" in map(deviation, found)
    assert deviation(found[-1]) == "1,599 customers assigned instead of 600"
    with speaking("ru"):
        assert "распределено клиентов" in deviation(found[-1])


def test_a_setting_that_came_or_went_is_named_whole():
    now, then = {"arms": {"gift": {"worth": 1, "label": "A"}}}, {"arms": {"gift": {"worth": 2, "fixed": 3}}}
    found = [deviation(one) for one in differences(now, then)]
    assert found == ["arms.gift.worth 1 instead of 2", "arms.gift.label was added", "arms.gift.fixed was taken out"]
    assert found == [str(one) for one in differences(now, then)]


def test_a_sheet_knows_its_folder_which_is_no_setting(written, tmp_path):
    sheet = written(SHEET)
    assert sheet.folder == tmp_path
    assert changed(sheet, {"seed": 9}).folder == tmp_path
    assert "folder" not in "".join(sheet.model_dump()) + sheet.model_dump_json()
    assert sheet == Sheet.model_validate(sheet.model_dump())
    assert Sheet.model_validate(sheet.model_dump()).folder == Path()


def test_a_sheet_that_was_written_is_loaded_equal(written, tmp_path):
    sheet = written(SHEET)
    sheet.write(tmp_path / "copy/sheet.yml")
    again = Sheet.load(tmp_path / "copy/sheet.yml")
    assert (again, again.folder) == (sheet, tmp_path / "copy")
    assert again.model_fields_set == sheet.model_fields_set


@pytest.mark.parametrize(
    ("path", "known"),
    [(("seed",), "experiment"), (("arms", "A"), "experiment"), (("arms", "A", "x"), "contact"),
     (("arms", "A", "monthly", "0", "x"), "months"), (("tables", "purchases", "x"), "file"), (("design", "x"), "power"),
     (("lost", "x"), "as_of"), (("lost", "reasons", "price", "x"), "family"), (("lost", "audit", "x"), "script"),
     (("lost", "each", "North", "x"), "silent_days"), (("contacts", "callers", "Ann", "x"), "head"),
     (("contacts", "channels", "0", "x"), "up_to_days")],
)  # fmt: skip
def test_the_settings_of_a_place_are_those_of_its_innermost_part(path, known):
    assert known in settings_at(Sheet, path)
