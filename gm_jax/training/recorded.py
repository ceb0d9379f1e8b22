"""What a run's work directory remembers of its data and of the models frozen within it.

They are written at a run's first start. Of a run of several processes, the first one writes.
"""

import json
from typing import Any

from etils import epath

from gm_jax.data import fields
from gm_jax.data.fields import DataSpec, Field
from gm_jax.training import workdir as workdirs


def record_data(workdir: epath.PathLike, spec: DataSpec) -> None:
    """Writes `data.json`, the fields of the training data.

    Raises:
      ValueError: a run on other data is there.
    """
    path = workdirs.absolute(workdir) / "data.json"
    if not path.exists():
        workdirs.write_atomically(path, json.dumps(fields.to_json(spec)) + "\n")
        return
    saved = fields.to_json(read_data(workdir) or {})
    differences = workdirs.differences(saved, fields.to_json(spec))
    if differences:
        raise ValueError(
            f"{path.parent} holds a run on other data: {'; '.join(differences.values())} "
            "(saved -> given). Restore the data to go on with it, or give another --workdir"
        )


def read_data(workdir: epath.PathLike) -> dict[str, Field] | None:
    """The fields of `record_data`; None where no run recorded any."""
    path = workdirs.absolute(workdir) / "data.json"
    return fields.from_json(workdirs.read_json(path)) if path.exists() else None


def record_frozen(workdir: epath.PathLike, recipes: dict[str, Any]) -> None:
    """Writes `frozen.json`, what builds the models frozen within a run again.

    Args:
      workdir: directory of the run.
      recipes: {name: {"config", "data"}}; without any, nothing is written.
    """
    path = workdirs.absolute(workdir) / "frozen.json"
    if recipes and not path.exists():
        workdirs.write_atomically(path, json.dumps(recipes, indent=2) + "\n")


def read_frozen(workdir: epath.PathLike) -> dict[str, Any] | None:
    """The recipes of `record_frozen`, sequences as tuples; None where no run recorded any."""
    path = workdirs.absolute(workdir) / "frozen.json"
    return workdirs.with_tuples(workdirs.read_json(path)) if path.exists() else None
