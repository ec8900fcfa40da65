"""A result as a JSON file: written whole or not at all, read back equal to the last digit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from experiments.common.errors import WinbackError

Result = TypeVar("Result")


def keep(result: object, path: str | Path) -> None:
    """Write a frozen result as JSON."""
    from pydantic import TypeAdapter

    write_text(Path(path), TypeAdapter(type(result)).dump_json(result, indent=1).decode() + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def kept(kind: type[Result], path: str | Path, *, what: str, command: str) -> Result:
    """Return a result written by `keep`; `what` it is and the `command` that makes it stand in the error."""
    from pydantic import TypeAdapter, ValidationError

    if not Path(path).is_file():
        raise WinbackError(f"There is no {what} {str(path)!r}. Make it: `{command}`.")
    try:
        return TypeAdapter(kind).validate_json(Path(path).read_bytes())
    except ValidationError as error:
        raise WinbackError(f"{path} is no {what} of this version: {error.errors()[0]['msg']}. Make it again: "
                           f"`{command}`.") from None  # fmt: skip
