"""Builds what a config describes: method, images and devices."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import grain
import jax
import numpy as np
from etils import epath

from gm_jax import data, ranges
from gm_jax import state as train_state
from gm_jax.borders import described, reading
from gm_jax.data import fields
from gm_jax.data.fields import is_image
from gm_jax.methods.method import Method, matmul
from gm_jax.nn.rematerialize import recorded as recorded_blocks
from gm_jax.training import recalibration, recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.frozen import create_method
from gm_jax.training.parallel import Parallel
from gm_jax.training.pretrained import fit_params
from gm_jax.training.progress import say, working

_LARGEST_SIDE = 64  # of images for which the config sets no size
SPLITS = ("train", "validation", "test")
# A run's uses of random numbers; each has its own key.
KEYS = ("init", "train", "evaluate", "sample", "reconstruct")


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run: its config, its work directory, and what they describe.

    Attributes:
      config: the config from the config file.
      workdir: absolute path of the work directory.
      method: from `frozen.create_method`.
      datasets: {split: images} for SPLITS.
      parallel: the devices.
      elsewhere: where what is read from the run is written; None: into its work directory.
    """

    config: Any
    workdir: epath.Path
    method: Any
    datasets: dict[str, data.Dataset]
    parallel: Parallel
    elsewhere: epath.Path | None = None

    @property
    def output(self) -> epath.Path:
        """The folder of what an evaluation, or a drawing, of the run finds."""
        return self.workdir if self.elsewhere is None else self.elsewhere

    def dataset(self, split: str) -> data.Dataset:
        """The images of the config's split for `train`, `validation` or `test`."""
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
        """`parallel.per_example(function)`, compiled once per run and name."""
        if name not in self._programs:
            self._programs[name] = self.parallel.per_example(function)
        return self._programs[name]

    @property
    def has_data(self) -> bool:
        """Whether it has its data, in whose place `open_trained` and `reopen` put blanks."""
        return {*SPLITS} <= self.datasets.keys()

    def training_batches(self, **options: Any) -> grain.DatasetIterator:
        """`data.training_batches` of the run, from its first step on, for this process."""
        return data.training_batches(
            self.train_data,
            batch_size=self.config.data.batch_size,
            seed=self.config.seed,
            flip=self.config.data.flip,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            batches_per_step=self.method.batches_per_step,
            **options,
        )

    @functools.cached_property
    def estimated(self) -> dict[tuple[str, str], Any]:
        """The moments that `recalibration` has estimated or read, by their file and checkpoint."""
        return {}

    def init_batch(self) -> dict[str, np.ndarray]:
        """The examples that networks initialise on, chosen by the seed, equal in all processes."""
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
        """Initialises the train state on every device, from other runs if the config says so."""
        init = self.parallel.compile_once(self.method.init)
        arguments = (self.keys["init"], self.init_batch())
        return init(*arguments, self.pretrained) if self.pretrained else init(*arguments)

    @functools.cached_property
    def pretrained(self) -> dict[str, Any]:
        """What this run takes from other runs' best checkpoints on validation (or latest).

        This is {network: parameters} from the work directories in the section `pretrained`, which
        keep learning, and {name: variables of every network} of `frozen`. Both are averages if the
        other run kept an average.

        Raises:
          ValueError: a run does not exist, has no checkpoint, or does not fit this one.
        """
        taken = {}
        for name, workdir in self._named("pretrained").items():
            other = reopen(workdir, self.parallel)
            taken[name] = fit_params(
                f"pretrained.{name}={workdir}",
                name,
                (self.method, self.state_template.params),
                (other.method, other.checkpoint("best")[0]),
            )
        return taken | {name: variables for name, (variables, _) in self.frozen.items()}

    @functools.cached_property
    def frozen(self) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
        """The runs in the section `frozen`, which learn no more: {name: (variables, which)}.

        `which` is the checkpoint's `step` and `recalibration_batches`, as from `recalibrated`.
        """
        taken = {}
        for name, workdir in self._named("frozen").items():
            other = reopen(workdir, self.parallel)
            variables, step = other.checkpoint("best")
            variables, batches = recalibration.recalibrated(other, variables, step)
            taken[name] = variables, {"step": step, "recalibration_batches": batches}
        return taken

    def _named(self, section: str) -> dict[str, str]:
        """{name: work directory} in a section of the config, if it exists; "" names none."""
        if section not in self.config:
            return {}
        return {name: workdir for name, workdir in self.config[section].items() if workdir}

    def check_start(self) -> dict[str, dict[str, Any]]:
        """Refuses what a training cannot begin or go on with, before anything is written.

        Other runs' models that do not fit matter only to a run without a checkpoint.

        Returns:
          {name: which checkpoint}, as in `frozen`, of the models that it starts around.
        """
        _check_memory_options(self)
        if self.best_step() is not None:
            return {}
        _ = self.pretrained
        return {name: which for name, (_, which) in self.frozen.items()}

    def best_step(self) -> int | None:
        """The step of the best checkpoint on validation, or of the latest if none was scored."""
        with Checkpoints(self.workdir, read_only=True) as checkpoints:
            best = checkpoints.best_step()
            return checkpoints.latest_step() if best is None else best

    def restore(self, which: Literal["latest", "best"] = "best") -> tuple[dict[str, Any], int]:
        """Reads the variables for evaluation; the run may still be training.

        Args:
          which: the checkpoint; the best is the best on validation.

        Returns:
          Variables from `state.evaluation_variables`, whose batch norms have the moments of
          `recalibration`, and their step.
        """
        variables, step = self.checkpoint(which)
        return recalibration.recalibrated(self, variables, step)[0], step

    def checkpoint(self, which: Literal["latest", "best"]) -> tuple[dict[str, Any], int]:
        """The same, whose batch norms have the running averages of training."""
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

    It uses all devices of the machine, whatever the run was trained on. The examples of `train` are
    blanks of the right shape, which suffice to restore a checkpoint.

    Args:
      workdir: the run's work directory.
      batch_size: batch size for evaluating and sampling; None takes the config's. It is rounded up
        to a multiple of the number of devices.

    Returns:
      The run; its config has the batch sizes that are used.

    Raises:
      ValueError: there is no run, or the batch size is below 1.
    """
    folder = workdirs.absolute(workdir)
    config = workdirs.read_config(folder)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    with reading(*_of_config(folder)):
        ranges.check(config)
        parallel = Parallel("shard_map", precision=matmul(config)[1])
        config = config.copy_and_resolve_references()
        for section in ("evaluate", "sample"):
            if section in config:
                wanted = batch_size or config[section].batch_size
                shared = -(-wanted // parallel.num_devices) * parallel.num_devices
                config[section].batch_size = shared
    return _without_images(config, folder, parallel)


def _of_config(folder: epath.Path) -> tuple[str, str]:
    """What `reading` says if a run's config lacks a field, or has values that no network takes."""
    return (
        f"{folder}: the run that its config.json, data.json and frozen.json describe",
        "restore what is missing, or use the version of gm_jax that trained the run",
    )


