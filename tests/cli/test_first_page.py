"""From a company's export to the first page: what is recognised is told, what only the user knows is asked."""

import datetime as dt
from pathlib import Path

import pytest
from xlsxwriter import Workbook

from experiments.cli import first_page, questions
from experiments.cli.commands import main
from experiments.common.errors import Ambiguous, WinbackError
from experiments.data.recognise import plain, recognised
from experiments.data.tables import connect
from experiments.sheet.draft import drafted
from experiments.sheet.sheet import read_sheet

DAYS = [dt.date(2025, 1, 20) + dt.timedelta(days=9 * k) for k in range(12)]
BILLS = [(f"{c:03d}", DAYS[(c + 5 * k) % 12], 1_000 * c + 50 * k + 5) for c in range(1, 9) for k in range(3)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in an empty folder, where nobody sits at the terminal."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shop(name="shop.xlsx"):
    with Workbook(name) as book:
        sheet, day = book.add_worksheet("Orders"), book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, ["Order ID", "Customer ID", "Order date", "Total €"])
        for place, (customer, at, cents) in enumerate(BILLS, 1):
            sheet.write_row(place, 0, [f"SO{place}", customer])
            sheet.write_datetime(place, 2, dt.datetime.combine(at, dt.time()), day)
            sheet.write_number(place, 3, cents / 100)
    return Path(name)


def export(name, header, line, encoding="utf-8"):
    lines = [header, *(line(*bill) for bill in BILLS)]
    Path(name).write_bytes("\r\n".join(lines).encode(encoding))
    return Path(name)


def gym():
    header = "Код клиента;Дата;Сумма, руб."  # noqa: RUF001
    return export("gym.csv", header, lambda c, at, a: f"{c};{at:%d.%m.%Y};{a // 100},{a % 100:02d}", "cp1251")


def french():
    def line(customer, at, cents):
        return f"{customer};{at:%d/%m/%Y};{cents // 100:,} €".replace(",", "\u00a0").replace(
            " €", f",{cents % 100:02d} €"
        )

    return export("ventes.csv", "N° client;Date de commande;Montant TTC", line, "cp1252")


@pytest.mark.parametrize(("make", "currency"), [(shop, "EUR"), (gym, "RUB"), (french, "EUR")])
def test_what_fits_in_one_way_is_taken_and_the_sheet_reads_the_same_rows(make, currency):
    file = make()
    draft = drafted([file], given={})
    Path("sheet.yml").write_text(draft.text(Path()), encoding="utf-8")
    sheet = read_sheet("sheet.yml")
    assert (sheet.currency, sheet.lost.as_of) == (currency, max(at for _, at, _ in BILLS))
    from experiments.data.tables import read

    with connect() as con:
        read(con, "purchases", sheet.tables["purchases"], folder=sheet.folder, conventions=sheet.conventions)
        found = con.execute('SELECT customer_id, "at", amount FROM purchases').fetchall()
    assert sorted(found) == sorted(BILLS)


def test_one_command_makes_the_page_and_keeps_the_sheet(capsys):
    gym()
    assert main(["lost", "gym.csv", "--reports", "reports"]) == 0
    told = capsys.readouterr().out
    assert "at           Дата  (by its name)" in told
    assert "currency: RUB" in told
    assert Path("reports/gym/1-lost/page.html").is_file()
    written = Path("gym.winback.yml").read_text(encoding="utf-8")
    assert main(["lost", "gym.csv", "--reports", "reports"]) == 0
    assert "is there already and is used as it stands" in capsys.readouterr().out
    assert Path("gym.winback.yml").read_text(encoding="utf-8") == written
    assert main(["check", "gym.winback.yml"]) == 0
    shown = capsys.readouterr().out
    assert "at: " in shown
    assert f"; from {min(DAYS)} to " in shown
    assert "amount: 10.05 RUB" in shown


def two_amounts():
    return export("two.csv", "client,date,Net amount,Gross amount", lambda c, at, a: f"{c},{at},{a}.10,{2 * a}.10")


