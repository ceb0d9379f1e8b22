"""Puts runs side by side, as in the papers' tables: Markdown, CSV, HTML, pictures and curves.

    python experiments/compare.py RUN... [--metrics=bpd,is,fid] [--costs] [--published=cifar10]
        [--output=DIR]

A RUN is a work directory that is trained, or that `--mode=evaluate --metrics=...` has been called
on; the path as given is its name. A column is a metric, or METRIC.NUMBER for another number of its
result (prd.f_8, gan_train_test.gan_test). `nats` is the likelihood of points, `kind` says whether
that or bits/dim is exact, a bound or an estimate. --costs measures here, one run after the other,
its parameters, the milliseconds of a train step, and those of a sample (`costs.py`); this compiles
both, and takes the data. Without --output the files lie in a new folder, runs/comparison,
runs/comparison-2, …
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epath
from flax.traverse_util import flatten_dict

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder

from experiments.comparison_page import comparison_page
from experiments.scored import (
    KIND,
    PUBLISHED,
    Row,
    not_alike,
    published_rows,
    published_tables,
    read_run,
)
from experiments.side_by_side import overlay_curves, read_curves, stack_grids
from gm_jax import command_line
from gm_jax.evaluation.records import describe
from gm_jax.images import save_png
from gm_jax.training import workdir as workdirs

# The order of the papers' tables; what else was measured comes after.
ORDER = (
    *("bpd", "nats", KIND, "iwae", "is", "fid", "is_c", "fd_c", "kid", "kid_c"),
    *("prd", "prd.f_8", "prd.f_1/8"),
    *("precision", "precision.recall", "density", "density.coverage"),
)
COSTS = ("parameters", "step_ms", "sample_ms")  # of --costs
_FOLDER = "runs/comparison"


def main(arguments: list[str]) -> None:
    """Writes comparison.md, .csv, .html and, if any run has them, comparison.png, curves.png."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="work directories")
    parser.add_argument("--metrics", default="", help="columns, by commas; all that were measured")
    parser.add_argument("--costs", action="store_true", help="measures parameters and times")
    parser.add_argument(
        "--published", default="", help=f"a table of {PUBLISHED.name}: {published_tables()}"
    )
    parser.add_argument("--output", help=f"folder for the files; a new {_FOLDER} if not given")
    options = parser.parse_args(arguments)
    with command_line.refusals():
        compare([run.rstrip("/") or run for run in options.runs], options)


def compare(runs: Sequence[str], options: argparse.Namespace) -> None:
    """Compares the runs; `ValueError` for what cannot be compared, before anything is written."""
    if len(set(runs)) < len(runs):
        raise ValueError("a run is given twice: give each path once")
    wanted = [column for column in options.metrics.split(",") if column]
    rows = [read_run(run, wanted) for run in runs]
    if options.costs:
        rows = [measured(row) for row in rows]
    rows += published_rows(options.published) if options.published else []
    columns = choose_columns(rows, wanted)
    rows = [row for row in rows if not row.source or row.cells.keys() & set(columns)]
    text = markdown(rows, columns) + differences(runs)
    fields = [["field", *_configs(runs)], *([name, *v] for name, v in differing(runs).items())]
    shown = comparison_page(runs, columns, cells(rows, columns), notes(rows, columns), fields)
    pictures = {
        "comparison.png": stack_grids(runs),
        "curves.png": overlay_curves({run: read_curves(run) for run in runs}),
    }
    folder = _new_folder() if options.output is None else epath.Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.md").write_text(text)
    (folder / "comparison.csv").write_text(comma_separated(rows, columns))
    (folder / "comparison.html").write_text(shown)
    files = ["comparison.md", "comparison.csv", "comparison.html"]
    for name, picture in pictures.items():
        if picture is not None:
            save_png(folder / name, picture)
            files.append(name)
    print(text, end="")
    print(f"in {folder}: {', '.join(files)}", file=sys.stderr)


def measured(row: Row) -> Row:
    """A run's row with what it costs in columns of their own."""
    from experiments.costs import costs_of  # what JAX needs is loaded where it is asked for

    found = costs_of(row.name)
    cells = {
        name: f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        for name, (value, _) in found.items()
    }
    identities = {name: identity for name, (_, identity) in found.items() if identity}
    return row._replace(cells=row.cells | cells, identities=row.identities | identities)


