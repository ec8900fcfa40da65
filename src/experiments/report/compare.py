"""The page of several tests: what offers have done so far, and what to expect of the next test.

Its sections take readouts, or the names of their files, and what was pooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.formatting import (
    MANY,
    NO_NUMBER,
    PERCENT,
    SMALL_SHARE,
    amount,
    count,
    interval,
    listed,
    money,
    named,
    number,
    share,
    told,
)
from experiments.common.language import later, numerals, plural, rendered, say
from experiments.common.run_records import believe
from experiments.compare.pool import POOLED, SETTINGS, settings_of
from experiments.metrics.objectives import OBJECTIVES
from experiments.readout.readout import Readout
from experiments.readout.verdict import MONEY
from experiments.report import html, shared
from experiments.report.figures import compare as figures
from experiments.report.html import Html
from experiments.report.tables import Table
from experiments.report.wording.metrics import METRICS
from experiments.report.wording.pooling import label_of, sentences, setting_label, setting_value
from experiments.report.wording.verdict import headline
from experiments.stats.meta_analysis import Knowledge, Pooled

DIFFER = 0.10  # p value of Cochran's Q below which tests are said to differ: it has little power with few tests
ENOUGH = 5  # tests that could show that they differ
Readouts = Sequence[Readout | str | Path]  # readouts, or their files
COUNTS = {1: later("one"), 2: later("two"), 3: later("three"), 4: later("four"), 5: later("five"), 6: later("six"),
          7: later("seven"), 8: later("eight"), 9: later("nine"), 10: later("ten")}  # fmt: skip


@rendered
def question(*, language: str | None = None) -> Html:
    """Return the title of the page and what it shows."""
    return html.heading(
        say("What do the experiments say together?"),
        say("What offers have done so far, test by test and together, and what to expect of the next test."),
    )


def read_all(readouts: Readouts) -> list[Readout]:
    """Return the readouts to compare, those read that are named by their files."""
    if not readouts:
        raise WinbackError("There is nothing to compare. Name readouts: -p readouts=a/readout.json,b/readout.json")
    return _read(readouts)


def _read(readouts: Readouts) -> list[Readout]:
    return [one if isinstance(one, Readout) else Readout.load(one) for one in readouts]


def leading(readouts: Sequence[Readout], known: Knowledge) -> str | None:
    """Return the metric the page leads with: what all tests decide on, or net, or lift; one that was pooled first."""
    goals = {OBJECTIVES[readout.objective].needs[0] for readout in readouts}
    wanted = [*(goals if len(goals) == 1 else ()), "net", "lift", "returned"]
    one_money = [m for m in wanted if m in POOLED and len({pooled.currency for pooled in _ahead(known, m)}) == 1]
    ranked = sorted(one_money, key=lambda metric: -max(pooled.k > 1 for pooled in known.of(metric)))
    return next(iter(ranked), None)


def _ahead(known: Knowledge, metric: str) -> Sequence[Pooled]:
    """Return what was pooled on a metric; where nothing was, each test by itself."""
    return [pooled for pooled in known.of(metric) if pooled.k > 1] or known.of(metric)


# The verdict
DID = {  # what an offer did where its mean is 0 or more, and below
    "net": (later("earned {value} a customer"), later("lost {value} a customer")),
    "roi": (later("returned {value} of its cost on top of it"),) * 2,
    "months_gained": (later("kept customers {value} months longer than no offer"),) * 2,
    "lift": (
        later("brought back {value} more of 100 customers than no offer"),
        later("brought back {value} fewer of 100 customers than no offer"),
    ),
    "returned": (later("saw {value} of 100 customers return"),) * 2,
}
PAYS = (later("No offer paid so far"), later("{offer} paid, and should pay again"))
BACK = (
    later("No offer brought customers back so far"),
    later("{offer} brought customers back, and should do so again"),
)
KEPT = (later("No offer kept customers so far"), later("{offer} kept customers, and should keep them again"))
PAID = {"net": PAYS, "roi": PAYS, "months_gained": KEPT, "lift": BACK, "returned": BACK}  # where not, and where again


@rendered
def verdict(readouts: Readouts, known: Knowledge, *, language: str | None = None) -> Html:
    """Return what the tests say together, and the means behind it."""
    tests = _read(readouts)
    metric = leading(tests, known)
    pooled = sorted((p for p in known.of(metric or "") if p.k > 1), key=lambda p: -(p.mean.value or 0.0))
    over = _over(len(known.experiments))
    if len(tests) == 1:
        own = say("Pooling takes two tests or more. On its own this one says: {word}.", word=headline(tests[0]))
        return html.verdict(own, word=say("Too few tests to pool"), tone="wait", over=say("One test"))
    if not metric or not pooled:
        nobody = later("No offer, by its name in the sheets, was in two of these tests.")
        why = sentences(known)[0] if known.notes else say(nobody)
        alone = say("Each test is shown by itself.")
        return html.verdict(f"{why} {alone}", word=say("Nothing can be pooled"), tone="wait", over=over)
    first = pooled[0]
    word, tone = _word(first, metric)
    detail = _detail(pooled, known)
    if metric not in MONEY and any(set(OBJECTIVES[one.objective].needs) & MONEY for one in tests):
        paid = say("{offer} brought customers back; whether it pays cannot be pooled", offer=label_of(first))
        word, tone = (paid, "wait") if tone != "stop" and first.mean.excludes_zero else (word, tone)
        detail = f"{_money_apart(tests)} {detail}".rstrip()
    card = html.verdict(_sentence(first, known), word=word, tone=tone, detail=detail, over=over)
    return card + html.facts([(label_of(p), told(p.mean, currency=p.currency), _next(p)) for p in pooled[:4]])


def _money_apart(readouts: Sequence[Readout]) -> str:
    """Return why the money of the tests cannot be pooled, and what each of them said on its own."""
    alike = POOLED["net"].alike
    differ = [setting_label(name).lower() for name in alike if len({getattr(one, name) for one in readouts}) > 1]
    why = say("Money cannot be pooled: see how the tests were set.")
    if differ:
        why = say("Money cannot be pooled: the tests differ in {settings}.", settings=listed(differ))
    tests: dict[str, list[str]] = {}
    for readout in readouts:
        tests.setdefault(headline(readout), []).append(readout.experiment)
    own = "; ".join(say("{word} ({tests})", word=word, tests=listed(names)) for word, names in tests.items())
    return f"{why} " + say("On their own: {verdicts}.", verdicts=own)


def _word(first: Pooled, metric: str) -> tuple[str, str]:
    """Return the verdict in a few words and its tone."""
    (nobody, again), mean, offer, n = PAID[metric], first.mean, label_of(first), _word_of(first.k)
    if (mean.value or 0.0) <= 0:
        return say(nobody), "stop" if mean.excludes_zero else "wait"
    if first.next is None:
        ahead = plural(
            "{offer} is ahead after {n} test: too few to foresee the next",
            "{offer} is ahead after {n} tests: too few to foresee the next",
            first.k,
            n=n,
            offer=offer,
        )
        return ahead, "wait"
    if first.next.excludes_zero:
        return say(again, offer=offer), "go"
    return say("{offer} is ahead so far, but the next test may turn out otherwise", offer=offer), "wait"


def _sentence(first: Pooled, known: Knowledge) -> str:
    other = next((p for p in known.of("lift") if p.offer == first.offer and p.k == first.k), None)
    did = {p.metric: _did(p) for p in (other, first) if p}.values()  # a page that leads with the lift says it once
    values = {"offer": label_of(first), "did": listed([*did]), "n": _word_of(first.k)}
    if first.next is None:
        return plural(
            "In {n} test {offer} {did}; what to expect next time takes a third test.",
            "In {n} tests {offer} {did}; what to expect next time takes a third test.",
            first.k,
            **values,
        )
    return plural(
        "In {n} test {offer} {did}; expect {bounds} next time.",
        "In {n} tests {offer} {did}; expect {bounds} next time.",
        first.k,
        bounds=_bounds(first),
        **values,
    )


def _did(pooled: Pooled) -> str:
    gain, loss = DID[pooled.metric]
    value = pooled.mean.value or 0.0
    if pooled.metric == "net":
        shown = money(abs(value), pooled.currency, digits=0 if abs(value) >= MANY else 2)
    elif pooled.unit in PERCENT:
        shown = number(100 * abs(value), digits=0 if abs(value) >= SMALL_SHARE else 1)
    else:
        shown = amount(value, pooled.unit, currency=pooled.currency)
    return say(gain if value >= 0 else loss, value=shown)


def _bounds(pooled: Pooled) -> str:
    return interval(pooled.next, currency=pooled.currency) if pooled.next else ""


def _next(pooled: Pooled) -> str:
    n, metric = _word_of(pooled.k), METRICS[pooled.metric].label
    mean = plural("{metric}, mean of {n} test", "{metric}, mean of {n} tests", pooled.k, n=n, metric=metric)
    return say("{mean}; next time {bounds}", mean=mean, bounds=_bounds(pooled)) if pooled.next else mean


def _detail(pooled: Sequence[Pooled], known: Knowledge) -> str:
    """Return what a reader of the verdict must know besides: the winner's curse, and what was left out."""
    curse = later(
        "Ahead is not proven better: the highest of several means is too high on average. Which offer is better is "
        "decided within each test, below."
    )
    left = later("Not everything could be pooled: see how the tests were set.")
    return " ".join([*([say(curse)] if len(pooled) > 1 else []), *([say(left)] if known.notes else [])])


