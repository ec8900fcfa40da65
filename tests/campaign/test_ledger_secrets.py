"""A password of the ledger reaches no file, no message, no list of processes; who is not let in is told why."""

import datetime as dt
import logging
from contextlib import contextmanager

import duckdb
import psutil
import pytest
import yaml
from pydantic import ValidationError

from experiments.campaign.assign import assign_test
from experiments.campaign.ledger import open_ledger
from experiments.campaign.sheet_ledger import address_of, ledger_of
from experiments.cli import main
from experiments.common.errors import WinbackError
from experiments.sheet.ledger_address import read_address
from experiments.sheet.locked_plan import lock, read_plan
from experiments.sheet.sheet import Sheet, changed, read_sheet

DAY = dt.date(2026, 3, 1)
PARTS = ("Zq7", "xW9")  # of every password: neither may be seen
SIGNS = ["/", "#", " #", "?", "@", "[", "]", "%", "%zz", "%40", ":", ": ", " ", "é", "'", '"', "\\", "&", "=", ",", ";",
         "$", "://", "|", "<", "{", "}", "!", "*", "`", "@h/d?a=b#"]  # fmt: skip
PASSWORDS = [
    *(f"Zq7{sign}xW9" for sign in SIGNS),
    *(f"{sign}Zq7xW9" for sign in "/#?@[%:!&*'\"|>-=,{` "),
    *("77/Zq7@xW9", "77/Zq7 #xW9", "77?Zq7=xW9", "Zq7xW9"),
]
FORMS = [
    "postgresql://ann:{}@db.example/crm",
    "postgresql://ann:{}@db.example:5432/crm?sslmode=require",
    "PostgreSQL://ann:{}@db.example/crm",
    " postgres://ann:{}@db.example/crm",
    "postgresql:/ann:{}@db.example/crm",
    "jdbc:postgresql://db.example/crm?user=ann&password={}",
    "postgresql+psycopg://ann:{}@db.example/crm",
    "mysql://ann:{}@db.example/crm",
    "ann:{}@db.example/crm",
    "//ann:{}@db.example/crm",
    "postgresql://ann@db.example/crm?password={}",
    "postgresql://ann@db.example/crm?pass%77ord={}",
    "postgresql://db.example/crm?user=ann&sslpassword={}",
    "host=db.example dbname=crm password={}",
    "host=db.example dbname=crm password = '{}'",
    "password='{}' host=db.example dbname=crm",
    "host=db.example dbname=crm pass={}",
    "host=db.example dbname=crm sslpassword={}",
    "host=ann:{}@db.example dbname=crm",
    "host=db.example dbname=ann:{}@crm",
]
BASE = {
    "experiment": "toy",
    "holdout": "hold",
    "arms": {"hold": {"share": 1}, "A": {"share": 1}},
    "tables": {"outcomes": {"file": "outcomes.csv"}},
}


def hidden(*texts):
    """Refuse a text that shows a part of a password."""
    for text in texts:
        assert not [part for part in PARTS if part in str(text)], text


def sheet_of(folder, text="", **settings):
    file = folder / "sheet.yml"
    content = yaml.safe_dump(BASE, sort_keys=False)
    file.write_text(content + (yaml.safe_dump(settings, allow_unicode=True) if settings else text), encoding="utf-8")
    return file


@contextmanager
def refused(match):
    with pytest.raises(WinbackError, match=match) as error:
        yield
    hidden(error.value, repr(error.value))


