"""Lists what can be trained: the pages of `configs/`, with a line for each of their variants."""

import ast
import itertools
import re
import sys
from collections.abc import Iterable
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[1]


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
    usage = re.search(rf"--config=(\S*\b{re.escape(page.name)}\S*)", docstring)
    about, heads = {}, [""]
    for line, after in itertools.pairwise([*lines, ""]):
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if after.startswith("|---"):
            heads = cells
        elif line.startswith("| "):
            said = zip(heads, cells, strict=False)
            about[name] = [
                head if cell == "yes" else cell for head, cell in said if cell not in ("", "-")
            ]
    width = max(map(len, about), default=0)
    variants = [f"    {name:<{width}}  {'; '.join(cells)}" for name, cells in about.items()]
    return "\n".join([f"{usage[1] if usage else page}", f"  {title}", *variants])
