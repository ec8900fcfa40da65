"""What a check found, without a word of any language: a key, a state, and the facts a sentence is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["pass", "warn", "stop"]
Fact = bool | int | float | str | tuple[str, ...] | tuple[int, ...] | tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of a check; its sentences are made by `report.wording` where a page is rendered.

    `key`: which check. `state`: pass; warn, read it with care; stop, decide nothing on it. `case`: which of the
    check's outcomes, where one state has several. `facts`: numbers, codes and names from the data; days as ISO text.
    """

    key: str
    state: State
    case: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


def of_state(findings: Iterable[Finding], state: State) -> list[Finding]:
    """Return the findings of a state, in their order.

    >>> of_state([Finding(key="holdout", state="pass"), Finding(key="tail", state="warn")], "warn")[0].key
    'tail'
    """
    return [finding for finding in findings if finding.state == state]
