"""A YAML file read with the line of every key, so that an error names it, and what is wrong with it in words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Container, Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from experiments.common.errors import WinbackError, did_you_mean, short

_Events = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # faster, where there is one
Lines = dict[tuple[str, ...], int]  # path of a key: its line


class _Loader(yaml.SafeLoader):
    """YAML in which a date is text: pydantic reads it, and says what is wrong with it."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


LARGEST = 256 * 1024  # bytes of a sheet; one that people write has some thousand
MOST_NODES = 20_000
DEEPEST = 20  # levels
LONGEST = 10_000  # letters of a value
NAMES, LONGEST_NAME = ("label", "question"), 300  # what a page shows as it stands, and how long it may be
DIGITS = 18  # of a number
PROBLEMS = 10  # that one message tells
SHOWN = 80  # letters of a value that a message shows
START = "Start from data/telecom/sheet.yml."
COMPARE = "Compare with data/telecom/sheet.yml."
TEXT, NUMBERS = "tag:yaml.org,2002:str", ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
# A number as everybody reads it; YAML takes 010 for 8, 12:30 for 750, 1_000 for 1000.
PLAIN = re.compile(rf"[-+]?(0|[1-9][0-9]{{0,{DIGITS - 1}}})(\.[0-9]{{0,{DIGITS}}})?([eE][-+]?[0-9]{{1,3}})?")


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
    try:
        _refuse_what_no_sheet_needs(text, name)
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            raise WinbackError(f"The sheet {name} is empty. {START}")
        lines = dict(_lines(node, (), name))
        content = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader
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
    row = rows[line - 1] if 0 < line <= len(rows) else ""
    percent = re.search(r"([a-z_]+): *(%[^,}#]*[^,}# ])", row)
    cure = f'Write it in quotes: {percent[1]}: "{percent[2]}".' if percent else COMPARE
    cure = "Replace the tab by spaces." if "\t" in row else cure
    return f"The sheet {name}, line {line}, {short(row.strip(), SHOWN)!r}: {short(str(error.problem), SHOWN)}. {cure}"


def _refuse_what_no_sheet_needs(text: str, name: str) -> None:
    """Refuse aliases, tags, several documents, and what has no end, before anything is built of it."""
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=_Events):
        where = f"The sheet {name}, line {event.start_mark.line + 1 if event.start_mark else 1}"
        documents += isinstance(event, yaml.DocumentStartEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            raise WinbackError(
                f"{where}: {short(event.anchor, SHOWN)!r} is a name for a part (& or *). Write that part out."
            )
        if (tag := getattr(event, "tag", None)) is not None:
            raise WinbackError(f"{where}: {short(tag, SHOWN)!r} is a tag (!). Take it out.")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST:
            raise WinbackError(f"{where}: a value has more than {LONGEST:,} letters. Shorten it.")
        if documents > 1:
            raise WinbackError(f"{where}: a second document begins (---). Keep one sheet in a file.")
        if depth > DEEPEST or nodes > MOST_NODES:
            raise WinbackError(f"{where}: over {DEEPEST} levels or {MOST_NODES:,} values: no sheet. {START}")


def _lines(node: yaml.Node, path: tuple[str, ...], name: str) -> Iterator[tuple[tuple[str, ...], int]]:
    line = node.start_mark.line + 1
    yield path, line
    if isinstance(node, yaml.ScalarNode) and node.tag in NUMBERS and not PLAIN.fullmatch(node.value):
        raise WinbackError(
            f"The sheet {name}, line {line}: {'.'.join(path)} is {short(node.value, SHOWN)}, which is not the number "
            "it looks like. Write a plain number, or a text in quotes."
        )
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            _refuse_key(key, (*path, str(key.value)), seen, name)
            seen.add(key.value)
            yield from _lines(value, (*path, str(key.value)), name)
            yield (*path, str(key.value)), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _lines(value, (*path, str(place)), name)


def _refuse_key(key: yaml.Node, path: tuple[str, ...], seen: Container[str], name: str) -> None:
    where, called = f"The sheet {name}, line {key.start_mark.line + 1}", short(".".join(path), SHOWN)
    if not isinstance(key, yaml.ScalarNode):
        raise WinbackError(f"{where}: a list stands where a name must stand. {COMPARE}")
    if key.tag != TEXT:
        raise WinbackError(f"{where}: the name {short(key.value, SHOWN)!r} is no text to YAML. Put it in quotes.")
    if key.value in seen:
        raise WinbackError(f"{where}: {called!r} is there twice. Keep one.")


def refuse_odd_values(model: type[BaseModel], content: Any, *, lines: Lines, name: str) -> None:  # noqa: ANN401
    """Refuse what pydantic would bend until it fits: yes as a number, a number as a day, signs nobody sees."""
    problems = list(_odd(model, content, ()))
    if problems:
        said = [f"The sheet {name}, line {_line(lines, path)}: {'.'.join(path)} is {short(repr(value), SHOWN)}. {cure}"
                for path, value, cure in problems]  # fmt: skip
        raise WinbackError(_first(said))


def _odd(kind: Any, value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, str]]:  # noqa: ANN401
    """Yield the place, the value and the cure of each value that is not of the kind it seems."""
    kinds = _kinds(kind)
    if isinstance(value, dict):
        model = next((one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)), None)
        inside = next((get_args(one)[1] for one in kinds if get_origin(one) is dict), None)
        for key, part in value.items():
            known = model.model_fields.get(key) if model else None
            yield from _odd(known.annotation if known else inside, part, (*path, str(key)))
    elif isinstance(value, list):
        inside = next((get_args(one)[0] for one in kinds if get_origin(one) in (list, tuple) and get_args(one)), None)
        for place, part in enumerate(value):
            yield from _odd(inside, part, (*path, str(place)))
    elif cure := _odd_value(kinds, value, path):
        yield path, value, cure


