"""Customers who were forgotten: a keyed hash stands in their place, the same everywhere, and nobody finds its way back.

The key lies outside the workspace, so that a copy of the workspace alone tells nobody who it was: in a file of its
owner's settings, or where the variable WINBACK_FORGET_KEY says. Machines that share a ledger share the key.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from experiments.common.errors import WinbackError
from experiments.common.files import write_text
from experiments.data.columns import literal

VARIABLE = "WINBACK_FORGET_KEY"  # a file
MARK = "forgotten-"
LETTERS = 32  # of the sha256, 128 bits
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """What stands for customers who were forgotten, under one key."""

    key: str

    @property
    def prefix(self) -> str:
        """How pseudonyms of this key begin: a machine with another key notices."""
        return f"{MARK}{hashlib.sha256(self.key.encode()).hexdigest()[:8]}-"

    def of(self, customer: str) -> str:
        """Return what stands for a customer, who is written as `identity.same` does.

        >>> one = Pseudonyms("key").of("007")
        >>> one.startswith("forgotten-2c70e12b-"), one == Pseudonyms("key").of("7"), len(one)
        (True, False, 51)
        """
        return self.prefix + hashlib.sha256(f"{self.key}:{customer}".encode()).hexdigest()[:LETTERS]

    def sql(self, customer: str) -> str:
        """Return the same as SQL of the engine; `customer`: SQL of a text."""
        return f"({literal(self.prefix)} || left(sha256({literal(f'{self.key}:')} || {customer}), {LETTERS}))"


def pseudonyms(*, create: bool = False) -> Pseudonyms | None:
    """Return the pseudonyms of this machine's key; None where there is no key, unless `create`.

    Raises WinbackError where the key cannot be read or written.
    """
    path = _key_file()
    try:
        if path.is_file():
            return Pseudonyms(path.read_text(encoding="utf-8").strip())
        if not create:
            return None
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_text(path, secrets.token_hex(KEY_BYTES) + "\n", durable=True, private=True)
    except (OSError, UnicodeDecodeError) as error:
        raise WinbackError(f"The key of the forgotten, {path}, cannot be used: {error}. Say where another file lies: "
                           f"the variable {VARIABLE}.") from None  # fmt: skip
    return pseudonyms()


def _key_file() -> Path:
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get(VARIABLE) or settings / "winback" / "forget.key")
