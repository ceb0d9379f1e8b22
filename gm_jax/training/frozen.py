"""Trained models that stay fixed inside the model of another run.

The section `frozen` of a config names the work directories of their runs. Their configs and data
fields, which suffice to rebuild them, are copied to a run's own work directory when it first
starts, and its checkpoints hold their parameters: from then on it needs the other runs no more.
"""

import json
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from gm_jax import methods
from gm_jax.borders import reading
from gm_jax.data import fields
from gm_jax.data.fields import DataSpec
from gm_jax.methods.method import Method
from gm_jax.training import recorded
from gm_jax.training import workdir as workdirs


def create_method(config: Any, workdir: epath.PathLike, spec: DataSpec) -> Method:
    """Builds the method of a run, including the models that its config names in `frozen`.

    Args:
      config: the run's config.
      workdir: the run's work directory, which need not exist yet.
      spec: the fields of its examples.

    Raises:
      ValueError: a named run does not exist, or has other data.
    """
    built = {}
    for name, recipe in recipes(config, workdir).items():
        source = f"frozen.{name}={config.frozen[name]}"
        advice = "train it anew, or restore its frozen.json, config.json and data.json"
        with reading(f"{source}: its model", advice):
            theirs = fields.from_json(recipe["data"])
            built[name] = methods.create(ConfigDict(recipe["config"]).lock(), theirs)
        _check_fields(source, theirs, spec)
    return methods.create(config, spec, built)


def recipes(config: Any, workdir: epath.PathLike) -> dict[str, Any]:
    """{name: {"config", "data"}} of the frozen models: the run's copy, or before that the original.

    Raises:
      ValueError: a named run does not exist.
    """
    if "frozen" not in config:
        return {}
    return recorded.read_frozen(workdir) or {
        name: _recipe(f"frozen.{name}={other}", other)
        for name, other in config.frozen.items()
        if other
    }


def _recipe(source: str, workdir: str) -> dict[str, Any]:
    config, data = workdirs.read_config(workdir), recorded.read_data(workdir)
    if data is None:
        raise ValueError(
            f"{source}: there is no data.json; the command that trained it, given again, writes it"
        )
    return {"config": json.loads(workdirs.to_json(config)), "data": fields.to_json(data)}


def _check_fields(source: str, theirs: DataSpec, ours: DataSpec) -> None:
    """Refuses a model of other data; a model without labels fits inside one with labels."""
    different = [
        f"{name} is {theirs[name]} in that run, {ours.get(name, 'absent')} in this one"
        for name in theirs
        if (name in ours or not name.startswith("label"))
        and not theirs[name].equals(ours.get(name))
    ]
    if different:
        raise ValueError(f"{source}: {'; '.join(different)}. Give a run of the same data")
