"""What a config describes, built: method, images and devices."""

import dataclasses
from typing import Any

import jax
import numpy as np
from etils import epath

from gm_jax import data, methods
from gm_jax import state as train_state
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.parallel import Parallel


@dataclasses.dataclass(frozen=True)
class Run:
    """A run: its config, its place, and what they describe.

    Attributes:
      config: as in the config file.
      workdir: absolute path of the work directory.
      method: of `methods.create`.
      train_data: images to train on.
      parallel: the devices.
      key: of the run, from `config.seed`.
    """

    config: Any
    workdir: epath.Path
    method: Any
    train_data: data.ImageDataset
    parallel: Parallel
    key: jax.Array

    def dataset(self, split: str) -> data.ImageDataset:
        """Loads `train`, `validation` or `test` as the config names them in the source."""
        dataset = load_split(self.config.data, split)
        if dataset.image_shape != self.train_data.image_shape:
            raise ValueError(
                f"{split} images have shape {dataset.image_shape}, training images "
                f"{self.train_data.image_shape}; set data.resize"
            )
        return dataset

    def init_batch(self) -> dict[str, np.ndarray]:
        """The training images that networks initialise on: by the seed, alike in every process."""
        size = min(self.config.train.init_batch_size, len(self.train_data))
        chosen = np.random.default_rng(self.config.seed).permutation(len(self.train_data))[:size]
        chosen = np.sort(chosen)  # neighbours in the file are read together
        batch = {"image": np.asarray(self.train_data.images[chosen])}
        if self.train_data.labels is not None:
            batch["label"] = np.asarray(self.train_data.labels[chosen])
        return batch

    def state_template(self) -> train_state.TrainState:
        """Shapes, dtypes and placement of the train state, without computing it."""
        shapes = jax.eval_shape(self.method.init, self.key, self.init_batch())
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=self.parallel.replicated
            ),
            shapes,
        )

    def initial_state(self) -> train_state.TrainState:
        """Initialises the train state on every device."""
        init = jax.jit(self.method.init, out_shardings=self.parallel.replicated)
        return init(self.key, self.init_batch())

    def restore(self, which: str = "best") -> tuple[dict[str, Any], int]:
        """Reads the variables to evaluate with, of a run that may still be training.

        Args:
          which: `best` on validation, or `latest`.

        Returns:
          Variables of `state.evaluation_variables`, and their step.
        """
        with Checkpoints(self.workdir, read_only=True) as checkpoints:
            state, step = checkpoints.restore(self.state_template(), which=which)
        return train_state.evaluation_variables(state), step


def load_split(config: Any, split: str) -> data.ImageDataset:
    """Loads a split of `config.data`."""
    return data.load(
        config.source,
        config[f"{split}_split"],
        resize=config.resize,
        crop=config.crop,
        cache_dir=config.cache_dir,
    )


def open_run(config: Any, workdir: epath.PathLike) -> Run:
    """Builds the run of a config, refusing what does not fit together.

    Raises:
      ValueError: with the value and the way out.
    """
    parallel = Parallel(config.train.parallel)
    parallel.check_batch_size("data.batch_size", config.data.batch_size)
    parallel.check_batch_size("evaluate.batch_size", config.evaluate.batch_size)
    if "sample" in config:  # a classifier draws nothing
        parallel.check_batch_size("sample.batch_size", config.sample.batch_size)
    train_data = load_split(config.data, "train")
    method = methods.create(
        config, train_data.image_shape, train_data.levels, train_data.num_classes
    )
    key = jax.random.key(config.seed)
    run = Run(config, workdirs.absolute(workdir), method, train_data, parallel, key)
    run.state_template()  # networks that do not fit the images refuse here
    return run
