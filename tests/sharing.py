"""What is dear to make is made once for all workers of a run."""

import os
from contextlib import contextmanager

import pytest


@contextmanager
def alone(path):
    """Let one process at a time pass."""
    fcntl = pytest.importorskip("fcntl", reason="no lock between processes")
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def once(tmp_path_factory, name, make):
    """Return a folder of this name that all workers share; the first that asks makes what is in it: `make(folder)`.

    If that fails, whoever asks next tries again, in a new folder. Nobody writes into it afterwards.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with alone(shared / f"{name}.lock"):
        link = shared / f"{name}.made"
        if not link.exists():
            folder = tmp_path_factory.mktemp(name)
            make(folder)
            link.symlink_to(folder)
        return link.resolve()
