"""What a page is made of: small functions from plain text to safe HTML."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zlib import crc32

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.formatting import visible
from experiments.common.language import ENGLISH, language, later, say

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

TONES = {"go": later("Go"), "wait": later("Wait"), "stop": later("Stop")}
STATES = {"pass": later("Pass"), "warn": later("Warning"), "stop": later("Stop")}
_DOT = '<path d="M12 16.8v.2"/>'
SIGNS = {  # strokes in a 24 x 24 box; shape differs, so colour is never the only difference
    "go": '<path d="m6 12.5 4 4 8-9"/>',
    "wait": '<path d="M9 7v10M15 7v10"/>',
    "pass": '<path d="m6 12.5 4 4 8-9"/>',
    "warn": f'<path d="M12 6.5v6.5"/>{_DOT}',
    "stop": '<path d="m7.5 7.5 9 9m0-9-9 9"/>',
}
MISSING = "–"
NO_MATH = ('<div class="mathjax_ignore tex2jax_ignore">', "</div>")  # JupyterLab takes $ for formulas
METADATA = "winback"  # key of what an output says of itself: {"part": "heading" or "verdict", ...}
FONT = re.compile(r"(font-family: )[^;\"]*")  # in the styles matplotlib writes; text stays text
TYPED = re.compile("`([^`<>]+)`")
NUMERAL = re.compile(r"[\s(<>=≥≤~≈+\-−–$€£₽¥]*(?:[A-Z]{3}\s)?[\s+\-−–$€£₽¥]*[\d.]")


@dataclass(frozen=True, slots=True, repr=False)
class Html:
    """HTML made by this module; the only text that is not escaped.

    >>> Html("<b>a</b>") + "<"
    Html(12 characters)
    """

    text: str
    about: Mapping[str, str] = field(default_factory=dict, hash=False)  # metadata of the output in a notebook

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:  # short: a notebook keeps it as the plain-text twin of each output
        return f"Html({len(self.text)} characters)"

    def __add__(self, other: object) -> "Html":
        about = self.about or (other.about if isinstance(other, Html) else {})
        return Html(self.text + _text(other), about)

    def __html__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.text.join(NO_MATH)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict[str, Any], ...]:  # noqa: ARG002
        """Return data and metadata of the output; what makes a page and a run's headline reads the metadata."""
        return {"text/html": self._repr_html_()}, {METADATA: dict(self.about)} if self.about else {}


def bare(output: str) -> str:
    """Return the HTML of an output without what is around it for JupyterLab alone."""
    return output.removeprefix(NO_MATH[0]).removesuffix(NO_MATH[1]) if output.startswith(NO_MATH[0]) else output


def _text(value: object) -> str:
    return value.text if isinstance(value, Html) else escape(visible(str(value)))


def _prose(value: object) -> str:
    """Return a text in which what stands between `backticks`, to be typed as it is, looks like that."""
    return TYPED.sub(r"<code>\1</code>", _text(value))


def _label(value: object) -> str:
    """Return the text for an attribute: without tags and quotes."""
    return re.sub("<[^>]*>", "", _text(value)).replace('"', "&quot;")


def _lines(value: object) -> str:
    """Return the text of a cell; what follows its first line is set small below it."""
    first, *rest = _text(value).split("\n") if not isinstance(value, Html) else [value.text]
    return first + "".join(f"<small>{line}</small>" for line in rest)


def _name(*parts: object) -> str:
    """Return an id that is the same in every run and differs between the parts of a page."""
    return f"w{crc32(' '.join(map(str, parts)).encode()):08x}"


def sign(kind: str) -> str:
    """Return the sign of a tone or a state; its word always stands beside it."""
    about = 'class="sign" viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor"'
    return f'<svg {about} aria-hidden="true" focusable="false">{SIGNS[kind]}</svg>'


def _known(word: str, options: Iterable[str], *, what: str) -> None:
    if word not in options:
        raise WinbackError(f"Unknown {what} {word!r}. {did_you_mean(word, options)}")


