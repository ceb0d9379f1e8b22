"""Runs that differ in a few fields of one config: trains each once, then compares them."""

import ast
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from gm_jax import command_line, session
from gm_jax.training import recalibration, recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.frozen import create_method
from gm_jax.training.run import load_split

# Numbers in a run's `test.json` that are not scores.
NO_SCORES = ("num_images", "step", "recalibration_batches")


class Member(NamedTuple):
    """One run of a sweep: its grid point {field: value}, its seed, and its config with both."""

    fields: dict[str, Any]
    seed: int
    config: ConfigDict


class Row(NamedTuple):
    """A grid point {field: value}, its finished runs, and their scores {name: [run]}."""

    fields: dict[str, Any]
    runs: list[str]
    scores: dict[str, np.ndarray]


class Ended(Exception):
    """A run was asked to end (SIGTERM, Ctrl-C) and has saved; the same call continues it."""


def fields_of(config: ConfigDict) -> dict[str, Any]:
    """Flattens a config to {`train.steps`: its value, ...}."""
    return flatten_dict(config.to_dict(), sep=".")


def with_fields(config: ConfigDict, fields: Mapping[str, Any]) -> ConfigDict:
    """Returns a locked copy of a config, with fields such as `model.kl_weight` replaced."""
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(fields)
    return config.lock()


def parse_grids(config: ConfigDict, grids: Sequence[str]) -> dict[str, list[Any]]:
    """Parses FIELD=a,b,c or, for values with commas, FIELD=[(1, 2), (3, 4)] to {field: values}.

    Args:
      config: the config that has these fields; values are converted to their fields' types.
      grids: the grids as typed. Values in brackets are written as in Python, with strings in
        quotes.

    Raises:
      ValueError: the config has no such field, it is given twice, or a value does not fit it.
    """
    parsed = [_parse_grid(grid, fields_of(config)) for grid in grids]
    if len(dict(parsed)) < len(parsed):
        raise ValueError(f"--grid={parsed[-1][0]}: give each field once, with all its values")
    return dict(parsed)


def _parse_grid(grid: str, fields: dict[str, Any]) -> tuple[str, list[Any]]:
    name, _, text = grid.partition("=")
    if name not in fields:
        inside = [field for field in fields if field.startswith(f"{name}.")]
        near = inside or command_line.closest(name, fields) or list(fields)
        hint = "it is a section: give" if inside else "did you mean"
        raise ValueError(f"--grid={grid}: no config field {name!r}; {hint} {' or '.join(near)}?")
    if name == "seed":
        raise ValueError(f"--grid={grid}: give the seeds by --seeds")
    default = fields[name]
    try:
        is_list = text.startswith("[") and text.endswith("]")
        given = ast.literal_eval(text) if is_list else _literals(text, default)
        values = [_typed(value, default) for value in given]
    except (SyntaxError, TypeError, ValueError):
        raise ValueError(
            f"--grid={grid}: {name} is of type {type(default).__name__}, such as {default!r}; give "
            "values separated by commas, or a list [a, b] as Python writes it"
        ) from None
    if not values or any(values.count(value) > 1 for value in values):
        raise ValueError(f"--grid={grid}: give at least one value, and each once")
    return name, values


def _literals(text: str, default: Any) -> list[Any]:
    """Parses values separated by commas: text literally, others as in Python, or true or false."""
    if isinstance(default, str):
        return text.split(",")
    texts = text.title().split(",") if isinstance(default, bool) else text.split(",")
    return [ast.literal_eval(value) for value in texts]


def _typed(value: Any, default: Any) -> Any:
    """Converts the value to the type of the field's default; TypeError if it does not fit."""
    if type(default) is float and type(value) is int:
        return float(value)
    if default is not None and type(value) is not type(default):
        raise TypeError
    return value


