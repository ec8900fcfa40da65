"""What forgetting changed in the files of a test, so that a changed hash is not taken for an edited file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.common.files import write_text
from experiments.common.run_records import sha256_of

FILE = "forgotten.json"


def changes_in(folder: Path) -> list[dict[str, Any]]:
    """Return what was forgotten in the private folder of a test, in order: day, reason, by, file, before, after."""
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def note_change(folder: Path, file: Path, *, before: str, after: str, about: Mapping[str, str]) -> None:
    """Write down that forgetting somebody gives a file another sha256, before it does. The caller holds its lock."""
    noted = [*changes_in(folder), {**about, "file": file.name, "before": before, "after": after}]
    write_text(folder / FILE, json.dumps(noted, indent=1, ensure_ascii=False) + "\n", durable=True, private=True)


def only_forgotten(file: Path, before: str, folder: Path | None = None) -> str:
    """Return the day of the last forgetting if a file differs from what it was by forgetting alone, else nothing.

    `before`: its sha256 then; `folder`: the private one of its test, where the file lies unless it is given.
    """
    if not file.is_file():
        return ""
    day, now, then = "", sha256_of(file), before
    for change in changes_in(folder or file.parent):
        if change["file"] == file.name and change["before"] == then:
            day, then = change["day"], change["after"]
    return day if then == now else ""
