"""A result as a JSON file: written whole or not at all, read back equal to the last digit by every later version."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

from experiments.common.errors import WinbackError
from experiments.common.files import write_text
from experiments.common.run_records import believe

FORMAT = 2  # of the files; raised when what an older program wrote needs `upgraded` to be read


class Result:
    """What every result can do: go into a file and come back, and show the head of its page in a notebook.

    A frozen dataclass that derives from it says what it is called, which command makes it, and which module of
    `experiments.report` shows it.
    """

    __slots__ = ()
    what: ClassVar[str]  # in an error: "readout", "cohort"
    command: ClassVar[str]  # that makes it
    page: ClassVar[str] = ""  # module of experiments.report with `question` and `verdict`; none: no page

    def write(self, path: str | Path) -> None:
        """Write the result as JSON: the same bytes whatever the language, with the number of its format."""
        from pydantic import TypeAdapter

        text = TypeAdapter(type(self)).dump_json(self, indent=1).decode()
        write_text(Path(path), text.replace("{", f'{{\n "format": {FORMAT},', 1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return a result that `write` wrote, also that of an earlier version. Raises WinbackError.

        So too where a run wrote it and it was changed since: whatever builds on an earlier result reads it here.
        """
        from pydantic import TypeAdapter, ValidationError

        if not Path(path).is_file():
            raise WinbackError(f"There is no {cls.what} {str(path)!r}. Make it: `{cls.command}`.")
        believe(path)
        try:
            content = json.loads(Path(path).read_bytes())
            wrote = content.pop("format", 1) if isinstance(content, dict) else FORMAT
            if wrote == 1:
                content = cls.upgraded(content)
            if wrote in range(1, FORMAT + 1):
                return TypeAdapter(cls).validate_json(json.dumps(content))
            why = f"its format is {wrote!r}, this one reads up to {FORMAT}"
        except ValidationError as error:
            why = error.errors()[0]["msg"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"{type(error).__name__}: {error}"
        raise WinbackError(f"{path} is no {cls.what} of this version: {why}. Make it again: `{cls.command}`.")

    @classmethod
    def upgraded(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Return what a program of format 1 wrote as this one writes it."""
        return content

    def _repr_html_(self) -> str | None:
        """Return the head of the page, as a notebook shows it."""
        if not self.page:
            return None
        page = import_module(f"experiments.report.{self.page}")  # by name: results stand below the pages
        shown: str = (page.question(self) + page.verdict(self))._repr_html_()
        return shown