def open_run(config: Any, workdir: epath.PathLike, output: epath.PathLike | None = None) -> Run:
    """Builds the run of a config.

    Args:
      config: the run's config.
      workdir: the run's work directory.
      output: the folder for what reading the run writes; None takes the work directory.

    Raises:
      ValueError: something does not fit together.
    """
    ranges.check(config.to_dict())  # checking a field does not count as reading it
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
    elsewhere = None if output is None else workdirs.absolute(output)
    run = Run(config, folder, method, datasets, parallel, elsewhere)
    _ = run.state_template  # refuses networks that do not fit the images
    return run


def _at_one_size(config: Any, folder: epath.Path) -> Any:
    """The config, with a common size if a folder's images differ in size.

    They become central squares with the largest side that the model accepts, up to the median of
    their smaller sides and up to _LARGEST_SIDE.
    """
    if config.data.resize or config.data.crop != "none":
        return config
    median = data.median_side(config.data.source)
    if median is None:
        return config
    largest, reason = min(median, _LARGEST_SIDE), Exception()
    for side in range(largest, 0, -1):
        fitted = config.copy_and_resolve_references()
        fitted.data.update({"resize": side, "crop": "center"})
        try:
            _build(fitted, folder, side)
        except Exception as error:  # whatever a network raises if a size does not fit
            reason = error
            continue
        say(
            f"{config.data.source}: its images differ in size; their central squares are taken, "
            f"{side}×{side} pixels (data.crop=center, data.resize={side})"
        )
        return fitted.lock()
    raise ValueError(
        f"{config.data.source}: its images differ in size, and the model accepts no square of up "
        f"to {largest} pixels ({described(reason)})"
    ) from reason


