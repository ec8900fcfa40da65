"""The modules of one's own that a notebook imports: they make its results as its cells do."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from experiments.common.files import relative
from experiments.common.run_records import MODULE, hashes_of

OURS = "experiments"  # the package has a sha256 of its own
MAGIC = ("%", "!", "?")  # what a line begins with that IPython reads, and Python cannot


def modules_of(cells: Iterable[str], notebook: Path) -> dict[str, str]:
    """Return the sha256 of every module that the cells import, and those import in turn, by its path as seen from here.

    Looked for in the folder one stands in, from which a kernel imports, and beside the notebook. Raises WinbackError
    for one that cannot be read.
    """
    files = _imported_files(cells, folders=list(dict.fromkeys([Path.cwd(), notebook.absolute().parent])))
    found = hashes_of(sorted(Path(relative(path)) for path in files))
    return {f"{MODULE}{Path(name).as_posix()}": sha256 for name, sha256 in found.items()}


def _imported_files(cells: Iterable[str], *, folders: Sequence[Path]) -> set[Path]:
    """Return the files of the modules in these folders that the cells import, directly or not."""
    found: set[Path] = set()
    wanted = [name for cell in cells for name in imported(cell)]
    while wanted:
        name = wanted.pop()
        for folder in folders:
            for path in set(_files_of(name, folder)) - found:
                found.add(path)
                wanted += imported(_text(path), package=_package_of(path, folder))
    return found


def imported(source: str, *, package: str = "") -> list[str]:
    r"""Return the names of what code imports, with dots; `package`: the one that it stands in.

    >>> imported("%time\nimport numpy as np\nfrom rates import monthly")
    ['numpy', 'rates', 'rates.monthly']
    >>> imported("from . import months", package="rates")
    ['rates', 'rates.months']
    """
    names: list[str] = []
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = _home(node, package)
            names += [home, *(f"{home}.{alias.name}".lstrip(".") for alias in node.names if alias.name != "*")]
    return [name for name in names if name and name.partition(".")[0] != OURS]


def _home(node: ast.ImportFrom, package: str) -> str:
    """Return the module from which something is imported; a dot is the package, each further one that above."""
    parts = package.split(".") if node.level else []
    above = parts[: len(parts) + 1 - node.level] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])


def _parsed(source: str) -> ast.Module:
    """Return the syntax of a cell or a module; lines for IPython left out, nothing where it is no Python even so."""
    plain = (line for line in source.splitlines() if not line.lstrip().startswith(MAGIC))
    for text in (source, "\n".join(plain)):
        with suppress(SyntaxError, ValueError):
            return ast.parse(text)
    return ast.Module(body=[], type_ignores=[])


def _files_of(name: str, folder: Path) -> Iterator[Path]:
    """Yield the files that Python runs to import a module, those of the packages around it first."""
    for part in name.split("."):
        module, folder = folder / f"{part}.py", folder / part
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"
        elif module.is_file():
            yield module
        if not folder.is_dir():
            return


def _package_of(path: Path, folder: Path) -> str:
    """Return the package that a module stands in, or that it makes."""
    return ".".join(path.relative_to(folder).parent.parts)


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8-sig")
    return ""