def test_which_of_two_columns_is_asked_and_a_script_is_told_the_option(capsys, monkeypatch):
    two_amounts()
    assert main(["lost", "two.csv", "--set", "currency=EUR"]) == 1
    told = capsys.readouterr().err
    assert "'Net amount' and 'Gross amount' could each be the amount" in told
    assert "--set amount='Net amount'" in told
    assert not list(Path().glob("*.yml"))
    answers = iter(["9", "2"])
    monkeypatch.setattr(questions, "input", lambda _: next(answers), raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    draft = first_page.draft_of(["two.csv"], {"currency": "EUR"})
    assert draft.tables["purchases"][0].columns["amount"] == "Gross amount"


def test_the_order_of_day_and_month_is_asked_where_every_date_reads_both_ways():
    export("amb.csv", "client,date,amount", lambda c, at, a: f"{c},{at.day % 12 + 1:02d}/{at.month:02d}/2025,{a}.50")
    with pytest.raises(Ambiguous) as asked:
        drafted([Path("amb.csv")], given={"currency": "EUR"})
    assert (asked.value.setting, list(asked.value.choices)) == ("dates", ["%d/%m/%Y", "%m/%d/%Y"])
    draft = drafted([Path("amb.csv")], given={"currency": "EUR", "dates": "%d/%m/%Y"})
    assert draft.settings["purchases"] == {"dates": "%d/%m/%Y"}


def test_a_currency_nobody_wrote_is_asked():
    export("plain.csv", "client,date,amount", lambda c, at, a: f"{c},{at},{a}.50")
    with pytest.raises(Ambiguous, match="does not say its currency"):
        drafted([Path("plain.csv")], given={})


@pytest.mark.parametrize(
    ("header", "line", "told"),
    [
        ("client,amount,note", lambda c, _at, a: f"{c},{a}.50,x", "which column is the date"),
        ("7,2025-01-01,5.50", lambda c, at, a: f"{c},{at},{a}.50", "has no header"),
        ("client,reason", lambda c, _at, a: f"{c},r{a % 3}", "holds purchases"),
    ],
    ids=["no dates", "no header", "no purchases"],
)
def test_what_cannot_be_a_first_page_is_told(header, line, told):
    export("odd.csv", header, line)
    with pytest.raises(WinbackError, match=told):
        drafted([Path("odd.csv")], given={"currency": "EUR"})


def test_files_of_one_shape_are_one_table_and_customers_another():
    export("one.csv", "client,date,amount €", lambda c, at, a: f"{c},{at},{a}.50")
    export("two.csv", "client,date,amount €", lambda c, at, a: f"{c},{at},{a}.75")
    Path("people.csv").write_text("client,manager\n" + "".join(f"{c:03d},Ann\n" for c in range(1, 9)), encoding="utf-8")
    draft = drafted([Path("one.csv"), Path("two.csv"), Path("people.csv")], given={})
    assert {table: len(files) for table, files in draft.tables.items()} == {"purchases": 2, "customers": 1}
    Path("sheet.yml").write_text(draft.text(Path()), encoding="utf-8")
    assert read_sheet("sheet.yml").tables["purchases"].file == ("one.csv", "two.csv")


def test_init_writes_the_sheet_of_files_and_no_page(capsys):
    french()
    assert main(["init", "mine", "--from", "ventes.csv"]) == 0
    assert "winback lost data/ventes/sheet.yml" in capsys.readouterr().out
    assert read_sheet("mine/data/ventes/sheet.yml").tables["purchases"].paths(Path("mine/data/ventes"))
    assert not list(Path("mine").rglob("page.html"))


@pytest.mark.parametrize("name", ["valeur", "montant rubrique", "amount $", "usdt amount"])
def test_a_currency_is_told_by_a_word_of_its_own_and_a_dollar_is_of_many(name):
    export("a.csv", f"client,date,{name}", lambda c, at, a: f"{c},{at},{a}.50")
    with pytest.raises(Ambiguous, match="does not say its currency"):
        drafted([Path("a.csv")], given={"amount": name})


def test_the_price_of_a_piece_is_no_amount():
    export("a.csv", "client,date,unit price,quantity", lambda c, at, a: f"{c},{at},{a}.50,2")
    with pytest.raises(Ambiguous, match="which column is the amount"):
        drafted([Path("a.csv")], given={"currency": "EUR"})


def test_a_workbook_with_customers_before_orders_and_a_title_above_them():
    with Workbook("all.xlsx") as book:
        people, orders = book.add_worksheet("People"), book.add_worksheet("Orders")
        people.write_row(0, 0, ["client", "manager", "total spent"])
        orders.write_row(0, 0, ["Orders of 2025"])
        orders.write_row(2, 0, ["client", "date", "amount €"])
        for place, (customer, at, cents) in enumerate(BILLS, 3):
            orders.write_row(place, 0, [customer, at.isoformat(), cents / 100])
        for place, customer in enumerate(sorted({bill[0] for bill in BILLS}), 1):
            people.write_row(place, 0, [customer, "Ann", 5])
    draft = drafted([Path("all.xlsx")], given={})
    assert {table: files[0].settings for table, files in draft.tables.items()} == {
        "customers": {"worksheet": "People"}, "purchases": {"worksheet": "Orders"}}  # fmt: skip


def test_a_title_above_the_header_of_a_csv_is_no_header():
    export("a.csv", "Sales of 2025\r\nclient,date,amount €", lambda c, at, a: f"{c},{at},{a}.50")
    assert drafted([Path("a.csv")], given={}).tables["purchases"][0].columns["at"] == "date"


def test_a_word_that_is_no_setting_is_told():
    export("a.csv", "client,date,amount €", lambda c, at, a: f"{c},{at},{a}.50")
    with pytest.raises(WinbackError, match="Did you mean 'amount'"):
        drafted([Path("a.csv")], given={"amout": "amount"})


def test_another_file_is_no_part_of_a_sheet_that_is_there(capsys):
    gym()
    export("more.csv", "client,date,amount €", lambda c, at, a: f"{c},{at},{a}.50")
    Path("gym.winback.yml").write_text(drafted([Path("gym.csv")], given={}).text(Path()), encoding="utf-8")
    assert main(["lost", "gym.csv", "more.csv"]) == 1
    assert "does not name more.csv" in capsys.readouterr().err


def test_two_files_whose_names_no_folder_can_have_are_two_experiments():
    names = []
    for name in ("первый.csv", "второй.csv"):
        export(name, "client,date,amount €", lambda c, at, a: f"{c},{at},{a}.50")
        names.append(drafted([Path(name)], given={}).experiment)
    assert len(set(names)) == 2


def test_a_question_shows_no_name_and_no_phone():
    export("a.csv", "client,Name,Phone,Mobile,note", lambda c, _at, a: f"{c},Zeb Quark,+49 171 555,+49 171 666,{a}")
    with pytest.raises(Ambiguous) as asked:
        drafted([Path("a.csv")], given={"currency": "EUR"})
    assert not any("Quark" in meaning or "171" in meaning for meaning in asked.value.choices.values())


@pytest.mark.parametrize(
    ("name", "role"),
    [("Клиент", "customer_id"), ("CLIENT_ID", "customer_id"), ("N° client", "customer_id"), ("userId", "customer_id"),
     ("Выручка", "amount"), ("CA TTC", "amount"), ("Order total", "amount"), ("Дата покупки", "at"),
     ("invoice_date", "at")],
)  # fmt: skip
def test_names_in_three_languages_tell_a_role(name, role):
    header = {"customer_id": "who", "at": "when", "amount": "much"} | {role: name}
    others = {"customer_id": "client", "at": "date", "amount": "amount"}
    named = [header[one] if one == role else others[one] for one in others]
    export("a.csv", ",".join(named), lambda c, at, a: f"{c},{at},{a}.50")
    with connect() as con:
        assert recognised(con, Path("a.csv"), key="a", given={}).columns[role] == name
    assert plain(name) == plain(name).lower()
