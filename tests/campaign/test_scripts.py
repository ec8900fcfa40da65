"""Words to say: editable templates by reason and offer, a user's before ours, and errors that tell file and line."""

import datetime as dt

import pytest

from experiments.campaign.scripts import OURS, Scripts, names_of
from experiments.common.errors import WinbackError
from experiments.sheet.contact_rules import VARIABLES, ContactRules

KNOWN = {"caller": "Ann", "channel": "call", "name": None, "line": "mobile", "reason": "price", "reasons": ["price"],
         "complaint": "none", "apology": False, "offer": "gift", "label": "A gift", "terms": "", "attempt": 1,
         "deadline": dt.date(2026, 3, 15)}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name.replace('__', '.').replace('_', '-')}.j2").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def said(folder, language="en", **changes):
    return Scripts(folder, language=language).say(KNOWN | changes).words


def test_the_variables_of_a_script_are_those_that_are_described():
    assert set(KNOWN) == set(VARIABLES)


@pytest.mark.parametrize("template", sorted(path.name for path in OURS.glob("[!_]*.j2")))
def test_every_script_of_ours_says_offer_deadline_and_apology_or_none_of_them(template):
    reason = template.removeprefix("reason-").removesuffix(".j2")
    rich = said(None, reason=reason, reasons=[reason, "more"], apology=True, terms="once")
    assert rich.startswith("Good day, this is Ann. We let you down, and I am sorry.")
    assert "I have something for you: A gift (once). It is yours if you say yes by 15 March 2026." in rich
    poor = said(None, reason=reason, offer=None, label="A gift", deadline=None, name="Eva")
    assert poor.startswith("Good day, Eva, this is Ann. ")
    assert not [word for word in ("sorry", "gift", "None", "  ", "2026") if word in poor]


def test_the_script_is_of_reason_and_offer_then_reason_then_offer_then_default(write):
    folder = write(default="4", offer_gift="3")
    assert said(folder) == "3"  # the user's folder before ours, which has one for the reason
    assert said(write(reason_price="2")) == "2"
    assert said(write(reason_price__offer_gift="1")) == "1"
    assert (said(folder, offer="other"), said(folder, reason="x", offer="other")) == ("2", "4")
    assert Scripts().say(KNOWN | {"reason": "x", "offer": "other"}).script == "default"


def test_a_language_goes_before_english_and_english_is_better_than_nothing(write):
    folder = write(default__de="Guten Tag", reason_price="Hello")
    assert said(folder, language="de") == "Guten Tag"
    assert said(folder, language="fr") == "Hello"
    (folder / "_offer.de.j2").write_text("{{ label }} bis {{ deadline }}")
    assert Scripts(folder, language="de").offer(KNOWN) == "A gift bis 2026-03-15"
    assert Scripts(folder, language="de").own() == ("default", "reason-price")


def test_a_script_can_change_a_part_of_ours(write):
    folder = write(reason_price='{% extends "_base.j2" %}{% block ask %}Well?{% endblock %}')
    assert "A gift" in said(folder)
    assert "Well?" in said(folder)


def test_names_of_files_come_from_any_text():
    assert names_of("Zu teuer / Preis", "50 %") == (
        "reason-zu-teuer-preis.offer-50", "reason-zu-teuer-preis", "offer-50", "default")  # fmt: skip
    assert names_of("../../etc/passwd", "?") == ("reason-etc-passwd", "default")
    assert names_of("", "") == ("default",)


def test_a_value_from_the_data_is_never_read_as_a_template(write):
    assert (
        said(write(default="{{ name }}"), reason=None, offer=None, name="{{ 7 * 7 }}{% raw %}")
        == "{{ 7 * 7 }}{% raw %}"
    )


@pytest.mark.parametrize(("text", "told"), [
    ("Good day\n{{ nmae }}", r"Script default.j2, line 2: 'nmae' is undefined. Did you mean 'name'\?"),
    ("{{ caller }}\n\n{% if %}", "Script default.j2, line 3: Expected an .* Compare with scripts/default.j2."),
    ("{% extends '_bass.j2' %}", r"default.j2, line 1 uses '_bass.j2', which is nowhere. Did you mean '_base.j2'\?"),
    ("\n{{ deadline + 1 }}", "default.j2, line 2: unsupported operand .* It may use: caller, channel, name"),
    ("{{ caller.__class__ }}", "default.j2, line 1: access to attribute '__class__' of 'str' object is unsafe"),
    ("{% include 'default.j2' %}", "default.j2, line 1: maximum recursion"),
    ("{% for i in range(10 ** 9) %}{% endfor %}", "default.j2, line 1: Range too big"),
    ("{% include '../test_scripts.py' %}", "which is nowhere"),
])  # fmt: skip
def test_what_is_wrong_with_a_script_is_told_with_file_line_and_cure(write, text, told):
    with pytest.raises(WinbackError, match=told):
        said(write(default=text), reason=None, offer=None)


def test_an_error_in_ours_caused_by_the_user_names_the_file_it_is_in(write):
    with pytest.raises(WinbackError, match=r"Script reason-service.j2, line 1 uses|_base.j2, line 2: 'x' is undefined"):
        said(_base(write, "\n{{ x }}"), reason="service")


def _base(write, text):
    folder = write()
    (folder / "_base.j2").write_text(text)
    return folder


def test_a_script_nobody_hears_yet_is_checked_too(write):
    with pytest.raises(WinbackError, match=r"Script reason-never.j2, line 1"):
        Scripts(write(reason_never="{% if")).own()


def test_the_rules_say_where_scripts_are_and_in_which_language():
    with pytest.raises(WinbackError, match="no folder 'nowhere/at/all'"):
        Scripts(OURS.__class__("nowhere/at/all"))
    assert ContactRules().scripts is None
    assert ContactRules().language == "en"
