"""The page of a sweep: the verdict under every setting."""

from __future__ import annotations

from experiments.common.formatting import NO_NUMBER, listed, named, share
from experiments.common.language import later, plural, say
from experiments.compare.sweep import Setting, Sweep
from experiments.report import html, shared
from experiments.report.figures import sweep as figures
from experiments.report.html import Html
from experiments.report.wording.metrics import METRICS
from experiments.report.wording.verdict import headline


def question(sweep: Sweep) -> Html:
    """Return the title of the page and what was varied."""
    varied = [
        f"{figures.words(name)} {listed([_word(name, value) for value in sweep.values(name)])}" for name in sweep.over
    ]
    readout = sweep.settings[0].readout
    return html.heading(
        say("Does the choice hold when the settings change?"), named(readout.experiment, "; ".join(varied))
    )


def verdict(sweep: Sweep) -> Html:
    """Return who leads in how many settings, in how many that is sure, and where it changes."""
    of, leads = len(sweep.settings), sweep.leads
    if not leads:
        said = say("The offers cannot be ranked under any of these settings: there is no holdout, or it is too early.")
        return html.verdict(said, word=say("No offer leads"), tone="wait")
    first, count = leads.most_common(1)[0]
    clear = sum(setting.is_clear for setting in sweep.settings)
    others = [say("{offer} in {n}", offer=label, n=number) for label, number in leads.most_common()[1:]]
    word = most = plural("{offer} leads in {count} of {n} setting", "{offer} leads in {count} of {n} settings", of,
                         offer=first, count=count)  # fmt: skip
    steady = count == of
    if steady:
        word = say("{offer} leads in every setting", offer=first)
    said = f"{', '.join([most, *([listed(others)] if others else [])])}. {_sure(clear, of)}"
    tone = "go" if steady and clear == of else "wait"
    return html.verdict(said, word=word, tone=tone, detail=_changes(sweep)) + _failures(sweep)


def _sure(clear: int, of: int) -> str:
    """Return in how many settings the test is large enough."""
    if clear in (0, of):
        every = later("In all of them the test is large enough to choose.")
        return say(every if clear else later("In none of them the test is large enough to choose."))
    return say("In {n} of them the test is large enough to choose.", n=clear)


def _changes(sweep: Sweep) -> str:
    places: dict[str, list[str]] = {}
    for name, value, following, before, after in sweep.changes():
        step = say("with {setting} from {value} to {following}", setting=figures.words(name), value=_word(name, value),
                   following=_word(name, following))  # fmt: skip
        places.setdefault(step, []).append(say("{before} to {after}", before=before, after=after))
    told = [f"{step} ({listed(list(dict.fromkeys(pairs)))})" for step, pairs in places.items()]
    if not told:
        return say("No setting changes who leads.")
    return say("The leader changes {steps}.", steps="; ".join(told))


def _failures(sweep: Sweep) -> Html:
    if not sweep.failed:
        return Html("")
    told = {name: why for name, _, why in (text.partition(": ") for text in sweep.failed)}
    return html.section(say("Settings that failed and are left out: {n}", n=len(told)), html.definitions(told))


def picture(sweep: Sweep) -> Html:
    """Return what decides, of every offer, over the swept parameters."""
    if not any(setting.metric in arm.estimates for setting in sweep.settings for arm in setting.readout.arms):
        return html.section(
            say("What decides, setting by setting"), say("It cannot be estimated under these settings.")
        )
    return html.section(say("What decides, setting by setting"), shared.picture(figures.over_settings(sweep)))


def table(sweep: Sweep) -> Html:
    """Return one row a setting: verdict, leader and its value."""
    import pandas as pd

    settings = [
        {figures.words(name): _word(name, value) for name, value in setting.parameters.items()}
        for setting in sweep.settings
    ]
    rows = [
        {**words, say("Verdict"): headline(setting.readout), **_leader(setting, sweep)}
        for words, setting in zip(settings, sweep.settings, strict=True)
    ]
    frame = pd.DataFrame(rows).set_index(figures.words(sweep.over[0]))
    note = say(
        "Leads: nominally first on what decides in that setting. Small: its interval. All settings read the same "
        "customers, so they agree more than independent tests would."
    )  # fmt: skip
    shown = html.table(frame, caption=say("The verdict under every setting"), notes=[note])
    return html.section(say("Every setting"), shown)


def _leader(setting: Setting, sweep: Sweep) -> dict[str, str]:
    ranking, leader, label = setting.readout.ranking, setting.leader, METRICS[setting.metric].label
    one = len(sweep.metrics) == 1
    columns = (say("Leads"), label if one else say("What decides"), say("Chance to be best"))
    if ranking is None or leader is None:
        return dict.fromkeys(columns, NO_NUMBER)
    told = shared.metric(leader, setting.metric, setting.readout.currency)
    told = told if one else named(label, told)
    return dict(zip(columns, (leader.label, told, share(ranking.p_best[0], digits=0)), strict=True))


def provenance(sweep: Sweep, settings: list[str]) -> Html:
    """Return where the numbers come from."""
    rows = {
        say("Settings"): plural(
            "{n} run, each with its own page: {folders}", "{n} runs, each with its own page: {folders}",
            len(sweep.settings), folders="; ".join(settings),
        ),
        say("Rows"): say("sweep.csv and sweep.parquet beside this page: one row a setting, offer and metric."),
        say("Inputs and parameters"): say("run.json beside this page has the sha256 of the readout of every setting."),
    }  # fmt: skip
    return html.section(say("Provenance"), html.definitions(rows), open=False)


def _word(parameter: str, value: object) -> str:
    return say("the sheet's") if value is None else figures.in_words(parameter, value)
