"""The page of several tests: what offers have done so far, and what to expect of the next test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from experiments import parts
from experiments.errors import WinbackError
from experiments.estimands import METRICS
from experiments.figures import compare as figures
from experiments.objectives import OBJECTIVES
from experiments.parts import Html
from experiments.pooled import Knowledge, Pooled
from experiments.pooling import POOLED, differences
from experiments.readout import Readout, read_readout
from experiments.report import shared
from experiments.words import MANY, NO_NUMBER, interval, listed, money, number, share, told

DIFFER = 0.10  # p value of Cochran's Q below which tests are said to differ: it has little power with few tests
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def read_all(paths: Sequence[str]) -> list[Readout]:
    """Return the readouts to compare."""
    if not paths:
        raise WinbackError("There is nothing to compare. Name readouts: -p readouts=a/readout.json,b/readout.json")
    return [read_readout(path) for path in paths]


def leading(readouts: Sequence[Readout], known: Knowledge) -> str | None:
    """Return the metric the page leads with: what all tests decide on, or net, or lift; one that was pooled first."""
    goals = {OBJECTIVES[readout.objective].needs[0] for readout in readouts}
    wanted = [*(goals if len(goals) == 1 else ()), "net", "lift", "returned"]
    one_money = [m for m in wanted if m in POOLED and len({pooled.currency for pooled in known.of(m)}) == 1]
    ranked = sorted(one_money, key=lambda metric: -max(pooled.k > 1 for pooled in known.of(metric)))
    return next(iter(ranked), None)


# The verdict
def _of_100(value: float) -> str:
    return number(100 * abs(value), digits=0 if abs(value) >= 0.1 else 1)  # noqa: PLR2004  ten of a hundred


def _short(value: float, currency: str) -> str:
    return money(value, currency, digits=0 if value >= MANY else 2)


DID: dict[str, Callable[[float, str], str]] = {  # what an offer did, from its mean and the currency
    "net": lambda value, currency: f"{'earned' if value >= 0 else 'lost'} {_short(abs(value), currency)} a customer",
    "roi": lambda value, _: f"returned {share(value, digits=0)} of its cost on top of it",
    "months_gained": lambda value, _: f"kept customers {number(value)} months longer than no offer",
    "lift": lambda value, _: (
        f"brought back {_of_100(value)} {'more' if value >= 0 else 'fewer'} of 100 customers than no offer"
    ),
    "returned": lambda value, _: f"saw {_of_100(value)} of 100 customers return",
}
PAID = {  # of all others: brought customers back, should again
    "net": ("paid", "pay"),
    "roi": ("paid", "pay"),
    "months_gained": ("kept customers", "keep them"),
}
BACK = ("brought customers back", "do so")


def verdict(readouts: Sequence[Readout], known: Knowledge) -> Html:
    """Return what the tests say together, and the means behind it."""
    metric = leading(readouts, known)
    pooled = sorted((p for p in known.of(metric or "") if p.k > 1), key=lambda p: -(p.mean.value or 0.0))
    over = f"{_count(len(known.experiments), 'test')} together".capitalize()
    if not metric or not pooled:
        why = known.notes[0] if known.notes else "No offer, by its name in the sheets, was in two of these tests."
        return parts.verdict(
            f"{why} Each test is shown by itself.", word="Nothing can be pooled", tone="wait", over=over
        )
    first = pooled[0]
    word, tone = _word(first, metric)
    card = parts.verdict(_sentence(first, known), word=word, tone=tone, detail=_detail(pooled, known), over=over)
    return card + parts.facts([(p.label, told(p.mean, currency=p.currency), _next(p)) for p in pooled[:4]])


def _word(first: Pooled, metric: str) -> tuple[str, str]:
    """Return the verdict in a few words and its tone."""
    (did, does), mean, following = PAID.get(metric, BACK), first.mean, first.next
    if (mean.value or 0.0) <= 0:
        return f"No offer {did} so far", "stop" if mean.excludes_zero else "wait"
    if following is None:
        return f"{first.label} is ahead after {_count(first.k, 'test')}: too few to foresee the next", "wait"
    if following.excludes_zero:
        return f"{first.label} {did}, and should {does} again", "go"
    return f"{first.label} is ahead so far, but the next test may turn out otherwise", "wait"


def _sentence(first: Pooled, known: Knowledge) -> str:
    other = next((p for p in known.of("lift") if p.offer == first.offer and p.k == first.k), None)
    shown = {p.metric: p for p in (other, first) if p}.values()  # a page that leads with the lift says it once
    did = " and ".join(DID[p.metric](p.mean.value or 0.0, p.currency) for p in shown)
    if first.next is None:
        return f"In {_count(first.k, 'test')} {first.label} {did}; what to expect next time takes a third test."
    return f"In {_count(first.k, 'test')} {first.label} {did}; expect {_bounds(first)} next time."


def _bounds(pooled: Pooled) -> str:
    return interval(pooled.next, currency=pooled.currency) if pooled.next else ""


def _next(pooled: Pooled) -> str:
    told_next = f"; next time {_bounds(pooled)}" if pooled.next else ""
    return f"{METRICS[pooled.metric].label}, mean of {_count(pooled.k, 'test')}{told_next}"


def _detail(pooled: Sequence[Pooled], known: Knowledge) -> str:
    """Return what a reader of the verdict must know besides: the winner's curse, and what was left out."""
    curse = (
        "Ahead is not proven better: the highest of several means is too high on average. Which offer is better is "
        "decided within each test, below."
    )
    left = "Not everything could be pooled: see how the tests were set." if known.notes else ""
    return " ".join(filter(None, (curse if len(pooled) > 1 else "", left)))


