"""A private Postgres for a test: in a folder of its own, on a free port of this machine, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

# Who must give a password, and who may not come in; everybody else is trusted.
RULES = "host all keyed 127.0.0.1/32 scram-sha-256\nhost all barred 127.0.0.1/32 reject\n"
NOBODY = "nobody"  # Postgres refuses to run as root


def program(name):
    """Return the path of a program of Postgres, None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


@contextmanager
def postgres():
    """Yield the address of an empty database."""
    user = NOBODY if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="winback-postgres-"))
    try:
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def run(name, *arguments):  # in the folder: another user may not look into the one of the tests
            command = [program(name), "-D", str(folder / "data"), *arguments]
            subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

        settings = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
        run("initdb", "-U", "winback", "-A", "trust", "-E", "UTF8")
        rules = folder / "data/pg_hba.conf"
        rules.write_text(RULES + rules.read_text(encoding="utf-8"), encoding="utf-8")
        run("pg_ctl", "-l", str(folder / "log"), "-w", "-o", settings, "start")
        try:
            yield f"postgresql://winback@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