def _build(config: Any, folder: epath.Path, side: int) -> None:
    """Traces the networks of a config on RGB images with this side, which raises if none fit."""
    spec = fields.image_spec((side, side, 3), 256, 2)
    if config.data.source.startswith("pair:"):
        spec = {**spec, **{name + fields.SECOND_DOMAIN: field for name, field in spec.items()}}
    method = create_method(config, folder, spec)
    batch = fields.blanks(method.data, config.train.init_batch_size)
    jax.eval_shape(method.init, jax.random.key(0), batch)


def reopen(workdir: epath.PathLike, parallel: Parallel) -> Run:
    """Opens another run, of any method, to read its checkpoints.

    Raises:
      ValueError: there is no run.
    """
    folder = workdirs.absolute(workdir)
    return _without_images(workdirs.read_config(folder), folder, parallel)


def _without_images(config: Any, folder: epath.Path, parallel: Parallel) -> Run:
    """The run of a work directory, with blanks in place of the examples of `train`."""
    known = recorded.read_data(folder)
    with reading(*_of_config(folder)):
        spec = known or load_split(config.data, "train").fields
        method = create_method(config, folder, spec)
        arrays = fields.blanks(spec, config.train.init_batch_size)
        blanks = data.Dataset(arrays, spec, config.data.source, "blanks")
        run = Run(config, folder, method, {"train": blanks}, parallel)
        _ = run.state_template  # what does not fit shows here
    return run


def _check_memory_options(run: Run) -> None:
    """Refuses parts of a batch, and blocks computed anew, where a step cannot have them.

    A step is traced, which raises for losses that are no mean over examples.
    """
    options = run.config.train
    if options.accumulate_steps == 1 and not options.rematerialize:
        return
    size = run.config.data.batch_size // run.parallel.num_devices
    batches = (fields.blanks(run.method.data, size),) * run.method.batches_per_step
    with working("tracing a step"), recorded_blocks() as blocks:
        jax.eval_shape(run.method.train_step, run.state_template, batches, jax.random.key(0))
    if options.rematerialize and not blocks:
        raise ValueError(
            f"train.rematerialize is True, and the networks of the method '{run.config.method}' "
            "have no blocks that could be computed anew: set it to False; "
            "train.accumulate_steps=2 also saves memory"
        )


def _check_pictures(method: Method) -> None:
    """Refuses images that no picture can show, if the method makes pictures."""
    makes_pictures = method.capabilities & {"sample", "reconstruct", "translate"}
    for name, field in method.data.items():
        channels = field.shape[-1] if is_image(field) else 1
        if channels not in (1, 3) and makes_pictures:
            raise ValueError(
                f"{name} has {channels} channels, which the pictures that a training draws cannot "
                "show: give grey (1) or RGB (3) images"
            )


def _check_splits(config: Any, datasets: dict[str, data.Dataset]) -> None:
    """Refuses splits whose fields differ, except in labels, and too few examples for a batch."""
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