def _over(tests: int) -> str:
    """Return what the verdict is told by."""
    if not tests:
        return say("No tests together")
    text = plural("{n} test together", "{n} tests together", tests, n=_word_of(tests))
    return text[:1].upper() + text[1:]


def _word_of(n: int) -> str:
    return say(COUNTS[n]) if n in COUNTS else count(n)


# The sections
@rendered
def picture(readouts: Readouts, known: Knowledge, *, language: str | None = None) -> Html:
    """Return the forest plot of the metric the page leads with."""
    metric, name = leading(_read(readouts), known), say("What each test found, and all together")
    if metric is None:
        return html.section(name, say("No number means the same in all of these tests: see below why."))
    money = _ahead(known, metric)[0].currency
    shown = [pooled for pooled in known.of(metric) if pooled.currency == money]
    return html.section(name, shared.picture(figures.forest(shown)))


@rendered
def table(readouts: Readouts, known: Knowledge, *, language: str | None = None) -> Html:
    """Return the mean of every offer on every metric, and what to expect of the next test."""
    if not known.pooled:
        return Html("")
    lead, found = leading(_read(readouts), known), {(pooled.offer, pooled.metric): pooled for pooled in known.pooled}
    offers = list({pooled.offer: pooled for pooled in known.pooled}.values())  # any of those on an offer

    def following(offer: Pooled) -> str:
        ahead = found.get((offer.offer, lead or ""))
        return _bounds(ahead) if ahead and ahead.next else say("not known yet")

    def mean(offer: Pooled, metric: str) -> Estimate | None:
        pooled = found.get((offer.offer, metric))
        return pooled.mean if pooled else None

    def currency(offer: Pooled) -> str:
        pooled = found.get((offer.offer, "net"))
        return pooled.currency if pooled else ""

    shown = Table(offers, name=label_of, currency=currency)
    shown.column(say("Tests"), lambda offer: max(p.k for p in known.pooled if p.offer == offer.offer))
    shown.metrics([*POOLED], mean)
    if lead:
        shown.column(say("{metric}, next test", metric=METRICS[lead].label), following)
    made = shown.html(caption=say("Every offer so far, per customer assigned"), notes=_table_notes(known))
    return html.section(say("What the offers have done so far"), made)


