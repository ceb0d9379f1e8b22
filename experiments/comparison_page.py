"""Several runs on one page of HTML, which opens from disk without a network."""

from collections.abc import Sequence

from experiments.side_by_side import newest_grid, read_curves
from gm_jax.reporting import page
from gm_jax.reporting.curves import chart, colours_of


def comparison_page(
    runs: Sequence[str],
    columns: Sequence[str],
    table: Sequence[Sequence[str]],
    notes: Sequence[str],
    fields: Sequence[Sequence[str]],
) -> str:
    """The page.

    Args:
      runs: their work directories, which are their names.
      columns: names of the numbers.
      table: rows of a name and the numbers.
      notes: what the numbers depend on.
      fields: a row of heads, then rows of a config field in which runs differ and its values.
    """
    numbers = page.table(("model", *columns), table) + "".join(map(page.note, notes))
    sections = [
        ("Numbers", numbers),
        ("Curves", _curves(runs)),
        ("Samples", _samples(runs)),
        ("Config fields that differ", page.table(fields[0], fields[1:])),
    ]
    return page.page("Runs side by side", ", ".join(runs), sections)


def _curves(runs: Sequence[str]) -> str:
    found = {run: read_curves(run) for run in runs}
    names = dict.fromkeys(name for curves in found.values() for name in curves)
    if not names:
        return ""
    colours = colours_of(runs)
    ordered = sorted(names, key=lambda name: ("/" not in name, name))  # validation first
    drawn = [
        chart(name, {run: curves[name] for run, curves in found.items() if name in curves}, colours)
        for name in ordered
    ]
    return page.legend(colours) + page.charts(drawn)


def _samples(runs: Sequence[str]) -> str:
    grids = {run: newest_grid(run) for run in runs}
    return "".join(page.picture(path, run) for run, path in grids.items() if path is not None)