def _odd_value(kinds: Collection[Any], value: object, path: tuple[str, ...]) -> str:
    """Return the cure of a value that is not of the kind it seems; nothing for all others."""
    numbers = {int, float, Decimal} & {one for one in kinds if isinstance(one, type)}
    if isinstance(value, str):
        if any(unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign not in "\n\t\u200d" for sign in value):
            return "It holds a sign that nobody sees. Write it anew."
        if path[-1:] and path[-1] in NAMES and not 0 < len(value.strip()) <= LONGEST_NAME:
            return f"Write 1 to {LONGEST_NAME} letters."
    elif isinstance(value, bool):
        if bool not in kinds and numbers:
            return "Yes and no are no numbers: write the number."
    elif isinstance(value, int | float) and date in kinds and not numbers:
        return "Write a day as 2026-01-31."
    return ""


def _kinds(kind: Any) -> list[Any]:  # noqa: ANN401
    """Return the kinds that an annotation allows, one by one."""
    if get_origin(kind) is Annotated:
        return _kinds(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [one for part in get_args(kind) for one in _kinds(part)]
    return [kind]


def _line(lines: Lines, path: tuple[str, ...]) -> int:
    return next((lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in lines), 1)


def _first(problems: Sequence[str]) -> str:
    """Return the first problems, a line each, and how many there are more."""
    more = [f"... and {len(problems) - PROBLEMS} more"] if len(problems) > PROBLEMS else []
    return "\n".join([*problems[:PROBLEMS], *more])


def explained(error: ValidationError, model: type[BaseModel], *, lines: Lines, name: str) -> str:
    """Return one line for each thing wrong with a sheet: where, what, the cure."""
    problems = []
    for problem in error.errors():
        path, message = tuple(str(part) for part in problem["loc"]), problem["msg"].removeprefix("Value error, ")
        setting, _, rest = message.partition(": ")
        # From _agrees of the sheet, or of a part of it: "setting: what is wrong".
        if problem["type"] == "value_error" and (not path or setting in settings_at(model, (*path, setting))):
            path, message = (*path, *setting.split(".")), rest
        given = problem["input"]
        value = "" if problem["type"] in ("missing", "value_error") else f" is {short(repr(given), SHOWN)}"
        cure = _day(given) if problem["type"].startswith("date") else ""
        cure = cure or _cure(model, path, message, problem["type"])
        where = short(".".join(path), SHOWN)
        problems.append(f"The sheet {name}, line {_line(lines, path)}: {where}{value}. {short(cure, 6 * SHOWN)}")
    return _first(problems)


def _day(given: object) -> str:
    """Return the cure of a day written otherwise: written out where its reading is plain."""
    text = str(given).strip()
    first = re.fullmatch(r"(\d{4})[-./](\d{1,2})[-./](\d{1,2})", text)
    last = re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", text)
    parts = first.groups() if first else last.groups()[::-1] if last else None
    try:
        return f"Write {date(*map(int, parts))}." if parts else "Write a day as 2026-01-31, year, month, day."
    except ValueError:
        return "There is no such day. Write one as 2026-01-31."


def _cure(model: type[BaseModel], path: tuple[str, ...], message: str, kind: str) -> str:
    if kind == "extra_forbidden":
        return f"There is no such setting. {did_you_mean(path[-1], settings_at(model, path))}"
    if kind == "missing":
        return f"This setting is needed: {settings_at(model, path).get(path[-1], 'write it')}."
    message = message[:1].upper() + message[1:]
    if "valid string" in message:
        message += " Put it in quotes"
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
