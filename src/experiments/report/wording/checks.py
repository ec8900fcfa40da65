"""The sentences of the checks of a readout: what was found, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from experiments.common.finding import Finding, State
from experiments.common.formatting import amount, count, date_told, listed, number, share, short
from experiments.common.language import later, plural, say
from experiments.metrics.objectives import OBJECTIVES
from experiments.report.wording.accounts import deviation
from experiments.sheet.locked_plan import Deviation

Facts = Mapping[str, Any]

NAMES = {
    "match": later("Same customers"),
    "repeats": later("Purchases once"),
    "sample_ratio": later("Sample ratio"),
    "read_date": later("Read date"),
    "holdout": later("Holdout"),
    "contamination": later("Holdout left alone"),
    "follow_up": later("Follow-up"),
    "even_follow_up": later("Even follow-up"),
    "balance": later("Balance"),
    "small_arm": later("Size of the arms"),
    "acceptances": later("Acceptances"),
    "zero_events": later("Accepted at all"),
    "enough_returned": later("Enough customers"),
    "power": later("Power"),
    "tail": later("Tail"),
    "as_planned": later("As planned"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A check in the language spoken."""

    name: str
    state: State
    reason: str
    todo: str = ""


def worded(finding: Finding) -> Wording:
    """Return the sentences of a check; those that an earlier version wrote stand as they are."""
    if "said" in finding.facts:
        reason, todo = str(finding.facts["said"]), str(finding.facts["cure"])
    else:
        reason, todo = WORDING[finding.key](finding, finding.facts)
    name = say(NAMES.get(finding.key, finding.key))
    return Wording(name=name, state=finding.state, reason=reason, todo=todo)


def _day(iso: str) -> str:
    return date_told(date.fromisoformat(iso))


def _match(finding: Finding, facts: Facts) -> tuple[str, str]:
    if finding.case == "unknown":
        return say("An earlier version did not look whether the tables speak of the same customers."), ""
    table, rows, matched = facts["table"], count(facts["rows"]), count(facts["matched"])
    told = say(
        "Rows of {table} that are of customers of the test: {matched} of {rows}.",
        matched=matched,
        rows=rows,
        table=table,
    )
    if finding.case == "none":
        return (
            say(
                "No row of {table} is of a customer of the test: a customer there is {theirs}, one assigned {ours}.",
                table=table,
                theirs=repr(facts["theirs"]),
                ours=repr(facts["ours"]),
            ),
            say("Export both tables from one system, or with the customers spelt alike."),
        )
    if finding.case == "doubtful":
        alike = say(
            "{n} more would match only if {theirs} were {ours}.",
            n=count(facts["doubtful"]),
            theirs=repr(facts["theirs"]),
            ours=repr(facts["ours"]),
        )
        cure = say("Find out which spelling is right. Letter case alone: `identity: {{case: ignore}}`.")
        return f"{told} {alike}", "" if finding.state == "pass" else cure
    if finding.case == "strangers":
        alike = say("{n} are of customers whom nobody assigned.", n=count(facts["strangers"]))
        cure = say("Find out who they are: a customer is missing in the assignments, or the rows are of another test.")
        return f"{told} {alike}", "" if finding.state == "pass" else cure
    return told, ""


def _repeats(finding: Finding, facts: Facts) -> tuple[str, str]:
    if finding.case == "unknown":
        return say("Nobody looked for purchases that are there twice."), ""
    if finding.case == "drop":
        return say("Purchases that repeat customer, day and amount count once, as the sheet says."), ""
    if not facts["n"]:
        return say("No purchase of the test's customers is there twice."), ""
    told = say(
        "{n} purchases repeat customer, day and amount of another one; they bring {money}.",
        n=count(facts["n"]),
        money=amount(facts["money"], "money", currency=str(facts["currency"])),
    )
    cure = say(
        "See whether two files overlap. Then `repeats: drop` under `purchases`; if all are real, `repeats: keep`."
    )
    return told, "" if finding.state == "pass" else cure


def _sample_ratio(finding: Finding, facts: Facts) -> tuple[str, str]:
    arms = ", ".join(f"{arm} {count(size)}" for arm, size in zip(facts["arms"], facts["sizes"], strict=True))
    if finding.state == "pass":
        return say("The arms have the planned shares (p = {p}): {arms}.", p=number(facts["p"]), arms=arms), ""
    return (
        say("The arms do not have the planned shares (p = {p}): {arms}.", p=short(facts["p"], digits=2), arms=arms),
        say("Find who was lost or added after the assignment, or correct the planned shares in the sheet."),
    )


def _holdout(finding: Finding, _facts: Facts) -> tuple[str, str]:
    if finding.state == "pass":
        return say("A holdout without an offer shows what happens anyway."), ""
    return (
        say("There is no holdout, so nobody knows who would have come back anyway."),
        say("Read every figure as gross, not incremental. Keep a holdout in the next test."),
    )


