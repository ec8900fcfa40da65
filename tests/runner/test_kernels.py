"""Forked kernels: the same results as started ones, nothing shared, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from notebooks import HANGS, alive, leftovers, make, outputs, wait_until

from experiments.common.run_records import Run
from experiments.runner import fork_server
from experiments.runner.fork_server import SPAWN, current, preloaded, worth_importing
from experiments.runner.notebooks import run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
LOOK = """
import json, os, random, sys
from pathlib import Path
import numpy as np
links = [f'/proc/self/fd/{n}' for n in range(3, 256)]
kinds = [os.readlink(link).split(':')[0] for link in links if os.path.lexists(link)]
told = {'env': os.environ.get('SEEN'), 'cwd': os.getcwd(), 'chance': [random.random(), float(np.random.random())],
        'files': sorted(kinds), 'threads': len(os.listdir('/proc/self/task')), 'argv': sys.argv[0].rpartition('/')[2],
        'path': sys.path, 'main': sys.modules['__main__'].__name__, 'parent': os.getppid(),
        'group': os.getpgrp() == os.getpid()}
Path(out, 'told.json').write_text(json.dumps(told))
"""
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_is_worth_importing_follows_from_the_cells():
    assert worth_importing(["import scipy.stats as s, os", "%%bash\nls", "from numpy import pi"]) == (
        "scipy.stats",
        "numpy",
    )
    assert "experiments.report.readout" in worth_importing(["from experiments import run"])
    assert worth_importing(["import my_own"]) == ()


def test_the_provisioner_is_registered_for_every_jupyter():
    (found,) = entry_points(group="jupyter_client.kernel_provisioners", name="winback-fork")
    assert found.load().__name__ == "ForkedKernel"


def test_a_forked_kernel_gives_the_outputs_of_a_started_one_byte_for_byte(tmp_path, monkeypatch):
    cells = (
        "import matplotlib.pyplot as plt\nimport numpy as np\nimport pandas as pd",
        "plt.plot([1, 3, 2])\nplt.show()\nplt.get_backend()",
        "a = np.random.default_rng(7).normal(size=(300, 300))\npd.DataFrame(np.linalg.svd(a)[1]).describe()",
        "__name__, np.get_printoptions()['precision'], pd.get_option('display.max_rows')",
    )
    notebook = make(tmp_path / "n.ipynb", "out: str = ''", *cells)
    monkeypatch.setattr(
        "experiments.report.page.render", lambda notebook, page: page.write_text("a plot without alt text")
    )
    run(notebook, {}, out=Path("forked"))
    monkeypatch.setenv(SPAWN, "1")
    run(notebook, {}, out=Path("started"))
    forked, started = outputs(Path("forked")), outputs(Path("started"))
    assert forked == started
    assert "image/png" in forked[3][0]["data"]


@linux
def test_a_forked_kernel_shares_nothing_and_inherits_only_what_a_new_one_does(tmp_path, monkeypatch):
    notebook = make(tmp_path / "n.ipynb", "out: str = ''", LOOK)
    with preloaded(["numpy"]):
        server = current()._process.pid
        monkeypatch.setenv("SEEN", "later")  # set after the process that forks began
        for name in ("a", "b"):
            run(notebook, {}, out=Path(name))
        assert alive(server)
    assert not alive(server)
    assert current() is None
    monkeypatch.setenv(SPAWN, "1")
    run(notebook, {}, out=Path("started"))
    a, b, started = (json.loads(Path(name, "told.json").read_text()) for name in ("a", "b", "started"))
    assert a["parent"] == b["parent"] == server
    for told in (a, b, started):
        told.pop("parent")
        assert (told.pop("env"), told.pop("cwd"), told.pop("group")) == ("later", str(tmp_path), True)
    chances = [tuple(told.pop("chance")) for told in (a, b, started)]
    assert len({chance for pair in chances for chance in pair}) == 6
    assert max(a.pop("threads"), b.pop("threads")) <= started.pop("threads")  # those of libraries begin when needed
    assert a == b == started


@linux
def test_when_the_caller_is_killed_its_kernels_end(tmp_path, start):
    wait = "import os, time\nfrom pathlib import Path\nPath('new').write_text(f'{os.getpid()} {os.getppid()}')\n"
    make(tmp_path / "n.ipynb", "out: str = ''", wait + "Path('new').rename('pids')\ntime.sleep(3600)")
    script = "from pathlib import Path; from experiments import run\nrun('n.ipynb', {}, out=Path('o'))"
    caller = start([sys.executable, "-c", script])
    wait_until((tmp_path / "pids").exists, caller)
    caller.kill()
    caller.wait()
    for process in map(int, (tmp_path / "pids").read_text().split()):
        wait_until(lambda process=process: not alive(process))


@linux
def test_without_the_process_that_forks_a_kernel_is_started(tmp_path):
    notebook = make(tmp_path / "n.ipynb", "out: str = ''", LOOK)
    with preloaded([]):
        current()._process.kill()
        current()._process.wait()
        run(notebook, {}, out=Path("o"))
    assert json.loads(Path("o/told.json").read_text())["parent"] == os.getpid()


# What breaks


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files")
def test_a_full_disk_is_told_and_the_last_good_report_stays(tmp_path):
    """Full when the notebook writes a file, and full when what it shows is kept."""
    cells = ("from pathlib import Path\nPath(out, 'big.txt').write_text('x' * size)", "print('x' * shown)")
    make(tmp_path / "n.ipynb", "size: int = 1\nshown: int = 1\nout: str = ''", *cells)
    script = """
import resource
from pathlib import Path
from experiments import run
run('n.ipynb', {'size': 10}, out=Path('o'))
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
for name in ('size', 'shown'):
    try:
        run('n.ipynb', {name: 100_000}, out=Path('o'))
    except ValueError as error:
        print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=HANGS)
    assert told.stderr == ""
    in_the_cell, kept = told.stdout.split("The failed notebook")
    assert in_the_cell.endswith("begins `from pathlib import Path`:\nOSError: [Errno 27] File too large\n")
    assert "Folder '.' cannot be written: File too large. Finished reports are as they were. Make room" in kept
    good = Run.read(Path("o/run.json"))
    assert good.parameters["size"] == 10
    assert good.changed_files() == []
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no signals between processes")
def test_ctrl_c_ends_the_process_that_forks_and_the_kernel(tmp_path, start):
    wait = "import os, time\nfrom pathlib import Path\nPath('new').write_text(f'{os.getpid()} {os.getppid()}')\n"
    make(tmp_path / "n.ipynb", "out: str = ''", wait + "Path('new').rename('pids')\ntime.sleep(3600)")
    script = "from pathlib import Path; from experiments import run\n"
    script += "try:\n    run('n.ipynb', {}, out=Path('o'))\nexcept KeyboardInterrupt:\n    print('interrupted')"
    caller = start([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until((tmp_path / "pids").exists, caller)
    caller.send_signal(signal.SIGINT)
    assert caller.communicate(timeout=HANGS) == ("interrupted\n", "")
    wait_until(lambda: not any(map(alive, map(int, (tmp_path / "pids").read_text().split()))))
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "o").exists()


def test_nothing_is_forked_where_it_is_turned_off(monkeypatch):
    monkeypatch.setenv(SPAWN, "1")
    with preloaded([]):
        assert current() is None
    assert fork_server._shared.users == 0


def test_the_process_that_forks_stays_until_the_last_one_is_done():
    with preloaded([]):
        first = current()
        with preloaded([]):
            assert current() is first
        assert current() is first
        assert first._process.poll() is None
    assert current() is None
    assert first._process.returncode is not None
