"""Writes docs/results.md, the verdicts on all papers, from the pages of docs/results/.

    python docs/make_results.py

A page docs/results/PAPER.md has a table of outcomes: claim, where in the paper, command, seeds,
what came out, verdict. The list shows each outcome's claim, its place in the paper and the verdict.
"""

from pathlib import Path

DOCS = Path(__file__).resolve().parent
SHOWN = ("claim", "where", "verdict")
HEAD = """# What came out

The claims of each paper, and whether the experiments here agree. A paper's name links to its page,
which says what was run and what came out. `python docs/make_results.py` writes this list from those
pages.
"""


def outcomes(page: str) -> list[dict[str, str]]:
    """The rows of a page's table of outcomes, {SHOWN: text}.

    Raises:
      ValueError: there is no such table, or a row and the head differ in the number of cells.
    """
    rows, names = [], []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line[:1] == "|" else []
        if not cells:
            names = []
        elif not names:
            heads = [cell.partition(",")[0] for cell in cells]
            names = heads if set(SHOWN) <= set(heads) else []
        elif not set(line) <= set("|-"):
            row = dict(zip(names, cells, strict=True))
            rows.append({name: row[name] for name in SHOWN})
    if not rows:
        raise ValueError(f"there is no table with the columns {', '.join(SHOWN)}")
    return rows


def make() -> str:
    """Builds the list from the current pages."""
    parts = [HEAD]
    for path in sorted((DOCS / "results").glob("*.md")):
        page = path.read_text(encoding="utf-8")
        title = page.splitlines()[0].removeprefix("# ")
        lines = [f"## [{title}](results/{path.name})", "", f"| {' | '.join(SHOWN)} |"]
        lines.append("|---" * len(SHOWN) + "|")
        lines += [f"| {' | '.join(row.values())} |" for row in outcomes(page)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (DOCS / "results.md").write_text(make(), encoding="utf-8")
