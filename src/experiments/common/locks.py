"""One writer at a time: a lock around reading a file, changing it and putting it back.

The system takes a lock back from whoever is killed, so none outlives its holder.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from experiments.common.errors import WinbackError

PATIENCE = 60.0  # seconds
PAUSE, TELL_AFTER = 0.05, 1.0  # seconds between two looks at a lock; until it is told that somebody waits

log = logging.getLogger(__name__)


class InUse(WinbackError):  # noqa: N818  a word, like the others of the house
    """Somebody else holds the lock."""


@contextmanager
def locked(
    path: Path,
    *,
    seconds: float = PATIENCE,
    place: Path | None = None,
    called: str = "",
    longer: str = "run it again",
    unlike: str = "",
) -> Iterator[None]:
    """Hold the lock of a file or folder until the end of the block; others wait `seconds` for it.

    `place`: the file of the lock, .<name>.lock beside the path unless given; it stays, for who removed it could remove
    another's lock. For messages: what the path is `called`, what to do `longer`, what to do where there are no locks.
    Where the system has no such lock, none is made up: a file that means "locked" would outlive a killed writer.
    Raises InUse after that, WinbackError where there is no lock to be had.
    """
    place, called = place or path.with_name(f".{path.name}.lock"), called or f"'{path.name}'"
    lock = FileLock(place, thread_local=False, fallback_to_soft=False, preserve_lock_file=True, mode=0o600)

    def taken() -> bool:
        try:
            if not place.parent.is_dir():  # else it would be made
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            raise WinbackError(
                f"{_begin(called)} cannot be locked: {error.strerror or error}: {place}. Give it a folder on a disk of "
                f"this machine that can be written to{unlike}."
            ) from None
        return True

    wait(taken, seconds=seconds, called=called, holder=lambda: _holder(place), longer=longer)
    try:
        with suppress(OSError):  # on a full disk nobody reads who holds it, nor on Windows
            since = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
            place.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since} UTC", encoding="utf-8")
        yield
    finally:
        lock.release()


def wait(attempt: Callable[[], bool], *, seconds: float, called: str, holder: Callable[[], str], longer: str) -> None:
    """Try until it works; say so while waiting. Raises InUse after some seconds."""
    begun, warned, name = time.monotonic(), False, _begin(called)
    while not attempt():
        waited = time.monotonic() - begun
        if waited >= seconds:
            raise InUse(f"{name} has been in use for {waited:.0f} s by {holder()}. Let that end, or {longer}.")
        if waited >= TELL_AFTER and not warned:
            log.warning("%s is in use by %s: waiting for up to %.0f s.", name, holder(), seconds)
            warned = True
        time.sleep(PAUSE)


def _begin(called: str) -> str:
    return f"{called[:1].upper()}{called[1:]}"


def _holder(place: Path) -> str:
    with suppress(OSError):
        return place.read_text(encoding="utf-8", errors="replace") or "another process"
    return "another process"
