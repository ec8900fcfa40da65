"""The call list: whom to contact, who does it on which day and how, and what to say; and what is wrong before that.

The rules are judged in the engine (`sql/calls.sql`); of customers only their place in the order leaves it, until the
list is written row by row. Section 7 of the design.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.campaign.call_rules import RULES
from experiments.campaign.call_slots import Window, seat
from experiments.campaign.scripts import Scripts, names_of
from experiments.common.errors import WinbackError, did_you_mean, short
from experiments.common.files import clear_parts
from experiments.common.finding import Finding, of_state
from experiments.data.columns import REAL, literal, quote
from experiments.data.spreadsheets import Column, Kind, write_list
from experiments.data.tables import columns_of, refuse_duplicates, statements, write_parquet
from experiments.sheet.contact_rules import FILLED_IN, KNOWN, TOP_CLASS, ContactRules, same_name
from experiments.sheet.offer_terms import Told, tell
from experiments.sheet.sheet import SEPARATOR, Sheet

if TYPE_CHECKING:
    import duckdb

# What the list needs of each table; a column marked with ! must be there.
NEEDED: dict[str, dict[str, str]] = {
    "assignments": {"arm": "VARCHAR!", "at": "DATE", "stratum": "VARCHAR"},
    "cohort": {"lost_at": "DATE!", "step": "VARCHAR!", "reason": "VARCHAR!", "manager": "VARCHAR!", "line": "VARCHAR!",
               "complaint": "VARCHAR!", "abc": "VARCHAR!", "priority": "VARCHAR!", "expected": "BIGINT!",
               "worth": "BIGINT!"},
    "customers": {"complaint": "VARCHAR", "do_not_contact": "BOOLEAN"},
    "reasons": {"reason": "VARCHAR!", "fixed_at": "DATE"},
    "contacts": {"experiment": "VARCHAR", "at": "DATE", "reached": "BOOLEAN", "accepted_at": "DATE",
                 "refused_at": "DATE"},
}  # fmt: skip
JUDGED = tuple(name for name in RULES if name != "no_capacity")  # columns of calls_judged
FURTHEST = 366  # days from the first possible contact: a list further ahead is no plan
WHY = "CASE " + " ".join(f"WHEN {name} THEN {literal(name)}" for name in JUDGED) + " END"
STEP = 5_000  # different things to say that are said at a time
CHUNK = 2_000  # rows that leave the engine at a time
KINDS: dict[str, Kind] = {"day": "date", "deadline": "date", "called_on": "date", "accepted_at": "date",
                          "refused_at": "date", "reached": "flag", "words": "words"}  # fmt: skip
SAYABLE = ("caller", "channel", "line", "reason", "reasons", "complaint", "apology", "offer", "label", "terms",
           "deadline", "attempt")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Assigned customers who are not on the list."""

    rule: str  # of RULES
    label: str
    customers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a caller has to do."""

    caller: str
    capacity: int  # contacts a working day
    customers: int
    days: int  # with a contact
    first_day: dt.date
    last_day: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """A list as it was made; its rows are the table `calls`, everybody else the table `calls_not_listed`."""

    experiment: str
    assigned: int
    listed: int
    not_listed: tuple[Left, ...]  # in the order of RULES; with `listed` they add up to `assigned`
    loads: tuple[Load, ...]
    channels: tuple[tuple[str, int], ...]
    violations: tuple[Finding, ...]  # keys are of RULES, no_script or unused_script; `sentence` says them

    def __str__(self) -> str:
        left = "; ".join(f"{one.label}: {one.customers:,}" for one in self.not_listed)
        text = f"call list: {self.listed:,} of {self.assigned:,} assigned customers"
        return f"{text}; not on it: {left}" if left else text

    @property
    def stops(self) -> tuple[Finding, ...]:
        """The violations to cure before anybody calls."""
        return tuple(of_state(self.violations, "stop"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a list is made from."""

    con: duckdb.DuckDBPyConnection
    sheet: Sheet
    rules: ContactRules
    steps: dict[str, str]

    def run(self, step: str, **values: object) -> duckdb.DuckDBPyConnection:
        """Run one step of calls.sql; values are our own or quoted, never foreign text."""
        return self.con.execute(self.steps[step].format(seed=self.sheet.seed, why=WHY, **values))

    def fill(self, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[object]]) -> None:
        """Make a small table of ours: name: type."""
        cells = ", ".join(f"unnest(CAST(? AS {kind}[])) AS {quote(name)}" for name, kind in columns.items())
        values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {cells}", values)

    @property
    def sayable(self) -> tuple[str, ...]:
        """The columns that change what is said."""
        return (*SAYABLE, *(f"show_{name}" for name in self.rules.show))