def _contamination(finding: Finding, facts: Facts) -> tuple[str, str]:
    if finding.case == "no_holdout":
        return say("There is no holdout that could be contacted."), ""
    if finding.case == "unknown":
        unknown = say("There is no table of contacts, so nobody knows whether the holdout was left alone.")
        return unknown, say("Add the table `contacts`.")
    if finding.state == "pass":
        return say("No contact went to the holdout."), ""
    reason = plural(
        "{n} contact went to the {customers} customers of the holdout ({share}).",
        "{n} contacts went to the {customers} customers of the holdout ({share}).",
        facts["contacts"],
        customers=facts["customers"],
        share=share(facts["contacts"] / facts["customers"]),
    )
    todo = say("Every lift is understated. Take holdout customers off the call lists.")
    if finding.state == "warn":
        return reason, todo
    more = say("It does not show what happens without an offer.")
    without = say("Read the test without them only if they can be told by something known before the assignment.")
    return f"{reason} {more}", f"{todo} {without}"


def _follow_up(finding: Finding, facts: Facts) -> tuple[str, str]:
    if finding.case == "undated":
        return (
            say("The results have no dates: there is a response and a value, but no retained lifetime."),
            say("Give purchases with dates to see how long they stay."),
        )
    reason = plural(
        "In every arm at least {share} of the customers were watched for the whole month.",
        "In every arm at least {share} of the customers were watched for all {n} months.",
        facts["months"],
        share=share(facts["least"], digits=0),
    )
    if finding.state == "warn":
        return reason, say("Choose a shorter horizon, or wait.")
    unseen = say("Unseen months do not count as lost ones.")
    return f"{reason} {unseen}", ""


def _read_date(finding: Finding, facts: Facts) -> tuple[str, str]:  # noqa: PLR0911  a sentence each
    days = {name: _day(day) for name, day in facts.items()}
    if finding.case == "undated":
        return say("Results without dates are read once."), ""
    if finding.case == "unregistered":
        return (
            say("The sheet registers no read date, so nothing keeps a test from being read when it looks good."),
            say("Write `read_date:` before the next test starts."),
        )
    if finding.case == "end_unknown":
        return (
            say("The registered read date is {day}; how far the results reach is not said.", **days),
            say("Write `followed_until:` with the first day the results know nothing about."),
        )
    if finding.case == "future":
        return (
            say("The data are said to reach to {until}, and today is {today}.", until=_day(facts["until"]),
                today=_day(facts["today"])),
            say("Read the test when that day has come, or write into `followed_until` how far the data reach."),
        )  # fmt: skip
    if finding.case == "quiet":
        return (
            say("The sheet says that the data reach to {until}, but nobody bought after {last}.", **days),
            say("Correct `followed_until:`, or bring the later purchases."),
        )
    if finding.state == "stop":
        return (
            say("Interim: the data reach to {until}, the registered read date is {day}.", **days),
            say("Do not decide yet. Looking 20 times turns 5 % false alarms into 25 %."),
        )
    return say("Read on or after the registered day, {day}.", **days), ""


def _enough_returned(finding: Finding, facts: Facts) -> tuple[str, str]:
    if finding.state == "pass":
        return say("At least {n} customers returned in every arm.", n=facts["least"]), ""
    arms = ", ".join(f"{arm} ({returned})" for arm, returned in zip(facts["arms"], facts["returned"], strict=True))
    return (
        say("Fewer than {few} customers returned in {arms}.", few=facts["few"], arms=arms),
        say("Intervals of money and ROI are too narrow here: read them as a direction, not as a result."),
    )


def _acceptances(finding: Finding, _facts: Facts) -> tuple[str, str]:
    if not finding.case:
        return say("The contacts tell who said yes."), ""
    reason = say(
        "There is no table of contacts: everybody who returned in an offer's arm counts as having accepted it."
    )
    todo = say("Give the contacts, so that those who would have returned anyway do not count as acceptors.")
    return reason, todo if finding.state == "warn" else ""


def _even_follow_up(finding: Finding, facts: Facts) -> tuple[str, str]:
    arms = ", ".join(f"{arm} {share(part)}" for arm, part in zip(facts["arms"], facts["shares"], strict=True))
    p = short(facts["p"], digits=2)
    if finding.state == "pass":
        alike = plural(
            "The arms do not differ in who was watched for the whole month: {arms} (p = {p}).",
            "The arms do not differ in who was watched for all {n} months: {arms} (p = {p}).",
            facts["months"],
            arms=arms,
            p=p,
        )
        return alike, ""
    differs = plural(
        "Follow-up differs between arms: watched for the whole month: {arms} (p = {p}).",
        "Follow-up differs between arms: watched for all {n} months: {arms} (p = {p}).",
        facts["months"],
        arms=arms,
        p=p,
    )
    return differs, say(
        "Find out who drops out of the data, and start all arms at the same time. A horizon everybody was watched to "
        "is safe."
    )


