"""Lists what can be trained: the pages of `configs/`, with a line for each of their variants."""

import ast
import re
import sys
from collections.abc import Iterable
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[1]
# The heads of the first columns of the tables of variants.
_HEADS = ("variant", "MODEL", "FLOW", "MODE", "PRIOR", "POSTERIOR", "DATA")


def pages_in(folder: str | Path) -> list[Path]:
    """The config files of a folder; there are none in the program's own folder."""
    if Path(folder).resolve() in (Path.cwd(), Path(sys.argv[0]).resolve().parent):
        return []
    files = sorted(Path(folder).glob("*.py"))
    return [file for file in files if "def get_config(" in file.read_text(errors="replace")]


def own_pages() -> list[Path]:
    """The config files of the repository, as paths that work from any folder."""
    return [file.relative_to(_REPOSITORY) for file in pages_in(_REPOSITORY / "configs")]


def known_pages() -> list[Path]:
    """The pages of `configs` in this folder, then those of the repository with other names."""
    return list(dict.fromkeys([*pages_in("configs"), *own_pages()]))


def listing(pages: Iterable[Path]) -> str:
    """Lists the pages, each with its docstring's first line and its tables of variants."""
    return "\n\n".join(_described(page) for page in pages)


def _described(page: Path) -> str:
    text = (page if page.is_file() else _REPOSITORY / page).read_text(errors="replace")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    title, *lines = docstring.splitlines() or [""]
    usage = re.search(r"--config=(\S+)", docstring)
    rows = [_cells(line) for line in lines if line.startswith("| ")]
    tables = [row for row in rows if row[0] not in _HEADS]
    width = max([len(name) for name, *_ in tables], default=0)
    variants = [
        f"    {name:<{width}}  {'; '.join(cell for cell in cells if cell not in ('', '-'))}"
        for name, *cells in tables
    ]
    return "\n".join([f"{usage[1] if usage else page}", f"  {title}", *variants])


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]
