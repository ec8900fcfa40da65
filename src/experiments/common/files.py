"""Files written whole or not at all, and the folder of a run: made in a temporary one, published all at once."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from experiments.common.errors import WinbackError
from experiments.common.locks import PATIENCE, InUse, locked

PRIVATE = 0o600  # mode of a file that is its owner's alone
LOCK = ".lock"


@contextmanager
def whole_file(path: Path, *, durable: bool = False, private: bool = False) -> Iterator[Path]:
    """Give a temporary file beside `path` to write; at the end it takes the place of `path`, after an error it goes.

    `durable`: it is on the disk before that, so that even a power cut leaves the old file or the new one. `private`:
    nobody but its owner can read it, not for a moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.{path.name}")  # the ending stays: writers go by it
    try:
        if private:
            part.touch(PRIVATE)
        yield part
        if private:
            part.chmod(PRIVATE)
        if durable:
            _flush(part)
        part.replace(path)
        if durable:
            _flush(path.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def clear_parts(path: Path) -> None:
    """Remove what killed writers left beside a file. The caller holds its lock."""
    for left in path.parent.glob(f".[0-9]*.{glob.escape(path.name)}"):
        left.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, durable: bool = False, private: bool = False) -> None:
    """Write a UTF-8 text file, whole or not at all; half a character becomes its escape."""
    with whole_file(path, durable=durable, private=private) as part:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def workshop(out: Path) -> Iterator[Path]:
    """Give a temporary folder beside `out` and remove it at the end, however that comes.

    What killed runs left there is removed first.
    """
    if out.exists() and not out.is_dir():
        raise WinbackError(f"'{out}' is a file, but the run needs a folder. Give another folder.")
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            with locked(out, place=out.parent / f".workshop{LOCK}"):
                for left in out.parent.glob(f".{glob.escape(out.name)}-*"):
                    with suppress(WinbackError), locked(left, seconds=0, place=left / LOCK):
                        shutil.rmtree(left, ignore_errors=True)
                work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
                held.callback(shutil.rmtree, work, ignore_errors=True)
                held.enter_context(locked(work, place=work / LOCK))
            yield work


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tell what the system refuses (no space, no permission) while a folder is written to, as a WinbackError."""
    try:
        yield
    except OSError as error:
        raise WinbackError(f"Folder '{folder}' cannot be written: {error.strerror or error}. Finished reports are as "
                           "they were. Make room or give another folder, and run it again.") from error  # fmt: skip


def relative(path: Path) -> str:
    """Return the path as seen from here, where it can be."""
    try:
        return os.path.relpath(path)
    except ValueError:  # on another drive of Windows
        return str(path)


def files_in(folder: Path) -> list[str]:
    """Return the files in a folder and below it, relative to it; locks are none."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != LOCK
    )


def move_into(out: Path, work: Path, *, record: str, stale: Sequence[str]) -> None:
    """Move all that is in `work` into `out` and remove what is `stale` there. The caller holds the lock.

    The record goes first and comes last: while it is there, all files are of its run.
    """
    files = files_in(work)
    (out / record).unlink(missing_ok=True)
    for name in {*stale} - {*files, record}:
        (out / name).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: name == record):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).replace(out / name)


@contextmanager
def alone(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder, which is made where it is not there; give whether it is held.

    Some network drives have no locks: all hold it there.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        held = True
        try:
            stack.enter_context(locked(folder, seconds=PATIENCE if wait else 0, place=folder / LOCK))
        except InUse:
            if wait:
                raise
            held = False
        except WinbackError:
            pass
        yield held
