"""A file of texts as people have it: which signs its bytes are, where a line ends, what separates its cells.

`opened` says how the engine reads a file; what it cannot read itself (another encoding, line ends of three kinds) is
written once more as plain UTF-8, in a stream. Nothing of a row ever stands in an error: line, column, kind at most.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from experiments.common.errors import Ambiguous, WinbackError
from experiments.data.contracts import DELIMITERS
from experiments.data.identity import BLANKS

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
UTF = ("utf-8", "utf-8-sig")
# Encodings of one byte a letter. Which one it is, the words tell: Cyrillic ones have no Latin letters, others have.
CYRILLIC, WESTERN = ("cp1251", "koi8-r", "cp866"), "cp1252"
NAMES = "utf-8, utf-16, cp1251 (Cyrillic of Windows), cp1252 (Western Europe), latin-1"
ASCII = bytes(range(32, 127))  # what every encoding of tables has in common
NO_FILES = ("utf_7", "idna", "unicode_escape", "raw_unicode_escape")  # codecs that no table is written in
CHUNK = 1 << 20  # bytes
WORDS = 50_000  # words that tell the encoding, at most
PEEK = 200  # lines that tell the shape
HEADER = 20  # lines among which the header is
LONGEST = 1 << 20  # letters of a cell
ENDS = (b"\r\n", b"\r", b"\n")
LONGEST_NAME = 500  # letters of the name of a column
LONGEST_LINE = 16 * LONGEST  # bytes
VOWELS, FEWEST_VOWELS, ENOUGH = "аеёиоуыэюяіїє", 0.25, 8  # share of the letters; of so many
RUSSIAN = "А-яЁёІіЇїЄєҐґ"
WESTERN_LETTERS = "À-ÖØ-öø-ÿŒœŠšŽžŸªº"
SIGNS = " №«»–—…€°’‘“”„•§±·©®™£²³\u00a0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a file of texts is read: its encoding, what separates cells, its columns, the line its rows begin after."""

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    header_line: int  # the last line of the header, from 1
    rewrite: bool  # the engine cannot read it as it is
    inferred: bool  # whether the encoding was told from words


def layout(path: Path, *, called: str, encoding: str | None, delimiter: str | None, needed: Collection[str]) -> Layout:
    """Return how a file is read. `called`: what an error calls it; `needed`: column names its header must have.

    Raises WinbackError for what is no text, Ambiguous for an encoding nobody can tell.
    """
    with _readable(called):
        found, inferred = (_checked(path, encoding, called), False) if encoding else _encoding(path, called)
        with _text(path, found) as file:
            lines = [line for _, line in zip(range(PEEK), _lines(file), strict=False)]
        odd_ends = _odd_ends(path, called)
    separator, skipped = _separator(lines, delimiter)
    rows = list(_rows(lines[skipped:], separator, called))
    if not rows:
        raise WinbackError(f"{called} is empty. Export it again, with a header and rows.")
    place = header_place([row for _, row in rows[:HEADER]], needed)
    line, header = rows[place]
    width = max((len(row) for _, row in rows[place + 1 :]), default=len(header))
    names = [*map(_name, header), *[""] * (width - len(header))]
    if max(map(len, names)) > LONGEST_NAME:
        raise WinbackError(f"{called} has no header: a name of a column would have more than {LONGEST_NAME} letters.")
    if width > len(header) and any(cell.strip() for _, row in rows[place + 1 :] for cell in row[len(header) :]):
        number = next(number for number, row in rows[place + 1 :] if any(cell.strip() for cell in row[len(header) :]))
        raise WinbackError(
            f"{called}, line {number + skipped}: more cells than the header has names ({len(header)}, separated by "
            f"{_spoken(separator)}). Put cells that hold the separator, such as 1,50, into quotes, or use another."
        )
    return Layout(encoding=found, delimiter=separator, names=tuple(names), header_line=line + skipped,
                  rewrite=found not in UTF or odd_ends, inferred=inferred)  # fmt: skip


def header_place(rows: Sequence[Sequence[object]], needed: Collection[str]) -> int:
    """Return which of the first rows is the header: the first with the names that are needed; without any, no title.

    >>> header_place([["Sales of 2025"], ["client", "date"], ["7", "2025-01-31"]], [])
    1
    """
    names = [[_name(str(cell)) for cell in row if cell not in ("", None)] for row in rows]
    if needed:
        return next((place for place, row in enumerate(names) if {*needed} <= {*row}), 0)
    several = max(map(len, names), default=1) > 1  # a title is alone in its row
    return next((place for place, row in enumerate(names) if len(row) > 1 or not several), 0)


def _spoken(separator: str) -> str:
    return next(repr(name) if len(name) == 1 else name for name, sign in DELIMITERS.items() if sign == separator)


def plain_copy(path: Path, into: Path, how: Layout, *, called: str) -> None:
    """Write a file once more as UTF-8 with one kind of line ends, in a stream."""
    with (
        _readable(called),
        _text(path, how.encoding, newline=None) as file,
        into.open("w", encoding="utf-8", newline="\n") as out,
    ):
        while part := file.read(CHUNK):
            out.write(part)