def plan_calls(
    con: duckdb.DuckDBPyConnection,
    sheet: Sheet,
    *,
    rules: ContactRules,
    told: Mapping[str, Told] | None = None,
    causes: Mapping[str, dt.date | None] | None = None,
    folder: Path | None = None,
    assigned: str = "assigned",
    cohort: str = "cohort",
    customers: str | None = None,
    reasons: str | None = None,
    contacts: str | None = None,
    consents: str | None = None,
    stopped: Sequence[str] = (),
) -> Calls:
    """Make the table `calls`, one row a customer to contact, and tell what is wrong before anybody calls.

    `assigned`, `cohort`, `customers`, `reasons`, `contacts`: tables of the engine; without a table its rules have
    nothing to find. `consents`: the table `allowed` of `find_allowed`; without it nobody asks. `stopped`: arms of
    which nobody is called any more. `told`: offers in words, the catalogue's where left out. `causes`: the reasons the
    company can remove, with the day on which each was removed for everybody, or None. `folder`: of the sheet, for its
    `scripts`.
    The same tables and seed give the same list, in any row order. Raises WinbackError.
    """
    if not rules.callers:
        raise WinbackError("The sheet does not say who calls. Add `contacts: {callers: {Ann: {}, Bob: {head: true}}}`.")
    scripts = Scripts((folder or Path()) / rules.scripts if rules.scripts else None, language=rules.language)
    plan = _Plan(con=con, sheet=sheet, rules=rules, steps=statements("calls"))
    _take(plan, {"assignments": assigned, "cohort": cohort, "customers": customers, "reasons": reasons,
                 "contacts": contacts})  # fmt: skip
    allowed = consents or "(SELECT NULL AS customer_id, NULL AS channels WHERE FALSE)"
    con.execute(
        "CREATE OR REPLACE TEMP VIEW calls_allowed AS SELECT CAST(customer_id AS VARCHAR) AS customer_id, "
        f"CAST(channels AS VARCHAR[]) AS channels FROM {allowed} AS asked"
    )
    teams = _judge(plan, told or {}, causes or {}, asks_consent=consents is not None, stopped=stopped)
    _seat(plan, teams, asks_consent=consents is not None)
    violations = (*_violations(plan), *_say(plan, scripts))
    plan.run("not_listed")
    return _counted(plan, violations)


# ---- what is known


def _take(plan: _Plan, tables: Mapping[str, str | None]) -> None:
    """Make the views calls_<table> with every column that is needed, customers as text."""
    for name, table in tables.items():
        found = columns_found(plan.con, table) if table else {}
        show = plan.rules.show if name == "customers" else ()
        needed = ["customer_id", *(column for column, kind in NEEDED[name].items() if kind.endswith("!"))]
        for column in (*(needed if table else ()), *show):
            if column not in found:
                raise WinbackError(f"Table {table or name} has no column {column!r}. {did_you_mean(column, found)}")
        kinds = {"customer_id": "VARCHAR"} | {column: kind.rstrip("!") for column, kind in NEEDED[name].items()}
        cells = [cell(column, kind, found) for column, kind in kinds.items()]
        cells += [f"CAST({quote(column)} AS VARCHAR) AS {quote(f'show_{column}')}" for column in show]
        rows = table or "(SELECT 1) AS nothing"
        where = "FALSE" if table is None else of_test(found, plan.sheet.experiment) if name == "assignments" else "TRUE"
        plan.con.execute(f"CREATE OR REPLACE TEMP VIEW calls_{name} AS SELECT {', '.join(cells)} FROM {rows} "
                         f"WHERE {where}")  # fmt: skip
    for name in ("cohort", "customers"):
        refuse_duplicates(plan.con, f"calls_{name}", called=f"Table {tables[name]}")
    _refuse_assignments(plan)