def verdict(
    sentence: object, *, word: object, tone: str, detail: object = "", over: object = "", mark: str = ""
) -> Html:
    """Return the card that answers the question: a word, a colour, a sign and a sentence.

    `tone` is "go", "wait" or "stop"; it is also written out, unless `over` says other words. `mark`: another sign.
    """
    _known(tone, TONES, what="tone")
    ident = _name("verdict", word, sentence)
    more = f'<p class="detail">{_prose(detail)}</p>' if str(detail) else ""
    above = _text(over) if str(over) else _text(say("Verdict: {tone}", tone=say(TONES[tone])))
    return Html(
        f'<section class="verdict {tone}" aria-labelledby="{ident}">{sign(mark or tone)}<div>'
        f'<p class="over">{above}</p><h2 id="{ident}">{_text(word)}</h2>'
        f'<p class="sentence">{_prose(sentence)}</p>{more}</div></section>',
        {"part": "verdict", "headline": " ".join(str(word).split())},
    )


def heading(title: object, question: object = "") -> Html:
    """Return the title and question of the page, which also tell its language; they replace those of the notebook."""
    spoken = "" if language() == ENGLISH else f' lang="{language()}"'
    return Html(
        f"<hgroup{spoken}><h1>{_text(title)}</h1><p>{_text(question)}</p></hgroup>",
        {"part": "heading", "title": str(title), "question": str(question), "language": language()},
    )


def facts(items: Iterable[tuple[object, object, object]]) -> Html:
    """Return a row of big numbers; each is (label, value, note). Three to five fit.

    What follows the first line of a value, such as the word million, is set small beside it.
    """
    cells = (
        f'<div><dt>{_text(label)}</dt><dd class="value">{_lines(value)}</dd><dd class="note">{_text(note)}</dd></div>'
        for label, value, note in items
    )
    return Html(f'<dl class="facts">{"".join(cells)}</dl>')


def section(title: object, *parts: object, intro: object = "", open: bool = True) -> Html:  # noqa: A002  # HTML's word
    """Return a titled part of the page; closed (`open=False`) it folds to its title, and prints unfolded.

    A part that is not `Html` becomes a paragraph.
    """
    ident = _name("section", title, *parts)
    head = f'<h2 id="{ident}">{_text(title)}</h2>'
    lead = f'<p class="intro">{_prose(intro)}</p>' if str(intro) else ""
    body = lead + "".join(part.text if isinstance(part, Html) else f"<p>{_prose(part)}</p>" for part in parts)
    if not open:
        return Html(
            f'<section class="folded" aria-labelledby="{ident}"><details><summary>{head}</summary>'
            f'<div class="body">{body}</div></details></section>'
        )
    return Html(f'<section aria-labelledby="{ident}">{head}{body}</section>')


def table(frame: "DataFrame", *, caption: object, notes: Sequence[object] = ()) -> Html:
    """Return a table whose cells are text; its index holds the row headers.

    Columns of numbers stand right. What follows the first line of a cell is set small below it.
    """
    rows = frame.astype(object).where(frame.notna(), MISSING).itertuples(name=None)
    return grid([frame.index.name, *frame.columns], [*rows], caption=caption, notes=notes)


def grid(
    head: Sequence[object], rows: Sequence[Sequence[object]], *, caption: object, notes: Sequence[object] = ()
) -> Html:
    """Return a table of `rows`, the first cell of each its header, below `head`; see `table`."""
    number = [_numeric(row[place] for row in rows) for place in range(1, len(head))]
    corner = "<td></td>" if head[0] is None else f'<th scope="col">{_lines(head[0])}</th>'
    names = "".join(_cell(name, number=side, tag="th") for name, side in zip(head[1:], number, strict=True))
    body = "".join(
        f'<tr><th scope="row">{_lines(name)}</th>'
        + "".join(_cell(value, number=side) for value, side in zip(values, number, strict=True))
        + "</tr>"
        for name, *values in rows
    )
    label = say("Table: {caption}", caption=_label(caption))
    below = "".join(f"<p>{_prose(note)}</p>" for note in notes)
    below = f'<div class="notes">{below}</div>' if below else ""
    return Html(
        f'<div class="table"><div class="scroll" role="region" aria-label="{label}" tabindex="0">'
        f"<table><caption><span>{_text(caption)}</span></caption><thead><tr>{corner}{names}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{below}</div>"
    )


