"""Runs that differ in a few fields of one config: each trained once, then compared in a table."""

import csv
import io
import json
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from etils import epath
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from gm_jax import command_line, load, session
from gm_jax.evaluation.pictures import side_by_side
from gm_jax.images import save_png
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.frozen import create_method
from gm_jax.training.run import data_facts, load_split

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def define_flags(output: str) -> None:
    """Defines `--variant`, `--steps` and `--output`, which `load_config` and the program read."""
    flags.DEFINE_string("variant", "digits", "Of the config file; cifar10 is the paper's size.")
    flags.DEFINE_integer("steps", None, "Of each training; the config's if not given.", 1)
    flags.DEFINE_string("output", output, "Folder for runs, tables and pictures.")


def load_config(method: str, variant: str, steps: int | None) -> ConfigDict:
    """The config of a method and variant, for `steps` steps, or its own where None.

    Raises:
      ValueError: there is no such variant, or steps are below 1.
    """
    page = runpy.run_path(str(CONFIGS / f"{method}.py"))
    if variant not in page["VARIANTS"]:
        raise ValueError(f"--variant={variant}: choose among {', '.join(page['VARIANTS'])}")
    if steps is not None and steps < 1:
        raise ValueError(f"--steps={steps}: give at least 1")
    config = page["get_config"](variant)
    return config if steps is None else with_fields(config, {"train.steps": steps})


def page_fields(page: str) -> set[str]:
    """The fields of a config FILE:VARIANT of `configs/`, such as `train.steps`."""
    file, _, variant = page.partition(":")
    config = runpy.run_path(str(CONFIGS / file))["get_config"](variant)
    return set(flatten_dict(config.to_dict(), sep="."))


def known_overrides(page: str, overrides: Sequence[str]) -> list[str]:
    """Those of the overrides --config.FIELD=VALUE whose field a config has; says what is left."""
    fields, known = page_fields(page), []
    for override in overrides:
        name = override.partition("=")[0].removeprefix("--config.")
        if name in fields:
            known.append(override)
        else:
            print(f"{page} has no field {name}: it goes without {override}", file=sys.stderr)
    return known


def with_fields(config: ConfigDict, fields: Mapping[str, Any]) -> ConfigDict:
    """A locked copy of a config, with fields such as `model.kl_weight` replaced."""
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(fields)
    return config.lock()


def train_all(configs: Mapping[str, ConfigDict], folder: epath.PathLike) -> dict[str, dict]:
    """Trains every config in `folder/<name>`, but for those that are finished.

    What a person can mend in any of them ends the program, with status 2, before the first is
    trained. Kill it at any moment: the same call goes on.

    Args:
      configs: {name of the run: its config}, all of the same images.
      folder: of the sweep.

    Returns:
      {name: the scores in the run's `test.json`, in bits/dim}.
    """
    folder = workdirs.absolute(folder)
    with command_line.refusals():
        if not configs:
            raise ValueError("there is nothing to compare: give at least one setting")
        facts = data_facts(load_split(next(iter(configs.values())).data, "train"))
        for name, config in configs.items():
            create_method(config, folder / name, facts)
            is_finished(config, folder / name)
    return {name: train(config, folder / name) for name, config in configs.items()}


def train(config: ConfigDict, workdir: epath.PathLike) -> dict[str, Any]:
    """Trains a config to its last step, unless that is done; returns the run's `test.json`.

    Raises:
      SystemExit: it was asked to end (SIGTERM, Ctrl-C) and has saved.
    """
    workdir = workdirs.absolute(workdir)
    if not is_finished(config, workdir):
        session.run(config, str(workdir), "train")
        if not is_finished(config, workdir):
            raise SystemExit(f"{workdir} was asked to end; the same command goes on")
    return json.loads((workdir / "test.json").read_text())


def is_finished(config: ConfigDict, workdir: epath.PathLike) -> bool:
    """Whether a run has its last step, scored on validation and on test.

    Raises:
      ValueError: the work directory holds a run of another config, or of more steps.
    """
    workdir, steps = workdirs.absolute(workdir), config.train.steps
    if not (workdir / "config.json").exists():
        return False
    workdirs.check_config(workdir, config, read_only=True)
    with Checkpoints(workdir, read_only=True) as checkpoints:
        latest, best = checkpoints.latest_step(), checkpoints.best_step()
        if latest is not None and latest > steps:
            raise ValueError(
                f"{workdir} is trained for {latest} steps, more than the {steps} asked for: ask "
                f"for {latest}, or give another --output"
            )
        scored = latest == steps and checkpoints.is_scored(steps)
    test = workdir / "test.json"
    return scored and test.exists() and json.loads(test.read_text())["step"] == best


def write_csv(path: epath.PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a table, numbers to a millionth, and prints it; missing folders are made."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow({name: f"{v:.6f}" if isinstance(v, float) else v for name, v in row.items()})
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    workdirs.write_atomically(path, text.getvalue())
    print(f"{path}:\n{text.getvalue()}", end="")


def save_rows(path: epath.PathLike, rows: Mapping[str, np.ndarray], levels: int) -> None:
    """Writes a picture of rows {what they are: uint8 [N, H, W, C]}, and says what they are."""
    save_png(path, side_by_side(dict(rows), levels, columns=len(next(iter(rows.values())))))
    print(f"{path}, from top to bottom: {', '.join(rows)}")


def picture_runs(
    names: Sequence[str], folder: epath.PathLike, images: np.ndarray, num_images: int
) -> None:
    """Pictures the runs of a sweep: `reconstructions.png` and `samples.png`.

    Every run gives its f(z) and, below it, what is drawn given it.

    Args:
      names: of the runs, whose method has `f_z`.
      folder: of the sweep.
      images: uint8 [N, H, W, C], to reconstruct; they are the first row.
      num_images: columns, of either picture; at most N.
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
