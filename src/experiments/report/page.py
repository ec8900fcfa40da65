"""The page an executive gets: one HTML file that needs nothing else, from an executed notebook."""

import json
import re
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from experiments.common.errors import WinbackError
from experiments.common.files import alone, write_text, writing
from experiments.common.formatting import day, moment
from experiments.common.language import ENGLISH, language, later, numerals, say, speaking
from experiments.common.run_records import FAILED, RECORD
from experiments.report.html import METADATA, Html, bare, heading, sign

if TYPE_CHECKING:
    from jinja2 import Environment
    from nbformat import NotebookNode

TEMPLATES = Path(__file__).parents[1] / "templates"
HEADING = re.compile(  # the title; after it a paragraph, unless a list, a quote, a table or code stands there
    r"\s*#[ \t]+(?P<title>[^\n]+?)[ \t#]*"
    r"(?:\n\s*(?P<question>(?![#>|`]|[*+-]\s|\d+\.\s)\S[^\n]*(?:\n[^\n]+)*))?"
    r"(?P<rest>(?:\n.*)?)",
    re.DOTALL,
)
# A page that holds one of these could load something, run something or send something.
FOREIGN_TAGS = frozenset(
    {"applet", "audio", "base", "embed", "form", "frame", "iframe", "link", "meta", "object", "script", "video"}
)
LOADING = frozenset({"action", "background", "data", "formaction", "poster", "src", "srcset", "xlink:href"})
TITLES = {"1-lost": later("Lost"), "2-design": later("Design"), "3-readout": later("Readout"),
          "4-compare": later("Compare"), "sweep": later("Sweep")}  # fmt: skip
STATUS = {"done": "pass", "failed": "stop"}  # of a run; another word is shown with the sign of a warning
STATES = {"done": later("Done"), "failed": later("Failed"), "unknown": later("Unknown"),
          "unreadable": later("Run.json cannot be read")}  # fmt: skip


def render(notebook: Path, page: Path) -> None:
    """Write the executed notebook as one HTML file.

    The first heading is the title, the paragraph after it the question. Code, logs and plain text are left out;
    so is, with a warning, what needs a script or another file, and a picture without alt text.
    The language of the page is that of its `heading`.
    A notebook that failed is refused: its page would look finished.
    """
    import nbformat
    from nbconvert import TemplateExporter

    book = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    _refuse_failed(book, notebook)
    top = _take_heading(book, notebook)
    # Its own paths only: no stock template, none of the user's.
    settings = {"template_paths": [str(TEMPLATES)], "template_file": str(TEMPLATES / "page.html.j2")}
    exporter = TemplateExporter(**settings)  # type: ignore[no-untyped-call]
    _equip(exporter.environment)
    about = {"title": top.title, "question": top.question, "date": _executed(book, notebook)}
    with speaking(top.language):
        write_text(page, exporter.from_notebook_node(book, resources=about)[0])


