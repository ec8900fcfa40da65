"""What a company writes is shown as it is: on pages, in pictures, in JupyterLab; nothing of it is carried out."""

import cohorts
import pytest

from experiments.report import html
from experiments.report import lost as report
from experiments.report.figures import lost as figures

POISON = "costs $5 & $6 \\frac{a}{b} *b* _i_ <img src=x onerror=alert(1)> `x` | %s {y}"
BIDI = "Ann\u202e\x07\u2066Lee"


def svg_of(picture):
    from io import StringIO

    out = StringIO()
    picture.figure.savefig(out, format="svg")
    return out.getvalue()


def test_a_text_of_the_data_is_escaped_and_what_controls_reading_is_visible():
    shown = str(html.section("Title", POISON + BIDI))
    assert "<img" not in shown
    assert "$5 &amp; $6 \\frac{a}{b} *b* _i_ &lt;img" in shown
    assert "\u202e" not in shown
    assert "\x07" not in shown
    assert "Ann��" in shown


def test_jupyterlab_takes_no_dollar_for_a_formula_and_the_page_has_none_of_that():
    part = html.section("Title", "costs $5 or $6")
    data, _ = part._repr_mimebundle_()
    assert data["text/html"].startswith('<div class="mathjax_ignore')
    assert html.bare(data["text/html"]) == part.text == html.bare(part.text)


@pytest.mark.parametrize("narrow", [False, True])
def test_no_picture_takes_a_text_for_a_formula(narrow):
    import matplotlib as mpl

    from experiments.report import plots

    seen = []

    def draw(*, narrow):
        seen.append(mpl.rcParams["text.parse_math"])
        figure = plots.canvas(narrow=narrow, height=2)
        figure.subplots().text(0, 0, "costs $5 or $6")
        return figure

    picture = plots.both(draw, alt="a", caption="b")
    text = (picture.narrow if narrow else picture.figure).axes[0].texts[0]
    assert (text.get_text(), text.get_parse_math(), seen) == ("costs $5 or $6", False, [False, False])


def test_reasons_and_managers_with_any_signs_stand_on_the_page_as_they_are():
    shown = "".join(str(part(cohorts.hostile())) for part in (report.reasons, report.places))
    assert "<script" not in shown
    assert svg_of(figures.reasons(cohorts.hostile()))
