"""The page of a sweep: the verdict under every setting."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.common.formatting import NO_NUMBER, listed, named, share
from experiments.common.language import later, plural, rendered, say
from experiments.compare.sweep import Setting, Sweep
from experiments.report import html, shared
from experiments.report.figures import sweep as figures
from experiments.report.html import Html
from experiments.report.tables import Table
from experiments.report.wording.metrics import METRICS
from experiments.report.wording.verdict import headline


@rendered
def question(sweep: Sweep, *, language: str | None = None) -> Html:
    """Return the title of the page and what was varied."""
    values = {name: listed([_word(name, value) for value in sweep.values(name)]) for name in sweep.over}
    varied = "; ".join(f"{figures.words(name)} {several}" for name, several in values.items())
    title, experiment = say("Does the choice hold when the settings change?"), sweep.settings[0].readout.experiment
    return html.heading(title, named(experiment, varied))


@rendered
def verdict(sweep: Sweep, *, language: str | None = None) -> Html:
    """Return who leads in how many settings, in how many that is sure, and where it changes."""
    of, leads = len(sweep.settings), sweep.leads
    if not leads:
        why = say("The offers cannot be ranked under any of these settings: there is no holdout, or it is too early.")
        return html.verdict(why, word=say("No offer leads"), tone="wait")
    first, count = leads.most_common(1)[0]
    clear = sum(setting.is_clear for setting in sweep.settings)
    others = [say("{offer} in {n}", offer=label, n=number) for label, number in leads.most_common()[1:]]
    values: dict[str, str | int] = {"offer": first, "count": count}
    most = plural("{offer} leads in {count} of {n} setting", "{offer} leads in {count} of {n} settings", of, **values)
    word = say("{offer} leads in every setting", offer=first) if count == of else most
    sentence = f"{', '.join([most, *([listed(others)] if others else [])])}. {_sure(clear, of)}"
    tone = "go" if count == clear == of else "wait"
    return html.verdict(sentence, word=word, tone=tone, detail=_changes(sweep)) + _failures(sweep)


def _sure(clear: int, of: int) -> str:
    """Return in how many settings the test is large enough."""
    if clear in (0, of):
        every = later("In all of them the test is large enough to choose.")
        return say(every if clear else later("In none of them the test is large enough to choose."))
    return say("In {n} of them the test is large enough to choose.", n=clear)


def _changes(sweep: Sweep) -> str:
    places: dict[str, list[str]] = {}
    for change in sweep.changes():
        value, following = (_word(change.parameter, value) for value in (change.value, change.following))
        setting = figures.words(change.parameter)
        step = say("with {setting} from {value} to {following}", setting=setting, value=value, following=following)
        places.setdefault(step, []).append(say("{before} to {after}", before=change.before, after=change.after))
    steps = [f"{step} ({listed(list(dict.fromkeys(pairs)))})" for step, pairs in places.items()]
    return say("The leader changes {steps}.", steps="; ".join(steps)) if steps else say("No setting changes who leads.")


def _failures(sweep: Sweep) -> Html:
    if not sweep.failed:
        return Html("")
    why = {name: why for name, _, why in (text.partition(": ") for text in sweep.failed)}
    return html.section(say("Settings that failed and are left out: {n}", n=len(why)), html.definitions(why))


@rendered
def picture(sweep: Sweep, *, language: str | None = None) -> Html:
    """Return what decides, of every offer, over the swept parameters."""
    known = any(setting.metric in arm.estimates for setting in sweep.settings for arm in setting.readout.arms)
    unknown = later("It cannot be estimated under these settings.")
    shown = shared.picture(figures.over_settings(sweep)) if known else say(unknown)
    return html.section(say("What decides, setting by setting"), shown)


@rendered
def table(sweep: Sweep, *, language: str | None = None) -> Html:
    """Return one row a setting: verdict, leader and its value."""
    first, *others = sweep.over
    shown = Table(sweep.settings, head=figures.words(first), name=lambda setting: _parameter(setting, first))
    shown.columns({name: figures.words(name) for name in others}, _parameter)
    shown.column(say("Verdict"), lambda setting: headline(setting.readout))
    shown.column(say("Leads"), lambda setting: setting.leader.label if setting.leader else NO_NUMBER)
    if len(sweep.metrics) == 1:
        shown.column(METRICS[sweep.metrics[0]].label, _value)
    else:
        shown.column(say("What decides"), _named_value)
    shown.column(say("Chance to be best"), _chance)
    note = say(
        "Leads: nominally first on what decides in that setting. Small: its interval. All settings read the same "
        "customers, so they agree more than independent tests would."
    )
    made = shown.html(caption=say("The verdict under every setting"), notes=[note])
    return html.section(say("Every setting"), made)


def _parameter(setting: Setting, name: str) -> str:
    return _word(name, setting.parameters[name])


def _value(setting: Setting) -> str:
    leader = setting.leader
    return shared.metric(leader, setting.metric, setting.readout.currency) if leader else NO_NUMBER


def _named_value(setting: Setting) -> str:
    return named(METRICS[setting.metric].label, _value(setting)) if setting.leader else NO_NUMBER


def _chance(setting: Setting) -> str:
    ranking = setting.readout.ranking
    return share(ranking.p_best[0], digits=0) if ranking else NO_NUMBER


@rendered
def provenance(sweep: Sweep, settings: Sequence[str], *, language: str | None = None) -> Html:
    """Return where the numbers come from."""
    folders, n = "; ".join(settings), len(sweep.settings)
    runs = plural(
        "{n} run, each with its own page: {folders}", "{n} runs, each with its own page: {folders}", n, folders=folders
    )
    rows = {
        say("Settings"): runs,
        say("Rows"): say("sweep.csv and sweep.parquet beside this page: one row a setting, offer and metric."),
        say("Inputs and parameters"): say("run.json beside this page has the sha256 of the readout of every setting."),
    }
    return html.section(say("Provenance"), html.definitions(rows), open=False)


def _word(parameter: str, value: object) -> str:
    return say("the sheet's") if value is None else figures.in_words(parameter, value)
