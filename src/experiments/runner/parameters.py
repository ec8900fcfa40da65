"""What a notebook may be told: typed parameters, read from its parameters cell and put back as plain literals."""

import ast
import io
import json
import os
import re
import tokenize
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from math import inf, isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from experiments.common.errors import WinbackError, did_you_mean, short

Value = bool | int | float | str | date | list[Any] | None


def _int(value: object) -> int:
    if not isinstance(value, bool) and isinstance(value, Integral):
        return int(value)
    with suppress(ValueError):
        return int(_digits(value))
    raise ValueError("it must be a whole number. Write for example 24.")


def _float(value: object) -> float:
    with suppress(ValueError, OverflowError):
        number = float(value if not isinstance(value, bool) and isinstance(value, Real) else _digits(value))
        if isfinite(number):
            return number
    raise ValueError("it must be a finite number with a decimal point. Write for example 0.1.")


def _digits(value: object) -> str:
    """Return text that may be a number; Python itself also reads 1_000 and digits of other scripts."""
    if isinstance(value, str) and value.isascii() and "_" not in value:
        return value
    raise ValueError(value)


def _str(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    raise ValueError("it must be text. Put it in quotes in Python.")


def _bool(value: object) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("it must be true or false. Write true or false.")


def _date(value: object) -> date:
    with suppress(ValueError):
        if isinstance(value, datetime) and value.time() == datetime.min.time():
            return value.date()
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        if isinstance(value, str) and date.fromisoformat(value).isoformat() == value:
            return date.fromisoformat(value)
    raise ValueError("it must be a date. Write it as year-month-day, for example 2026-01-31.")


READERS: dict[str, Callable[[object], Value]] = {
    "int": _int,
    "float": _float,
    "str": _str,
    "bool": _bool,
    "date": _date,
}


NUMBER = r"-?\d+(?:\.\d+)?"
RANGE = re.compile(
    rf"(?P<above>above )?(?P<low>{NUMBER})(?:(?P<more> or more)|"
    rf"(?: to |, )(?P<limit>below |up to )?(?P<high>{NUMBER}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """What a range in words allows: "1 to 60", "0 to below 1", "above 0, below 1", "0 or more", "above 0"."""

    low: float
    high: float = inf
    above: bool = False  # the lowest value itself is out
    below: bool = False  # the highest value itself is out

    @classmethod
    def of(cls, words: str) -> "_Range":
        found = RANGE.fullmatch(words)
        if not found or not (found["above"] or found["more"] or found["high"]):
            raise ValueError(f"the range {words!r} is not known. Write for example '1 to 60', '0 to below 1', "
                             "'above 0, below 1', '0 or more' or 'above 0'.")  # fmt: skip
        return cls(low=float(found["low"]), high=float(found["high"] or inf), above=bool(found["above"]),
                   below=found["limit"] == "below ")  # fmt: skip

    def holds(self, number: float) -> bool:
        over = number > self.low if self.above else number >= self.low
        return over and (number < self.high if self.below else number <= self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What a type text means: a reader's name or choices, perhaps many of them, perhaps none."""

    base: str = "str"
    many: bool = False
    choices: tuple[str, ...] = ()
    optional: bool = False

    def read(self, value: object) -> Value:
        plain = _plain(value)
        if self.optional and (plain is None or (plain == "none" and "none" not in self.choices)):
            return None
        if self.many:
            return [READERS[self.base](_plain(item)) for item in _items(plain)]
        if self.choices and plain not in self.choices:
            raise ValueError(f"it is not one of its choices. {did_you_mean(plain, self.choices)}")
        return READERS[self.base](plain)


def _plain(value: object) -> object:
    """Return NumPy and pandas values as Python values, a path as text."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        items = [item.strip() for item in value.split(",")] if value.strip() else []
        if "" not in items:
            return list(items)
    elif isinstance(value, list | tuple):
        return list(value)
    raise ValueError("it must be a list. Write its items with commas, for example 6,12,24.")


def _kind(node: ast.expr) -> _Kind:
    match node:
        case ast.Name(id=base) if base in READERS:
            return _Kind(base=base)
        case ast.BinOp(left=inner, op=ast.BitOr(), right=ast.Constant(value=None)):
            return replace(_kind(inner), optional=True)
        case ast.BinOp(left=ast.Constant(value=None), op=ast.BitOr(), right=inner):
            return replace(_kind(inner), optional=True)
        case ast.Subscript(value=ast.Name(id="list"), slice=ast.Name(id=("int" | "float" | "str") as base)):
            return _Kind(base=base, many=True)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            choices = [getattr(item, "value", None) for item in getattr(inside, "elts", [inside])]
            if choices and all(isinstance(choice, str) for choice in choices):
                return _Kind(choices=tuple(map(str, choices)))
    raise ValueError(
        f"the type `{ast.unparse(node)}` is not known. Use int, float, str, bool, date, Literal['a', 'b'] "
        "or list[int], list[float], list[str], each also with `| None`, a number also as Annotated[int, '1 to 60']."
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
        separate the items of a list.

        >>> Parameter(name="horizon_months", type="int", default=24).parse("36")
        36
        """
        try:
            kind = _kind(ast.parse(self.type, mode="eval").body)
            read = replace(kind, optional=kind.optional or self.default is None).read(value)
            _refuse_outside(self.range, read)
        except ValueError as error:
            raise WinbackError(f"Parameter '{self.name}' is {short(repr(value), 80)}: {error}") from None
        return read


def _refuse_outside(words: str, value: Any) -> None:  # noqa: ANN401  # a number or many where there is a range
    for number in (value if isinstance(value, list) else [value]) if words else []:
        if number is not None and not _Range.of(words).holds(number):
            raise ValueError(f"it must be {words}.")


def parameters_of(notebook: Path) -> dict[str, Parameter]:
    """Return the typed parameters of a notebook, in the order of its parameters cell.

    The one code cell tagged "parameters" holds lines `name: type = default  # help`,
    and above them, where needed, imports from datetime and typing.
    """
    source = text_of(_parameters_cell(_load(notebook), notebook))
    where = f"Notebook '{notebook.stem}', parameters cell"
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise WinbackError(f"{where}, line {error.lineno}: {error.msg}. Write lines `name: type = default`.") from None
    comments = _comments(source)
    found: dict[str, Parameter] = {}
    for line in body:
        if isinstance(line, ast.ImportFrom) and line.module in {"datetime", "typing", "__future__"}:
            continue
        try:
            parameter = _parameter(line, help=_help(line, comments))
        except ValueError as error:
            raise WinbackError(f"{where}, line {line.lineno}: {error}") from None
        if parameter.name in found:
            raise WinbackError(f"{where}, line {line.lineno}: '{parameter.name}' stands there twice. Remove one.")
        found[parameter.name] = parameter
    return found


def help_of(notebook: Path) -> str:
    """Return the parameters of a notebook, two lines each: name, type and default, then range and help."""
    return "\n".join(
        f"  {known.name}: {known.type} = {known.default!r}\n      {'; '.join(filter(None, (known.range, known.help)))}"
        for known in parameters_of(notebook).values()
    )


def _help(line: ast.stmt, comments: Mapping[int, str]) -> str:
    """Return the comments beside a line, wherever a formatter broke it."""
    return " ".join(comments[n] for n in range(line.lineno, (line.end_lineno or 0) + 1) if n in comments)


def _parameter(line: ast.stmt, *, help: str) -> Parameter:  # noqa: A002  # the field's name
    match line:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as default):
            pass
        case _:
            cure = "Write for example `horizon_months: int = 24  # months to look ahead`."
            raise ValueError(f"`{short(ast.unparse(line), 60)}` is not `name: type = default`. {cure}")
    if name in {*READERS, "Literal", "Annotated"}:
        raise ValueError(f"a parameter '{name}' would hide the type of that name. Give it another name.")
    annotation, words = _annotated(annotation)
    kind, value = _kind(annotation), _default(default)
    if words:
        _Range.of(words)
    if words and kind.base not in ("int", "float"):
        raise ValueError(f"a range is for numbers, and '{name}' is {ast.unparse(annotation)}. Leave the range out.")
    parameter = Parameter(name=name, type=ast.unparse(annotation), default=value, help=help, range=words)
    if value is None and (kind.optional or kind.base == "date"):
        return parameter
    if value is None or parameter.parse(value) != value:  # text that only could be read as the type is no default
        raise ValueError(f"the default `{ast.unparse(default)}` of '{name}' is no {parameter.type}. Correct one.")
    return replace(parameter, default=parameter.parse(value))


def _annotated(node: ast.expr) -> tuple[ast.expr, str]:
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
            func=ast.Attribute(value=ast.Name(id="date"), attr="fromisoformat"), args=[ast.Constant(value=day)]
        ):
            return _date(day)
    try:
        value: Value = ast.literal_eval(node)
    except (ValueError, TypeError):
        cure = 'Write a number, text, True, False, None, a list or date.fromisoformat("2026-01-31").'
        raise ValueError(f"the default `{short(ast.unparse(node), 60)}` is no plain value. {cure}") from None
    return value


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT}