def _refuse_failed(book: "NotebookNode", notebook: Path) -> None:
    for number, cell in enumerate(book.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                raise WinbackError(
                    f"No page from {notebook.name}: its cell {number} failed with {output.ename}: {output.evalue}. "
                    "Cure the cause and run the notebook again."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What stands on top of a page."""

    title: Html
    question: Html = field(default_factory=lambda: Html(""))
    language: str = ENGLISH


def _take_heading(book: "NotebookNode", notebook: Path) -> Heading:
    """Take title and question out of the first cell that has them, with their language; what follows them stays.

    A `heading` among the outputs goes before: it knows what the notebook was run for.
    """
    shown = _shown_heading(book)
    for number, cell in enumerate(book.cells, 1):
        found = HEADING.fullmatch(cell.source) if cell.cell_type == "markdown" else None
        if found:
            cell.source = found["rest"]
            title = Html(re.sub("<[^>]*>", "", _prose(found["title"])).strip())
            return shown or Heading(title=title, question=_fit(_prose(found["question"] or ""), number))
    return shown or Heading(title=Html(escape(str(book.metadata.get("title") or _words(notebook.stem)))))


def _shown_heading(book: "NotebookNode") -> Heading | None:
    """Take the first heading out of the outputs, which say of themselves what they are; what stands below it stays."""
    for output in (output for cell in book.cells for output in cell.get("outputs", [])):
        about = output.get("metadata", {}).get(METADATA, {})
        if about.get("part") == "heading":
            with speaking(about["language"]):
                part = heading(about["title"], about["question"])
            output.data["text/html"] = bare(output.data["text/html"]).removeprefix(part.text)
            question = Html(f"<p>{escape(about['question'])}</p>" if about["question"] else "")
            return Heading(title=Html(escape(about["title"])), question=question, language=about["language"])
    return None


def _words(stem: str) -> str:
    """Return a file's name in words.

    >>> _words("3-read_out")
    'Read out'
    """
    return re.sub(r"[-_]+", " ", re.sub(r"^\d+[-_ ]", "", stem)).strip().capitalize()


def _executed(book: "NotebookNode", notebook: Path) -> datetime:
    ended = book.metadata.get("papermill", {}).get("end_time")
    return _moment(ended) or datetime.fromtimestamp(notebook.stat().st_mtime, UTC)


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _prose(source: str) -> str:
    import mistune

    return str(mistune.create_markdown(escape=True, plugins=["table", "strikethrough"])(source)).strip()


class _Guard(HTMLParser):
    """Finds the first thing in a piece of HTML that has no place on a page which stands alone."""

    found = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found = self.found or self._what(tag, {name: value or "" for name, value in attrs})

    def _what(self, tag: str, attrs: dict[str, str]) -> str:
        if tag in FOREIGN_TAGS:
            return f"<{tag}>"
        if tag == "img" and not attrs.get("alt", "").strip():
            return "a picture without alt text"
        for name, value in attrs.items():
            loads = name in LOADING or (name == "href" and tag != "a")
            if (
                name.startswith("on")
                or "javascript:" in value.lower()
                or (loads and not value.startswith(("data:", "#")))
            ):
                return f"<{tag} {name}=...>"
        return ""


def _fit(html: str, number: int) -> Html:
    """Return what the page shows of one output or text of cell `number`."""
    guard = _Guard()
    guard.feed(html)
    if guard.found:
        return _left_out(guard.found, number)
    if 'class="dataframe"' in html:  # as pandas shows itself: may be wider than a phone
        html = html.replace("<th></th>", "<td></td>")  # a header without words says nothing to who cannot see
        name = say("Table")
        return Html(f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">{html}</div>')
    return Html(html)


def _left_out(what: str, number: int) -> Html:
    cure = "Show it with experiments.report.html.picture(figure, alt=..., caption=...) or table(frame, caption=...)."
    warnings.warn(
        f"The page leaves out {what} of cell {number}: it must stand alone and be readable. {cure}", stacklevel=2
    )
    return Html("")


def _shown(output: "NotebookNode", number: int) -> Html:
    """Return an output of cell `number` as HTML: what is HTML or Markdown; nothing when it is plain text or a log."""
    data = output.get("data", {})
    if "text/html" in data:
        return _fit(bare(data["text/html"]), number)
    if "text/markdown" in data:
        return _fit(_prose(data["text/markdown"]), number)
    picture = any(kind.startswith("image/") for kind in data)
    return _left_out("a picture without alt text", number) if picture else Html("")


def _equip(environment: "Environment") -> None:
    environment.autoescape = True
    environment.filters.update(
        prose=lambda source, number: _fit(_prose(source), number),
        shown=_shown,
        sign=lambda kind: Html(sign(kind)),
        day=day,
        time=moment,
    )
    environment.globals.update(say=say, language=language, made=_made, newest=_newest)


def _made(at: datetime) -> Html:
    """Return the last line of a page."""
    about = later(
        "Made with {winback} on {time}. This page is one file: it can be forwarded and opened without a network."
    )
    return Html(say(about, winback="<b>winback</b>", time=_stamp(at)))


def _newest(at: datetime | None) -> Html:
    """Return the last line of the list of runs."""
    made = say("Made with {winback}.", winback="<b>winback</b>")
    newest = " " + say("Newest run: {time}.", time=_stamp(at)) if at else ""
    return Html(f"{made}{newest}")


def _stamp(at: datetime) -> str:
    return f'<time datetime="{at.isoformat()}">{escape(moment(at))}</time>'


def index(reports: Path, *, spoken: str = ENGLISH) -> Path:
    """Write `reports/index.html`: every run in `reports/<experiment>/<stage>`, the newest first.

    A run that only ever failed is there too, with its notebook.

    `spoken`: the language of the list; what a run said stays in its own.
    """
    with writing(reports), speaking(spoken), alone(reports):  # else an older list might come last
        write_text(reports / "index.html", _index(reports))
    return reports / "index.html"


def _index(reports: Path) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    failed = (path for path in reports.glob(f"*/*/{FAILED}") if not path.with_name(RECORD).exists())
    found = (*reports.glob(f"*/*/{RECORD}"), *failed)
    shown = sorted(path for path in found if not any(part.startswith(".") for part in path.parts[-3:]))
    runs = sorted(map(_run, shown), key=lambda run: run["started"], reverse=True)
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["experiment"], []).append(run)
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True)
    _equip(environment)
    date = runs[0]["started"] if runs else None
    return environment.get_template("reports.html.j2").render(groups=groups, date=date, title=say("Reports"))


def _run(path: Path) -> dict[str, Any]:
    """Return what the list says of a run; a file that cannot be read is listed as such."""
    experiment, stage = path.parts[-3:-1]
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        status = str(record.get("status", "unknown"))
    except (OSError, ValueError, AttributeError):
        record, status = {}, "unreadable"
    parameters = record.get("parameters")
    file = next((name for name in ("page.html", "failed.ipynb") if path.with_name(name).exists()), "")
    return {
        "experiment": experiment,
        "title": say(TITLES[stage]) if stage in TITLES else _words(stage) or stage,
        "link": f"{quote(experiment)}/{quote(stage)}/{file}" if file else "",
        "headline": str(record.get("headline") or ""),
        "notebook": Path(str(record.get("notebook") or "")).name,
        "parameters": parameters if isinstance(parameters, dict) else {},
        "started": _moment(record.get("started")) or datetime.fromtimestamp(0, UTC),
        "took": _took(record.get("seconds")),
        "status": say(STATES[status]) if status in STATES else status.capitalize(),
        "sign": STATUS.get(status, "warn"),
    }


def _took(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    if minutes:
        return say("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    return say("{seconds} s", seconds=numerals(f"{seconds:.1f}"))
