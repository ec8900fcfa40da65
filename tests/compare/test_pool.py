"""Several readouts: what may be pooled, what may not and why, and the page that says so."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest
from telecom_truth import draw_cube

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.finding import Finding
from experiments.common.language import speaking
from experiments.compare.pool import POOLED, pool_readouts
from experiments.metrics.estimates import METRICS, Reading
from experiments.readout.readout import Arm, Readout, read_cube
from experiments.readout.verdict import Verdict
from experiments.report import compare as page
from experiments.report.figures.compare import forest
from experiments.report.wording.pooling import sentences
from experiments.report.wording.verdict import headline
from experiments.simulate.telecom import world
from experiments.stats.intervals import jackknife_covariance, t_quantile
from experiments.stats.meta_analysis import Knowledge

SIZES = {"net": 40.0, "lift": 0.02, "returned": 0.02, "months_gained": 0.3, "roi": 0.8}


def estimate(metric, value, se=None):
    se = SIZES[metric] if se is None else se
    return Estimate(value=value, low=value - 2 * se, high=value + 2 * se, level=0.95, n=900, unit=METRICS[metric].unit,
                    se=se)  # fmt: skip


def offer(name, *, net, lift=0.41, **more):
    told = {"returned": lift + 0.04, "lift": lift, "months_gained": 5.0, "net": net, "roi": net / 50}
    found = {metric: estimate(metric, value) for metric, value in told.items()} | more
    return Arm(name=name, label=name.title(), holdout=False, assigned=900, estimates=found, simultaneous={}, active=())


HOLDOUT = Arm(name="none", label="No offer", holdout=True, assigned=900, estimates={}, simultaneous={}, active=())


def written(word, tone):
    """Return a verdict as an earlier version wrote it."""
    facts = {"word": word, "sentence": "So it is.", "detail": ""}
    return Verdict(kind="as_written", tone=tone, remarks=(Finding(key="as_written", state="pass", facts=facts),))


def readout(name, *offers, **changes):
    nothing = dict.fromkeys(field.name for field in fields(Readout))
    about = {
        "experiment": name, "currency": "USD", "objective": "profit", "horizon_months": 24, "window_months": 12,
        "discount_rate": 0.1, "level": 0.95, "dated": True, "arms": (HOLDOUT, *offers), "checks": (),
        "question": "Which?", "verdict": written("Choose", "go"), "accounts": (),
    }  # fmt: skip
    return Readout(**nothing | about | changes)


def three(**last):
    """Return three quarters in which the discount was tried, in the last an upgrade too; its settings as told."""
    return [
        readout("spring", offer("discount", net=300.0)),
        readout("summer", offer("discount", net=350.0)),
        readout("autumn", offer("discount", net=310.0), offer("upgrade", net=280.0), **last),
    ]


def words(html):
    return " ".join(re.sub("<[^>]+>", " ", str(html)).split())


def whole_page(readouts):
    known = pool_readouts(readouts)
    shown = [page.verdict(readouts, known), page.picture(readouts, known), page.table(readouts, known),
             page.agreement(readouts, known), page.within(readouts), page.shrinkage(readouts, known),
             page.settings(readouts, known), page.method(known), page.provenance(["a/readout.json"])]  # fmt: skip
    return "".join(map(str, shown))


# Standard errors of a readout
@pytest.fixture(scope="module")
def reading(telecom_sheet):
    return Reading(cube=draw_cube(world("base"), 400, rng=np.random.default_rng(5)), sheet=telecom_sheet)


@pytest.fixture(scope="module")
def discount(reading):
    return reading.estimates(reading.cube.arms.index("discount"))


@pytest.mark.parametrize("metric", ["net", "months_gained"])
def test_the_standard_error_is_the_one_of_the_interval(discount, metric):
    found = discount[metric]
    assert found.se == pytest.approx((found.high - found.low) / 2 / t_quantile(0.95, df=199), rel=1e-12)


def test_the_standard_error_of_a_lift_is_that_of_two_unpooled_shares(reading, discount):
    shares = [discount["returned"], reading.estimates(reading.holdout)["returned"]]
    variance = sum(share.value * (1 - share.value) / share.n for share in shares)
    assert discount["lift"].se == pytest.approx(np.sqrt(variance), rel=1e-12)


def test_the_standard_error_of_roi_is_that_of_its_jackknife(reading, discount):
    replicates = reading.numbers["roi"][1:, [reading.cube.arms.index("discount")]]
    assert discount["roi"].se == pytest.approx(np.sqrt(jackknife_covariance(replicates)[0, 0]), rel=0.02)


def test_tests_of_one_truth_hold_it_together(telecom_sheet):
    rng, readouts = np.random.default_rng(3), []
    for place in range(3):
        read = Reading(cube=draw_cube(world("base"), 400, rng=rng), sheet=telecom_sheet)
        arms = [replace(offer(read.cube.arms[a], net=0.0), estimates=read.estimates(a)) for a in read.offers]
        readouts.append(readout(f"test {place}", *arms))
    known = pool_readouts(readouts)
    assert {(p.offer, p.metric) for p in known.pooled} == {(a.name, m) for a in readouts[0].offers for m in POOLED}
    assert known.notes == ()
    nets = {p.offer: p for p in known.of("net")}
    for name, true in {"discount": 339.66, "upgrade": 317.16, "bundle": 302.16, "tailored": 358.05}.items():
        assert nets[name].mean.low < true < nets[name].mean.high
        assert nets[name].next.low < true < nets[name].next.high


# What is pooled
def test_an_offer_is_pooled_over_tests_and_never_with_another_offer():
    known = pool_readouts(three())
    nets = {p.offer: p for p in known.of("net")}
    assert (nets["discount"].k, nets["upgrade"].k) == (3, 1)
    assert nets["discount"].mean.value == pytest.approx(320)
    assert nets["discount"].experiments == ("spring", "summer", "autumn")
    assert nets["upgrade"].mean == three()[2].arm("upgrade").estimates["net"]
    assert known.notes == ()


@pytest.mark.parametrize(
    ("changes", "metrics", "cure"),
    [
        ({"horizon_months": 12}, {"months_gained", "net", "roi"}, "-p horizon_months=12"),
        ({"window_months": 6}, {"returned", "lift"}, "-p window_months=6"),
        ({"discount_rate": 0.0}, {"net", "roi"}, "-p discount_rate=0.0"),
        ({"currency": "EUR"}, {"net"}, "autumn EUR"),
        ({"dated": False}, {"returned", "lift", "net", "roi"}, "autumn no"),
    ],
)
def test_a_test_read_differently_is_left_out_and_the_note_says_why(changes, metrics, cure):
    known = pool_readouts(three(**changes))
    pooled = {p.metric: p.experiments for p in known.pooled if p.offer == "discount"}
    assert {metric for metric, tests in pooled.items() if tests == ("spring", "summer")} == metrics
    assert pooled.keys() == set(POOLED)
    (note,) = sentences(known)
    assert note.startswith("Left out: autumn in ")
    assert cure in note
    assert all(METRICS[metric].label in note for metric in metrics)
    assert "of Discount" in note
    assert "Upgrade" not in note


def test_one_odd_test_of_many_leaves_a_short_note_and_the_others_pooled():
    many = [readout(f"test {place}", offer("discount", net=300.0 + place)) for place in range(12)]
    known = pool_readouts([*many, readout("odd", offer("discount", net=310.0), horizon_months=12)])
    assert {p.metric: p.k for p in known.pooled} == {
        "returned": 13, "lift": 13, "months_gained": 12, "net": 12, "roi": 12}  # fmt: skip
    (note,) = sentences(known)
    assert note.startswith(
        "Left out: odd in Months gained, Net and Incremental ROI of Discount, since the tests differ"
    )
    assert note.endswith(" in horizon (12 tests 24 months, odd 12 months). Read them out alike: -p horizon_months=12.")


def apart(*words):
    """Return tests of a discount that were all read to another horizon, each with its verdict."""
    return [readout(f"test {place}", offer("discount", net=-90.0 - place), horizon_months=24 - 6 * place,
                    verdict=written(word, "stop"))
            for place, word in enumerate(words)]  # fmt: skip


def test_where_no_two_tests_were_read_alike_nothing_is_pooled():
    known = pool_readouts(apart("No", "No", "No"))
    assert {p.metric for p in known.pooled} == {"returned", "lift"}
    assert sentences(known)[0].startswith(
        "Not pooled: Months gained, Net and Incremental ROI of Discount, since the tests "
    )


def test_two_offers_of_one_label_are_told_apart_by_their_names():
    first, second = offer("discount", net=300.0), replace(offer("rabatt", net=310.0), label="Discount")
    known = pool_readouts([readout("here", first), readout("there", second), readout("home", first)])
    assert {p.label for p in known.pooled} == {"Discount (discount)", "Discount (rabatt)"}


def of_kind(name, kind, net):
    return replace(offer(name, net=net), kind=kind)


def test_offers_of_one_kind_are_pooled_whatever_their_names():
    coupons = [of_kind("mail", "promo_code", 300.0), of_kind("letter", "promo_code", 340.0)]
    readouts = [readout(f"test {place}", one) for place, one in enumerate(coupons)]
    known = {p.offer: p for p in pool_readouts(readouts).of("net")}
    assert {offer: p.k for offer, p in known.items()} == {"mail": 1, "letter": 1, "any promo code": 2}
    assert known["any promo code"].mean.value == pytest.approx(320)
    assert "Any promo code is ahead after two tests" in words(page.verdict(readouts, pool_readouts(readouts)))


def test_two_offers_of_one_kind_in_a_test_share_its_holdout_so_the_kind_is_not_pooled():
    pair = [of_kind("small", "discount", 300.0), of_kind("large", "discount", 340.0)]
    known = pool_readouts([readout("first", *pair), readout("second", pair[0])])
    assert {p.offer for p in known.pooled} == {"small", "large"}


def test_a_kind_with_one_name_is_its_offer():
    known = pool_readouts([readout(name, of_kind("euro", "discount", 300.0)) for name in ("first", "second")])
    assert {p.offer for p in known.pooled} == {"euro"}


def test_another_objective_changes_no_estimate():
    assert pool_readouts(three(objective="roi")).pooled == pool_readouts(three()).pooled


def test_a_stopped_test_does_not_count():
    stop = Finding(key="sample_ratio", state="stop", facts={"p": 0.0, "arms": ("a", "b"), "sizes": (1, 9)})
    known = pool_readouts(three(checks=(stop,)))
    assert known.experiments == ("spring", "summer")
    assert sentences(known)[0].startswith(
        "autumn does not count: Sample ratio. The arms do not have the planned shares"
    )


@pytest.mark.parametrize(
    ("holdout", "kept", "note"),
    [
        (True, ("returned", "lift", "net", "roi"), "winter had no dates: it does not count in Months gained."),
        (
            False,
            ("returned",),
            "winter had no holdout: it does not count in Lift, Months gained, Net and Incremental ROI.",
        ),
    ],
)
def test_what_a_test_does_not_know_is_told(holdout, kept, note):
    full = offer("discount", net=300.0)
    poor = replace(full, estimates={metric: full.estimates[metric] for metric in kept})
    winter = readout("winter", poor)
    known = pool_readouts([*three(), winter if holdout else replace(winter, arms=(poor,))])
    assert sentences(known) == [note]
    assert {p.metric: p.k for p in known.pooled if p.offer == "discount"} == {m: 3 + (m in kept) for m in POOLED}


def test_a_test_counts_once():
    readouts = three()
    known = pool_readouts([*readouts, replace(readouts[0], horizon_months=12)])
    assert known.experiments == ("spring", "summer", "autumn")
    assert "spring is there more than once" in sentences(known)[0]


@pytest.mark.parametrize("broken", [{"se": None}, {"se": 0.0}, {"low": None, "high": None}, {"value": None}])
def test_an_estimate_without_bounds_is_not_pooled(broken):
    readouts = three()
    bad = replace(estimate("roi", 6.0), **broken)
    known = pool_readouts([*readouts[:2], readout("winter", offer("discount", net=300.0, roi=bad))])
    assert {p.metric for p in known.pooled} == set(POOLED) - {"roi"}
    assert sentences(known)[0].startswith("Not pooled: Incremental ROI of Discount, since in winter")


def test_nothing_to_pool_is_refused(names):
    with pytest.raises(WinbackError, match=names("nothing to pool", "readout.json")):
        pool_readouts([])
    with pytest.raises(WinbackError, match=names("level is 95", "0.95")):
        pool_readouts(three(), level=95)


# The file
def odd_ones():
    """Return tests with every kind of note: stopped, there twice, read otherwise, without dates."""
    stop = Finding(key="sample_ratio", state="stop", facts={"p": 0.0, "arms": ("a", "b"), "sizes": (1, 9)})
    kinds = [of_kind("mail", "promo_code", 300.0), of_kind("letter", "promo_code", 340.0)]
    spring, summer, autumn = three(horizon_months=12)
    undated = offer("discount", net=300.0)
    del undated.estimates["months_gained"]
    bad = offer("discount", net=300.0, roi=replace(estimate("roi", 6.0), se=None))
    return [spring, summer, autumn, spring, replace(summer, experiment="winter", checks=(stop,)),
            readout("east", undated), readout("west", bad), *map(readout, ("north", "south"), kinds)]  # fmt: skip


def test_the_file_is_the_same_whatever_the_language_and_comes_back_as_it_was(tmp_path):
    for code in ("en", "fr", "ru"):
        with speaking(code):
            pool_readouts(odd_ones()).write(tmp_path / f"{code}.json")
    english = (tmp_path / "en.json").read_bytes()
    assert [(tmp_path / f"{code}.json").read_bytes() for code in ("fr", "ru")] == [english, english]
    known = pool_readouts(odd_ones())
    assert Knowledge.load(tmp_path / "en.json") == known
    cases = [("stopped", ""), ("twice", ""), ("left_out", "differ"), ("not_pooled", "unknown"), ("absent", "dates")]
    assert {(note.key, note.case) for note in known.notes} == set(cases)
    assert b" the tests differ" not in english


def test_every_note_is_told_from_the_file_in_the_language_of_the_page(tmp_path):
    readouts = odd_ones()
    pool_readouts(readouts).write(tmp_path / "pooled.json")
    known = Knowledge.load(tmp_path / "pooled.json")
    shown, french = words(page.settings(readouts, known)), words(page.settings(readouts, known, language="fr"))
    assert [note for note in sentences(known) if note not in shown] == []
    assert [note for note in sentences(known) if note in french] == []
    with speaking("fr"):
        assert [note for note in sentences(known) if words(note) not in french] == []
    assert "Any promo code" in words(page.table(readouts, known))
    assert "Any promo code" not in words(page.table(readouts, known, language="fr"))
    assert words(page.settings(readouts, known)) == words(page.settings(readouts, pool_readouts(readouts)))


def test_the_sections_of_the_page_read_the_files_they_are_given(tmp_path, reading):
    first = read_cube(reading.cube, reading.sheet)
    tests = [first, replace(first, experiment="north"), replace(first, experiment="south")]
    files = [str(tmp_path / f"{test.experiment}.json") for test in tests]
    for test, file in zip(tests, files, strict=True):
        test.write(file)
    known, sections = pool_readouts(page.read_all(files)), ("verdict", "picture", "table", "agreement", "settings")
    assert known == pool_readouts(tests)
    for section in sections:
        assert getattr(page, section)(files, known) == getattr(page, section)(tests, known)
    assert page.within(files) == page.within(tests)


OLD = """{"experiments": ["telecom", "north"], "level": 0.95, "pooled": [{"offer": "discount", "label": "Discount",
 "metric": "net", "unit": "money", "experiments": ["telecom", "north"], "estimates": [
 {"value": 339.66, "low": 322.0, "high": 357.0, "level": 0.95, "n": 7952, "unit": "money", "se": 9.1},
 {"value": 300.07, "low": 266.0, "high": 334.0, "level": 0.95, "n": 2385, "unit": "money", "se": 17.2}],
 "mean": {"value": 325.9, "low": 80.0, "high": 571.0, "level": 0.95, "n": 10337, "unit": "money", "se": 18.3},
 "next": null, "shrunken": [
 {"value": 335.1, "low": 318.2, "high": 352.2, "level": 0.95, "n": 7952, "unit": "money", "se": null},
 {"value": 310.0, "low": 280.4, "high": 336.8, "level": 0.95, "n": 2385, "unit": "money", "se": null}],
 "weights": [0.6, 0.4], "tau": 22.1, "i2": 0.75, "p": 0.04, "alike": {"dated": true, "horizon_months": 24,
 "discount_rate": 0.1, "currency": "USD"}}], "notes": ["Not pooled: Lift of Discount, since reasons."]}"""


def test_a_file_of_format_1_is_read_and_its_sentences_stand_as_they_are(tmp_path):
    (tmp_path / "pooled.json").write_text(OLD, encoding="utf-8")
    known = Knowledge.load(tmp_path / "pooled.json")
    assert known.of("net")[0].mean.value == 325.9
    assert (known.of("net")[0].k, known.of("net")[0].currency) == (2, "USD")
    assert sentences(known) == ["Not pooled: Lift of Discount, since reasons."]
    assert "$325.90" in words(known._repr_html_())
    known.write(tmp_path / "new.json")
    assert Knowledge.load(tmp_path / "new.json") == known


def test_the_rows_of_what_is_known_are_one_an_offer_and_metric():
    known = pool_readouts(three())
    rows = known.frame().set_index(["offer", "metric"])
    assert len(rows) == len(known.pooled) == 10
    net = known.of("net")[0]
    assert rows.loc[("discount", "net"), ["tests", "mean", "next_low"]].tolist() == [3, net.mean.value, net.next.low]
    assert rows.loc[("upgrade", "net"), ["next_low", "tau"]].isna().all()


# The page
def test_the_verdict_says_what_the_tests_found_and_what_to_expect():
    readouts = three()
    known = pool_readouts(readouts)
    said, found = words(page.verdict(readouts, known)), known.of("net")[0]
    assert "Discount paid, and should pay again" in said
    assert (
        "In three tests Discount brought back 41 more of 100 customers than no offer and earned $320 a customer" in said
    )
    assert f"expect ${found.next.low:,.0f} to ${found.next.high:,.0f} next time." in said


@pytest.mark.parametrize(
    ("nets", "said", "tone"),
    [
        ((300.0, 350.0), "Discount is ahead after two tests: too few to foresee the next", "wait"),
        ((-300.0, -310.0, -305.0), "No offer paid so far", "stop"),
        ((-20.0, 10.0, -5.0), "No offer paid so far", "wait"),
        ((30.0, 500.0, 60.0), "the next test may turn out otherwise", "wait"),
        ((300.0,), "On its own this one says: Choose.", "wait"),
    ],
)
def test_the_verdict_promises_no_more_than_the_tests_do(nets, said, tone):
    readouts = [readout(f"test {i}", offer("discount", net=net)) for i, net in enumerate(nets)]
    card = page.verdict(readouts, pool_readouts(readouts))
    assert said in words(card)
    assert f'class="verdict {tone}"' in str(card)


def test_a_verdict_on_the_lift_is_not_green_where_money_decides_and_cannot_be_pooled():
    readouts = apart("No offer beats doing nothing", "Not enough data", "No offer beats doing nothing")
    card = page.verdict(readouts, pool_readouts(readouts))
    said = words(card)
    assert 'class="verdict wait"' in str(card)
    assert "Discount brought customers back; whether it pays cannot be pooled" in said
    assert said.count("41 more of 100 customers than no offer") == 1
    assert "Money cannot be pooled: the tests differ in horizon." in said
    assert "On their own: No offer beats doing nothing (test 0 and test 2); Not enough data (test 1)." in said
    two = page.verdict(readouts[:2], pool_readouts(readouts[:2]))
    assert "whether it pays cannot be pooled In two tests" in words(two)
    response = [replace(one, objective="returned") for one in readouts]
    assert 'class="verdict go"' in str(page.verdict(response, pool_readouts(response)))


def test_the_page_leads_with_what_all_tests_decide_on_and_can_be_pooled():
    def lead(readouts):
        return page.leading(readouts, pool_readouts(readouts))

    def all_of(objective):
        return [replace(one, objective=objective) for one in three()]

    assert [lead(all_of(objective)) for objective in ("profit", "roi", "returned", "months", "market_share")] == [
        "net", "roi", "lift", "months_gained", "net"]  # fmt: skip
    assert lead(three(currency="EUR")) == "net"
    assert lead(apart("No", "No", "No")) == "lift"
    elsewhere = [readout("here", offer("a", net=1.0)), readout("there", offer("b", net=2.0), currency="EUR")]
    assert lead(elsewhere) == "lift"


def test_tests_that_differ_are_said_to_differ():
    nets = (100.0, 500.0, 300.0)
    readouts = [readout(f"test {i}", offer("discount", net=net)) for i, net in enumerate(nets)]
    said = words(page.agreement(readouts, pool_readouts(readouts)))
    assert "Discount: the tests differ more than chance explains (I² = 96 %" in said
    assert "no more than chance explains (I² = 0 %" in words(page.agreement(three(), pool_readouts(three())))


def test_the_page_shows_every_offer_every_test_and_every_setting_that_differs():
    said = words(whole_page(three(horizon_months=12, objective="roi")))
    for name in ("Discount", "Upgrade", "spring", "summer", "autumn"):
        assert name in said
    assert "They differ in objective and horizon." in said
    assert "Read them out alike: -p horizon_months=12" in said


def test_the_verdict_of_a_test_is_told_in_the_language_of_the_page(reading):
    read = read_cube(reading.cube, reading.sheet)
    assert headline(read) in words(page.within([read]))
    with speaking("ru"):
        said = words(page.within([read])) + words(page.settings([read], pool_readouts([read])))
        told = headline(read)
    assert told in said
    assert headline(read) not in said
    assert "profit" not in said


def test_the_page_of_two_tests_says_that_nothing_is_known_of_the_next():
    said = words(whole_page(three()[:2]))
    assert "for the next test there is none" in said
    assert "not known yet" in said


def test_tests_without_anything_in_common_still_make_a_page():
    said = words(whole_page(three(horizon_months=12, window_months=6, dated=False)[1:]))
    assert "Nothing can be pooled" in said
    assert "Not pooled: Returned and Lift of Discount, since the tests differ in" in said
    assert "The offers within each test" in said


def test_what_comes_from_data_is_escaped():
    evil = "<script>alert(1)</script>"
    readouts = [readout(f"{evil}{i}", offer(evil, net=300.0 + i)) for i in range(3)]
    assert evil not in whole_page(readouts)


def test_the_picture_ends_where_the_tests_can_still_be_read():
    two = pool_readouts(three()[:2]).of("net")
    drawn = forest(two)
    low, high = drawn.figure.axes[0].get_xlim()
    assert two[0].mean.low < low < 220
    assert 430 < high < two[0].mean.high
    assert "An arrow: it goes on." in drawn.caption
    assert "Thin lines" not in drawn.caption
    more = forest(pool_readouts(three()).of("net"))
    assert "Thin lines" in more.caption
    assert "arrow" not in more.caption


def test_read_all_wants_readouts(names):
    with pytest.raises(WinbackError, match=names("nothing to compare", "readouts=")):
        page.read_all([])
