"""Who is lost, since when and by which rule: the cohort a test starts with.

The engine folds purchases to one row a customer and judges it (`sql/lost.sql`). No customer leaves the engine but
into cohort.parquet; `summarise` reads the sums. Section 6 of the design.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from math import ceil, inf
from pathlib import Path

from experiments.campaign.consent import find_allowed
from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.finding import Finding
from experiments.common.run_records import warn_of_unregistered
from experiments.common.today import today
from experiments.data.columns import literal
from experiments.data.contracts import CONTRACTS
from experiments.data.tables import (
    SLACK,
    Account,
    columns_of,
    complete,
    connect,
    noted,
    read,
    refuse_duplicates,
    same_ids,
    write_parquet,
)
from experiments.lost.look import Look
from experiments.lost.results import PRIORITY, Cohort
from experiments.lost.summary import summarise
from experiments.readout.lessons import Learned, learned_from
from experiments.readout.readout import Readout
from experiments.sheet.lost_rules import Limit, Lost
from experiments.sheet.sheet import Sheet, changed, loaded

OPTIONAL = ("customers", "reasons", "inquiries", "changes", "contacts", "known_lost", "assignments", "consents")
MADE = ("assignments", "contacts")  # of a test: there is none before it begins
USED = ("reasons", "inquiries", "changes", "known_lost")  # beside purchases and customers
RANGES = {  # of columns of customers: what they may hold, and the cure
    "nps": ("nps BETWEEN 0 AND 10", "Write 0 to 10."),
    "hours": ("hours >= 0", "Write hours a year, 0 or more."),
    "referrals": ("referrals >= 0", "Write how many, 0 or more."),
    "complaint": ("complaint IN ('none', 'resolved', 'unresolved')", "Write none, resolved or unresolved."),
}
MANY = 2_000_000  # purchases above which one customer in SAMPLE is enough to see whether days have several
SAMPLE = 64
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
STALE = 7  # days without any purchase before the day, from which on the page says so
NEVER = 2**31 - 1  # inquiries nobody makes: the rule is off
BYTES = {"each_row": 12, "each_block": 110, "medians": 180}  # of memory that folding takes for each purchase, at most


def find_lost(
    sheet: str | Path | Sheet, folder: Path | None = None, *, out: str | Path | None = None, **changes: object
) -> Cohort:
    """Find the lost customers of a company on a day, by the rules of the sheet's `lost:`.

    `changes` replace settings of `lost:`, such as as_of="2026-01-31", silent_days=60 or times=2; None keeps the
    sheet's. With `out` the lost customers go to `<out>/cohort.parquet`, one row each. Raises WinbackError for tables
    that do not fit, and for a day at which the data cannot tell who is lost.
    """
    path = "" if isinstance(sheet, Sheet) else Path(sheet).as_posix()
    sheet = loaded(sheet, folder)
    with connect() as con:
        look = Look(con=con, sheet=sheet, rule=_rule(sheet, changes), folder=sheet.folder)
        accounts = _read(look)
        look = replace(look, last_day=accounts[0].last)
        accounts[0] = _fold(look, accounts[0])
        learned = _learn(look)
        _judge(look, learned)
        accounts = [_used(look, account) for account in accounts]
        found = summarise(look, sheet=path, learned=learned, accounts=accounts)
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
            con.execute("SET preserve_insertion_order = true")  # the same bytes from any number of cores
            write_parquet(con, "(FROM cohort ORDER BY customer_id)", Path(out) / "cohort.parquet", private=True)
    return found


def _rule(sheet: Sheet, changes: dict[str, object]) -> Lost:
    """Return the sheet's rules with the changes, each limit of a part of the customers whole; a day is needed."""
    wanted = {name: value for name, value in changes.items() if value is not None}
    if sheet.lost is None and "as_of" not in wanted:
        raise WinbackError("The sheet does not say on which day to look. Add `lost: {as_of: 2026-01-31}`.")
    base = sheet.lost.model_dump(exclude_unset=True) if sheet.lost else {}
    rule = changed(sheet, {"lost": base | wanted}).lost
    if rule is None or "purchases" not in sheet.tables:
        raise WinbackError("The sheet names no table `purchases`, so nobody knows who fell silent. Add it.")
    return rule.model_copy(update={"each": {value: rule.limit_of(value) for value in rule.each}})


