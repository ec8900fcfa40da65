"""A YAML file read with the line of every key, so that an error names it, and what is wrong with it in words."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from experiments.common.errors import WinbackError, did_you_mean

Lines = dict[tuple[str, ...], int]  # path of a key: its line


class _Loader(yaml.SafeLoader):
    """YAML in which a date is text: pydantic reads it, and says what is wrong with it."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parsed(text: str, name: str) -> tuple[Any, Lines]:
    """Return the content of a YAML text and the line of every key."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            raise WinbackError(f"The sheet {name} is empty. Start from data/telecom/sheet.yml.")
        lines = dict(_lines(node, (), name))
        content = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        row = text.splitlines()[line - 1] if 0 < line <= len(text.splitlines()) else ""
        cure = "Replace the tab by spaces." if "\t" in row else "Compare with data/telecom/sheet.yml."
        raise WinbackError(f"The sheet {name}, line {line}, {row.strip()!r}: {error.problem}. {cure}") from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise WinbackError(f"The sheet {name} cannot be read: {first}. Compare with data/telecom/sheet.yml.") from None
    if not isinstance(content, dict):
        raise WinbackError(f"The sheet {name} is no list of `name: value` lines. Start from data/telecom/sheet.yml.")
    return content, lines


def _lines(node: yaml.Node, path: tuple[str, ...], name: str) -> Iterator[tuple[tuple[str, ...], int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise WinbackError(
                    f"The sheet {name}, line {key.start_mark.line + 1}: a list stands where a name must "
                    "stand. Compare with data/telecom/sheet.yml."
                )
            if key.value in seen:
                where = ".".join((*path, key.value))
                raise WinbackError(
                    f"The sheet {name}, line {key.start_mark.line + 1}: {where!r} is there twice. Keep one."
                )
            seen.add(key.value)
            yield from _lines(value, (*path, str(key.value)), name)
            yield (*path, str(key.value)), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _lines(value, (*path, str(place)), name)


def explained(error: ValidationError, model: type[BaseModel], *, lines: Lines, name: str) -> str:
    """Return one line for each thing wrong with a sheet: where, what, the cure."""
    problems = []
    for problem in error.errors():
        path, message = tuple(str(part) for part in problem["loc"]), problem["msg"].removeprefix("Value error, ")
        setting, _, rest = message.partition(": ")
        # From _agrees of the sheet, or of a part of it: "setting: what is wrong".
        if problem["type"] == "value_error" and (not path or setting in settings_at(model, (*path, setting))):
            path, message = (*path, *setting.split(".")), rest
        line = next((lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in lines), 1)
        value = "" if problem["type"] in ("missing", "value_error") else f" is {problem['input']!r}"
        cure = _cure(model, path, message, problem["type"])
        problems.append(f"The sheet {name}, line {line}: {'.'.join(path)}{value}. {cure}")
    return "\n".join(problems)


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
