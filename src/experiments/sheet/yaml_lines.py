"""A YAML file read with the line of every key, so that an error names it, and what is wrong with it in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from experiments.common.errors import WinbackError, did_you_mean, short
from experiments.sheet.ledger_address import CUT, HIDDEN, PASSWORD, PRIVATE, SECRET
from experiments.sheet.strict import ODD, PLAIN, SHOWN, keeps

_Events: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # faster, where there is one


class Lines(dict[tuple[str, ...], int]):
    """The line of every key and value, by its path; and how a value that is no text to YAML was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[tuple[str, ...], str] = {}

    def of(self, path: tuple[str, ...]) -> int:
        """Return the line of a path, or of the innermost part around it that is there."""
        return self[self.there(path)] if self else 1

    def there(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Return as much of a path as is in the sheet."""
        return next((path[:size] for size in range(len(path), 0, -1) if path[:size] in self), ())


LEFT_OUT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")  # a day is text here, and so is =


class _Loader(_Events):  # type: ignore[misc]
    """YAML in which a date is text: pydantic reads it, and says what is wrong with it."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in LEFT_OUT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


LARGEST = 256 * 1024  # bytes of a sheet; one that people write has some thousand
MOST_NODES = 20_000
DEEPEST = 20  # levels
LONGEST = 10_000  # letters of a value
PROBLEMS = 10  # that one message tells
WIDEST = 600  # letters of a line of a message
START = "Start from data/telecom/sheet.yml."
COMPARE = "Compare with data/telecom/sheet.yml."
TEXT, WHOLE, FLOAT, MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "merge"))
# A value that must stand in quotes, after its key: it begins like something else, or holds a colon.
UNQUOTED = re.compile(
    r"(?<![\w-])([\w-]{1,40}): {1,9}(?![\"'{\[])([%@`*][^,}\]#\n]{0,80}|[^,}\]#\n]{1,80}: [^,}\]#\n]{0,80})"
)