def _read(look: Look) -> list[Account]:
    """Read every table the look can use; those there are not become empty ones with all their columns."""
    con, sheet = look.con, look.sheet
    there = {name for name, source in sheet.tables.items() if name not in MADE or source.there(look.folder)}
    names = ["purchases", *(name for name in OPTIONAL if name in there)]
    accounts = [
        read(con, name, sheet.tables[name], folder=look.folder, conventions=sheet.conventions, needed=["margin"])
        for name in names
    ]
    same_ids(con, *(name for name in names if name != "changes"))
    for name in OPTIONAL:
        complete(con, name, like="purchases", known=name in names)
    if "customers" in names:
        refuse_duplicates(con, "customers")
        _refuse_odd_values(look)
    _refuse_unknowable(look, names)
    con.execute("CREATE TEMP TABLE families (reason VARCHAR, family VARCHAR, ours BOOLEAN, fixed DATE)")
    for reason, cause in look.rule.reasons.items():
        con.execute("INSERT INTO families VALUES (?, ?, ?, ?)", [reason, cause.family, cause.ours, cause.fixed])
    return accounts


def _refuse_unknowable(look: Look, names: list[str]) -> None:
    """Refuse a rule whose column nobody has, and values of `by` and reasons that no customer has."""
    rule, con = look.rule, look.con
    needed = {"nps": ("customers", "nps"), "asked": ("inquiries", "ordered"), "conflict": ("customers", "complaint"),
              "unreachable": ("customers", "unreachable"), "contractual": ("customers", "cancelled_at"),
              "by": ("customers", rule.by or ""), "hour_cost": ("customers", "hours")}  # fmt: skip
    for setting, (table, column) in needed.items():
        value = getattr(rule, setting)
        if value is not None and value is not False and (table not in names or column not in columns_of(con, table)):
            raise WinbackError(f"`lost: {{{setting}: ...}}` needs the column {column!r} of the table {table}, which is "
                               f"not there. Add it under `tables`, or leave {setting} out.")  # fmt: skip
    named: list[tuple[str, Iterable[str], str, str]] = [("each", rule.each, "customers", rule.by or ""),
                                                        ("reasons", rule.reasons, "reasons", "reason")]  # fmt: skip
    for setting, wanted, table, column in named:
        if wanted and table not in names:
            raise WinbackError(f"`lost: {{{setting}: ...}}` needs the table {table}, which is not there. Add it under "
                               f"`tables`, or leave {setting} out.")  # fmt: skip
        if wanted:
            there = [row[0] for row in con.execute(f"SELECT DISTINCT {column} FROM {table} ORDER BY 1").fetchall()]
            for value in wanted:
                if value not in there:
                    raise WinbackError(f"`lost: {{{setting}: ...}}` speaks of {value!r}, but no customer has it in "
                                       f"{table}.{column}. {did_you_mean(value, filter(None, there))}")  # fmt: skip


def _refuse_odd_values(look: Look) -> None:
    """Refuse what no customer can have: a scale exceeded, a word nobody knows, a number that means missing."""
    for column, (fits, cure) in RANGES.items():
        rows, odd, example = look.con.execute(
            f"SELECT count(*), count(CASE WHEN NOT ({fits}) THEN 1 END), min(CASE WHEN NOT ({fits}) THEN {column} END) "
            "FROM full_customers"
        ).fetchall()[0]
        if odd:
            raise WinbackError(f"Table customers, column {column!r}: {odd:,} of {rows:,} rows are no {column}, for "
                               f"example {str(example)!r}. {cure} What means a missing value: `missing: "
                               f"[{str(example)!r}]`.")  # fmt: skip


def _used(look: Look, account: Account) -> Account:
    """Return the account of a table beside the purchases: rows of nobody, or after the day, count for nothing."""
    table, columns = account.table, CONTRACTS[account.table]
    if table not in USED:
        return account
    strangers = "NOT EXISTS (SELECT 1 FROM people AS p WHERE p.customer_id = t.customer_id)"
    stranger = strangers if table in ("reasons", "known_lost") else "FALSE"
    late = f"""coalesce("at" > DATE '{look.rule.as_of}', FALSE)""" if "at" in columns else "FALSE"
    left, strange = look.con.execute(f"SELECT count(CASE WHEN {late} OR {stranger} THEN 1 END), count(CASE WHEN "
                                     f"{stranger} THEN 1 END) FROM full_{table} AS t").fetchall()[0]  # fmt: skip
    why = [noted("after", n=left - strange, day=str(look.rule.as_of))] if left > strange else []
    why += [noted("nobody_known", n=strange)] if strange else []
    return replace(account, kept=account.rows - left, why=tuple(why))


