"""Shared code of the papers' programs: flags, config pages, tables and pictures."""

import csv
import io
import math
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from absl import flags
from etils import epath
from ml_collections import ConfigDict

from gm_jax import command_line, cpu, load, sweep
from gm_jax.evaluation.pictures import side_by_side
from gm_jax.images import save_png
from gm_jax.training import workdir as workdirs

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "configs"


flags.disclaim_key_flags()  # what is defined here are flags of the program that asks for them


class WholeNumbers(flags.ArgumentParser[list[int]]):
    """The value of a flag: whole numbers from `least` to below `end`, divided by commas."""

    def __init__(self, least: int, end: int):
        self.least, self.end = least, end

    def parse(self, argument: str) -> list[int]:
        """At least one number, and each once; `ValueError` for anything else."""
        texts = [text.strip() for text in argument.split(",")]
        known = all(text.isdecimal() and len(text) <= 10 for text in texts)
        numbers = [int(text) for text in texts] if known else []
        inside = all(self.least <= number < self.end for number in numbers)
        if not numbers or not inside or len(set(numbers)) < len(numbers):
            raise ValueError(
                f"give whole numbers from {self.least} to {self.end - 1}, each once, divided by "
                "commas"
            )
        return numbers

    def flag_type(self) -> str:
        """What `--help` calls it."""
        return "whole numbers, divided by commas"


def define_whole_numbers(
    name: str, default: str, meaning: str, least: int = 1, end: int = 2**31
) -> None:
    """Defines a flag that is a list of whole numbers, such as `--steps=250,500`."""
    serializer: flags.ListSerializer[int] = flags.ListSerializer(",")
    flags.DEFINE(WholeNumbers(least, end), name, default, meaning, serializer=serializer)


def define_seeds(default: str, meaning: str) -> None:
    """Defines `--seeds`, a list of what a config's `seed` may be."""
    define_whole_numbers("seeds", default, meaning, least=0, end=2**32)


def define_flags(output: str) -> None:
    """Defines `--variant`, `--steps` and `--output`, which `load_config` and the program read."""
    flags.DEFINE_string("variant", "digits", "The config's variant; cifar10 has the paper's size.")
    flags.DEFINE_integer("steps", None, "Steps of each training; the config's by default.", 1)
    flags.DEFINE_string("output", output, "Folder for runs, tables and pictures.")


def run(main: Callable[[list[str]], Any]) -> None:
    """Runs the `main` of a program that trains in this process; ends if a run is asked to end.

    A flag that it lacks, a value that does not fit, and what the library or the program refuses end
    it in one line, with status 2.
    """

    def ending(arguments: Sequence[str]) -> Any:
        cpu.keep_buffers()
        try:
            with command_line.refusals():
                return main(list(arguments))
        except sweep.Ended as end:
            return str(end)

    command_line.run(ending)