def typed(declared: Mapping[str, Parameter], given: Mapping[str, object], *, notebook: Path) -> dict[str, Value]:
    """Return the given parameters in their types; refuse what the notebook does not know."""
    settable = [name for name in declared if name != "out"]
    if "out" in given and "out" in declared:
        raise WinbackError("Parameter 'out' is set by the run itself. Give the folder as the run's out instead.")
    for name in given:
        if name not in settable:
            raise WinbackError(f"Notebook '{notebook.stem}' has no parameter '{name}'. {did_you_mean(name, settable)}")
    return {name: declared[name].parse(value) for name, value in given.items()}


# ---- the notebook as a document


def _load(notebook: Path) -> dict[str, Any]:
    """Read a notebook of format 4 as plain JSON; give its cells the ids that format 4.5 wants."""
    try:
        document: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8-sig"))
        document["metadata"].pop("papermill", None)
        document["nbformat_minor"] = max(5, document.get("nbformat_minor", 0))
        for number, cell in enumerate(document["cells"]):
            cell.setdefault("id", f"cell-{number}")
            cell["source"] = text_of(cell)
            _tagged(cell, "parameters")
    except OSError as error:
        raise WinbackError(f"Notebook '{notebook}' cannot be read: {error.strerror}. Check its path.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WinbackError(f"'{notebook}' is no notebook of format 4. Open it in JupyterLab and save it.") from None
    return document


def _tagged(cell: Mapping[str, Any], tag: str) -> bool:
    return cell["cell_type"] == "code" and tag in cell["metadata"].get("tags", [])


def text_of(cell: Mapping[str, Any]) -> str:
    """Return the source of a cell: a notebook stores a text or a list of lines."""
    return "".join(cell["source"])


def _parameters_cell(document: Mapping[str, Any], notebook: Path) -> dict[str, Any]:
    cells: list[dict[str, Any]] = [cell for cell in document["cells"] if _tagged(cell, "parameters")]
    if len(cells) != 1:
        count = f"has {len(cells)} code cells" if cells else "has no code cell"
        raise WinbackError(f"Notebook '{notebook.stem}' {count} tagged \"parameters\". Tag exactly one.")
    return cells[0]


def inject(notebook: Path, values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the notebook with the values as literals in a cell after its parameters cell."""
    document = _load(notebook)
    cells = [cell for cell in document["cells"] if not _tagged(cell, "injected-parameters")]
    parameters = _parameters_cell(document, notebook)
    lines = ["# Parameters of this run", *(f"{name} = {_literal(value)}" for name, value in values.items())]
    if any(isinstance(value, date) for value in values.values()):
        lines.insert(1, "from datetime import date")
    injected: dict[str, Any] = {
        "cell_type": "code",
        "id": "injected-parameters",
        "metadata": {"tags": ["injected-parameters"]},
        "execution_count": None,
        "outputs": [],
        "source": "\n".join(lines),
    }
    cells.insert(cells.index(parameters) + 1, injected)
    return document | {"cells": cells}


def _literal(value: Value) -> str:
    """Return Python source for a value that `Parameter.parse` made: only literals, never its text as code."""
    return f'date.fromisoformat("{value.isoformat()}")' if isinstance(value, date) else repr(value)


def as_json(values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the values as JSON knows them: a date as its ISO text."""
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}
