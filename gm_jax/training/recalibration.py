"""Moments of batch norms for evaluation, estimated anew at the parameters of a checkpoint.

The running averages of training lag behind the parameters, which costs likelihood. So a run is
scored and sampled by the moments of `evaluate.recalibration_batches` training batches, which are
those of the run's first steps. They are written to `statistics/` once, and whatever asks for the
same number at the same checkpoint reads them, so that what is scored is what is sampled.
"""

import hashlib
import io
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from etils import epath

from gm_jax.borders import described, reading
from gm_jax.methods.player import in_order
from gm_jax.nn.batch_norm import COLLECTION
from gm_jax.training import checkpoint_tree as trees
from gm_jax.training.progress import progress, say
from gm_jax.training.workdir import read_json, write_npz

if TYPE_CHECKING:
    from gm_jax.training.run import Run

Tree = Any
_OF = "of"  # identifies the variables that the moments in a file belong to


def asked_for(config: Any) -> int:
    """The number of batches in a config; 0 in one of a version that estimated no moments."""
    known = "recalibration_batches" in config.evaluate
    return int(config.evaluate.recalibration_batches) if known else 0


def networks(run: "Run") -> list[str]:
    """The networks that a run trains and that have batch norms."""
    moved = {name for player in in_order(run.method.players) for name in player.networks}
    statistics = run.state_template.statistics
    return sorted(name for name in moved if COLLECTION in statistics.get(name, {}))


def batches_of(run: "Run") -> int | None:
    """The number of training batches whose moments the batch norms of a run are evaluated with.

    0: they have the running averages of training; None: there are none.
    """
    return asked_for(run.config) if networks(run) else None


def fits(result: Mapping[str, Any], config: Any) -> bool:
    """Whether the scores in a `test.json` are by the moments that a config asks for.

    Its number is null if there are no batch norms. Versions before wrote none, and scored by the
    running averages of training.
    """
    return result.get("recalibration_batches", 0) in (None, asked_for(config))


def recalibrated(
    run: "Run", variables: dict[str, Tree], step: int
) -> tuple[dict[str, Tree], int | None]:
    """The variables of a checkpoint, with the moments that the config asks for.

    They are read, or estimated and written. A run without its data cannot estimate them: it reads
    those by which its `test.json` says that the step was scored, else those that its config asks
    for. Where none are written it keeps the running averages of training, and says so.

    Args:
      run: the run.
      variables: {network: {collection: tree}} from `state.evaluation_variables`.
      step: the checkpoint's step.

    Returns:
      The variables, and the number of training batches whose moments they have, as `batches_of`.

    Raises:
      ValueError: a run without its data finds a damaged file.
    """
    count = batches_of(run) if run.has_data else _scored_by(run, step)
    if not count:
        return variables, count
    name, of = f"step_{step:08d}_{count}_batches.npz", _identity(variables)
    old = {network: variables[network][COLLECTION] for network in networks(run)}
    moments = run.estimated.get((name, of))
    if moments is None:
        moments = _found(run, name, of, old)
    if moments is None:
        if not run.has_data:
            say(
                f"{run.workdir}: the batch norms of step {step} have the running averages of "
                f"training, as no moments of {count} training batches are written; "
                "--mode=evaluate estimates and keeps them"
            )
            return variables, 0
        moments = estimate(run, variables, step, count)
        _write(run, name, of, moments)
    run.estimated[name, of] = moments
    placed = jax.device_put(moments, run.parallel.replicated)
    return variables | {
        network: {**variables[network], COLLECTION: placed[network]} for network in placed
    }, count


def estimate(run: "Run", variables: dict[str, Tree], step: int, count: int) -> dict[str, Tree]:
    """{network: moments}, means over the batches of the run's first steps, with their noise.

    They are what running averages would settle at if the parameters stood still: the mean is that
    of all examples, the variance is the mean of the batches' variances (Ioffe & Szegedy, 2015,
    Algorithm 2, multiply it by m/(m − 1); the normalised training batches have no such factor).

    Args:
      run: a run with its data.
      variables: the parameters stay fixed, and the moments among them are not used.
      step: the step that the losses see.
      count: the number of batches.
    """
    start = time.perf_counter()
    program = run.parallel.per_batch(
        lambda variables, batch, at: run.method.moments(variables, batch, *at)
    )
    batches, found = run.training_batches(), []
    with progress("moments of batch norms", count, " batches") as bar:
        for number in range(count):
            at = (jax.random.fold_in(run.keys["train"], number), np.int32(step))
            found.append(program(variables, next(batches), at))
            bar.update(1)
    batches.close()
    seconds = time.perf_counter() - start
    say(f"batch norms of step {step}: the moments of {count} training batches ({seconds:.1f} s)")
    return jax.tree.map(lambda *each: np.mean(each, 0, np.float64).astype(np.float32), *found)


def _scored_by(run: "Run", step: int) -> int | None:
    """`batches_of` a run when its `test.json` was written, if that has the step."""
    path, batches = run.workdir / "test.json", batches_of(run)
    if batches is None or not path.exists():
        return batches
    result = read_json(path)
    return result.get("recalibration_batches", 0) if result.get("step") == step else batches


def _identity(variables: dict[str, Tree]) -> str:
    """Identifies the values of all variables."""
    text = json.dumps(trees.checksums(variables), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _found(run: "Run", name: str, of: str, old: Tree) -> Tree | None:
    """The moments that are written for these variables, if every process finds them."""
    found = None
    for folder in dict.fromkeys((run.workdir, run.output)):
        path = folder / "statistics" / name
        try:
            found = _read(path, of, old) if found is None and path.exists() else found
        except ValueError:
            if not run.has_data:
                raise
            say(f"{path} is damaged: the moments of batch norms are estimated anew")
    if np.all(run.parallel.to_host(np.array([found is not None]))):
        return found
    return None


def _read(path: epath.Path, of: str, old: Tree) -> Tree | None:
    """The moments in a file, in the tree `old`; None if they belong to other variables.

    Those of a network that no loss normalises are not there, and stay as they are.

    Raises:
      ValueError: the file is damaged; each of its arrays has a checksum.
    """
    with (
        reading(f"{path} is damaged and", "move it away, and --mode=evaluate writes it anew"),
        np.load(io.BytesIO(path.read_bytes())) as stored,
    ):
        if stored[_OF] != of:
            return None
        arrays = dict(stored)
        return jax.tree_util.tree_map_with_path(
            lambda place, leaf: arrays.get(_name(place), leaf), old
        )


def _write(run: "Run", name: str, of: str, moments: Tree) -> None:
    """Keeps moments where the run's results go; a line says if that cannot be."""
    if jax.process_index() == 0:
        leaves = jax.tree_util.tree_leaves_with_path(moments)
        arrays = {_name(place): leaf for place, leaf in leaves}
        try:
            write_npz(run.output / "statistics" / name, {_OF: of, **arrays})
        except OSError as error:
            say(f"these moments are not kept ({described(error)}): a later call estimates them too")


def _name(place: Any) -> str:
    return jax.tree_util.keystr(place, simple=True, separator="/")