def _fold(look: Look, account: Account) -> Account:
    """Make one row a customer with purchases: `history`, and `medians` where the rule asks for them."""
    con, rule, kind = look.con, look.rule, columns_of(look.con, "purchases")["customer_id"]
    con.execute(f"CREATE TEMP TABLE history (customer_id {kind}, purchases INTEGER, first DATE, last DATE, "
                "revenue BIGINT, margin BIGINT, months BIGINT)")  # fmt: skip
    con.execute(f"CREATE TEMP TABLE medians (customer_id {kind}, gap DOUBLE)")
    look.make("calendar")
    account = _accounted(look, account)
    days, more = con.execute(look.text("same_days", where=_part(look, 0, SAMPLE if account.rows > MANY else 1))
                             ).fetchall()[0]  # fmt: skip
    how = "each_block" if days else "each_row"
    count = _parts(look, account.rows, how)
    margin = "margin" if "margin" in columns_of(con, "purchases") else "amount"
    for place in range(count):
        where = _part(look, place, count)
        look.make(how, where=where, margin=margin)
        if rule.interval == "median":
            look.make("medians", where=where)
    large = account.rows > MANY
    if not days and not large:
        return account
    same = Finding(key="same_day", state="pass", case="none" if not days else "sample" if large else "all",
                   facts={"n": more or 0, "sample": SAMPLE})  # fmt: skip
    return replace(account, notes=(*account.notes, same))


def _accounted(look: Look, account: Account) -> Account:
    """Return where the purchases go; refuse a day at which the data cannot tell who is lost."""
    rule, day = look.rule, look.rule.as_of
    if day > today() + SLACK:
        raise WinbackError(
            f"`lost: {{as_of: {day}}}` lies in the future, today is {today()}: nobody knows who will be lost then. "
            "Choose the day to which the data reach."
        )
    before, early, refunds, late, first, last = look.con.execute(
        look.text("reach", start=rule.start or date.min)
    ).fetchall()[0]
    if last is None:
        since = f" since {rule.start}" if rule.start else ""
        cure = "an earlier `start:`" if rule.start and early else "a later day: `lost: {as_of: ...}`"
        raise WinbackError(
            f"Nobody bought anything{since} up to {day}. The first purchase is of {first}. Choose {cure}."
        )
    silent, limits = (day - last).days, [rule.limit, *map(rule.limit_of, rule.each)]
    fixed = [limit.silent_days or inf for limit in limits if limit.times is None]
    if not rule.contractual and len(fixed) == len(limits) and silent > max(fixed):
        raise WinbackError(f"The last purchase up to {day} is of {last}, {silent} days before: all would be lost. "
                           f"Choose the day to which the data reach: `lost: {{as_of: {last}}}`.")  # fmt: skip
    why = [noted("before_start", n=early, start=str(rule.start))] if early else []
    why += [noted("after_only_returns", n=late, day=str(day))] if late else []
    notes = [noted("refunds", n=refunds)] if refunds else []
    notes += [noted("stale", n=silent, day=str(day))] if silent > STALE else []
    return replace(account, kept=before, why=tuple(why), notes=(*account.notes, *notes))


def _part(look: Look, place: int, count: int) -> str:
    """Return the SQL that keeps one part of the customers; how they are parted never shows in a result."""
    start = f"""purchases."at" >= DATE '{look.rule.start}'""" if look.rule.start else "TRUE"
    return f"{start} AND hash(customer_id) % {count} = {place}" if count > 1 else start


def _parts(look: Look, rows: int, how: str) -> int:
    """Return in how many parts the customers are folded, so that one part fits into half of the engine's memory."""
    number, unit = look.value("SELECT current_setting('memory_limit')").split()
    memory = float(number) * UNITS[unit]
    widest = max(BYTES[how], BYTES["medians"] if look.rule.interval == "median" else 0)
    return max(1, ceil(rows * widest / (memory / 2)))


def _judge(look: Look, learned: Learned | None) -> None:
    """Make the table `judged`, one row a customer, and the view `cohort` of the lost."""
    rule = look.rule
    look.make("offered", holdout=literal(look.sheet.holdout or ""))
    look.make("again")
    look.make("asking", asked=rule.asked or NEVER)
    look.make("stated")
    look.make("why")
    find_allowed(look.con, look.sheet.contacts.channel_names, day=rule.as_of)
    cuts = look.rows("cuts", a=rule.abc[0], b=rule.abc[1])[0]
    mean = "CASE WHEN h.purchases > 1 THEN CAST(date_diff('day', h.first, h.last) AS DOUBLE) / (h.purchases - 1) END"
    few = {"minimum_days": rule.minimum_days, "minimum_purchases": rule.minimum_purchases}
    limits = {name: _limit(rule, name) for name in ("silent_days", "times")}
    look.make("people", gap="m.gap" if rule.interval == "median" else mean, margin=_margin(look), **few, **limits)
    look.make("fired", silence=not rule.contractual, cancelled=rule.cancelled, nps=rule.nps is not None,
              nps_limit=rule.nps or 0, unreachable=rule.unreachable, conflict=rule.conflict)  # fmt: skip
    classes = " ".join(f"WHEN '{abc}{xyz}' THEN '{name}'" for (abc, xyz), name in PRIORITY.items())
    look.make("judged", cut_a=cuts["a"] or NEVER, cut_b=cuts["b"] or NEVER, x=rule.xyz[0], y=rule.xyz[1],
              hour_cost=look.hour_cost, classes=classes, fixed_first=rule.fixed_first,
              asks_consent="consents" in look.sheet.tables, kept_since=_kept_since(look), **few)  # fmt: skip
    look.make("cohort", **_expected(look, learned))