def _table_notes(known: Knowledge) -> list[str]:
    mean = later(
        "Mean over tests and, small, its {level} interval. An offer with one test stands with its own estimate."
    )
    wide = later(
        "Two tests hardly tell how much tests differ. So the interval of their mean is wider than that of each test, "
        "and for the next test there is none. A third test cures both."
    )
    notes = [say(mean, level=share(known.level, digits=0))]
    return [*notes, say(wide)] if max(pooled.k for pooled in known.pooled) == 2 else notes  # noqa: PLR2004


@rendered
def agreement(readouts: Readouts, known: Knowledge, *, language: str | None = None) -> Html:
    """Return in plain words whether the tests differ more than chance explains."""
    pooled = [p for p in known.of(leading(_read(readouts), known) or "") if p.k > 1]
    if not pooled:
        return Html("")
    more = [p for p in known.pooled if p.k > 1]
    intro = say("On {metric}, offer by offer.", metric=METRICS[pooled[0].metric].label.lower())
    told = (*map(_agreement_words, pooled), _agreement_table(more))
    return html.section(say("Do the tests agree?"), *told, intro=intro)


def _agreement_words(pooled: Pooled) -> str:
    i2, p, tau = pooled.i2 or 0.0, pooled.p or 0.0, pooled.tau or 0.0
    numbers = f"I² = {share(i2, digits=0)}, {_p(p)}"
    differ = later(
        "the tests differ more than chance explains ({numbers}). True effects differ from test to test by about "
        "{spread} (standard deviation)."
    )
    agree = later("the tests differ no more than chance explains ({numbers}).")
    if pooled.k < ENOUGH:
        agree = later(
            "the tests differ no more than chance explains ({numbers}), though so few tests could hardly show it."
        )
    text = say(differ, numbers=numbers, spread=_amount(pooled, tau)) if p < DIFFER else say(agree, numbers=numbers)
    return named(label_of(pooled), text)