def rows(path: Path, how: Layout, *, called: str) -> Iterator[list[str]]:
    """Yield the header and every row of a file that holds anything. Raises WinbackError at a line that is none."""
    with _readable(called), _text(path, how.encoding) as file:
        yield list(how.names)
        lines = _lines(file)
        for _ in range(how.header_line):
            next(lines, None)
        for _, row in _rows(lines, how.delimiter, called, strict=True, before=how.header_line):
            yield row


# ---- bytes


@contextmanager
def _readable(called: str) -> Iterator[None]:
    """Say of a file that is damaged that it is; a zip that ends too early, or holds something else."""
    try:
        yield
    except (OSError, EOFError, zlib.error):
        raise WinbackError(f"{called} cannot be read: it is damaged or not whole. Export it again.") from None


def is_zipped(path: Path) -> bool:
    """Tell whether the bytes of a file are those of gzip, whatever it is called."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _open(path: Path) -> io.BufferedReader:
    return io.BufferedReader(gzip.open(path, "rb")) if is_zipped(path) else path.open("rb")


def _text(path: Path, encoding: str, *, newline: str | None = "") -> io.TextIOWrapper:
    """Open a file as text; every kind of line end is one, and stays as it is unless `newline` is None."""
    return io.TextIOWrapper(_open(path), encoding=encoding, newline=newline)


def _chunks(path: Path) -> Iterator[bytes]:
    with _open(path) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _odd_ends(path: Path, called: str) -> bool:
    """Tell whether lines end with a lone CR, or some with CR LF and some with LF. Refuse a line without end."""
    kinds: set[bytes] = set()
    before, since = b"", 0
    for chunk in _chunks(path):
        text = before + chunk
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        since = since + len(chunk) if end < 0 else len(chunk) - end
        if since > LONGEST_LINE:
            raise WinbackError(f"{called}: a line is longer than {LONGEST_LINE:,} letters. Export it again.")
        before = b"\r" if text.endswith(b"\r") else b""
        if len(kinds) < len(ENDS):
            pairs, lone = text.count(b"\r\n"), text.count(b"\r") - len(before)
            counted = {b"\r\n": pairs, b"\r": lone - pairs, b"\n": text.count(b"\n") - pairs}
            kinds |= {kind for kind, number in counted.items() if number}
    return len(kinds) > 1 or b"\r" in kinds or before == b"\r"


def _checked(path: Path, encoding: str, called: str) -> str:
    """Return the encoding that the sheet names; refuse one that nobody knows or that does not fit."""
    try:
        found = codecs.lookup(encoding).name
        known = found.replace("-", "_") not in NO_FILES
        known = known and (found.startswith("utf") or ASCII.decode(found) == ASCII.decode("ascii"))
    except (LookupError, ValueError):
        known = False
    if not known:
        raise WinbackError(f"{called}: nobody knows an encoding {encoding!r}. Use one of: {NAMES}.")
    if not _decodes(path, found, called):
        raise WinbackError(f"{called} is not written in {encoding}. Use one of: {NAMES}.")
    if found not in UTF:
        with _open(path) as file:
            start = file.read(4096)
        only_ascii = start.isascii() and all(chunk.isascii() for chunk in _chunks(path))
        if not (only_ascii and not found.startswith("utf")) and b"\0" not in start and _decodes(path, "utf-8", called):
            raise WinbackError(f"{called} is not written in {encoding}, but in utf-8. Take `encoding:` out.")
    with _open(path) as file:
        return "utf-8-sig" if found == "utf-8" and file.read(3) == codecs.BOM_UTF8 else found


def _decodes(path: Path, encoding: str, called: str) -> bool:
    """Tell whether a file is text in an encoding; refuse a text with signs of zero, which no table holds."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in itertools.chain(_chunks(path), [b""]):
            if "\0" in decoder.decode(chunk, final=not chunk):
                raise _no_text(called)
    except UnicodeError:
        return False
    return True


def _no_text(called: str) -> WinbackError:
    return WinbackError(f"{called} is no text: it holds bytes of zero. Export it as CSV or XLSX.")


def _encoding(path: Path, called: str) -> tuple[str, bool]:
    """Return the encoding of a file, and whether only its words tell it."""
    with _open(path) as file:
        start = file.read(4096)
    for mark, encoding in MARKS.items():
        if start.startswith(mark):
            return _checked(path, encoding, called), False
    if b"\0" in start:
        even, odd = start[::2].count(0), start[1::2].count(0)
        wide = len(start) // 2
        if max(even, odd) < 0.3 * wide or min(even, odd) > 0.05 * wide:
            raise _no_text(called)
        return _checked(path, "utf-16-le" if odd > even else "utf-16-be", called), False
    if _decodes(path, "utf-8", called):
        return "utf-8", False
    if any(b"\0" in chunk for chunk in _chunks(path)):
        raise _no_text(called)
    return _told_by_words(path, called), True


