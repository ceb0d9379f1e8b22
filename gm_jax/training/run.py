"""What a config describes, built: method, images and devices."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
from etils import epath

from gm_jax import data, ranges
from gm_jax import state as train_state
from gm_jax.data import fields
from gm_jax.data.fields import is_image
from gm_jax.methods.method import Method, matmul
from gm_jax.training import recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.frozen import create_method
from gm_jax.training.parallel import Parallel
from gm_jax.training.pretrained import fit_params
from gm_jax.training.progress import say

_LARGEST_SIDE = 64  # of images whose size a config leaves open
SPLITS = ("train", "validation", "test")
# What a run draws random numbers for; each has a key of its own.
KEYS = ("init", "train", "evaluate", "sample", "reconstruct")


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run: its config, its place, and what they describe.

    Attributes:
      config: as in the config file.
      workdir: absolute path of the work directory.
      method: of `frozen.create_method`.
      datasets: {split: images} for SPLITS.
      parallel: the devices.
    """

    config: Any
    workdir: epath.Path
    method: Any
    datasets: dict[str, data.Dataset]
    parallel: Parallel

    def dataset(self, split: str) -> data.Dataset:
        """The images of `train`, `validation` or `test`, as the config names them."""
        return self.datasets[split]

    @property
    def train_data(self) -> data.Dataset:
        """The images to train on."""
        return self.datasets["train"]

    @functools.cached_property
    def keys(self) -> dict[str, jax.Array]:
        """{use: key} for KEYS, split once from `config.seed`."""
        split = jax.random.split(jax.random.key(self.config.seed), len(KEYS))
        return dict(zip(KEYS, split, strict=True))

    @functools.cached_property
    def _programs(self) -> dict[str, Callable[..., Any]]:
        return {}

    def program(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`parallel.per_example(function)`, compiled once a run for each name."""
        if name not in self._programs:
            self._programs[name] = self.parallel.per_example(function)
        return self._programs[name]

    def init_batch(self) -> dict[str, np.ndarray]:
        """The examples that networks initialise on: by the seed, alike in every process."""
        size = min(self.config.train.init_batch_size, len(self.train_data))
        chosen = np.random.default_rng(self.config.seed).permutation(len(self.train_data))[:size]
        chosen = np.sort(chosen)  # neighbours in the file are read together
        return self.train_data.gather(chosen)

    @functools.cached_property
    def state_template(self) -> train_state.TrainState:
        """Shapes, dtypes and placement of the train state, without computing it."""
        shapes = jax.eval_shape(self.method.init, self.keys["init"], self.init_batch())
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=self.parallel.replicated
            ),
            shapes,
        )

    def initial_state(self) -> train_state.TrainState:
        """Initialises the train state on every device, from other runs where the config says so."""
        init = self.parallel.compile_once(self.method.init)
        arguments = (self.keys["init"], self.init_batch())
        return init(*arguments, self.pretrained) if self.pretrained else init(*arguments)

    @functools.cached_property
    def pretrained(self) -> dict[str, Any]:
        """What this run takes from other runs' best checkpoints on validation (or latest).

        {network: parameters} of the work directories in the section `pretrained`, from which they
        go on learning; {name: variables of every network} of those in `frozen`, which do not. Both
        are averaged ones where the other run kept an average.

        Raises:
          ValueError: a run is not there, has no checkpoint, or does not fit this one.
        """
        taken = {}
        for name, workdir in self._named("pretrained").items():
            other = reopen(workdir, self.parallel)
            taken[name] = fit_params(
                f"pretrained.{name}={workdir}",
                name,
                (self.method, self.state_template.params),
                (other.method, other.restore("best")[0]),
            )
        for name, workdir in self._named("frozen").items():
            taken[name] = reopen(workdir, self.parallel).restore("best")[0]
        return taken

    def _named(self, section: str) -> dict[str, str]:
        """{name: work directory} of a section of the config, which may be absent; "" names none."""
        if section not in self.config:
            return {}
        return {name: workdir for name, workdir in self.config[section].items() if workdir}

    def check_start(self) -> None:
        """Refuses other runs' models that do not fit; a run with a checkpoint needs none."""
        if self.best_step() is None:
            _ = self.pretrained

    def best_step(self) -> int | None:
        """The step of the best checkpoint on validation, or of the latest where none was scored."""
        with Checkpoints(self.workdir, read_only=True) as checkpoints:
            best = checkpoints.best_step()
            return checkpoints.latest_step() if best is None else best

    def restore(self, which: Literal["latest", "best"] = "best") -> tuple[dict[str, Any], int]:
        """Reads the variables to evaluate with, of a run that may still be training.

        Args:
          which: checkpoint; the best is the best on validation.

        Returns:
          Variables of `state.evaluation_variables`, and their step.
        """
        with Checkpoints(self.workdir, read_only=True) as checkpoints:
            state, step = checkpoints.restore(self.state_template, which=which)
        return train_state.evaluation_variables(state), step


def load_split(config: Any, split: str) -> data.Dataset:
    """Loads a split of `config.data`."""
    return data.load(
        config.source,
        data.split_of(config.source, config[f"{split}_split"], split),
        resize=config.resize,
        crop=config.crop,
        cache_dir=config.cache_dir,
    )


def open_trained(workdir: epath.PathLike, batch_size: int | None = None) -> Run:
    """Builds the run of a work directory to use its model, without opening its data.

    All devices of the machine are used, whatever it was trained on. The examples of `train` are
    blanks of the right shape: enough to restore a checkpoint, which they do not depend on.

    Args:
      workdir: of a run.
      batch_size: of evaluating and sampling; None takes the config's. Rounded up to what the
        devices share evenly.

    Returns:
      The run; the batch sizes in its config are those that are used.

    Raises:
      ValueError: no run is there, or a batch size below 1.
    """
    folder = workdirs.absolute(workdir)
    config = workdirs.read_config(folder)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    parallel = Parallel("shard_map", precision=matmul(config)[1])
    config = config.copy_and_resolve_references()
    for section in ("evaluate", "sample"):
        if section in config:
            wanted = batch_size or config[section].batch_size
            config[section].batch_size = -(-wanted // parallel.num_devices) * parallel.num_devices
    return _without_images(config, folder, parallel)


def open_run(config: Any, workdir: epath.PathLike) -> Run:
    """Builds the run of a config, refusing what does not fit together.

    Raises:
      ValueError: with the value and the way out.
    """
    ranges.check(config.to_dict())  # to check a field is not to read it: tests ask who reads it
    workdirs.check_client(workdir)
    parallel = Parallel(config.train.parallel, precision=matmul(config)[1])
    for section in ("data", "evaluate", "sample"):
        if section in config:  # a classifier draws no samples
            parallel.check_batch_size(f"{section}.batch_size", config[section].batch_size)
    config = _at_one_size(config, workdirs.absolute(workdir))
    datasets = {split: load_split(config.data, split) for split in SPLITS}
    _check_splits(config, datasets)
    folder = workdirs.absolute(workdir)
    method = create_method(config, folder, datasets["train"].fields)
    _check_pictures(method)
    run = Run(config, folder, method, datasets, parallel)
    _ = run.state_template  # networks that do not fit the images refuse here
    return run


def _at_one_size(config: Any, folder: epath.Path) -> Any:
    """The config, with a size for the images of a folder that differ in theirs.

    They become central squares, of the largest side that the model takes and that is at most
    the median of their smaller sides, and _LARGEST_SIDE.
    """
    if config.data.resize or config.data.crop != "none":
        return config
    median = data.median_side(config.data.source)
    if median is None:
        return config
    for side in range(min(median, _LARGEST_SIDE), 0, -1):
        fitted = config.copy_and_resolve_references()
        fitted.data.update({"resize": side, "crop": "center"})
        if _takes(fitted, folder, side):
            say(
                f"{config.data.source}: its images differ in size; their central squares are "
                f"taken, {side}×{side} pixels (data.crop=center, data.resize={side})"
            )
            return fitted.lock()
    return config


def _takes(config: Any, folder: epath.Path, side: int) -> bool:
    """Whether the networks of a config take RGB images of a side."""
    try:
        method = create_method(config, folder, fields.image_spec((side, side, 3), 256, 2))
        batch = fields.blanks(method.data, config.train.init_batch_size)
        jax.eval_shape(method.init, jax.random.key(0), batch)
    except Exception:  # whatever a network raises where a size does not fit
        return False
    return True


def reopen(workdir: epath.PathLike, parallel: Parallel) -> Run:
    """Opens another run, of any method, to read its checkpoints.

    Raises:
      ValueError: there is none.
    """
    folder = workdirs.absolute(workdir)
    return _without_images(workdirs.read_config(folder), folder, parallel)


def _without_images(config: Any, folder: epath.Path, parallel: Parallel) -> Run:
    """The run of a work directory; in place of the examples of `train`, blanks of their fields."""
    spec = recorded.read_data(folder) or load_split(config.data, "train").fields
    method = create_method(config, folder, spec)
    arrays = fields.blanks(spec, config.train.init_batch_size)
    blanks = data.Dataset(arrays, spec, config.data.source, "blanks")
    return Run(config, folder, method, {"train": blanks}, parallel)


def _check_pictures(method: Method) -> None:
    """Refuses images that no picture can show, where the method makes pictures."""
    for name, field in method.data.items():
        channels = field.shape[-1] if is_image(field) else 1
        if channels not in (1, 3) and method.capabilities & {"sample", "reconstruct"}:
            raise ValueError(
                f"{name} has {channels} channels, which the pictures that a training draws cannot "
                "show: give grey (1) or RGB (3) images"
            )


def _check_splits(config: Any, datasets: dict[str, data.Dataset]) -> None:
    """Refuses splits that differ in kind, but for labels, and too few examples for a batch."""
    train = datasets["train"]
    for split, dataset in datasets.items():
        for name, ours in train.fields.items():
            theirs = dataset.fields.get(name)
            if ours.num_classes is None and theirs != ours:
                raise ValueError(
                    f"{split} {name} is {theirs or 'absent'}, training {name} {ours}; set "
                    f"data.resize, or another data.{split}_split"
                )
    if config.data.flip and not any(map(is_image, train.fields.values())):
        raise ValueError(f"data.flip mirrors images; {train.name} has none: set data.flip=False")
    fewest = min(train.lengths.values())
    if fewest < config.data.batch_size:
        raise ValueError(
            f"data.batch_size is {config.data.batch_size}, but {config.data.source} has only "
            f"{fewest} examples in {train.split}; lower data.batch_size"
        )