# At the door.
@pytest.mark.parametrize("form", FORMS)
def test_a_password_in_an_address_is_refused_and_not_shown(tmp_path, form, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    good = Sheet.model_validate(BASE)
    cure = "password does not belong|YAML"
    for place, password in enumerate(PASSWORDS):
        address = form.format(password)
        with refused(cure):
            read_address(address)
        if (place + FORMS.index(form)) % 5:  # the rest takes longer: each form with a fifth of them
            continue
        with refused(cure), open_ledger(address):
            pass
        with refused(cure):
            changed(good, {"ledger": address})
        with refused(cure):
            read_sheet(sheet_of(tmp_path, ledger=address))
        with pytest.raises(ValidationError) as error:
            Sheet.model_validate({**BASE, "ledger": address, "tables": 3, "seed": "x"})
        hidden(error.value, repr(error.value), error.value.errors(), error.value.json())
    assert main(["check", str(sheet_of(tmp_path, ledger=form.format(PASSWORDS[0])))]) == 1
    told = capsys.readouterr()
    assert "line" in told.err
    hidden(told.out, told.err, caplog.text)


# As somebody writes it by hand, without quotes, in the wrong place, under another name.
WRITTEN = [
    "ledger: postgresql://ann:{}@db.example/crm\n",
    "ledger: 'postgresql://ann:{}@db.example/crm'\n",
    "ledger: postgresql://ann@db.example/crm?password={}\n",
    "ledger: host=db.example dbname=crm password={}\n",
    "ledger:\n  postgresql://ann:{}@db.example/crm\n",
    "ledger: >-\n  postgresql://ann:{}@db.example/crm\n",
    "ledger:\n  user: ann\n  password: {}\n",
    "ledger:\n  ann: {}\n",
    "ledger: [{}]\n",
    "ledger: [postgresql://ann:{}@db.example/crm]\n",
    "design: {{ledger: 'postgresql://ann:{}@db.example/crm'}}\n",
    "design:\n  ledger: postgresql://ann:{}@db.example/crm\n",
    "postgresql://ann:{}@db.example/crm: x\n",
    "Ledger: postgresql://ann:{}@db.example/crm\n",
    "password: {}\n",
    "ledger_pasword: {}\n",
    "ledger_secret: '{}'\n",
    'pgpassword: "{}"\n',
    "contacts:\n  password: {}\n",
]  # fmt: skip


@pytest.mark.parametrize("written", WRITTEN)
def test_a_password_written_by_hand_is_refused_and_not_shown(tmp_path, written, capsys):
    for password in PASSWORDS:
        file = sheet_of(tmp_path, written.format(password))
        try:
            sheet = read_sheet(file)
        except WinbackError as error:
            hidden(error)
        else:  # YAML took it for nothing, such as a comment
            hidden(repr(sheet), sheet.model_dump())
    main(["check", str(file)])
    told = capsys.readouterr()
    hidden(told.out, told.err)


@pytest.mark.parametrize(
    "name", ["Zq7 xW9", "Zq7-xW9", "7Zq7", "Zq7/xW9", "Zq7é", "Zq7@", "", 7777, ["Zq7"], {"Zq7": "xW9"}]
)
def test_what_is_no_name_of_a_variable_is_refused_and_not_shown(tmp_path, name):
    with refused("name of an environment variable"):
        changed(Sheet.model_validate(BASE), {"ledger_password": name})
    with refused("line 11: ledger_password. This must be the name of an environment variable"):
        read_sheet(sheet_of(tmp_path, ledger_password=name))


def test_a_password_in_place_of_the_name_is_not_shown_by_yaml_either(tmp_path):
    for password in PASSWORDS[:-1]:
        try:
            sheet = read_sheet(sheet_of(tmp_path, f"ledger_password: {password}\n"))
        except WinbackError as error:
            hidden(error)
        else:
            hidden(repr(sheet), sheet.settings())


def test_a_password_that_could_be_a_name_reaches_no_file_and_no_message(tmp_path, server):
    sheet = read_sheet(sheet_of(tmp_path, ledger=server, ledger_password="Zq7xW9"))
    hidden(repr(sheet), sheet.settings())
    with refused("variable that `ledger_password` names is not set, or empty"), ledger_of(sheet):
        pass


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("postgresql://ann@db.example/crm", "db.example/crm"),
        ("postgres://ann%40corp@db:5433/crm?sslmode=require&application_name=x", "db:5433/crm"),
        ("postgresql://ann@a:1,b:2/crm?target_session_attrs=read-write", "a:1,b:2/crm"),
        ("postgresql://[::1]:5/crm?passfile=/home/ann/.pgpass", "::1:5/crm"),
        ("postgresql:///crm?host=/var/run/postgresql", "/var/run/postgresql/crm"),
        ("postgresql:///crm", "postgresql:///crm"),
        ("host=db.example dbname=crm", "db.example/crm"),
        (" host = db.example  port=5433 dbname = 'my crm' user=ann passfile=/a/b", "db.example:5433/my crm"),
        ("dbname=crm", "postgresql:///crm"),
        ("service=crm", "postgresql:///"),
    ],
)
def test_an_address_of_a_server_is_called_by_host_port_and_database(address, name):
    found = read_address(address)
    assert (found.name, repr(found)) == (name, f"Server(name={name!r})")
    sheet = Sheet.model_validate(BASE | {"ledger": address})
    assert address_of(sheet) == address


