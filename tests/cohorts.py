"""Lost customers written by hand: what a page and its pictures show, whatever finds them."""

from dataclasses import replace
from datetime import date

from experiments.common.estimate import Estimate
from experiments.common.finding import Finding
from experiments.data.tables import Account, noted
from experiments.lost.results import (
    FLAGS,
    PRIORITY,
    Accuracy,
    Change,
    Cohort,
    CustomerGroup,
    Effort,
    LostRule,
    MatrixCell,
    Month,
    Opinion,
    Priority,
    Reason,
    SilenceTrial,
    Triangle,
    WaterfallStep,
    pace_of,
)
from experiments.readout.lessons import Learned, Lesson
from experiments.sheet.lost_rules import Limit, Lost
from experiments.stats.intervals import proportion

LEVEL = 0.95
SETTINGS = Lost(as_of=date(2025, 5, 1), nps=6)  # 4/3 of the own interval, 90 days where it is not known
SIGNS = (
    Finding(key="reasons", state="pass", facts={"known": 0.71}),
    Finding(key="refusals", state="stop", facts={"refused": 120, "why": 40}),
    Finding(key="script", state="pass"),
    Finding(key="head_knows", state="warn"),
    Finding(key="regular", state="warn"),
    Finding(key="ranked", state="pass"),
    Finding(key="technology", state="stop"),
)


def month_of(place, first=2022 * 12):
    """Return the name of a month, counted from January 2022."""
    return f"{(first + place) // 12}-{(first + place) % 12 + 1:02d}"


def months_of(count, *, at_risk=8000, rate=0.03):
    """Return months with a share lost that swings about a rate."""
    found = []
    for place in range(count):
        lost = round(at_risk * rate * (1 + 0.25 * ((place * 7) % 5 - 2) / 2 + 0.4 * (place > count / 2)))
        found.append(Month(month=month_of(place), at_risk=at_risk, lost=lost))
        at_risk += round(at_risk * 0.03) - lost
    return tuple(found)


def group(name, customers, lost, *, worth=300.0, returned=0.04):
    return CustomerGroup(
        name=name,
        customers=customers,
        lost=lost,
        ratio=proportion(lost, customers, level=LEVEL),
        contactable=round(0.7 * lost),
        worth=worth * lost,
        watched=lost,
        returned=None if returned is None else round(returned * lost),
    )


def triangle_of(count, *, stay=0.972, better=0.0003):
    customers = tuple(180 + (place * 37) % 60 for place in range(count))
    staying = tuple(
        tuple(round(size * (stay + better * place) ** age) for age in range(count - place))
        for place, size in enumerate(customers)
    )
    return Triangle(starts=tuple(month_of(place) for place in range(count)), customers=customers, staying=staying)