def _kept_since(look: Look) -> str:
    """Return the SQL of the day before which a customer's own last contact is too long ago; none where none is said."""
    months = look.sheet.keep_months
    return f"DATE '{look.rule.as_of}' - INTERVAL {months} MONTH" if months else "CAST(NULL AS DATE)"


def _margin(look: Look) -> str:
    """Return the SQL of a customer's margin: of the purchases, or the sheet's share of revenue, in millionths."""
    share = look.sheet.margin_share
    if share == 1 or look.knows("purchases", "margin"):
        return "coalesce(h.margin, 0)"
    whole = "CAST(coalesce(h.margin, 0) AS DECIMAL(38, 0))"
    return f"CAST(floor(CAST({whole} * {round(1_000_000 * share)} AS DOUBLE) / 1000000) AS BIGINT)"


def _expected(look: Look, learned: Learned | None) -> dict[str, str]:
    """Return the SQL of P(return) x second value - cost, the value in proportion to the customer's own worth.

    On average over the contactable of a reason that is the gain of the past test there, whatever the cost: the test
    tells the cost of all its customers only, so that stands in for the one of the reason.
    """
    if learned is None:
        return {"expected": "CAST(NULL AS BIGINT)", "learned": ""}
    segments = ", ".join(literal(lesson.segment) for lesson in learned.lessons)
    segment = f"CASE WHEN reason IN ({segments}) THEN reason ELSE '' END"
    rows = look.query(f"SELECT {segment} AS segment, CAST(sum(worth) AS DOUBLE) / count(*) AS mean FROM judged "
                      "WHERE step = 'contactable' GROUP BY 1")  # fmt: skip
    means = {row["segment"]: row["mean"] for row in rows}
    look.con.execute("CREATE TEMP TABLE learned (reason VARCHAR, per_worth DOUBLE, cost DOUBLE)")
    for lesson in learned.lessons:
        value = ((lesson.gain.value or 0.0) + lesson.cost) / (means.get(lesson.segment) or 1.0)
        row = [lesson.segment, look.minor * value, look.minor * lesson.cost]
        look.con.execute("INSERT INTO learned VALUES (?, ?, ?)", row)
    return {
        "expected": "CAST(floor(l.per_worth * j.worth - l.cost) AS BIGINT)",
        "learned": f"JOIN learned AS l ON l.reason = {segment.replace('reason', 'j.reason')}",
    }


def _learn(look: Look) -> Learned | None:
    """Return what the past test named in the sheet teaches."""
    if look.rule.learn_from is None:
        return None
    path = look.folder / look.rule.learn_from
    readout = Readout.load(path)
    warn_of_unregistered(path)
    if readout.currency != look.sheet.currency:
        raise WinbackError(f"The past test {look.rule.learn_from} is in {readout.currency}, the sheet in "
                           f"{look.sheet.currency}. Choose a test in the same currency for `learn_from`.")  # fmt: skip
    found = learned_from(readout)
    if found is None:
        raise WinbackError(f"The past test {look.rule.learn_from} teaches no money: it has no holdout, or was read "
                           "before its day, or no offer brought anybody back. Leave `learn_from` out.")  # fmt: skip
    return found


def _limit(rule: Lost, name: str) -> str:
    """Return the SQL of a setting of the silence rule: one number, or one for each value of `by`."""

    def number(limit: Limit) -> str:
        value = getattr(limit, name)
        return "CAST(NULL AS DOUBLE)" if value is None else f"CAST({value!r} AS DOUBLE)"

    if not rule.by:
        return number(rule.limit)
    cases = " ".join(f"WHEN {literal(value)} THEN {number(limit)}" for value, limit in rule.each.items())
    return f"CASE {rule.by} {cases} ELSE {number(rule.limit)} END"