def refuse(message: str) -> NoReturn:
    """Ends the program with one line on stderr and status 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)


def load_page(page: str) -> ConfigDict:
    """The config FILE[:VARIANT] from the folder `configs`; refuses unknown variants."""
    file, colon, variant = page.partition(":")
    get_config = runpy.run_path(str(CONFIGS / file))["get_config"]
    try:
        return get_config(variant) if colon else get_config()
    except ValueError as error:
        refuse(f"{file}: {error}")


def load_config(method: str, variant: str, steps: int | None) -> ConfigDict:
    """The config of a method and variant, with `steps` steps, or its own number if None."""
    config = load_page(f"{method}.py:{variant}")
    return config if steps is None else sweep.with_fields(config, {"train.steps": steps})


def known_overrides(page: str, overrides: Sequence[str]) -> list[str]:
    """The overrides --config.FIELD=VALUE whose field a page has; reports the others."""
    fields, known = sweep.fields_of(load_page(page)), []
    for override in overrides:
        name = override.partition("=")[0].removeprefix("--config.")
        if name in fields:
            known.append(override)
        else:
            print(f"{page} has no field {name}: it ignores {override}", file=sys.stderr)
    return known


def call(script: str, *arguments: str) -> None:
    """Prints and runs a command for a program of this folder; ends as it does if it fails."""
    print(f"python experiments/{script} {shlex.join(arguments)}", file=sys.stderr)
    status = subprocess.run([sys.executable, HERE / script, *arguments], check=False).returncode
    if status != 0:
        raise SystemExit(status)  # it has said why


def train_all(configs: Mapping[str, ConfigDict], folder: epath.PathLike) -> dict[str, dict]:
    """Trains every config in `folder/<name>`, in this process, except for finished ones.

    A mistake that the user can fix, in any of them, ends the program with status 2 before the first
    is trained. It can be killed at any moment: the same command continues.

    Args:
      configs: {run name: config}.
      folder: the folder for the runs.

    Returns:
      {name: the scores in the run's `test.json`, in bits/dim}.
    """
    with command_line.refusals():
        sweep.check(configs, folder)
    return {name: train(config, epath.Path(folder) / name) for name, config in configs.items()}


def train(config: ConfigDict, workdir: epath.PathLike) -> dict[str, Any]:
    """Calls `sweep.train`; a mistake that the user can fix ends the program with status 2."""
    with command_line.refusals():
        return sweep.train(config, workdir)


def mean_and_error(name: str, values: Sequence[float]) -> dict[str, float]:
    """`name`, the mean over the seeds, and `name_error`, its standard error; NaN for one seed."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else math.nan
    return {name: float(np.mean(values)), f"{name}_error": float(error)}


def mean_and_range(name: str, values: Sequence[float]) -> dict[str, float]:
    """`name`, the mean over the seeds, `name_least` and `name_most`."""
    return {name: float(np.mean(values)), f"{name}_least": min(values), f"{name}_most": max(values)}


def write_csv(path: epath.PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a table, with numbers to a millionth, and prints it; creates missing folders."""
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    table = csv.DictWriter(text, list(names), lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow({name: f"{v:.6f}" if isinstance(v, float) else v for name, v in row.items()})
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    workdirs.write_atomically(path, text.getvalue())
    print(f"{path}:\n{text.getvalue()}", end="")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table in Markdown, with numbers to four places."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in rows:
        cells = (row.get(name, "–") for name in names)
        texts = (f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells)
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def with_ranges(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows in which the numbers of `mean_and_range` are one cell each: mean (least to most)."""
    shown = []
    for row in rows:
        cells: dict[str, Any] = {}
        for name, value in row.items():
            if f"{name}_least" in row:
                low, high = row[f"{name}_least"], row[f"{name}_most"]
                cells[name] = f"{value:.3g} ({low:.3g} to {high:.3g})"
            elif name.removesuffix("_least").removesuffix("_most") == name:
                cells[name] = value
        shown.append(cells)
    return shown


def save_rows(path: epath.PathLike, rows: Mapping[str, np.ndarray], levels: int) -> None:
    """Writes a picture of rows {label: uint8 [N, H, W, C]}, and prints their labels."""
    save_png(path, side_by_side(dict(rows), levels, columns=len(next(iter(rows.values())))))
    print(f"{path}, from top to bottom: {', '.join(rows)}")


def picture_runs(
    names: Sequence[str], folder: epath.PathLike, images: np.ndarray, num_images: int
) -> None:
    """Writes `reconstructions.png` and `samples.png` of runs whose method has `f_z`.

    For every run they show its f(z) and, below it, the image drawn given it.

    Args:
      names: names of the runs, which lie in `folder/<name>`.
      folder: folder of the runs and the pictures.
      images: images to reconstruct, uint8 [N, H, W, C]; they are the first row.
      num_images: number of columns of each picture; at most N.
    """
    folder, images = workdirs.absolute(folder), np.asarray(images[:num_images])
    reconstructions, samples = {"test images": images}, {}
    for name in names:
        model = load.load(folder / name)
        reconstructed, drawn = model.reconstruct(images), model.sample(num_images)
        for row in ("f_z", "image"):
            reconstructions[f"{row} of {name}"] = reconstructed[row]
            samples[f"{row} of {name}"] = drawn[row]
    save_rows(folder / "reconstructions.png", reconstructions, model.levels)
    save_rows(folder / "samples.png", samples, model.levels)
