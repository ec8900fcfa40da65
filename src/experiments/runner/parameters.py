"""The typed parameters of a notebook: read from its parameters cell, given as text or as values."""

import ast
import io
import os
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from experiments.common.errors import WinbackError, did_you_mean, short
from experiments.runner.documents import Value, load, parameters_cell, source_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter

TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "date": date}
CURES = {
    "int": "it must be a whole number. Write for example 24.",
    "float": "it must be a finite number with a decimal point. Write for example 0.1.",
    "str": "it must be text. Put it in quotes in Python.",
    "bool": "it must be true or false. Write true or false.",
    "date": "it must be a date. Write it as year-month-day, for example 2026-01-31.",
}
DAY = re.compile(r"\d{4}-\d\d-\d\d")
NUMBER = r"-?\d+(?:\.\d+)?"
RANGE = re.compile(
    rf"(?P<above>above )?(?P<low>{NUMBER})(?:(?P<more> or more)|"
    rf"(?: to |, )(?P<limit>below |up to )?(?P<high>{NUMBER}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One line `name: type = default  # help` of a notebook's parameters cell.

    A range stands beside the type, in words: `name: Annotated[int, "1 to 60"] = 24`.
    """

    name: str
    type: str
    default: Value
    help: str = ""
    range: str = ""

    def parse(self, value: object) -> Value:
        """Return the value in its type; text is read as from a command line.

        Exactly the word none means no value where the type has `| None`. Commas
        separate the items of a list. Raises WinbackError.

        >>> Parameter(name="horizon_months", type="int", default=24).parse("36")
        36
        """
        try:
            shape = _shape(ast.parse(self.type, mode="eval").body)
            return _read(value, replace(shape, optional=shape.optional or self.default is None), range=self.range)
        except ValueError as error:
            raise WinbackError(f"Parameter '{self.name}' is {short(repr(value), 80)}: {error}") from None


# ---- what a notebook declares


def parameters_of(notebook: Path) -> dict[str, Parameter]:
    """Return the typed parameters of a notebook, in the order of its parameters cell.

    The one code cell tagged "parameters" holds lines `name: type = default  # help`,
    and above them, where needed, imports from datetime and typing. Raises WinbackError.
    """
    source = source_of(parameters_cell(load(notebook), notebook.stem))
    where = f"Notebook '{notebook.stem}', parameters cell"
    try:
        lines = ast.parse(source).body
    except SyntaxError as error:
        raise WinbackError(f"{where}, line {error.lineno}: {error.msg}. Write lines `name: type = default`.") from None
    comments = _comments(source)
    declared: dict[str, Parameter] = {}
    for line in lines:
        if isinstance(line, ast.ImportFrom) and line.module in {"datetime", "typing", "__future__"}:
            continue
        try:
            parameter = _declared(line, help=_help(line, comments))
        except ValueError as error:
            raise WinbackError(f"{where}, line {line.lineno}: {error}") from None
        if parameter.name in declared:
            raise WinbackError(f"{where}, line {line.lineno}: '{parameter.name}' stands there twice. Remove one.")
        declared[parameter.name] = parameter
    return declared


def help_of(notebook: Path) -> str:
    """Return the parameters of a notebook, two lines each: name, type and default, then range and help."""
    return "\n".join(
        f"  {known.name}: {known.type} = {known.default!r}\n      {'; '.join(filter(None, (known.range, known.help)))}"
        for known in parameters_of(notebook).values()
    )


def typed(declared: Mapping[str, Parameter], given: Mapping[str, object], *, notebook: str) -> dict[str, Value]:
    """Return the given parameters in their types; refuse what the notebook does not know."""
    settable = [name for name in declared if name != "out"]
    if "out" in given and "out" in declared:
        raise WinbackError("Parameter 'out' is set by the run itself. Give the folder as the run's out instead.")
    for name in given:
        if name not in settable:
            raise WinbackError(f"Notebook '{notebook}' has no parameter '{name}'. {did_you_mean(name, settable)}")
    return {name: declared[name].parse(value) for name, value in given.items()}


def as_json(values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the values as JSON knows them: a date as its ISO text."""
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT}


def _help(line: ast.stmt, comments: Mapping[int, str]) -> str:
    """Return the comments beside a line, wherever a formatter broke it."""
    return " ".join(comments[n] for n in range(line.lineno, (line.end_lineno or 0) + 1) if n in comments)


def _declared(line: ast.stmt, *, help: str) -> Parameter:  # noqa: A002  # the field's name
    match line:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as default):
            pass
        case _:
            cure = "Write for example `horizon_months: int = 24  # months to look ahead`."
            raise ValueError(f"`{short(ast.unparse(line), 60)}` is not `name: type = default`. {cure}")
    if name in {*TYPES, "Literal", "Annotated"}:
        raise ValueError(f"a parameter '{name}' would hide the type of that name. Give it another name.")
    annotation, words = _without_range(annotation)
    shape, value = _shape(annotation), _default(default)
    if words and shape.base not in ("int", "float"):
        raise ValueError(f"a range is for numbers, and '{name}' is {ast.unparse(annotation)}. Leave the range out.")
    if shape.base == "int" and "." in words:
        raise ValueError(f"the range {words!r} is not of whole numbers, as '{name}' is. Write for example '1 to 60'.")
    _limits(words)
    parameter = Parameter(name=name, type=ast.unparse(annotation), default=value, help=help, range=words)
    if value is None and (shape.optional or shape.base == "date"):
        return parameter
    if value is None or parameter.parse(value) != value:  # text that only could be read as the type is no default
        raise ValueError(f"the default `{ast.unparse(default)}` of '{name}' is no {parameter.type}. Correct one.")
    return replace(parameter, default=parameter.parse(value))