def read_text(file: Path) -> str:
    """Return the text of a sheet. Raises WinbackError for what is no text, or too long for a sheet."""
    if file.stat().st_size > LARGEST:
        raise WinbackError(f"The sheet {file.name} has more than {LARGEST // 1024} KB: that is no sheet. {START}")
    content = file.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise WinbackError(f"The sheet {file.name} is UTF-16 text. Save it as UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WinbackError(f"The sheet {file.name} is not UTF-8 text. Save it as UTF-8.") from None
    if "\0" in text:
        raise WinbackError(f"The sheet {file.name} is no text: it holds bytes of zero. {START}")
    return text


def parsed(text: str, name: str) -> tuple[Any, Lines]:
    """Return the content of a YAML text and the line of every key."""
    if cut := CUT.search(text):
        line = text.count("\n", 0, cut.end()) + 1
        raise WinbackError(f"The sheet {name}, line {line}: ledger. {PASSWORD} A comment stands on a line of its own.")
    try:
        _refuse_what_no_sheet_needs(text, name)
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            raise WinbackError(f"The sheet {name} is empty. {START}")
        lines = Lines()
        _find_lines(node, (), name=name, lines=lines)
        content = _Loader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise WinbackError(_broken(error, text, name)) from None
    except yaml.YAMLError as error:
        first = short(str(error).splitlines()[0], 2 * SHOWN)
        raise WinbackError(f"The sheet {name} cannot be read: {first}. {COMPARE}") from None
    if not isinstance(content, dict):
        raise WinbackError(f"The sheet {name} is no list of `name: value` lines. {START}")
    return content, lines


def _broken(error: yaml.MarkedYAMLError, text: str, name: str) -> str:
    """Return what breaks the YAML, with its line and the cure where it is known."""
    mark = error.problem_mark or error.context_mark
    line, rows = (mark.line + 1 if mark else 0), text.splitlines()
    if _is_private(text, line):
        cure = "A text with signs such as : # % @ stands in quotes; a password does not belong here."
        return f"The sheet {name}, line {line}, {HIDDEN}: this is no YAML. {cure}"
    row = rows[line - 1] if 0 < line <= len(rows) else ""
    value = UNQUOTED.search(row[:WIDEST])
    cure = f"Write it in quotes: {_quoted(value[1], value[2].strip())}." if value else COMPARE
    cure = "Replace the tab by spaces." if "\t" in row else cure
    said = short(str(error.problem), SHOWN)
    return f"The sheet {name}, line {line}, {short(row[: 2 * WIDEST].strip(), SHOWN)!r}: {said}. {cure}"


def _is_private(text: str, line: int) -> bool:
    """Tell whether a line, or one above it of the same setting, may hold a password."""
    rows = text.splitlines()[:line]
    first = next((place for place in reversed(range(len(rows))) if re.match(r"[^\s#]", rows[place])), 0)
    return bool(PRIVATE.search("\n".join(rows[first:])))


def _shown(value: str, path: Sequence[str]) -> str:
    """Return a value as a message shows it; not where the names on its path are about a password."""
    return HIDDEN if any(map(PRIVATE.search, path)) else short(value, SHOWN)


def _quoted(key: str, text: str) -> str:
    """Return a setting as it must stand in the sheet: its text in quotes, after its key where it has one."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if key.isdigit() else f'{key}: "{text}"'


def _refuse_what_no_sheet_needs(text: str, name: str) -> None:
    """Refuse aliases, tags, several documents, and what has no end, before anything is built of it."""
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=_Events):
        line = event.start_mark.line + 1 if event.start_mark else 1
        where = f"The sheet {name}, line {line}"
        documents += isinstance(event, yaml.DocumentStartEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            raise WinbackError(
                f"{where}: {_seen(event.anchor, text, line)!r} is a name for a part (& or *). Write that part out, or "
                "a text in quotes."
            )
        if (tag := getattr(event, "tag", None)) is not None:
            raise WinbackError(
                f"{where}: {_seen(tag, text, line)!r} is a tag (!). Take it out, or put a text in quotes."
            )
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST:
            raise WinbackError(f"{where}: a value has more than {LONGEST:,} letters. Shorten it.")
        if documents > 1:
            raise WinbackError(f"{where}: a second document begins (---). Keep one sheet in a file.")
        if depth > DEEPEST or nodes > MOST_NODES:
            raise WinbackError(f"{where}: over {DEEPEST} levels or {MOST_NODES:,} values: no sheet. {START}")


def _seen(value: str, text: str, line: int) -> str:
    return HIDDEN if _is_private(text, line) else short(value, SHOWN)


def _find_lines(node: yaml.Node, path: tuple[str, ...], *, name: str, lines: Lines) -> None:
    """Note the line of everything inside a node, and refuse numbers and names that are not what they seem."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        if node.tag != TEXT:
            lines.written[path] = node.value
        told = f"{_at(name, node)}: {_called(path)} is {_shown(node.value, path)}"
        if node.tag == MERGE:
            raise WinbackError(f"{told}. Put it in quotes.")
        if node.tag in (WHOLE, FLOAT) and not _is_plain(node):
            raise WinbackError(
                f"{told}, which is not the number it looks like. Write a plain number, or a text in quotes: "
                f'"{_shown(node.value, path)}".'
            )
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            _refuse_key(key, inner, name=name, there=inner in lines)
            lines[inner] = key.start_mark.line + 1
            _find_lines(value, inner, name=name, lines=lines)
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            _find_lines(value, (*path, str(place)), name=name, lines=lines)


def _is_plain(node: yaml.ScalarNode) -> bool:
    """Tell whether a number is what everybody reads, with all its digits."""
    return bool(PLAIN.fullmatch(node.value)) and (node.tag == WHOLE or keeps(Decimal(node.value)))


def _refuse_key(key: yaml.Node, path: tuple[str, ...], *, name: str, there: bool) -> None:
    where, called = _at(name, key), _called(path)
    if not isinstance(key, yaml.ScalarNode):
        raise WinbackError(f"{where}: a list stands where a name must stand. {COMPARE}")
    if key.tag != TEXT:
        called = _shown(key.value, path)
        raise WinbackError(f'{where}: the name {called!r} is no text to YAML. Put it in quotes: "{called}":')
    if there:
        raise WinbackError(f"{where}: {called!r} is there twice. Keep one.")


def _called(path: tuple[str, ...]) -> str:
    """Return a place as a message shows it: of a setting that is about a password, nothing inside it."""
    shown = next((path[: size + 1] for size, part in enumerate(path) if PRIVATE.search(part)), path)
    if shown and PRIVATE.search(shown[-1]) and not re.fullmatch(r"\w+", shown[-1]):
        shown = (*shown[:-1], HIDDEN)
    return short(".".join(shown), SHOWN)


def _at(name: str, node: yaml.Node) -> str:
    return f"The sheet {name}, line {node.start_mark.line + 1}"


def _first(problems: Sequence[str], *, count: int) -> str:
    """Return the first problems, a line each, and how many there are more."""
    more = [f"... and {count - PROBLEMS} more"] if count > PROBLEMS else []
    return "\n".join([*(short(" ".join(problem.splitlines()), WIDEST) for problem in problems), *more])


def explained(error: ValidationError, model: type[BaseModel], *, lines: Lines, name: str) -> str:
    """Return one line for each thing wrong with a sheet: where, what, the cure."""
    problems: dict[tuple[str, ...], Any] = {}
    for problem in error.errors(include_url=False):
        path = (*map(str, problem["loc"]), *problem.get("ctx", {}).get("path", ()))
        # What is there has a line; behind it pydantic names the kinds it tried.
        problems.setdefault(path if problem["type"] == "missing" else lines.there(path), problem)
    told = sorted(problems.items(), key=lambda found: lines.of(found[0]))
    said = [_explained(problem, path, model, lines=lines, name=name) for path, problem in told[:PROBLEMS]]
    return _first(said, count=len(told))


def _explained(problem: Any, path: tuple[str, ...], model: type[BaseModel], *, lines: Lines, name: str) -> str:  # noqa: ANN401
    """Return what is wrong at one place. `problem`: as pydantic tells it."""
    message = problem["msg"].removeprefix("Value error, ")
    setting, _, rest = message.partition(": ")
    # From _agrees of the sheet, or of a part of it: "setting: what is wrong".
    if problem["type"] == "value_error" and (not path or setting in settings_at(model, (*path, setting))):
        path, message = (*path, *setting.split(".")), rest
    given = problem["ctx"]["given"] if problem["type"] == ODD else short(repr(problem["input"]), SHOWN)
    written = short(lines.written.get(path, ""), SHOWN) or given
    value = "" if problem["type"] in ("missing", "value_error", SECRET) else f" is {written}"
    cure = short(_cure(model, path, message, problem["type"], written=lines.written.get(path, "")), 6 * SHOWN)
    return f"The sheet {name}, line {lines.of(path)}: {short('.'.join(path), SHOWN)}{value}. {cure}"


def _cure(model: type[BaseModel], path: tuple[str, ...], message: str, kind: str, *, written: str) -> str:
    if kind == "extra_forbidden":
        return f"There is no such setting. {did_you_mean(short(path[-1], SHOWN), settings_at(model, path))}"
    if kind == "missing":
        return f"This setting is needed: {settings_at(model, path).get(path[-1], 'write it')}."
    message = message[:1].upper() + message[1:]
    if kind == "string_type" and written.lower() in ("", "~", "null"):
        return "Write a text, or leave the line out."
    if kind == "string_type":
        return f"Write it in quotes: {_quoted(short(path[-1], SHOWN), short(written, SHOWN))}."
    return message if message.endswith((".", "?")) else f"{message}."


def settings_at(model: type[BaseModel], path: tuple[str, ...]) -> dict[str, str]:
    """Return the settings that may stand where a path points, with their help: those of the innermost model on it."""
    here: Any = model
    for part in path[:-1]:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(part)
            here = _without_none(field.annotation) if field else None
        else:  # a name in a mapping, a place in a list
            here = next((kind for kind in get_args(here) if kind not in (str, Ellipsis)), None)
        if isinstance(here, type) and issubclass(here, BaseModel):
            model = here
    return {name: field.description or "" for name, field in model.model_fields.items()}


def _without_none(annotation: Any) -> Any:  # noqa: ANN401  an annotation is anything
    if get_origin(annotation) in (Union, UnionType):
        return next(kind for kind in get_args(annotation) if kind is not type(None))
    return annotation