def _count(n: int, noun: str) -> str:
    return f"{COUNTS[n] if n < len(COUNTS) else n} {noun}{'' if n == 1 else 's'}"


# The sections
def picture(readouts: Sequence[Readout], known: Knowledge) -> Html:
    """Return the forest plot of the metric the page leads with."""
    metric, name = leading(readouts, known), "What each test found, and all together"
    if metric is None:
        return parts.section(name, "No number means the same in all of these tests: see below why.")
    return parts.section(name, shared.picture(figures.forest(known.of(metric))))


def table(readouts: Sequence[Readout], known: Knowledge) -> Html:
    """Return the mean of every offer on every metric, and what to expect of the next test."""
    import pandas as pd

    if not known.pooled:
        return Html("")
    metrics, lead = [m for m in POOLED if known.of(m)], leading(readouts, known)
    offers = {pooled.offer: pooled.label for pooled in known.pooled}
    found = {(pooled.offer, pooled.metric): pooled for pooled in known.pooled}
    rows = []
    for offer in offers:
        own = {m: found[offer, m] for m in metrics if (offer, m) in found}
        ahead = own.get(lead or "")
        following = _bounds(ahead) if ahead and ahead.next else "not known yet"
        means = [shared.value(own[m].mean, own[m].currency) if m in own else NO_NUMBER for m in metrics]
        rows.append([str(max(pooled.k for pooled in own.values())), *means, *([following] if lead else [])])
    columns = ["Tests", *(METRICS[m].label for m in metrics), *([f"{METRICS[lead].label}, next test"] if lead else [])]
    frame = pd.DataFrame(rows, columns=columns, index=list(offers.values()))
    frame.index.name = "Offer"
    shown = parts.table(frame, caption="Every offer so far, per customer assigned", notes=_table_notes(known))
    return parts.section("What the offers have done so far", shown)


def _table_notes(known: Knowledge) -> list[str]:
    level, most = share(known.level, digits=0), max(pooled.k for pooled in known.pooled)
    notes = [f"Mean over tests and, small, its {level} interval. An offer with one test stands with its own estimate."]
    if most == 2:  # noqa: PLR2004  the one number of tests with an interval, and a useless one
        notes.append(
            "Two tests hardly tell how much tests differ. So the interval of their mean is wider than that of each "
            "test, and for the next test there is none. A third test cures both."
        )
    return notes


def agreement(readouts: Sequence[Readout], known: Knowledge) -> Html:
    """Return in plain words whether the tests differ more than chance explains."""
    lead = leading(readouts, known)
    pooled = [p for p in known.of(lead or "") if p.k > 1]
    if not pooled:
        return Html("")
    more = [p for p in known.pooled if p.k > 1]
    return parts.section("Do the tests agree?", *map(_agreement_words, pooled), _agreement_table(more),
                         intro=f"On {METRICS[lead or ''].label.lower()}, offer by offer.")  # fmt: skip


def _agreement_words(pooled: Pooled) -> str:
    i2, p, tau = pooled.i2 or 0.0, pooled.p or 0.0, pooled.tau or 0.0
    numbers = f"I² = {share(i2, digits=0)}, {_p(p)}"
    if p < DIFFER:
        return (f"{pooled.label}: the tests differ more than chance explains ({numbers}). True effects differ from "
                f"test to test by about {_amount(pooled, tau)} (standard deviation).")  # fmt: skip
    few = "" if pooled.k > 4 else ", though so few tests could hardly show it"  # noqa: PLR2004  tests
    return f"{pooled.label}: the tests differ no more than chance explains ({numbers}){few}."


def _p(value: float) -> str:
    return "p < .001" if value < 0.001 else f"p = {value:.3f}"  # noqa: PLR2004


def _amount(pooled: Pooled, value: float) -> str:
    """Return a spread in the unit of a metric; of shares as percentage points."""
    from experiments.words import amount

    shown = amount(value, pooled.unit, currency=pooled.currency)
    return {"share": shown.replace(" %", " points"), "months": f"{shown} months"}.get(pooled.unit, shown)


def _agreement_table(pooled: Sequence[Pooled]) -> Html:
    import pandas as pd

    found = {(p.label, p.metric): f"I² {share(p.i2 or 0.0, digits=0)}\n± {_amount(p, p.tau or 0.0)}, {_p(p.p or 0.0)}"
             for p in pooled}  # fmt: skip
    labels, metrics = dict.fromkeys(p.label for p in pooled), [m for m in POOLED if any(p.metric == m for p in pooled)]
    rows = [[found.get((label, metric), NO_NUMBER) for metric in metrics] for label in labels]
    frame = pd.DataFrame(rows, columns=[METRICS[m].label for m in metrics], index=list(labels))
    frame.index.name = "Offer"
    note = "I²: the part of the spread that is more than chance. Small: by how much true effects differ (standard "
    note += "deviation), and p of no difference at all."
    return parts.table(frame, caption="How much the tests differ", notes=[note])