def _new_folder() -> epath.Path:
    """A folder that this call made: nothing that lies there is written over."""
    number = 1
    while True:
        folder = Path(_FOLDER if number == 1 else f"{_FOLDER}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return epath.Path(folder)


def choose_columns(rows: list[Row], wanted: list[str]) -> list[str]:
    """The columns wanted, or all that have a number in a run of ours, in the papers' order.

    What --costs measured comes last.

    Raises:
      ValueError: a column wanted has no number anywhere.
    """
    there = dict.fromkeys(column for row in rows if not row.source for column in row.cells)
    everywhere = there | dict.fromkeys(column for row in rows for column in row.cells)
    unknown = [column for column in wanted if column not in everywhere]
    if unknown:
        hint = "; --costs measures what it costs" if {*unknown} & {*COSTS} else ""
        raise ValueError(
            f"no run has {', '.join(unknown)}; measured are {', '.join(everywhere)}{hint}"
        )
    known = [column for column in ORDER if column in there]
    chosen = wanted or known + [column for column in there if column not in (*ORDER, *COSTS)]
    return chosen + [column for column in COSTS if column in there and column not in chosen]


def differing(runs: Sequence[str]) -> dict[str, list[str]]:
    """{config field: its value in each run that has a config}, of those that differ."""
    configs, table = _configs(runs), {}
    for field in dict.fromkeys(field for config in configs.values() for field in config):
        found = [
            json.dumps(config[field], default=str) if field in config else "(absent)"
            for config in configs.values()
        ]
        if len(set(found)) > 1:
            table[field] = found
    return table


def differences(runs: Sequence[str]) -> str:
    """What `differing` finds, as Markdown; '' where fewer than two runs have a config."""
    table, configs = differing(runs), _configs(runs)
    if len(configs) < 2:
        return ""
    if not table:
        return "\nThe configs of the runs are equal.\n"
    lines = [_line("the configs differ in", *configs), "|---" * (len(configs) + 1) + "|"]
    lines += [_line(field, *found) for field, found in table.items()]
    return "\n" + "\n".join(lines) + "\n"


def _configs(runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    paths = {run: epath.Path(run) / "config.json" for run in runs}
    return {
        run: flatten_dict(workdirs.saved_config(path), sep=".", keep_empty_nodes=True)
        for run, path in paths.items()
        if path.exists()
    }


def _line(*cells: str) -> str:
    """A line of a table; a bar within a cell (of `pair:A|B`) does not end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def cells(rows: list[Row], columns: list[str]) -> list[list[str]]:
    """The table: names and numbers, a star behind those with a warning."""
    table = []
    for row in rows:
        marks = ["*" if column in row.warnings else "" for column in columns]
        found = [row.cells.get(column, "–") for column in columns]
        name = f"{row.name} (published: {row.source})" if row.source else row.name
        table.append([name, *map("".join, zip(found, marks, strict=True))])
    return table


def notes(rows: list[Row], columns: list[str]) -> list[str]:
    """For our runs, what every number depends on; warnings; what was not judged alike."""
    lines = []
    for row in rows:
        alike: dict[str, list[str]] = {}
        for column in columns:
            if column in row.identities:
                alike.setdefault(describe(row.identities[column]), []).append(column)
        lines += [f"{row.name}; {', '.join(names)}: {text}" for text, names in alike.items()]
        lines += [f"* {row.name}; {c}: {row.warnings[c]}" for c in columns if c in row.warnings]
    for column in columns:
        different = ", ".join(not_alike(rows, column))
        if different:
            text = "the runs were not judged alike; see what each depends on"
            lines.append(f"{column}: {text} ({different})")
    return lines


def markdown(rows: list[Row], columns: list[str]) -> str:
    """The table and, below it, the notes."""
    lines = ["| model | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    lines += [_line(*row) for row in cells(rows, columns)]
    below = [f"- {note}".replace("- *", "- \\*") for note in notes(rows, columns)]
    return "\n".join([*lines, "", *below]) + "\n"


def comma_separated(rows: list[Row], columns: list[str]) -> str:
    """The table as CSV, each column followed by what its number depends on."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [head for column in columns for head in (column, f"{column}: depends on")]
    writer.writerow(["model", "published", *heads])
    for row in rows:
        cells = [(row.cells.get(c, ""), describe(row.identities.get(c, {}))) for c in columns]
        writer.writerow([row.name, row.source, *(cell for pair in cells for cell in pair)])
    return text.getvalue()


if __name__ == "__main__":
    main(sys.argv[1:])