def _p(value: float) -> str:
    return f"p < {numerals('.001')}" if value < 0.001 else f"p = {numerals(f'{value:.3f}')}"  # noqa: PLR2004


def _amount(pooled: Pooled, value: float) -> str:
    """Return a spread in the unit of a metric; of shares as percentage points."""
    unit = "points" if pooled.unit == "share" else pooled.unit
    shown = amount(value, unit, currency=pooled.currency)
    return say("{value} months", value=shown) if pooled.unit == "months" else shown


def _agreement_table(pooled: Sequence[Pooled]) -> Html:
    offers = list({p.offer: p for p in pooled}.values())
    found = {(p.offer, p.metric): p for p in pooled}

    def spread(offer: Pooled, metric: str) -> str:
        p = found.get((offer.offer, metric))
        if p is None:
            return NO_NUMBER
        return f"I² {share(p.i2 or 0.0, digits=0)}\n± {_amount(p, p.tau or 0.0)}, {_p(p.p or 0.0)}"

    shown = Table(offers, name=label_of)
    heads = {metric: METRICS[metric].label for metric in POOLED if any(p.metric == metric for p in pooled)}
    shown.columns(heads, spread)
    note = say(
        "I²: the part of the spread that is more than chance. Small: by how much true effects differ (standard "
        "deviation), and p of no difference at all."
    )
    return shown.html(caption=say("How much the tests differ"), notes=[note])


@rendered
def within(readouts: Readouts, *, language: str | None = None) -> Html:
    """Return the offers within each test: its verdict and the main estimates."""
    return html.section(say("The offers within each test"), *map(_within, _read(readouts)))


def _within(readout: Readout) -> Html:
    best = dict(zip(readout.ranking.offers, readout.ranking.p_best, strict=True)) if readout.ranking else {}
    shown = Table(readout.offers, name=lambda arm: arm.label, currency=readout.currency)
    shown.column(say("Assigned"), lambda arm: count(arm.assigned))
    shown.metrics(["accepted", *POOLED], lambda arm, metric: arm.estimates.get(metric))
    if best:
        shown.column(say("P(best)"), lambda arm: share(best[arm.name], digits=0) if arm.name in best else NO_NUMBER)
    test = readout.experiment
    if readout.dated:
        test = plural("{test}, {n} month", "{test}, {n} months", readout.horizon_months, test=test)
    return shown.html(caption=named(test, headline(readout)))


