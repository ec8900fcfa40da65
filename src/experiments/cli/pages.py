"""Finished pages: in another language, and on paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.cli.options import argument, command
from experiments.common.language import LANGUAGES


@command(
    argument("folder", type=Path, metavar="FOLDER", help="the folder of a run, such as reports/telecom/3-readout"),
    argument("--lang", choices=LANGUAGES, help="language of the page (that of the run's page)"),
    argument("--out", type=Path, metavar="FILE", help="where the page goes (beside the run's, as page.fr.html)"),
)
def page(args: argparse.Namespace) -> None:
    """Render the page of a finished run again, in another language, from its result alone."""
    from experiments.runner.render_again import render_again

    print(f"The page: {render_again(args.folder, language=args.lang, page=args.out)}")


@command(
    argument("page", type=Path, metavar="PAGE", help="a page.html, or the folder of a run"),
    argument("--out", type=Path, metavar="FILE", help="where the PDF goes (beside the page)"),
)
def pdf(args: argparse.Namespace) -> None:
    """Print a page to a tagged PDF with the Chromium of this machine."""
    from experiments.report.pdf import print_page

    print(f"Printed: {print_page(args.page, args.out)}")