def as_text(value: Any) -> str:
    """Formats a value for a flag and for a table."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def product(
    config: ConfigDict, grids: Mapping[str, Sequence[Any]], seeds: Sequence[int]
) -> dict[str, Member]:
    """Returns {run name: run} for every combination of the grids' values and the seeds.

    A name, which is also the name of the run's folder, consists of the last part of each field (the
    whole field if two end alike) and its value: `kl_weight_2-levels_4-seed_0`.

    Args:
      config: the config of every run, except for the fields of the grids.
      grids: {field: values}; if empty, the runs differ only in their seeds.
      seeds: values of the config's field `seed`.

    Raises:
      ValueError: two runs would have the same name.
    """
    ends = [field.rpartition(".")[2] for field in grids]
    labels = ends if len(set(ends)) == len(ends) else list(grids)
    members: dict[str, Member] = {}
    for values in itertools.product(*grids.values()):
        fields = dict(zip(grids, values, strict=True))
        for seed in seeds:
            parts = [f"{label}_{as_text(v)}" for label, v in zip(labels, values, strict=True)]
            name = re.sub(r"[^\w.+-]+", "_", "-".join([*parts, f"seed_{seed}"]))
            if name in members:
                raise ValueError(f"two runs would lie in the folder {name}: give each value once")
            members[name] = Member(fields, seed, with_fields(config, {**fields, "seed": seed}))
    return members


def check(configs: Mapping[str, ConfigDict], folder: epath.PathLike) -> None:
    """Checks that every run can be trained or continued, before the first one is trained.

    Args:
      configs: {run name: config}.
      folder: the sweep's folder; a run lies in `folder/<name>`.

    Raises:
      ValueError: there is no run, a method refuses its config, or a folder holds another run.
    """
    if not configs:
        raise ValueError("there is nothing to compare: give at least one setting")
    known: dict[str, Any] = {}
    for name, config in configs.items():
        images = config.data.to_json()
        if images not in known:
            known[images] = load_split(config.data, "train")
        train, workdir = known[images], workdirs.absolute(folder) / name
        create_method(config, workdir, train.fields)
        is_finished(config, workdir)
        recorded.check_data(workdir, train.fields, {"train": train})


def train(config: ConfigDict, workdir: epath.PathLike) -> dict[str, Any]:
    """Trains a config in this process, unless it is already trained; returns its `test.json`.

    Raises:
      Ended: the run was asked to end before its last step.
      ValueError: the config, the data or the work directory cannot be used for training.
      FloatingPointError: a loss term or a gradient was not finite.
    """
    workdir = workdirs.absolute(workdir)
    if not is_finished(config, workdir):
        session.train(config, str(workdir))
        if not is_finished(config, workdir):
            raise Ended(f"{workdir} was asked to end; the same command goes on")
    return workdirs.read_json(workdir / "test.json")


def is_finished(config: ConfigDict, workdir: epath.PathLike) -> bool:
    """Whether a run has reached its last step and has been scored on validation and test.

    Raises:
      ValueError: the work directory holds a run with another config, or with more steps.
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
    result = workdirs.read_json(test) if test.exists() else {}
    return scored and result.get("step") == best and recalibration.fits(result, config)


def collect(members: Mapping[str, Member], folder: epath.PathLike) -> list[Row]:
    """The scores of all finished runs, a row per grid point; points without any are omitted."""
    rows: dict[str, Row] = {}
    for name, member in members.items():
        workdir = workdirs.absolute(folder) / name
        if not is_finished(member.config, workdir):
            continue
        row = rows.setdefault(repr(member.fields), Row(member.fields, [], {}))
        row.runs.append(name)
        for score, value in workdirs.read_json(workdir / "test.json").items():
            if isinstance(value, int | float) and score not in NO_SCORES:
                row.scores[score] = np.append(row.scores.get(score, []), value)
    return list(rows.values())


def markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown: the mean of each score over the seeds, with its range in brackets."""
    scores = dict.fromkeys(score for row in rows for score in row.scores)
    heads = [*rows[0].fields, "seeds", *scores]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [*map(as_text, row.fields.values()), str(len(row.runs))]
        for score in scores:
            values = row.scores.get(score, np.array([]))
            several = f" ({values.min():.4f} to {values.max():.4f})" if len(values) > 1 else ""
            cells.append(f"{values.mean():.4f}{several}" if len(values) else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def columns(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The table for a CSV file: mean, minimum and maximum of each score over the seeds."""
    return [
        {
            **{field: as_text(value) for field, value in row.fields.items()},
            "seeds": len(row.runs),
            **{
                f"{score}_{name}": float(function(values))
                for score, values in row.scores.items()
                for name, function in (("mean", np.mean), ("min", np.min), ("max", np.max))
            },
        }
        for row in rows
    ]