def _numeric(values: Iterable[object]) -> bool:
    known = [str(value) for value in values if str(value).strip() not in {"", "-", "—", MISSING}]
    return bool(known) and all(NUMERAL.match(value) for value in known)


def _cell(value: object, *, number: bool, tag: str = "td") -> str:
    scope, side = ' scope="col"' if tag == "th" else "", ' class="number"' if number else ""
    return f"<{tag}{scope}{side}>{_lines(value)}</{tag}>"


def picture(figure: "Figure", *, alt: str, caption: object, narrow: "Figure | None" = None) -> Html:
    """Return a figure as a picture inside the page, and close it.

    `alt` says in words what the picture shows. `narrow` is the same picture drawn for a phone
    (about 4 inches wide); without it a phone shows the picture at a readable size, to be moved sideways.
    """
    if not alt.strip():
        raise WinbackError(
            "A picture needs alt text. Say in a sentence what it shows: picture(figure, alt=..., caption=...)."
        )
    address, width, height = _svg(figure)
    image = f'<img alt="{escape(alt.strip())}" width="{width}" height="{height}" src="{address}">'
    if narrow is None:  # Moved sideways on a phone, so a keyboard must reach it.
        label = say("Picture: {caption}", caption=_label(caption))
        card = f'<div class="card scroll" role="group" aria-label="{label}" tabindex="0">{image}</div>'
    else:
        phone = f'<source media="(max-width: 40rem)" srcset="{_svg(narrow)[0]}">'
        card = f'<div class="card"><picture>{phone}{image}</picture></div>'
    return Html(f'<figure class="picture">{card}<figcaption>{_prose(caption)}</figcaption></figure>')


def _svg(figure: "Figure") -> tuple[str, int, int]:
    """Return address, width and height of the picture: the same bytes in every run, no trace of the machine."""
    from matplotlib import pyplot as plt
    from matplotlib import rc_context

    file = BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "winback", "text.parse_math": False}):
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = re.sub(
        r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", "", file.getvalue().decode(), flags=re.DOTALL
    )
    text = re.sub(r"\s*\n\s*", "\n", text).strip()
    text = FONT.sub(r"\1Helvetica, Arial, sans-serif", text)  # narrower than the one it was laid out with
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text)  # a hundredth of a point is enough for the eye
    size = [float(part) for part in re.findall(r'\b(?:width|height)="([\d.]+)pt"', text)]
    data = base64.b64encode(text.encode()).decode()
    return f"data:image/svg+xml;base64,{data}", round(size[0] * 4 / 3), round(size[1] * 4 / 3)


def check_list(items: Iterable[tuple[object, str, object, object]], *, words: Mapping[str, str] = STATES) -> Html:
    """Return the guards, each (name, state, reason, what to do).

    State is "pass", "warn" or "stop", named by `words`, which the catalogues know.
    """
    return Html(f'<ul class="checks">{"".join(_check(*item, words) for item in items)}</ul>')


def _check(name: object, state: str, reason: object, todo: object, words: Mapping[str, str]) -> str:
    _known(state, STATES, what="state of a check")
    label = say("To do:")
    act = f'<p class="todo"><b>{label}</b> {_prose(todo)}</p>' if str(todo) else ""
    return (
        f'<li class="{state}"><p class="state">{sign(state)}<span>{say(words[state])}</span></p>'
        f"<div><h3>{_text(name)}</h3><p>{_prose(reason)}</p>{act}</div></li>"
    )


def definitions(terms: Mapping[str, object]) -> Html:
    """Return terms and what they mean, for method and provenance."""
    rows = "".join(f"<div><dt>{_text(term)}</dt><dd>{_prose(text)}</dd></div>" for term, text in terms.items())
    return Html(f'<dl class="terms">{rows}</dl>')
