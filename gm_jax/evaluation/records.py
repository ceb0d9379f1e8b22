"""Results of an evaluation in the work directory: written as they come, found again by identity."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from gm_jax.borders import reading
from gm_jax.images import save_png
from gm_jax.training.workdir import dumps, write_atomically, write_npz

FILE_NAME = "evaluation.json"
_FOLDER = "evaluation"


class Records:
    """`<workdir>/evaluation.json`: {"results": [{metric, identity, values, ...}, ...]}.

    A result belongs to a metric and an identity, which names everything that its numbers depend on.
    Results for other steps, samples, features or references are kept too; the latest comes last.

    Args:
      workdir: the run's work directory.
      writes: False (the other processes of a run) only reads.

    Attributes:
      unwritten: the error for which results are only kept in memory, or None.

    Raises:
      ValueError: the file is damaged.
    """

    unwritten: OSError | None = None

    def __init__(self, workdir: epath.PathLike, *, writes: bool = True):
        self._workdir, self._writes = epath.Path(workdir), writes
        self._results = read_results(self._workdir)

    def find(self, metric: str, identity: dict[str, Any]) -> dict[str, Any] | None:
        """The result of a metric under exactly this identity, or None."""
        identity = json.loads(json.dumps(identity))  # tuples become lists, as in the file
        for result in self._results:
            if (result["metric"], result["identity"]) == (metric, identity):
                return result
        return None

    def add(
        self,
        result: dict[str, Any],
        arrays: dict[str, np.ndarray] | None = None,
        picture: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """Writes a result down, its arrays (curves, values by image) and picture beside it.

        Args:
          result: `metric`, `identity`, `values`, JSON-able.
          arrays: {name: array}, for an npz.
          picture: uint8 [H, W, 1 or 3], for a PNG.

        Returns:
          The result, with the paths of arrays and picture (relative to the work directory).
        """
        text = json.dumps(result["identity"], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        if arrays:
            result = {**result, "arrays": f"{_FOLDER}/{result['metric']}-{digest}.npz"}
        if picture is not None:
            result = {**result, "picture": f"{_FOLDER}/{result['metric']}-{digest}.png"}
        result = json.loads(dumps(result))
        old = self.find(result["metric"], result["identity"])
        self._results = [other for other in self._results if other is not old] + [result]
        if self._writes:
            try:
                self._write(result, arrays, picture)
            except OSError as error:
                self._writes, self.unwritten = False, error
        return result

    def _write(
        self,
        result: dict[str, Any],
        arrays: dict[str, np.ndarray] | None,
        picture: np.ndarray | None,
    ) -> None:
        self._workdir.mkdir(parents=True, exist_ok=True)
        if arrays:
            write_npz(self._workdir / result["arrays"], arrays)
        if picture is not None:
            save_png(self._workdir / result["picture"], picture)
        text = dumps({"results": self._results}, indent=1) + "\n"
        write_atomically(self._workdir / FILE_NAME, text)


def read_results(workdir: epath.PathLike) -> list[dict[str, Any]]:
    """The results in a work directory, the latest last; [] where none were written.

    Raises:
      ValueError: the file is damaged.
    """
    path = epath.Path(workdir) / FILE_NAME
    if not path.exists():
        return []
    with reading(f"{path} is damaged and", "move it away and evaluate again"):
        results = json.loads(path.read_text())["results"]
        for result in results:
            known = isinstance(result["metric"], str) and isinstance(result["identity"], dict)
            if not (known and isinstance(result["values"], dict)):
                raise TypeError("a result without numbers")
    return list(results)


def describe(identity: Mapping[str, Any], prefix: str = "") -> str:
    """An identity of a result in one line: 'samples.num_images 1000, ...'."""
    parts = []
    for name, value in identity.items():
        if isinstance(value, dict):
            parts.append(describe(value, f"{prefix}{name}."))
        elif value is not None and name not in ("method", "run_seed"):
            text = str(value)[:8] if name == "sha256" else str(value)
            parts.append(f"{prefix}{name} {text}")
    return ", ".join(part for part in parts if part)