def _without_range(node: ast.expr) -> tuple[ast.expr, str]:
    """Return the type of an annotation and its range, "" where it has none."""
    match node:
        case ast.Subscript(
            value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, ast.Constant(value=str(words))])
        ):
            return inner, words
    return node, ""


def _default(node: ast.expr) -> Value:
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="date"), attr="fromisoformat"), args=[ast.Constant(value=str(day))]
        ):
            return _one(day, "date", range="")
    try:
        value: Value = ast.literal_eval(node)
    except (ValueError, TypeError):
        cure = 'Write a number, text, True, False, None, a list or date.fromisoformat("2026-01-31").'
        raise ValueError(f"the default `{short(ast.unparse(node), 60)}` is no plain value. {cure}") from None
    return value


# ---- what a type takes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What a type says: a plain type or choices, perhaps a list of it, perhaps none."""

    base: str = "str"
    many: bool = False
    choices: tuple[str, ...] = ()
    optional: bool = False


def _shape(node: ast.expr) -> _Shape:
    """Return the shape of a type that stands in a parameters cell."""
    match node:
        case ast.Name(id=base) if base in TYPES:
            return _Shape(base=base)
        case ast.BinOp(left=inner, op=ast.BitOr(), right=ast.Constant(value=None)):
            return replace(_shape(inner), optional=True)
        case ast.BinOp(left=ast.Constant(value=None), op=ast.BitOr(), right=inner):
            return replace(_shape(inner), optional=True)
        case ast.Subscript(value=ast.Name(id="list"), slice=ast.Name(id=("int" | "float" | "str") as base)):
            return _Shape(base=base, many=True)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            choices = [getattr(item, "value", None) for item in getattr(inside, "elts", [inside])]
            if choices and all(isinstance(choice, str) for choice in choices):
                return _Shape(choices=tuple(map(str, choices)))
    raise ValueError(
        f"the type `{ast.unparse(node)}` is not known. Use int, float, str, bool, date, Literal['a', 'b'] "
        "or list[int], list[float], list[str], each also with `| None`, a number also as Annotated[int, '1 to 60']."
    )


def _read(value: object, shape: _Shape, *, range: str) -> Value:  # noqa: A002  # the field's name
    """Return a value in the type of a shape, within a range in words. Raises ValueError, with the cure."""
    plain = _plain(value)
    if shape.optional and (plain is None or (plain == "none" and "none" not in shape.choices)):
        return None
    if shape.many:
        return [_one(_plain(item), shape.base, range=range) for item in _items(plain)]
    if shape.choices and plain not in shape.choices:
        raise ValueError(f"it is not one of its choices. {did_you_mean(plain, shape.choices)}")
    return _one(plain, shape.base, range=range)


def _plain(value: object) -> object:
    """Return NumPy and pandas values as Python values, a path as text, the beginning of a day as a date."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, datetime) and value == value and value.time() == datetime.min.time():  # noqa: PLR0124  # NaT
        return value.date()
    return value.tolist() if hasattr(value, "tolist") else value


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        items = [item.strip() for item in value.split(",")] if value.strip() else []
        if "" not in items:
            return list(items)
    elif isinstance(value, list | tuple):
        return list(value)
    raise ValueError("it must be a list. Write its items with commas, for example 6,12,24.")


def _one(value: object, base: str, *, range: str) -> Value:  # noqa: A002  # the field's name
    from pydantic import ValidationError

    written = isinstance(value, str) and base != "str"
    # pydantic would read more: 1_000 as a number, 86400 as the second day of 1970.
    if written and ("_" in str(value) or (base == "date" and not DAY.fullmatch(str(value)))):
        raise ValueError(CURES[base])
    adapter = _adapter(base, range)
    read = adapter.validate_strings if written else adapter.validate_python
    try:
        checked: Value = read(value)
    except ValidationError as error:
        outside = error.errors()[0]["type"].startswith(("greater", "less"))
        raise ValueError(f"it must be {range}." if outside else CURES[base]) from None
    return checked


@cache
def _adapter(base: str, words: str) -> "TypeAdapter[Any]":
    from pydantic import AllowInfNan, Field, TypeAdapter

    finite = [AllowInfNan(False)] if base == "float" else []  # noqa: FBT003  # pydantic's
    checked: Any = Annotated[TYPES[base], Field(strict=True, **_limits(words)), *finite]
    return TypeAdapter(checked)


def _limits(words: str) -> dict[str, Any]:
    """Return what pydantic is to check for a range in words, none for none.

    >>> _limits("above 0, below 1"), _limits("1 to 60"), _limits("0 or more")
    ({'gt': 0.0, 'lt': 1.0}, {'ge': 1.0, 'le': 60.0}, {'ge': 0.0})
    """
    found = RANGE.fullmatch(words)
    if not words:
        return {}
    if not found or not (found["above"] or found["more"] or found["high"]):
        raise ValueError(f"the range {words!r} is not known. Write for example '1 to 60', '0 to below 1', "
                         "'above 0, below 1', '0 or more' or 'above 0'.")  # fmt: skip
    limits = {"gt" if found["above"] else "ge": float(found["low"])}
    if found["high"]:
        limits["lt" if found["limit"] == "below " else "le"] = float(found["high"])
    return limits