def within(readouts: Sequence[Readout]) -> Html:
    """Return the offers within each test: its verdict and the main estimates."""
    return parts.section("The offers within each test", *map(_within, readouts))


def _within(readout: Readout) -> Html:
    import pandas as pd

    metrics = [m for m in ("accepted", *POOLED) if any(m in arm.estimates for arm in readout.offers)]
    best = dict(zip(readout.ranking.offers, readout.ranking.p_best, strict=True)) if readout.ranking else {}
    rows = [
        [f"{arm.assigned:,}", *(shared.metric(arm, metric, readout.currency) for metric in metrics),
         *([share(best[arm.name], digits=0) if arm.name in best else NO_NUMBER] if best else [])]
        for arm in readout.offers
    ]  # fmt: skip
    columns = ["Assigned", *(METRICS[m].label for m in metrics), *(["P(best)"] if best else [])]
    frame = pd.DataFrame(rows, columns=columns, index=[arm.label for arm in readout.offers])
    frame.index.name = "Offer"
    span = f", {readout.horizon_months} months" if readout.dated else ""
    return parts.table(frame, caption=f"{readout.experiment}{span}: {readout.verdict.word}")


def shrinkage(readouts: Sequence[Readout], known: Knowledge) -> Html:
    """Return the estimate of each test, drawn to the mean of all."""
    import pandas as pd

    pooled = [p for p in known.of(leading(readouts, known) or "") if p.k > 1]
    if not pooled:
        return Html("")
    rows = [
        [experiment, shared.value(alone, p.currency), share(weight, digits=0), shared.value(drawn, p.currency)]
        for p in pooled
        for experiment, alone, weight, drawn in zip(p.experiments, p.estimates, p.weights, p.shrunken, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["Test", "Found", "Weight", "With what the others know"],
                         index=[p.label for p in pooled for _ in p.experiments])  # fmt: skip
    frame.index.name = "Offer"
    note = "Each test borrows from the others as far as they differ by chance only: the better guess of its own truth."
    shown = parts.table(frame, caption=f"{METRICS[pooled[0].metric].label} of each test", notes=[note])
    return parts.section("Each test in the light of the others", shown, open=False)


def settings(readouts: Sequence[Readout], known: Knowledge) -> Html:
    """Return how the tests were set, where they differ, and what was therefore not pooled."""
    import pandas as pd

    rows = dict(differences(readouts))
    differ = [label.lower() for label, values in rows.items() if len(set(values)) > 1]
    frame = pd.DataFrame(list(rows.values()), columns=[r.experiment for r in readouts], index=list(rows))
    frame.index.name = "Setting"
    said = f"They differ in {listed(differ)}." if differ else "All are the same."
    shown, folded = parts.table(frame, caption="Settings of the tests"), not (differ or known.notes)
    return parts.section("How the tests were set", *known.notes, shown, intro=said, open=not folded)


def method(known: Knowledge) -> Html:
    """Return how the tests were put together."""
    level = share(known.level, digits=0)
    terms = {
        "Same offer": "An offer is the same where its name in the sheets is; “any discount” is every offer of that "
        "kind. Every test compares it with its own "
        "holdout; offers of one test are never pooled with each other, since they share that holdout.",
        "Mean": "Random effects: each test is a draw of all tests one might run. Weights 1 / (tau² + se²), tau by "
        f"Paule and Mandel; {level} interval of Hartung, Knapp, Sidik and Jonkman, Student's t with tests − 1 degrees "
        "of freedom.",
        "Next test": f"{level} prediction interval of the true effect in the next test, tau averaged over its "
        "confidence distribution (Q profile), because a few tests do not tell it. From three tests.",
        "Differences": "I² of Higgins and Thompson: the share of the spread between estimates that is more than "
        "chance. p of Cochran's Q: could it be chance altogether?",
        "In the light of the others": "Best linear unbiased prediction, tau averaged in the same way.",
        "Comparable": "Shares are pooled where the return window is the same; months, money and ROI where the horizon "
        "is; money and ROI also where the discount rate, money where the currency is. A test that a check stopped does "
        "not count, nor a second readout of the same test.",
    }
    shown = {METRICS[m].label: METRICS[m].help for m in POOLED if known.of(m)}
    return parts.section("Method", parts.definitions(terms | shown), open=False)


def provenance(paths: Sequence[str]) -> Html:
    """Return where the numbers come from."""
    rows = {
        "Readouts": "; ".join(Path(path).as_posix() for path in paths),
        "Version": f"winback-experiments {version('winback-experiments')}",
        "For the next design": "pooled.json beside this page: 2-design can take its prior from it.",
        "Inputs and parameters": "run.json beside this page has the sha256 of every input file and all parameters.",
    }
    return parts.section("Provenance", parts.definitions(rows), open=False)
