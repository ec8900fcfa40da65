"""The page of a sweep: the verdict under every setting."""

from __future__ import annotations

from experiments import parts
from experiments.estimands import METRICS
from experiments.figures import sweep as figures
from experiments.grid import Setting, Sweep
from experiments.parts import Html
from experiments.report import shared
from experiments.words import NO_NUMBER, listed, share


def question(sweep: Sweep) -> Html:
    """Return the title of the page and what was varied."""
    varied = [f"{figures.words(name)} {listed([_word(value) for value in sweep.values(name)])}" for name in sweep.over]
    readout = sweep.settings[0].readout
    return parts.heading("Does the choice hold when the settings change?", f"{readout.experiment}: {'; '.join(varied)}")


def verdict(sweep: Sweep) -> Html:
    """Return who leads in how many settings, in how many that is sure, and where it changes."""
    of, leads = len(sweep.settings), sweep.leads
    if not leads:
        said = "The offers cannot be ranked under any of these settings: there is no holdout, or it is too early."
        return parts.verdict(said, word="No offer leads", tone="wait")
    first, count = leads.most_common(1)[0]
    clear = sum(setting.is_clear for setting in sweep.settings)
    others = [f"{label} in {number}" for label, number in leads.most_common()[1:]]
    steady, sure = count == of, {0: "none", of: "all"}.get(clear, str(clear))
    word = f"{first} leads in every setting" if steady else f"{first} leads in {count} of {of} settings"
    said = (
        f"{first} leads in {count} of {of} settings{', ' + listed(others) if others else ''}. "
        f"In {sure} of them the test is large enough to choose."
    )
    tone = "go" if steady and clear == of else "wait"
    return parts.verdict(said, word=word, tone=tone, detail=_changes(sweep)) + _failures(sweep)


def _changes(sweep: Sweep) -> str:
    places: dict[tuple[str, str], list[str]] = {}
    for name, value, following, before, after in sweep.changes():
        pairs = places.setdefault((name, f"from {_word(value)} to {_word(following)}"), [])
        pairs.append(f"{before} to {after}")
    told = [
        f"with {figures.words(name)} {step} ({listed(list(dict.fromkeys(pairs)))})"
        for (name, step), pairs in places.items()
    ]
    return f"The leader changes {'; '.join(told)}." if told else "No setting changes who leads."


def _failures(sweep: Sweep) -> Html:
    if not sweep.failed:
        return Html("")
    told = {name: why for name, _, why in (text.partition(": ") for text in sweep.failed)}
    return parts.section(f"Settings that failed and are left out: {len(told)}", parts.definitions(told))


def picture(sweep: Sweep) -> Html:
    """Return what decides, of every offer, over the swept parameters."""
    if not any(sweep.metric in arm.estimates for setting in sweep.settings for arm in setting.readout.arms):
        return parts.section("What decides, setting by setting", "It cannot be estimated under these settings.")
    return parts.section("What decides, setting by setting", shared.picture(figures.over_settings(sweep)))


def table(sweep: Sweep) -> Html:
    """Return one row a setting: verdict, leader and its value."""
    import pandas as pd

    label = METRICS[sweep.metric].label
    settings = [
        {figures.words(name): _word(value) for name, value in setting.parameters.items()} for setting in sweep.settings
    ]
    rows = [
        {**words, "Verdict": setting.readout.verdict.word, **_leader(setting, sweep)}
        for words, setting in zip(settings, sweep.settings, strict=True)
    ]
    frame = pd.DataFrame(rows).set_index(figures.words(sweep.over[0]))
    note = (
        f"Leads: nominally first on what decides in that setting. Small: the interval of its {label.lower()}. All "
        "settings read the same customers, so they agree more than independent tests would."
    )
    return parts.section("Every setting", parts.table(frame, caption="The verdict under every setting", notes=[note]))


def _leader(setting: Setting, sweep: Sweep) -> dict[str, str]:
    ranking, leader, label = setting.readout.ranking, setting.leader, METRICS[sweep.metric].label
    if ranking is None or leader is None:
        return {"Leads": NO_NUMBER, label: NO_NUMBER, "Chance to be best": NO_NUMBER}
    told = shared.metric(leader, sweep.metric, setting.readout.currency)
    return {"Leads": leader.label, label: told, "Chance to be best": share(ranking.p_best[0], digits=0)}


def provenance(sweep: Sweep, settings: list[str]) -> Html:
    """Return where the numbers come from."""
    rows = {
        "Settings": f"{len(sweep.settings)} runs, each with its own page: {'; '.join(settings)}",
        "Rows": "sweep.csv and sweep.parquet beside this page: one row a setting, offer and metric.",
        "Inputs and parameters": "run.json beside this page has the sha256 of the readout of every setting.",
    }
    return parts.section("Provenance", parts.definitions(rows), open=False)


def _word(value: object) -> str:
    return "the sheet's" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
