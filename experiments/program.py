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
from absl import app, flags
from etils import epath
from ml_collections import ConfigDict

from gm_jax import command_line, cpu, load, sweep
from gm_jax.evaluation.pictures import side_by_side
from gm_jax.images import save_png
from gm_jax.training import workdir as workdirs

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "configs"


def define_flags(output: str) -> None:
    """Defines `--variant`, `--steps` and `--output`, which `load_config` and the program read."""
    flags.DEFINE_string("variant", "digits", "The config's variant; cifar10 has the paper's size.")
    flags.DEFINE_integer("steps", None, "Steps of each training; the config's by default.", 1)
    flags.DEFINE_string("output", output, "Folder for runs, tables and pictures.")


def define_seeds(default: Sequence[str], meaning: str) -> None:
    """Defines `--seeds`, a list of whole numbers as texts, each given once."""
    flags.DEFINE_list("seeds", list(default), meaning)
    flags.register_validator(
        "seeds", are_seeds, message="give whole numbers divided by commas, each once"
    )


def are_seeds(given: Sequence[str]) -> bool:
    """Whether a list has whole numbers, all different: equal runs would count as two."""
    whole = [int(seed) for seed in given if seed.isascii() and seed.isdecimal()]
    return 0 < len(given) == len(set(whole))


def run(main: Callable[[list[str]], Any]) -> None:
    """Runs the `main` of a program that trains in this process; ends if a run is asked to end."""

    def ending(arguments: list[str]) -> Any:
        try:
            return main(arguments)
        except sweep.Ended as end:
            return str(end)

    command_line.open_streams()
    cpu.keep_buffers()
    app.run(ending)


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
    """Prints and runs a command for a program of this folder; ends if it fails."""
    print(f"python experiments/{script} {shlex.join(arguments)}", file=sys.stderr)
    subprocess.run([sys.executable, HERE / script, *arguments], check=True)


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
