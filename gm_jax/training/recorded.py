"""A work directory's records of its run's data and frozen models.

The run's first process writes them at its first start.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from etils import epath

from gm_jax.borders import reading
from gm_jax.data import fields
from gm_jax.data.dataset import Dataset
from gm_jax.data.fields import DataSpec, Field
from gm_jax.training import workdir as workdirs

_log = logging.getLogger(__name__)


def record_data(
    workdir: epath.PathLike, spec: DataSpec, splits: Mapping[str, Dataset] | None = None
) -> None:
    """Writes `data.json`: the fields of the training data, and the contents of every split.

    A split is recorded as its number of examples and a hash of the values of each field.

    Raises:
      ValueError: the directory holds a run on other data.
    """
    if not check_data(workdir, spec, splits):
        path = workdirs.absolute(workdir) / "data.json"
        record = {"fields": fields.to_json(spec), "splits": contents(splits)}
        workdirs.write_atomically(path, json.dumps(record) + "\n")


def check_data(
    workdir: epath.PathLike, spec: DataSpec, splits: Mapping[str, Dataset] | None = None
) -> bool:
    """Compares data with a run's data, as far as it recorded them.

    Args:
      workdir: the run's work directory.
      spec: fields of the training data.
      splits: the splits to compare; None compares only the fields.

    Returns:
      Whether the run recorded everything to compare. Versions before class names and hashes did
      not, which is reported in a line; such a run continues unchecked.

    Raises:
      ValueError: the data differ; the message says how.
    """
    path = workdirs.absolute(workdir) / "data.json"
    saved = read_data(workdir)
    if saved is None:
        return False
    splits_saved = workdirs.read_json(path).get("splits") or {}
    if not isinstance(splits_saved, dict):
        raise ValueError(f"{path} is damaged: its splits are {splits_saved!r}; restore it")
    known = {
        name: field._replace(classes=None) if name in saved and not saved[name].classes else field
        for name, field in spec.items()
    }
    given = contents({k: split for k, split in (splits or {}).items() if k in splits_saved})
    found = workdirs.differences(
        {**fields.to_json(saved), **{split: splits_saved[split] for split in given}},
        {**fields.to_json(known), **given},
    )
    if found:
        raise ValueError(
            f"{path.parent} holds a run on other data: {'; '.join(found.values())} (saved -> "
            "given). A split is known by its number of examples and a hash of each field. Restore "
            "the data to go on with it, or give another --workdir; if you know that they are the "
            f"same, move {path} away"
        )
    complete = splits is None or (known == spec and given.keys() == splits.keys())
    if not complete:
        _log.warning(
            "%s names no classes or no hashes of the data, as versions before these did: whether "
            "the data are the run's is not checked",
            path,
        )
    return complete


def contents(splits: Mapping[str, Dataset] | None) -> dict[str, dict[str, Any]]:
    """{split: {"examples": their number, field: hash of its values}}."""
    return {
        name: {"examples": len(split), **split.fingerprint()}
        for name, split in (splits or {}).items()
    }


def read_data(workdir: epath.PathLike) -> dict[str, Field] | None:
    """The fields that `record_data` wrote; None if no run recorded any.

    Raises:
      ValueError: the file is damaged, or from another version.
    """
    path = workdirs.absolute(workdir) / "data.json"
    if not path.exists():
        return None
    saved = workdirs.read_json(path)
    if "splits" not in saved and not all(isinstance(field, dict) for field in saved.values()):
        raise ValueError(
            f"{path} is of a version before data had fields, whose checkpoints have another "
            "layout: train anew in another --workdir"
        )
    with reading(f"{path}: what it says of fields", "restore it"):
        # A file without splits is from a version before classes had names.
        return fields.from_json(saved["fields"] if "splits" in saved else saved)


def record_frozen(
    workdir: epath.PathLike, recipes: dict[str, Any], checkpoints: dict[str, dict[str, Any]]
) -> None:
    """Writes `frozen.json`, which suffices to rebuild the models frozen inside a run.

    Args:
      workdir: the run's work directory.
      recipes: {name: {"config", "data"}}; if empty, nothing is written.
      checkpoints: {name: which}, from `Run.check_start`.

    Raises:
      ValueError: it was to start around other checkpoints, or moments of their batch norms.
    """
    path = workdirs.absolute(workdir) / "frozen.json"
    for name, which in checkpoints.items():
        before = recipes[name].get("checkpoint", which)
        if before != which:
            raise ValueError(
                f"frozen.{name} was {before} when {path.parent} was begun, and is {which} now; "
                "give another --workdir"
            )
    if recipes and not path.exists():
        found = {
            name: {**recipe, "checkpoint": checkpoints[name]} if name in checkpoints else recipe
            for name, recipe in recipes.items()
        }
        workdirs.write_atomically(path, json.dumps(found, indent=2) + "\n")


def read_frozen(workdir: epath.PathLike) -> dict[str, Any] | None:
    """The recipes that `record_frozen` wrote, with tuples; None if no run recorded any."""
    path = workdirs.absolute(workdir) / "frozen.json"
    if not path.exists():
        return None
    recipes = workdirs.with_tuples(workdirs.read_json(path))
    for recipe in recipes.values():
        if isinstance(recipe, dict) and isinstance(recipe.get("config"), dict):
            recipe["config"] = workdirs.with_fields_since(recipe["config"])
    return recipes