@rendered
def shrinkage(readouts: Readouts, known: Knowledge, *, language: str | None = None) -> Html:
    """Return the estimate of each test, drawn to the mean of all."""
    pooled = [p for p in known.of(leading(_read(readouts), known) or "") if p.k > 1]
    if not pooled:
        return Html("")
    tests = [(p, place) for p in pooled for place in range(p.k)]
    shown = Table(tests, name=lambda test: label_of(test[0]), currency=lambda test: test[0].currency)
    shown.column(say("Test"), lambda test: test[0].experiments[test[1]])
    shown.estimate(say("Found"), lambda test: test[0].estimates[test[1]])
    shown.column(say("Weight"), lambda test: share(test[0].weights[test[1]], digits=0))
    shown.estimate(say("With what the others know"), lambda test: test[0].shrunken[test[1]])
    borrows = later(
        "Each test borrows from the others as far as they differ by chance only: the better guess of its own truth."
    )
    caption = say("{metric} of each test", metric=METRICS[pooled[0].metric].label)
    made = shown.html(caption=caption, notes=[say(borrows)])
    return html.section(say("Each test in the light of the others"), made, open=False)


@rendered
def settings(readouts: Readouts, known: Knowledge, *, language: str | None = None) -> Html:
    """Return how the tests were set, where they differ, and what was therefore not pooled."""
    tests = _read(readouts)
    values = {name: {setting_value(name, settings_of(test)) for test in tests} for name in SETTINGS}
    differ = [setting_label(name).lower() for name in SETTINGS if len(values[name]) > 1]
    said = say("They differ in {settings}.", settings=listed(differ)) if differ else say("All are the same.")
    shown = Table(tests, head=say("Test"), name=lambda readout: readout.experiment)
    heads = {name: setting_label(name) for name in SETTINGS}
    shown.columns(heads, lambda readout, name: setting_value(name, settings_of(readout)))
    made, notes = shown.html(caption=say("Settings of the tests")), sentences(known)
    return html.section(say("How the tests were set"), *notes, made, intro=said, open=bool(differ or notes))


@rendered
def method(known: Knowledge, *, language: str | None = None) -> Html:
    """Return how the tests were put together."""
    level = share(known.level, digits=0)
    terms = {
        say("Same offer"): say(
            "An offer is the same where its name in the sheets is; “any discount” is every offer of that kind. Every "
            "test compares it with its own holdout; offers of one test are never pooled with each other, since they "
            "share that holdout."
        ),
        say("Mean"): say(
            "Random effects: each test is a draw of all tests one might run. Weights 1 / (tau² + se²), tau by Paule "
            "and Mandel; {level} interval of Hartung, Knapp, Sidik and Jonkman, Student's t with tests − 1 degrees of "
            "freedom.",
            level=level,
        ),
        say("Next test"): say(
            "{level} prediction interval of the true effect in the next test, tau averaged over its confidence "
            "distribution (Q profile), because a few tests do not tell it. From three tests.",
            level=level,
        ),
        say("Differences"): say(
            "I² of Higgins and Thompson: the share of the spread between estimates that is more than chance. p of "
            "Cochran's Q: could it be chance altogether?"
        ),
        say("In the light of the others"): say("Best linear unbiased prediction, tau averaged in the same way."),
        say("Comparable"): say(
            "Shares are pooled where the return window is the same; months, money and ROI where the horizon is; money "
            "and ROI also where the discount rate, money where the currency is. A test that a check stopped does not "
            "count, nor a second readout of the same test."
        ),
    }
    shown = {METRICS[m].label: METRICS[m].help for m in POOLED if known.of(m)}
    return html.section(say("Method"), html.definitions(terms | shown), open=False)


@rendered
def provenance(paths: Sequence[str], *, language: str | None = None) -> Html:
    """Return where the numbers come from."""
    rows = {
        say("Readouts"): "; ".join(map(_with_its_run, paths)),
        say("Version"): f"winback-experiments {version('winback-experiments')}",
        say("For the next design"): say("pooled.json beside this page: 2-design can take its prior from it."),
        say("Inputs and parameters"): say(
            "run.json beside this page has the sha256 of every input file and all parameters."
        ),
    }
    return html.section(say("Provenance"), html.definitions(rows), open=False)


def _with_its_run(path: str) -> str:
    """Return the path of a readout, and whether a run made it."""
    name = Path(path).as_posix()
    return name if believe(path) else say("{path} (not from a registered run)", path=name)