@pytest.mark.parametrize(
    "address", ["../ledger.duckdb", "C:\\ann@corp\\l.duckdb", "~/a b.duckdb", "./host=x", "/a/x=1/l.db"]
)
def test_a_path_stays_a_path(address):
    assert read_address(address) is None


@pytest.mark.parametrize("address", ["ledger=1.duckdb", "hots=db dbname=crm", "host=db crm", "postgresql:crm",
                                     "host='db", "postgresql://db:x/crm", "postgresql://db/crm?sslmode",
                                     "file:///l.duckdb"])  # fmt: skip
def test_what_is_neither_a_path_nor_an_address_is_no_file_of_that_name(tmp_path, address):
    with refused("no address of a server that can be read.*A file of such a name is ./name"):
        read_sheet(sheet_of(tmp_path, ledger=address))


def test_a_reason_may_be_about_a_password(tmp_path):
    choose = {"lost password": "A", "ledger_b": "A"}
    offers = {"by": "reason", "choose": choose, "kind": "tailored"}
    file = sheet_of(tmp_path, strata=["reason"], catalogue={"mine": offers}, question="Postgres: a@b?")
    assert read_sheet(file).catalogue["mine"].choose == choose


@pytest.mark.parametrize("address", ["postgresql://ann@db.example", "host=db.example", "postgresql://db/"])
def test_an_address_without_a_database_is_refused(address):
    with refused("names no database: each user would have another ledger"):
        read_address(address)


def test_a_plan_locked_with_a_password_is_still_read_and_says_so_without_it(tmp_path, cohort, caplog):
    sheet = read_sheet(sheet_of(tmp_path))
    plan, _ = lock(sheet, cohort=cohort, today=DAY)
    plan.sheet["ledger"] = "postgresql://ann:Zq7xW9@db/crm"
    assert plan.registered().ledger is None
    assert "Change that password" in caplog.text
    hidden(caplog.text)


# A server that asks for a password.
@pytest.fixture
def root(server):
    """Return a connection of the owner of the server; what the test makes there is taken away."""
    import psycopg

    def clear():
        connection.execute("DROP SCHEMA IF EXISTS winback_ledger CASCADE")
        for role in ("keyed", "barred", "poor", "asleep"):
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchall():
                connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    with psycopg.connect(server, autocommit=True) as connection:
        clear()
        yield connection
        connection.execute("GRANT CONNECT, TEMPORARY ON DATABASE postgres TO PUBLIC")
        clear()


