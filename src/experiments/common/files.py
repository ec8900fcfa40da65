"""Files written whole or not at all, and the folder of a run: made in a temporary one, published all at once."""

import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from experiments.common.errors import WinbackError

PRIVATE = 0o600  # mode of a file that is its owner's alone
DAY, MINUTE = 86_400, 60  # seconds


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


def private_folder(folder: Path) -> Path:
    """Make a folder, and those above it that are not there, for their owner alone; return it."""
    for place in reversed([folder, *folder.parents]):
        if not place.exists():
            place.mkdir(mode=0o700, exist_ok=True)
    return folder


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
        for left in out.parent.glob(f".{glob.escape(out.name)}-*"):
            _clear_left(left)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            with alone(work):
                yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _clear_left(folder: Path) -> None:
    """Remove the temporary folder of a run that was killed: nobody holds it. Where there are no locks, after a day."""
    age = time.time() - folder.stat().st_mtime
    if age > (MINUTE if os.name == "posix" else DAY):
        with alone(folder, wait=False) as held:
            if held:
                shutil.rmtree(folder, ignore_errors=True)


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
    """Return the files in a folder and below it, relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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
    """Hold the folder's lock; give whether it is held. Windows and some network drives have none: all hold it there."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    handle, held = None, True
    with suppress(ImportError, OSError):
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            held = False
    try:
        yield held
    finally:
        if handle is not None:
            os.close(handle)