def columns_found(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the columns of a table with their types; refuse customers that are no whole numbers or text."""
    import duckdb

    try:
        found = columns_of(con, f"SELECT * FROM {table}")
    except duckdb.Error as error:
        raise WinbackError(f"Table {table} cannot be read: {short(str(error).splitlines()[0], 200)} Give the name of a "
                           "table of the engine.") from None  # fmt: skip
    if found.get("customer_id") in REAL:
        raise WinbackError(f"Table {table}: customer_id holds {found['customer_id']}, which writes 7 as 7.0. Cast it "
                           "to BIGINT or VARCHAR.")  # fmt: skip
    return found


def of_test(found: Collection[str], experiment: str) -> str:
    """Return the SQL of which assignments are of a test and stand, given the columns there are."""
    tests = [f"experiment = {literal(experiment)}"] if "experiment" in found else []
    tests += ["released_at IS NULL"] if "released_at" in found else []  # of the ledger
    return " AND ".join(tests) or "TRUE"


def cell(column: str, kind: str, found: Mapping[str, str]) -> str:
    """Return the SQL of a column, NULL where the table has none."""
    return f"CAST({quote(column) if column in found else 'NULL'} AS {kind}) AS {quote(column)}"


def _refuse_assignments(plan: _Plan) -> None:
    """Refuse an arm the sheet does not know, and customers without a day to count from."""
    rows, empty, dated = plan.con.execute(
        'SELECT count(*), count(*) - count(customer_id), count("at") FROM calls_assignments'
    ).fetchall()[0]
    if not rows or empty:
        raise WinbackError(f"{empty:,} of {rows:,} rows of the assignments have no customer. Assign customers first: "
                           "`winback assign`.")  # fmt: skip
    for (arm,) in plan.con.execute("SELECT DISTINCT arm FROM calls_assignments ORDER BY 1").fetchall():
        if arm not in plan.sheet.arms:
            raise WinbackError(f"The assignments have an arm {arm!r} that the sheet does not know. "
                               f"{did_you_mean(arm, plan.sheet.arms)}")  # fmt: skip
    if dated < rows and plan.rules.first_day is None:
        raise WinbackError(f"{rows - dated:,} of {rows:,} assignments have no day (`at`). Say when contacts begin: "
                           "`contacts: {first_day: 2026-03-02}`.")  # fmt: skip


# ---- what the rules say


def _judge(
    plan: _Plan,
    told: Mapping[str, Told],
    causes: Mapping[str, dt.date | None],
    *,
    asks_consent: bool,
    stopped: Sequence[str],
) -> list[tuple[int, ...]]:
    """Judge every assigned customer by every rule; return the teams of callers, as places."""
    rules, day = plan.rules, plan.rules.first_day
    plan.fill("calls_causes", {"reason": "VARCHAR", "fixed": "DATE"}, list(causes.items()))
    plan.run("people", holdout=literal(plan.sheet.holdout) if plan.sheet.holdout else "NULL",
             experiment=literal(plan.sheet.experiment))  # fmt: skip
    _pitch(plan, told)
    teams = _teams(plan)
    first = f"DATE '{day}'" if day else "CAST(NULL AS DATE)"
    plan.run(
        "judged", contactable_only=rules.contactable_only, fixed_first=rules.fixed_first,
        apology_with_offer=rules.apology_with_offer, attempts=_number(rules.attempts), first_day=first,
        begin=f'greatest(p."at", {first})' if day else 'p."at" + 1', waiting_days=rules.waiting_days,
        deadline_days=_number(rules.deadline_days), channels=len(rules.channel_names),
        asks_consent=asks_consent, stopped=f"CAST([{', '.join(map(literal, stopped))}] AS VARCHAR[])",
        apology_for=f"CAST([{', '.join(map(literal, rules.apology_for))}] AS VARCHAR[])",
    )  # fmt: skip
    return teams


def _number(value: int | None) -> str:
    return f"CAST({'NULL' if value is None else value} AS INTEGER)"


def _pitch(plan: _Plan, told: Mapping[str, Told]) -> None:
    """Make the table of what the customers of an arm and stratum are offered, in words."""
    query = "SELECT DISTINCT arm, stratum FROM calls_people WHERE NOT held_out ORDER BY 1, 2"
    pairs = plan.con.execute(query).fetchall()
    offers = plan.sheet.every_offer
    rows = []
    for arm, stratum in pairs:
        factors = dict(zip(plan.sheet.strata, (stratum or "").split(SEPARATOR), strict=False))
        name, words = tell(arm, offers, factors=factors, currency=plan.sheet.currency, told=told)
        rows.append((arm, stratum, name if words.gives else None, words.label, words.terms, words.until, words.days))
    kinds = {"arm": "VARCHAR", "stratum": "VARCHAR", "offer": "VARCHAR", "label": "VARCHAR", "terms": "VARCHAR",
             "until": "DATE", "days": "INTEGER"}  # fmt: skip
    plan.fill("calls_pitches", kinds, rows)


def _teams(plan: _Plan) -> list[tuple[int, ...]]:
    """Make the table of who may call the customers of a line, manager and class; return the different teams."""
    query = "SELECT DISTINCT line, manager, tier FROM calls_people WHERE known ORDER BY ALL"
    groups = plan.con.execute(query).fetchall()
    teams: dict[tuple[int, ...], int] = {}
    rows: list[tuple[object, ...]] = []
    for line, manager, tier in groups:
        team, why = _team(plan.rules, line=line, manager=manager, tier=tier)
        place = None if why else teams.setdefault(team, len(teams))
        rows.append((line, manager, tier, place, len(team) or None, why))
    kinds = {"line": "VARCHAR", "manager": "VARCHAR", "tier": "VARCHAR", "team": "INTEGER", "size": "INTEGER",
             "why": "VARCHAR"}  # fmt: skip
    plan.fill("calls_teams", kinds, rows)
    return list(teams)


def _team(
    rules: ContactRules, *, line: str | None, manager: str | None, tier: str | None
) -> tuple[tuple[int, ...], str | None]:
    """Return who may call such a customer, or the rule by which nobody may."""
    serving = {name: caller for name, caller in rules.callers.items()
               if _serves(caller.lines, line) and _serves(caller.managers, manager)
               and _serves(rules.tiers_of(name), tier)}  # fmt: skip
    if rules.head_calls and tier == TOP_CLASS:
        serving = {name: caller for name, caller in serving.items() if caller.head}
        if not serving:
            return (), "no_head"
    if not serving:
        return (), "no_caller"
    if rules.not_own_manager and manager is not None:
        serving = {name: caller for name, caller in serving.items() if same_name(name) != same_name(manager)}
    names = list(rules.callers)
    return tuple(names.index(name) for name in serving), None if serving else "own_manager"


def _serves(served: Sequence[str], value: str | None) -> bool:
    return not served or value in served


# ---- who, when, how


def _seat(plan: _Plan, teams: Sequence[tuple[int, ...]], *, asks_consent: bool) -> None:
    """Give everybody whom no rule keeps a day and a caller, as far as there is room."""
    callers = list(plan.rules.callers)
    plan.run("order", vary_caller="caller" in plan.rules.vary)
    openings = plan.run("openings").fetchall()
    # All that leaves the engine of a customer: the place in the order, and which days and callers are open to it.
    rows = plan.con.execute("SELECT opening FROM calls_order ORDER BY place").fetchall()
    order = [opening for (opening,) in rows]
    days = _days(plan.rules, openings)
    windows = []
    for team, drawn, ready, deadline in openings:
        open_to = teams[team] if drawn is None else (teams[team][drawn],)
        first, last = bisect_left(days, ready), bisect_right(days, _last(ready, deadline)) - 1
        windows.append(Window(open_to, first, last))
    seats = seat(order, windows, capacity=[plan.rules.capacity_of(name) for name in callers], days=len(days))
    taken = [(place, days[slot[0]], slot[1]) for place, slot in enumerate(seats) if slot is not None]
    plan.fill("calls_seats", {"place": "BIGINT", "day": "DATE", "caller": "INTEGER"}, taken)
    plan.fill("calls_callers", {"place": "INTEGER", "name": "VARCHAR"}, list(enumerate(callers)))
    variables = ", ".join(map(quote, plan.sayable))
    channel = _channel(plan.rules)
    if asks_consent:  # by a channel that they allow, if not by the one that the rules say
        channel = f"CASE WHEN list_contains(o.allowed, {channel}) THEN {channel} ELSE o.allowed[1] END"
    plan.run("seated", variables=variables, channel=channel)


def _last(ready: dt.date, deadline: dt.date | None) -> dt.date:
    """Return the last day a customer may be called; a list that goes on for ever is no plan."""
    furthest = ready + dt.timedelta(days=FURTHEST)
    return furthest if deadline is None else min(deadline, furthest)


def _days(rules: ContactRules, openings: Sequence[tuple[Any, ...]]) -> list[dt.date]:
    """Return the working days from the first on which anybody may be called to the last."""
    if not openings:
        return []
    first, last = min(ready for _, _, ready, _ in openings), max(_last(*opening[2:]) for opening in openings)
    span = (first + dt.timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in span if rules.is_working(day)]


def _channel(rules: ContactRules) -> str:
    """Return the SQL of how a customer is contacted: as drawn, or by the days since the loss on the day of contact."""
    if "channel" in rules.vary:
        return f"CAST([{', '.join(map(literal, rules.channel_names))}] AS VARCHAR[])[o.channel_drawn + 1]"
    *early, last = rules.channels
    cases = " ".join(f"WHEN date_diff('day', o.lost_at, s.day) <= {one.up_to_days} THEN {literal(one.channel)}"
                     for one in early)  # fmt: skip
    return f"CASE {cases} ELSE {literal(last.channel)} END" if cases else literal(last.channel)


# ---- what is wrong


def _violations(plan: _Plan) -> list[Finding]:
    """Return every rule that is broken before anybody calls, with how many customers."""
    names = [name for name in JUDGED if RULES[name].state != "pass"]
    counts = ", ".join(f"count(CASE WHEN {name} THEN 1 END)" for name in names)
    asked, *found = plan.run("violations", counts=counts).fetchall()[0]
    query = "SELECT (SELECT count(*) FROM calls_order) - (SELECT count(*) FROM calls_seats)"
    full = plan.con.execute(query).fetchall()[0][0]
    broken = zip([*names, "no_capacity"], [*found, full], strict=True)
    return [
        Finding(key=name, state=RULES[name].state, facts={"customers": number, "asked": asked})
        for name, number in broken
        if number
    ]


# ---- what is said


def _say(plan: _Plan, scripts: Scripts) -> list[Finding]:
    """Make the table `calls` with the words; return what is wrong with the scripts."""
    own = scripts.own()
    said: list[tuple[object, ...]] = []
    variables = ", ".join(map(quote, plan.sayable))
    sayings = plan.con.execute("SELECT coalesce(max(saying) + 1, 0) FROM calls_seated").fetchall()[0][0]
    for first in range(0, sayings, STEP):
        for saying, *values in plan.run("sayings", variables=variables, first=first, last=first + STEP).fetchall():
            known = _variables(plan.rules, values)
            words = scripts.say(known)
            said.append((saying, words.words, scripts.offer(known), words.script, words.ours))
    kinds = {"saying": "BIGINT", "words": "VARCHAR", "offer": "VARCHAR", "script": "VARCHAR", "ours": "BOOLEAN"}
    plan.fill("calls_words", kinds, said)
    show = "".join(f"s.{quote(f'show_{name}')}, " for name in plan.rules.show)
    plan.run("calls", experiment=literal(plan.sheet.experiment), show=show)
    return [*_no_script(plan), *_unused(own, {str(script) for *_, script, _ in said})]


def _variables(rules: ContactRules, values: Sequence[object]) -> dict[str, object]:
    """Return what a script may use; the customer's name is empty unless shown."""
    return {"name": None} | dict(zip((*SAYABLE, *rules.show), values, strict=True))


def _no_script(plan: _Plan) -> list[Finding]:
    """Return a warning where customers with an offer would hear our general words."""
    customers, on_list, offers = plan.run("general").fetchall()[0]
    if not customers:
        return []
    script = names_of("", offers[0])[0]  # to write
    facts = {"customers": customers, "listed": on_list, "offers": tuple(offers), "script": script}
    return [Finding(key="no_script", state="warn", facts=facts)]


def _unused(own: Sequence[str], used: set[str]) -> list[Finding]:
    """Return a warning for scripts of the user that nobody hears: perhaps a name is misspelt."""
    unheard = tuple(name for name in own if name not in used)
    return [Finding(key="unused_script", state="warn", facts={"scripts": unheard})] if unheard else []


def _counted(plan: _Plan, violations: tuple[Finding, ...]) -> Calls:
    """Return the figures of the list."""
    con, rules = plan.con, plan.rules
    why = dict(con.execute("SELECT why, count(*) FROM calls_not_listed GROUP BY why").fetchall())
    on_list = con.execute("SELECT count(*) FROM calls").fetchall()[0][0]
    loads = (Load(caller=caller, capacity=rules.capacity_of(caller), customers=number, days=days, first_day=first,
                  last_day=last)
             for caller, number, days, first, last in plan.run("loads").fetchall())  # fmt: skip
    channels = dict(con.execute("SELECT channel, count(*) FROM calls GROUP BY channel").fetchall())
    return Calls(
        experiment=plan.sheet.experiment, assigned=on_list + sum(why.values()), listed=on_list,
        not_listed=tuple(Left(rule=name, label=rule.label, customers=why[name])
                         for name, rule in RULES.items() if name in why),
        loads=tuple(loads), channels=tuple((name, channels[name]) for name in rules.channel_names if name in channels),
        violations=violations,
    )  # fmt: skip


# ---- the list


def list_columns(rules: ContactRules) -> tuple[Column, ...]:
    """Return the columns of the list: what the caller must know, then what the caller fills in."""
    place = KNOWN.index("customer_id") + 1
    names = (*KNOWN[:place], *rules.show, *KNOWN[place:], *FILLED_IN)
    return tuple(Column(name=name, kind=KINDS.get(name, "text"), fill_in=name in FILLED_IN) for name in names)


def write_calls(
    con: duckdb.DuckDBPyConnection, path: Path, *, rules: ContactRules, separator: str = ",", replace: bool = False
) -> int:
    """Write the table `calls` as CSV or XLSX for the callers, one sheet a caller; return how many customers.

    Rows leave the engine a few at a time. Raises WinbackError, also for a file that is there unless `replace`.
    """
    columns = list_columns(rules)
    named = {column.name: f"show_{column.name}" if column.name in rules.show else column.name for column in columns}
    cells = ", ".join("NULL" if column.fill_in else quote(named[column.name]) for column in columns)
    found = con.execute("SELECT DISTINCT experiment FROM calls").fetchall()
    about = f"Call list of {found[0][0]}" if found else "Call list"
    con.execute(f"SELECT {cells} FROM calls ORDER BY caller_place, day, place")
    return write_list(path, _rows(con), columns=columns, sheet_by="caller", separator=separator, about=about,
                      replace=replace)  # fmt: skip


def _rows(con: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := con.fetchmany(CHUNK):
        yield from rows


def keep_calls(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Add the table `calls` to the register of whoever was on a list of a test, a Parquet file; no names go there.

    `import_contacts` takes back only customers of the register. A customer listed again has the last list's day.
    """
    names = "experiment, customer_id, arm, day, caller, channel, deadline, attempt"
    earlier = f"read_parquet({literal(path)})" if path.is_file() else f"(SELECT {names} FROM calls WHERE FALSE)"
    con.execute(statements("calls")["register"].format(earlier=earlier))
    clear_parts(path)
    write_parquet(con, "calls_register", path, private=True)