@pytest.fixture
def keyed(root, server):
    """Return the address of a user who must give a password, and a function that sets it."""
    from psycopg import sql

    root.execute("CREATE ROLE keyed LOGIN; GRANT CREATE ON DATABASE postgres TO keyed")
    return (
        server.replace("winback@", "keyed@"),
        lambda password: root.execute(sql.SQL("ALTER ROLE keyed PASSWORD {}").format(sql.Literal(password))),
    )


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in ("PGPASSWORD", "PGUSER", "PGHOST", "PGDATABASE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))


@pytest.fixture
def cohort(tmp_path):
    file = tmp_path / "cohort.parquet"
    duckdb.execute(f"COPY (SELECT 'c' || i AS customer_id, TRUE AS contactable FROM range(10) AS t(i)) TO '{file}'")
    return file


def no_process_shows_it():
    for process in psutil.process_iter(["cmdline"]):
        hidden(" ".join(process.info["cmdline"] or []))


def test_the_password_of_the_named_variable_opens_the_ledger_whatever_its_signs(keyed, monkeypatch, caplog):
    address, set_password = keyed
    caplog.set_level(logging.DEBUG)
    for place, password in enumerate(PASSWORDS):
        set_password(password)
        monkeypatch.setenv("CRM_KEY", password)
        with open_ledger(address, create=place == 0, password_variable="CRM_KEY") as ledger:
            assert ledger.bookings() == ()
            hidden(repr(ledger), repr(vars(ledger)), repr(vars(ledger._store)))
            no_process_shows_it()
    hidden(caplog.text)


@pytest.mark.parametrize("way", ["PGPASSWORD", "PGPASSFILE", "passfile="])
def test_libpq_s_own_ways_open_the_ledger(keyed, monkeypatch, tmp_path, way):
    address, set_password = keyed
    password = "Zq7/@ %xW9"
    set_password(password)
    file = tmp_path / "pgpass"
    file.write_text(f"*:*:*:keyed:{password}\n", encoding="utf-8")
    file.chmod(0o600)
    if way == "PGPASSWORD":
        monkeypatch.setenv(way, password)
    elif way == "PGPASSFILE":
        monkeypatch.setenv(way, str(file))
    else:
        address += f"?passfile={file}"
    with open_ledger(address, create=True) as ledger:
        assert ledger.bookings() == ()


@pytest.mark.parametrize("password", ["Zq7/@ %xW9", "'Zq7#?[: éxW9"])
def test_from_the_sheet_to_the_booking_no_file_and_no_word_has_the_password(
    keyed, monkeypatch, cohort, capfd, password
):
    (address, set_password), tmp_path = keyed, cohort.parent
    set_password(password)
    monkeypatch.setenv("CRM_KEY", password)
    file = sheet_of(tmp_path, ledger=address, ledger_password="CRM_KEY")
    sheet = read_sheet(file)
    lock(sheet, cohort=cohort, today=DAY)
    assert assign_test(sheet, cohort=cohort, today=DAY, new_ledger=True).booking.customers == 10
    assert main(["ledger", str(file)]) == 0
    plan = read_plan(sheet)
    lock(sheet.model_copy(update={"ledger_password": None}), cohort=cohort, today=DAY)  # may come after the lock
    told = capfd.readouterr()
    hidden(repr(sheet), str(sheet), repr(plan), told.out, told.err)
    for written in filter(lambda path: path.is_file(), tmp_path.rglob("*")):
        hidden(written.read_bytes().decode("utf-8", errors="replace"))


def test_a_keyword_string_is_the_same_server(keyed, monkeypatch, server):
    address, set_password = keyed
    set_password("Zq7xW9")
    monkeypatch.setenv("CRM_KEY", "Zq7xW9")
    with open_ledger(address, create=True, password_variable="CRM_KEY"):
        pass
    said = read_address(address).parameters
    words = " ".join(f"{name}={value}" for name, value in said.items())
    with open_ledger(words, password_variable="CRM_KEY") as ledger:
        assert ledger.bookings() == ()


# Who is not let in, and what ends in the middle: each with its own cure.
def test_a_wrong_password_and_none_are_told_apart(keyed, monkeypatch):
    address, set_password = keyed
    set_password("other")
    monkeypatch.setenv("CRM_KEY", "Zq7xW9")
    told = "refuses the password, or knows no such user.*PGPASSWORD"
    with refused(told), open_ledger(address, password_variable="CRM_KEY"):
        pass
    with refused("asks for a password, and none was given.*PGPASSFILE"), open_ledger(address):
        pass
    with refused("names is not set, or empty"), open_ledger(address, password_variable="CRM_OTHER"):
        pass
    with refused("must be the name of an environment variable"), open_ledger(address, password_variable="Zq7/xW9"):
        pass


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("winback@", "nobody_here@", r"has no such user.*CREATE ROLE"),
        ("winback@", "barred@", r"lets this user, or this machine, not in.*pg_hba.conf"),
        ("winback@", "asleep@", r"lets this user not log in.*LOGIN"),
        ("winback@", "poor@", r"lacks a right.*GRANT CONNECT ON DATABASE"),
        ("/postgres", "/nowhere", r"There is no such database: 127.0.0.1:\d+/nowhere.*CREATE DATABASE"),
        ("127.0.0.1", "nowhere.invalid", r"no machine has that name|no answer in time|cannot be reached"),
        ("/postgres", "/postgres?sslmode=require", r"agree on no encryption.*sslmode"),
        ("/postgres", "/postgres?sslmode=bent", r"for a reason this program does not know.*psql"),
    ],
)  # fmt: skip
def test_who_is_not_let_in_is_told_why(server, root, old, new, told):
    root.execute("CREATE ROLE asleep NOLOGIN; CREATE ROLE poor LOGIN; CREATE ROLE barred LOGIN")
    root.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    before, _, after = server.partition("://")[2].partition(old)
    with refused(told), open_ledger("postgresql://" + before + new + after):
        pass