def _balance(finding: Finding, facts: Facts) -> tuple[str, str]:
    if finding.state == "pass":
        return say("The arms have the same mix of strata (p = {p}).", p=number(facts["p"])), ""
    reason = say(
        "The arms differ in their mix of strata (p = {p}): {arm} has {n} of {stratum} where {expected} are expected.",
        p=short(facts["p"], digits=2),
        arm=facts["arm"],
        n=facts["n"],
        stratum=facts["stratum"],
        expected=count(facts["expected"]),
    )
    return reason, say("Find out how the customers were assigned. Read the adjusted figures.")


def _small_arm(finding: Finding, facts: Facts) -> tuple[str, str]:
    if finding.state == "pass":
        return say("Every arm has at least {n} customers.", n=facts["least"]), ""
    arms = listed([f"{arm} ({count(size)})" for arm, size in zip(facts["arms"], facts["sizes"], strict=True)])
    few = later("{few} customers or fewer in {arms}: 95 % intervals of money cover about 92 %.")
    return (
        say(few, few=facts["few"], arms=arms),
        say("Take money and ROI for a direction. Shares are safe at any size."),
    )


def _zero_events(finding: Finding, facts: Facts) -> tuple[str, str]:
    by_contacts = finding.case == "accepted"
    if finding.state == "pass":
        return (
            say("Somebody accepted every offer.") if by_contacts else say("Somebody returned after every offer."),
            "",
        )
    nobody = later("Nobody accepted {offers}.") if by_contacts else later("Nobody returned after {offers}.")
    return (
        say(nobody, offers=listed(facts["offers"], last="or")),
        say("Check how acceptances are written in the data. If nobody did, drop the offer."),
    )


def _power(finding: Finding, facts: Facts) -> tuple[str, str]:
    if finding.case == "undecided":
        return say("Nothing is decided on the objective, so there is no power to lack."), ""
    objective = OBJECTIVES[facts["objective"]]
    least, gap = (amount(facts[name], objective.unit, currency=facts["currency"])
                  for name in ("detectable", "difference"))  # fmt: skip
    reason = say(
        "With {power} power this test can tell a difference of {least} in {goal}; {first} leads {other} by {found}.",
        power=share(facts["power"], digits=0),
        least=least,
        goal=say(objective.goal),
        first=facts["first"],
        other=say("doing nothing") if facts["second"] is None else facts["second"],
        found=gap,
    )
    todo = say("Plan the next test on this objective, for the difference that would matter.")
    return reason, "" if finding.state == "pass" else todo


def _tail(finding: Finding, facts: Facts) -> tuple[str, str]:
    reason = say(
        "The top {top} of the groups of customers bring {share} of the value (skewness {skewness}; up to {safe} is "
        "safe).",
        top=share(facts["top"], digits=0),
        share=share(facts["share"]),
        skewness=number(facts["skewness"], digits=1),
        safe=count(facts["safe"]),
    )
    if finding.state == "pass":
        even = say("No few customers carry the value.")
        return f"{even} {reason}", ""
    few = say("A few customers carry the value.")
    todo = say("Intervals of money are too narrow here: read the winsorised row beside them.")
    return f"{few} {reason}", todo


def _as_planned(finding: Finding, facts: Facts) -> tuple[str, str]:
    if finding.case == "gone":
        return (
            say("The plan that was locked and booked, sha256 {hash}, is gone.", hash=facts["booked"]),
            say("Put it back from a backup; without it nobody knows what was planned."),
        )
    if finding.case == "another":
        return (
            say("The plan, sha256 {hash}, is not the one that was booked, {booked}.", **facts),
            say("Put that one back from a backup, or find out who changed it."),
        )
    where = say("sheet")
    if finding.case == "plan":
        where = say("plan locked on {day}, sha256 {hash}", day=_day(facts["day"]), hash=facts["hash"])
        for day, reason, sha256 in zip(
            *(facts.get(name, ()) for name in ("amended", "reasons", "hashes")), strict=True
        ):
            where += say(", amended on {day} ({reason}), sha256 {hash}", day=_day(day), reason=reason, hash=sha256)
    if finding.state == "pass":
        return say("Read with the settings registered in the {where}.", where=where), ""
    columns = zip(facts["setting"], facts["planned"], facts["now"], strict=True)
    settings = "; ".join(
        deviation(Deviation(setting=setting, planned=planned, now=now)) for setting, planned, now in columns
    )
    return (
        say("Not as planned in the {where}: {settings}.", where=where, settings=settings),
        say("Decide by the settings registered before the test; take this page as an exploration."),
    )


WORDING: dict[str, Callable[[Finding, Facts], tuple[str, str]]] = {  # key of a check: reason and what to do
    "sample_ratio": _sample_ratio,
    "match": _match,
    "repeats": _repeats,
    "read_date": _read_date,
    "holdout": _holdout,
    "contamination": _contamination,
    "follow_up": _follow_up,
    "even_follow_up": _even_follow_up,
    "balance": _balance,
    "small_arm": _small_arm,
    "acceptances": _acceptances,
    "zero_events": _zero_events,
    "enough_returned": _enough_returned,
    "power": _power,
    "tail": _tail,
    "as_planned": _as_planned,
}
