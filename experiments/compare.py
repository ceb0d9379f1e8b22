"""Puts evaluated runs side by side, as in the papers' tables: Markdown, CSV, a picture of samples.

    python experiments/compare.py RUN... [--metrics=bpd,is,fid] [--published=cifar10]

A RUN is a work directory that `--mode=evaluate --metrics=...` has been called on. A column is a
metric, or METRIC.NUMBER for another number of its result (prd.f_8, gan_train_test.gan_test).
"""

import argparse
import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder

from gm_jax.evaluation.records import read_results
from gm_jax.images import save_png

PUBLISHED = Path(__file__).with_name("published.csv")
# The order of the papers' tables; what else was measured comes after.
ORDER = ("bpd", "iwae", "is", "fid", "is_c", "fd_c", "prd", "prd.f_8", "prd.f_1/8")
# Deviations that are shown behind a number.
SPREADS = ("standard_error", "std")
# In `describe`: which model it is, which every run has its own of.
_MODEL = re.compile(r"(samples\.)?model\.\w+ \w+(, )?")
_LINE = 16  # height of a caption in the picture, pixels


class Row(NamedTuple):
    """name: of the run or model; source: of a published row, '' for a run of ours; cells: {column:
    text}; details: {column: what the number depends on}; warnings: {column: text}."""

    name: str
    source: str
    cells: dict[str, str]
    details: dict[str, str]
    warnings: dict[str, str]


def main(arguments: list[str]) -> None:
    """Writes comparison.md, .csv and, if any run has a grid, .png; Markdown also to stdout."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="work directories")
    parser.add_argument("--metrics", default="", help="columns, by commas; all that were measured")
    parser.add_argument("--published", default="", help=f"a table of {PUBLISHED.name}: {_tables()}")
    parser.add_argument("--output", default="runs/comparison", help="folder for the three files")
    options = parser.parse_args(arguments)
    try:
        rows = [read_run(run, [c for c in options.metrics.split(",") if c]) for run in options.runs]
        rows += published_rows(options.published) if options.published else []
        columns = choose_columns(rows, [c for c in options.metrics.split(",") if c])
        rows = [row for row in rows if not row.source or row.cells.keys() & set(columns)]
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    folder = epath.Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(rows, columns)
    (folder / "comparison.md").write_text(text)
    (folder / "comparison.csv").write_text(comma_separated(rows, columns))
    picture = stack_grids({run: newest_grid(run) for run in options.runs})
    if picture is not None:
        save_png(folder / "comparison.png", picture)
    print(text, end="")
    files = ["comparison.md", "comparison.csv"] + ["comparison.png"] * (picture is not None)
    print(f"in {folder}: {', '.join(files)}", file=sys.stderr)


def read_run(workdir: str, columns: list[str]) -> Row:
    """The latest number of every metric of a run; bits/dim of its end of training, if no other.

    Args:
      workdir: of the run.
      columns: those wanted, also numbers METRIC.NUMBER; [] for every metric's main number.

    Raises:
      ValueError: nothing was evaluated there.
    """
    folder = epath.Path(workdir)
    stored = read_results(folder)
    if (folder / "config.json").exists():  # a run: not what images given beside it scored
        stored = [result for result in stored if "model" in _parts(result["identity"])]
    results = {result["metric"]: result for result in stored}
    test = folder / "test.json"
    if "bpd" not in results and test.exists():
        score = json.loads(test.read_text())
        if "bits_per_dim" in score:
            values = {
                "bpd": score["bits_per_dim"],
                "standard_error": score["standard_error"],
                "likelihood": score["likelihood"],
            }
            identity = {name: score[name] for name in ("step", "source", "split", "num_images")}
            results["bpd"] = {"metric": "bpd", "identity": identity, "values": values}
    if not results:
        raise ValueError(
            f"{workdir} holds no results: call experiments/main.py --workdir={workdir} "
            "--mode=evaluate --metrics=... first"
        )
    row = Row(folder.name, "", {}, {}, {})
    for column in columns or results:
        metric, _, number = column.partition(".")
        values = results.get(metric, {"values": {}})["values"]
        if (number or metric) not in values:
            continue
        deviation = [values[name] for name in SPREADS if name in values and not number]
        text = f"{values[number or metric]:.4g}"
        text += f" ± {deviation[0]:.2g}" if deviation else ""
        bracketed = not number and values.get("likelihood", "").startswith("[")  # as in Table 1
        row.cells[column] = f"[{text}]" if bracketed else text
        row.details[column] = describe(results[metric]["identity"])
        if "warning" in results[metric]:
            row.warnings[column] = results[metric]["warning"]
    return row


def describe(identity: dict[str, Any], prefix: str = "") -> str:
    """An identity of a result in one line: 'samples.num_images 1000, ...'."""
    parts = []
    for name, value in identity.items():
        if isinstance(value, dict):
            parts.append(describe(value, f"{prefix}{name}."))
        elif value is not None and name not in ("method", "run_seed"):
            text = str(value)[:8] if name == "sha256" else str(value)
            parts.append(f"{prefix}{name} {text}")
    return ", ".join(part for part in parts if part)


def _parts(identity: dict[str, Any]) -> set[str]:
    """Names of an identity's parts and of those inside its samples."""
    return {*identity, *identity.get("samples", {})}


