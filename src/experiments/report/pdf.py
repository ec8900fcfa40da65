"""A page as a PDF: printed by the Chromium of the system, tagged for screen readers, with an outline."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from experiments.common.errors import WinbackError
from experiments.common.files import whole_file

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PAGES = (".html", ".htm")
SECONDS = 120  # for one page; it takes two
FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-extensions", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--no-pdf-header-footer",
    "--generate-pdf-document-outline", "--export-tagged-pdf",
)  # fmt: skip


def print_page(page: Path, out: Path | None = None) -> Path:
    """Print a page to a tagged PDF, beside it unless `out` says where; return the file.

    The file is written whole or not at all. Raises WinbackError: no page, no browser, a folder that cannot be written.
    """
    page = page / "page.html" if page.is_dir() else page
    if not page.is_file():
        raise WinbackError(f"There is no page {str(page)!r}. Name a page.html, or the folder of a run.")
    if page.suffix.lower() not in PAGES:
        raise WinbackError(f"{page} is no page. Name a page.html, or the folder of a run.")
    target = out or page.with_suffix(".pdf")
    if target.suffix.lower() != ".pdf":
        raise WinbackError(
            f"{target} is no name of a PDF: nothing else is written over. Write --out {target.stem}.pdf."
        )
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="winback-", ignore_cleanup_errors=True) as home:
        made = Path(home) / "page.pdf"
        alone = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root has no sandbox
        folders = (f"--user-data-dir={home}/profile", f"--print-to-pdf={made}")
        command = [browser, *FLAGS, *alone, *folders, page.absolute().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise WinbackError(f"{browser} did not print {page} within {SECONDS} seconds. Try again.") from None
        if not made.is_file() or not made.read_bytes().startswith(b"%PDF"):
            said = (done.stderr.strip().splitlines() or ["no word why"])[-1]
            raise WinbackError(f"{browser} printed no PDF of {page}: {said[:200]}. Try another browser.")
        return _publish(made, target)


def find_browser() -> str:
    """Return the path of a browser that can print; WinbackError where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise WinbackError(
            "A PDF is printed by Chromium or Chrome, and none is on the PATH. Install one (Debian: `apt install "
            "chromium`), or open the page and print it from your browser."
        )
    return found


def _publish(made: Path, target: Path) -> Path:
    try:
        with whole_file(target) as part:
            shutil.copyfile(made, part)
    except OSError as error:
        raise WinbackError(f"{target} cannot be written: {error.strerror}. Name another file with --out.") from None
    return target