def reason(name, family, customers, *, worth=310.0, **more):
    about = {
        "ours": family == "company",
        "share": proportion(customers, 3000, level=LEVEL),
        "verified": customers // 3,
        "fixed": 0,
        "complained": customers // 4,
        "referrers": customers // 9,
        "watched": customers,
        "returned": customers // 30,
        "sources": (("survey", customers // 2), ("staff", customers // 3)),
    }
    return Reason(name=name, family=family, customers=customers, worth=worth * customers, **about | more)


MANAGERS = ("Anna Berg", "Boris Klein", "Chloé Martin", "Dmitri Orlov", "Eva Lund", "Farid Aziz", "Grace Hall",
            "Hugo Silva", "Ines Costa", "Jan Novak", "Kira Weiss", "Leo Rossi")  # fmt: skip
REASONS = (
    reason("price", "competitor", 1220, worth=380.0),
    reason("service", "company", 910, fixed=910),
    reason("a better offer elsewhere", "competitor", 430),
    reason("late deliveries", "company", 310, worth=420.0),
    reason("moved away", "customer", 190, verified=None),
    reason("no need any more", "customer", 150),
)
CHANGES = (
    Change(at=date(2022, 9, 12), what="Prices up 6 %"),
    Change(at=date(2023, 11, 1), what="Delivery moved to another firm"),
    Change(at=date(2024, 3, 18), what="Two managers left"),
)
LOST, CUSTOMERS = 4210, 12_400
PARAMETERS = {"r": 0.62, "alpha": 41.0, "a": 0.31, "b": 2.2}


def gain_of(value):
    return Estimate(value=value, low=0.8 * value, high=1.2 * value, level=LEVEL, n=900, unit="money")


KNOWN_LESSON = Lesson(segment="price", offer="Discount", gain=gain_of(310.2), cost=51.0)
STEPS = (("natural", 210), ("deliberate", 90), ("loss_making", 260), ("do_not_contact", 180), ("unreachable", 310),
         ("not_fixed", 240))  # fmt: skip


def steps_of(lost, out):
    found, left = [], lost
    for name in FLAGS:
        taken = dict(out).get(name, 0)
        left -= taken
        found.append(WaterfallStep(name=name, customers=taken, left=left))
    return tuple(found)


def matrix_of(customers=CUSTOMERS, lost=LOST):
    shares = (0.03, 0.05, 0.02, 0.06, 0.1, 0.08, 0.09, 0.2, 0.37)
    return tuple(
        MatrixCell(abc=abc, xyz=xyz, customers=round(part * customers), lost=round(part * lost),
                   worth=part * lost * worth)
        for (abc, xyz), part, worth in zip(PRIORITY, shares, (1900, 1500, 1200, 420, 380, 300, 90, 70, 40), strict=True)
    )  # fmt: skip


def lone(customers):
    """Return a customer group of nobody lost."""
    return [group(name, customers, 0, returned=0) for name in ("North", "South")]


def cohort(**changes):
    """Return the lost customers of a company that wrote everything down."""
    months = months_of(40)
    steps = steps_of(LOST, STEPS)
    about = {
        "experiment": "telecom",
        "currency": "USD",
        "as_of": date(2025, 5, 1),
        "start": None,
        "sheet": "data/telecom/sheet.yml",
        "settings": SETTINGS,
        "level": LEVEL,
        "last_day": date(2025, 12, 31),
        "customers": CUSTOMERS,
        "never_bought": 131,
        "lost": LOST,
        "lost_share": proportion(LOST, CUSTOMERS, level=LEVEL),
        "contactable": steps[-1].left,
        "strata": (),
        "revenue": 11_920_400.0,
        "revenue_lost": 2_904_310.0,
        "worth": 5_310_220.0,
        "worth_lost": 1_227_480.0,
        "missed": 1_904_220.0,
        "rules": (
            LostRule(name="silence", fired=3880, alone=3610),
            LostRule(name="cancelled", fired=420, alone=190),
            LostRule(name="nps", fired=260, alone=120),
        ),
        "steps": steps,
        "months": months,
        "pace": pace_of(months, level=LEVEL),
        "triangle": triangle_of(40),
        "changes": CHANGES,
        "groups": {
            "manager": tuple(
                group(name, 700 + 90 * (place % 5), 200 + 41 * (place % 7) + 6 * place, worth=200.0 + 25 * place)
                for place, name in enumerate(MANAGERS)
            ),
            "line": (group("Mobile", 7000, 2510), group("Internet", 3900, 1300), group("Television", 1500, 400)),
            "stage": (group("asked", 400, 400, worth=0.0), group("one", 3000, 1810, worth=60.0),
                      group("two", 2000, 900), group("regular", 7000, 1100, worth=700.0)),
            "reason": (group("price", 1000, 990), group("service", 700, 690), group("both", 400, 395),
                       group("several", 120, 120), group("unknown", 10_180, 2015)),
            "complaint": (group("none", 9000, 2600), group("resolved", 2400, 900), group("unresolved", 1000, 710)),
            "referrer": (group("no", 10_000, 3500), group("yes", 2400, 710)),
        },
        "reasons": REASONS,
        "without_reason": 1210,
        "trials": (
            SilenceTrial(limit=Limit(silent_days=60), used=False, judged=12_000, lost=5810, watched=5810,
                  returned=1320, returned_revenue=402_000.0),
            SilenceTrial(limit=Limit(silent_days=90), used=False, judged=12_000, lost=4720, watched=4720,
                  returned=610, returned_revenue=164_000.0),
            SilenceTrial(limit=None, used=True, judged=12_000, lost=4210, watched=4210,
                  returned=180, returned_revenue=40_100.0),
        ),
        "accuracy": Accuracy(known=3900, precision=proportion(3580, LOST, level=LEVEL),
                             recall=proportion(3580, 3900, level=LEVEL), late_days=47.0),
        "opinion": Opinion(lost_alive=610, lost_gone=3600, kept_alive=7390, kept_gone=800, lost_mean=0.21,
                           kept_mean=0.84, **PARAMETERS),
        "matrix": matrix_of(),
        "priorities": (
            Priority(name="first", lost=337, contactable=240, worth=401_200.0, expected=96_300.0, hopeless=3),
            Priority(name="must", lost=337, contactable=231, worth=148_000.0, expected=31_000.0, hopeless=22),
            Priority(name="possible", lost=1137, contactable=810, worth=101_000.0, expected=12_500.0, hopeless=310),
            Priority(name="let_go", lost=2399, contactable=1639, worth=70_500.0, expected=-18_200.0, hopeless=1290),
        ),
        "efforts": (
            Effort(abc="A", customers=1240, hours=0.22, profit=0.71, loses=12),
            Effort(abc="B", customers=2980, hours=0.31, profit=0.21, loses=240),
            Effort(abc="C", customers=8180, hours=0.47, profit=0.08, loses=2210),
        ),
        "learned": Learned(source="telecom-2023", lessons=(
            Lesson(segment="", offer="Discount", gain=gain_of(278.0), cost=50.0, p_return=0.41, second_value=800.0),
            KNOWN_LESSON,
            Lesson(segment="service", offer="Upgrade", gain=gain_of(-20.0), cost=44.0),
        )),
        "signs": SIGNS,
        "accounts": (Account(table="purchases", rows=61_204, kept=61_204),
                     Account(table="customers", rows=12_540, kept=12_531, why=(noted("nobody_known", n=9),))),
    }  # fmt: skip
    return Cohort(**about | changes)


def nothing_known(**changes):
    """Return the lost customers of a company that knows nothing but its purchases."""
    stages = {"stage": cohort().groups["stage"], "manager": (), "reason": (group("unknown", CUSTOMERS, LOST),)}
    about = {"groups": stages, "reasons": (), "without_reason": LOST, "accuracy": None, "opinion": None, "efforts": (),
             "learned": None, "changes": (), "never_bought": 0}  # fmt: skip
    priorities = tuple(replace(row, expected=None, hopeless=None) for row in cohort().priorities)
    return cohort(**about | {"priorities": priorities} | changes)


def nobody_lost(**changes):
    """Return a company that lost nobody."""
    months = tuple(replace(month, lost=0) for month in months_of(14))
    about = {
        "lost": 0,
        "lost_share": proportion(0, CUSTOMERS, level=LEVEL),
        "contactable": 0,
        "revenue_lost": 0.0,
        "worth_lost": 0.0,
        "missed": 0.0,
        "rules": (LostRule(name="silence", fired=0, alone=0),),
        "steps": steps_of(0, ()),
        "months": months,
        "pace": pace_of(months, level=LEVEL),
        "triangle": triangle_of(14, stay=1.0, better=0.0),
        "groups": {"manager": tuple(lone(6200)), "stage": (group("regular", CUSTOMERS, 0, returned=0),)},
        "reasons": (),
        "without_reason": 0,
        "trials": (SilenceTrial(limit=None, used=True, judged=CUSTOMERS, lost=0, watched=0,
                  returned=0, returned_revenue=0.0),),
        "accuracy": None,
        "opinion": Opinion(lost_alive=0, lost_gone=0, kept_alive=12_000, kept_gone=400, lost_mean=float("nan"),
                           kept_mean=0.9, **PARAMETERS),
        "matrix": tuple(replace(cell, lost=0, worth=0.0) for cell in matrix_of()),
        "priorities": (),
    }  # fmt: skip
    return cohort(**about | changes)


EVIL = "<script>alert('1')</script> $a_{b}$ " + "Верховский" * 4 + "\n" + "x" * 40


def hostile(**changes):
    """Return a cohort whose names are long, foreign and bad."""
    groups = {
        kind: tuple(replace(row, name=f"{row.name} {EVIL}") for row in rows) for kind, rows in cohort().groups.items()
    }
    about = {
        "groups": groups,
        "reasons": tuple(replace(row, name=f"{row.name} {EVIL}", sources=((EVIL, 9),)) for row in REASONS),
        "changes": tuple(replace(change, what=f"{EVIL} {place}") for place, change in enumerate(CHANGES)),
        "signs": tuple(
            Finding(key="said", state=sign.state, facts={"name": "Sign", "said": EVIL, "cure": EVIL}) for sign in SIGNS
        ),
        "settings": Lost(as_of=date(2025, 5, 1), by="line", each={EVIL: Limit(silent_days=9, times=2.0)}),
        "accounts": (Account(table=EVIL),),
        "rules": (LostRule(name="silence", fired=LOST, alone=LOST),),
        "learned": Learned(source=EVIL, lessons=(replace(KNOWN_LESSON, segment=EVIL, offer=EVIL),)),
        "trials": (SilenceTrial(limit=None, used=True, judged=9, lost=5, watched=5, returned=1, returned_revenue=1.0),),
    }  # fmt: skip
    return cohort(**about | changes)