def published_rows(table: str) -> list[Row]:
    """The rows of a published table.

    Raises:
      ValueError: there is no such table.
    """
    with PUBLISHED.open(encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["table"] == table]
    if not lines:
        raise ValueError(f"no published table {table!r}; choose among {_tables()}")
    rows: dict[str, Row] = {}
    for line in lines:
        row = rows.setdefault(line["model"], Row(line["model"], line["source"], {}, {}, {}))
        row.cells[line["column"]] = line["value"]
    return list(rows.values())


def choose_columns(rows: list[Row], wanted: list[str]) -> list[str]:
    """The columns wanted, or all that have a number in a run of ours, in the papers' order.

    Raises:
      ValueError: a column wanted has no number anywhere.
    """
    there = dict.fromkeys(column for row in rows if not row.source for column in row.cells)
    everywhere = there | dict.fromkeys(column for row in rows for column in row.cells)
    unknown = [column for column in wanted if column not in everywhere]
    if unknown:
        raise ValueError(f"no run has {', '.join(unknown)}; measured are {', '.join(everywhere)}")
    known = [column for column in ORDER if column in there]
    return wanted or known + [column for column in there if column not in ORDER]


def markdown(rows: list[Row], columns: list[str]) -> str:
    """The table; below it, for our runs, what every number depends on."""
    lines = ["| model | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    notes = []
    for row in rows:
        cells = [row.cells.get(column, "–") for column in columns]
        marked = [
            cell + "*" if column in row.warnings else cell
            for cell, column in zip(cells, columns, strict=True)
        ]
        name = f"{row.name} (published: {row.source})" if row.source else row.name
        lines.append(f"| {name} | " + " | ".join(marked) + " |")
        alike: dict[str, list[str]] = {}
        for column in columns:
            if column in row.details:
                alike.setdefault(row.details[column], []).append(column)
        notes += [f"- {row.name}; {', '.join(names)}: {text}" for text, names in alike.items()]
        notes += [f"- \\* {row.name}; {c}: {row.warnings[c]}" for c in columns if c in row.warnings]
    for column in columns:
        details = [row.details[column] for row in rows if column in row.details]
        if len({_MODEL.sub("", text) for text in details}) > 1:
            notes.append(f"- {column}: the runs were not judged alike; see what each depends on")
    return "\n".join([*lines, "", *notes]) + "\n"


def comma_separated(rows: list[Row], columns: list[str]) -> str:
    """The table as CSV, each column followed by what its number depends on."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [head for column in columns for head in (column, f"{column}: depends on")]
    writer.writerow(["model", "published", *heads])
    for row in rows:
        cells = [(row.cells.get(c, ""), row.details.get(c, "")) for c in columns]
        writer.writerow([row.name, row.source, *(cell for pair in cells for cell in pair)])
    return text.getvalue()


def newest_grid(workdir: str) -> epath.Path | None:
    """The grid of samples of the best checkpoint, or else of the last step; None without any."""
    folder = epath.Path(workdir) / "samples"
    for pattern in ("best_step_*.png", "step_*.png"):
        found = sorted(folder.glob(pattern)) if folder.exists() else []
        if found:
            return found[-1]
    return None


def stack_grids(grids: dict[str, epath.Path | None]) -> np.ndarray | None:
    """The grids of samples under each other, each under its run's name; None without any."""
    pictures = {}
    for run, path in grids.items():
        if path is None:
            print(f"{run}: no grid of samples; --mode=sample draws one", file=sys.stderr)
            continue
        with path.open("rb") as file:
            pictures[epath.Path(run).name] = Image.open(file).convert("RGB")
    if not pictures:
        return None
    width = max(picture.width for picture in pictures.values())
    height = sum(picture.height + _LINE for picture in pictures.values())
    canvas = Image.new("RGB", (width, height), "white")
    top = 0
    for name, picture in pictures.items():
        ImageDraw.Draw(canvas).text((2, top + 2), name, fill="black")
        canvas.paste(picture, (0, top + _LINE))
        top += picture.height + _LINE
    return np.asarray(canvas)


def _tables() -> str:
    with PUBLISHED.open(encoding="utf-8") as file:
        return ", ".join(dict.fromkeys(line["table"] for line in csv.DictReader(file)))


if __name__ == "__main__":
    main(sys.argv[1:])