def _told_by_words(path: Path, called: str) -> str:
    """Return the one encoding in which all words of a file are words; refuse to guess between several."""
    words: set[bytes] = set()
    rest = b""
    for chunk in _chunks(path):
        *whole, rest = re.split(rb"[\x00-\x40\x5b-\x60\x7b-\x7f]+", rest + chunk)
        words |= {word for word in whole if max(word, default=0) > 127}  # noqa: PLR2004  beyond ASCII
        if len(words) > WORDS:
            break
    words |= {rest} if max(rest, default=0) > 127 else set()  # noqa: PLR2004
    if any(_is_utf8(word) for word in words):
        raise WinbackError(f"{called} is written in two encodings: some words in UTF-8, others not. Export it again.")
    found = {name: text for name in (*CYRILLIC, WESTERN) if (text := _decoded(words, name)) and _all_words(name, text)}
    fitting = list({tuple(text): name for name, text in reversed(found.items())}.values())  # alike in two: either
    if set(fitting) <= {*CYRILLIC} and CYRILLIC[0] in fitting:  # so few letters that older encodings fit, too
        return CYRILLIC[0]
    if len(fitting) == 1:
        return fitting[0]
    why = f"it could be {' or '.join(fitting)}" if fitting else "its words fit no usual one"
    raise Ambiguous(
        f"{called} is not UTF-8 text, and nobody can tell what it is: {why}. Say it, for example `encoding: "
        f"cp1251`; known: {NAMES}. Or save it as UTF-8.",
        setting="encoding",
        choices={name: name for name in fitting},
    )


def _is_utf8(word: bytes) -> bool:
    with suppress(UnicodeDecodeError):
        return word.decode("utf-8").isalpha()
    return False


def _decoded(words: Collection[bytes], encoding: str) -> list[str]:
    """Return words of bytes as texts; none where one cannot be."""
    with suppress(UnicodeDecodeError):
        return [word.decode(encoding) for word in sorted(words)]
    return []


def _all_words(encoding: str, texts: Collection[str]) -> bool:
    """Tell whether texts are words of a language: Russian ones without a Latin letter or a capital inside, or Western.

    A Western word of several letters has one without an accent. Signs are those that stand in tables.
    """
    cyrillic = encoding in CYRILLIC
    spoken = "".join(re.findall(f"[{RUSSIAN}]", "".join(texts).lower()))
    if cyrillic and len(spoken) >= ENOUGH:  # the same bytes as letters of another alphabet have too few vowels
        share = sum(spoken.count(vowel) for vowel in VOWELS) / len(spoken)
        if not FEWEST_VOWELS <= share <= 1 - FEWEST_VOWELS:
            return False
    letters = RUSSIAN if cyrillic else WESTERN_LETTERS
    for text in texts:
        if not re.fullmatch(f"[A-Za-z{letters}{SIGNS}]*", text):
            return False
        for part in filter(None, re.split(f"[{SIGNS}]+", text)):
            special, latin = re.search(f"[{letters}]", part), re.search("[A-Za-z]", part)
            if cyrillic and special and (latin or part not in (part.lower(), part.upper(), part.capitalize())):
                return False
            if not cyrillic and special and not latin and len(part) > 1:
                return False
    return True


# ---- lines


def _lines(file: io.TextIOWrapper) -> Iterator[str]:
    while line := file.readline(LONGEST):
        yield line


def _separator(lines: list[str], given: str | None) -> tuple[str, int]:
    """Return what separates cells, and how many lines before the header say so."""
    first = lines[0].strip() if lines else ""
    skipped = 1 if re.fullmatch(r"\"?sep=.\"?", first, re.IGNORECASE) or first.lower() == "sep=" else 0
    if given:
        return DELIMITERS[given], skipped
    if skipped and first.lower() != "sep=":
        return first.strip('"')[-1], skipped
    if skipped:  # a tab at the end was taken for a blank
        return "\t", skipped
    filled = [line for line in lines if line.strip()]
    return max(DELIMITERS.values(), key=lambda sign: (_cells(filled, sign), -[*DELIMITERS.values()].index(sign))), 0


def _cells(lines: list[str], sign: str) -> int:
    """Return how many cells a separator makes of the first line that has any, if the next ones have as many."""
    counts = [len(row) for row in csv.reader(lines[:HEADER], delimiter=sign) if row]
    return counts[0] if counts and counts[0] > 1 else max(counts, default=0) // 2


def _rows(
    lines: Iterable[str], separator: str, called: str, *, strict: bool = False, before: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of the first lines that hold anything, each with the number of its last line."""
    csv.field_size_limit(LONGEST)
    reader = csv.reader(lines, delimiter=separator, strict=strict)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise WinbackError(
            f"{called}, line {before + reader.line_num}: {error}. Export it again as CSV or XLSX."
        ) from None


def _name(cell: str) -> str:
    return cell.strip(BLANKS)