def test_a_server_that_is_not_there_is_told():
    told = "127.0.0.1:1/crm cannot be reached: nothing answers there. Start it"
    with refused(told), open_ledger("postgresql://ann@127.0.0.1:1/crm"):
        pass


def put(con):
    con.execute("CREATE OR REPLACE TABLE assigned AS SELECT 'c' || i AS customer_id, 'A' AS arm, 's' AS stratum, "
                "1 AS bucket FROM range(3) AS t(i)")  # fmt: skip


def record(ledger):
    put(ledger._con)
    return ledger.record(experiment="spring", seed=1, plan_hash="abc", at=DAY)


def test_each_right_that_is_missing_is_named_and_those_named_are_enough(server, root):
    root.execute("CREATE ROLE poor LOGIN; REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC")
    poor = server.replace("winback@", "poor@")
    with refused("lacks a right.*GRANT CREATE ON DATABASE"), open_ledger(poor, create=True):
        pass
    with open_ledger(server, create=True):
        pass
    with refused("lacks a right.*GRANT USAGE ON SCHEMA winback_ledger and SELECT"), open_ledger(poor):
        pass
    root.execute("GRANT USAGE ON SCHEMA winback_ledger TO poor")
    root.execute("GRANT SELECT ON ALL TABLES IN SCHEMA winback_ledger TO poor")
    with open_ledger(poor) as ledger, refused("lacks a right.*GRANT TEMPORARY ON DATABASE"):
        record(ledger)
    root.execute("GRANT TEMPORARY ON DATABASE postgres TO poor")
    with open_ledger(poor) as ledger, refused("lacks a right.*GRANT INSERT, UPDATE ON ALL TABLES"):
        record(ledger)
    root.execute("GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA winback_ledger TO poor")
    with open_ledger(poor) as ledger:
        assert record(ledger).new


def test_a_server_gone_in_the_middle_is_told_and_the_next_run_goes_on(server, root):
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'winback'"
    told = "was lost: its server stopped, or ended it. Run it again: what was booked stays booked"
    with refused(told), open_ledger(server, create=True) as ledger:
        root.execute(end)
        record(ledger)
    with open_ledger(server, wait_seconds=60) as ledger:
        assert record(ledger).new


@pytest.mark.parametrize(
    ("setting", "told"),
    [("statement_timeout", "ended what took too long, or somebody did. Nothing was booked.*ALTER ROLE"),
     ("lock_timeout", "Another program locks the ledger.*Nothing was booked")],
)  # fmt: skip
def test_what_takes_too_long_is_told(server, root, setting, told):
    with open_ledger(server, create=True):
        pass
    with root.transaction():
        root.execute("LOCK TABLE winback_ledger.bookings IN EXCLUSIVE MODE")
        with open_ledger(f"{server}?options=-c%20{setting}%3D500") as ledger, refused(told):
            record(ledger)
    with open_ledger(server) as ledger:
        assert record(ledger).new


def test_a_server_that_can_only_be_read_is_told(server, root):
    with open_ledger(server, create=True):
        pass
    with open_ledger(f"{server}?options=-c%20default_transaction_read_only%3Don") as ledger, refused("only be read"):
        record(ledger)
