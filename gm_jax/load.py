"""Loads a trained run in a notebook: `model = gm_jax.load("runs/agave-digits")`."""

import functools
import sys
import types
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict
from PIL import Image

from gm_jax import data, distributions
from gm_jax.coding.codec import Codec
from gm_jax.data.fields import ends_of, main_field, of_domain
from gm_jax.data.in_memory import checked_dataset, checked_labels
from gm_jax.evaluation import latents as latent_space
from gm_jax.evaluation.likelihood import evaluate_likelihood, importance_weighted_likelihood
from gm_jax.evaluation.pictures import draw_reconstructions, draw_samples, side_by_side
from gm_jax.evaluation.scatter import scatter_row
from gm_jax.evaluation.translation import translate
from gm_jax.exporting import export
from gm_jax.images import picture_of, save_gif, save_png, save_pngs, spread
from gm_jax.training import workdir as workdirs
from gm_jax.training.run import Run, open_trained
from gm_jax.training.workdir import write_npz

Tree = Any
_FUNCTIONS = (
    "log_likelihood",
    "sample",
    "reconstruct",
    "encode",
    "decode",
    "resample",
    "translate",
)


def load(
    workdir: epath.PathLike,
    which: Literal["latest", "best"] = "best",
    batch_size: int | None = None,
) -> "TrainedModel":
    """Loads a model from the work directory of its run, which may still be training, or an export.

    This does not need the images that it was trained on. Its batch norms have the moments by which
    the checkpoint was scored, according to `test.json` in the work directory. Where those are not
    written there, they have the running averages of training, and a line says so.

    Args:
      workdir: the run's work directory, or a folder that `--mode=export` wrote.
      which: the checkpoint to load; the best is the best on validation. An export has but one.
      batch_size: images at once, on all devices; None takes the config's batch sizes for evaluation
        and sampling. It changes no result.

    Raises:
      ValueError: there is no run, or no checkpoint yet; or a file of an export is damaged.
    """
    run = open_trained(workdir, batch_size)
    exported = export.is_export(workdir)
    variables, step = export.read(run) if exported else run.restore(which)
    return TrainedModel(run, variables, step, workdirs.read_config(workdir))


class TrainedModel:
    """A method with the variables of a checkpoint.

    Images are uint8 [N, H, W, C] in 0..levels−1, for any N. The seed and an image's position in the
    array key its noise, so the same call gives the same result whatever the batch size and the
    devices. A ValueError says if the method lacks a function or does not model such images or
    labels.

    Attributes:
      config: the run's config, locked.
      step: the checkpoint's step.
      num_parameters: of all networks, with running statistics.
      image_shape: (H, W, C).
      levels: number of levels of a pixel.
      num_classes: number of classes of the labels, or None.
      classes: names of the classes in the order of their numbers, or None if unknown;
        `dataset.labels_among(model.classes)` gives other images' labels in these numbers.
    """

    def __init__(self, run: Run, variables: dict[str, Tree], step: int, config: ConfigDict):
        """Use `load`."""
        self.config, self.step = config, step
        source = run.train_data
        self.image_shape, self.levels = source.image_shape, source.levels
        self.num_classes, self.classes = source.num_classes, source.classes
        self.num_parameters = sum(leaf.size for leaf in jax.tree.leaves(variables))
        self._run, self._variables = run, variables

    def __repr__(self) -> str:
        return f"<{self.config.method} of {self._run.workdir}, step {self.step}>"

    def sample(
        self,
        num_images: int,
        labels: np.ndarray | None = None,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> dict[str, np.ndarray]:
        """Draws images; seed 0 gives the samples of `--mode=sample`.

        Args:
          num_images: number of images.
          labels: int [num_images], for class-conditional methods; None takes the classes in turn.
          temperature: scales the standard deviations of prior and logistics, and divides the logits
            of mixtures; each new value is compiled anew.
          seed: seeds the samples.

        Returns:
          {name: uint8 [num_images, H, W, C]}: `image`, and intermediate images such as `f_z`.
        """
        self._require("sample")
        if labels is not None:
            labels = checked_labels(labels, num_images, self.num_classes)
        return draw_samples(self._run, self._variables, num_images, temperature, labels, seed)

    def reconstruct(
        self,
        images: np.ndarray,
        num_draws: int = 1,
        labels: np.ndarray | None = None,
        seed: int = 0,
    ) -> dict[str, np.ndarray]:
        """Encodes images and decodes the latents; seed 0 gives those of `--mode=reconstruct`.

        Returns:
          {name: uint8 [N, H, W, C]}: intermediate images, `image`, and further draws `image_2`, ….
        """
        self._require("reconstruct")
        if num_draws < 1:
            raise ValueError(f"num_draws is {num_draws}; give 1 or more")
        dataset = self._dataset(images, labels)
        return draw_reconstructions(self._run, self._variables, dataset, num_draws, seed)

    def encode(self, images: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> Tree:
        """Draws latents from the posterior: the method's tree of float32 [N, ...]."""
        self._require("encode")
        return latent_space.encode(self._run, self._variables, self._dataset(images, labels), seed)

    def decode(
        self,
        latents: Tree,
        seed: int = 0,
        index: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Draws images given latents from `encode`.

        Args:
          latents: tree of [N, ...].
          seed: seeds the draws given the latents.
          index: int [N], the numbers that key the images' noise; None takes 0..N−1.
          labels: int [N], for class-conditional methods.

        Returns:
          {name: uint8 [N, H, W, C]}: `image`, and intermediate images such as `f_z`.
        """
        self._require("decode")
        counts = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(latents)}
        if len(counts) != 1 or counts <= {(), (0,)}:
            raise ValueError(f"latents begin with {sorted(counts)}; give a tree of [N ≥ 1, ...]")
        (count,) = counts.pop()
        index = np.arange(count) if index is None else np.asarray(index)
        if labels is not None:
            if not self._run.method.class_conditional:
                raise ValueError("the model is not conditioned on classes: give labels=None")
            labels = checked_labels(labels, count, self.num_classes)
        return latent_space.decode(self._run, self._variables, latents, index, labels, seed)

    def resample(self, images: np.ndarray, level: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Keeps the upper latents of images, and draws all that is below them anew.

        Args:
          images: uint8 [N, H, W, C].
          level: the number of layers of latents to keep, from the top: 0 draws all anew, and the
            number of arrays of `encode` the pixels alone.
          seed: seeds the latents and the draws given them.

        Returns:
          {name: uint8 [N, H, W, C]}: `image`, and intermediate images such as `f_z`.
        """
        self._require("encode", "resample")
        dataset = self._dataset(images, None)
        return latent_space.resample(self._run, self._variables, dataset, level, seed)

    def interpolate(
        self,
        image_a: np.ndarray,
        image_b: np.ndarray,
        num_steps: int,
        seed: int = 0,
        label: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Decodes latents on the path from one image's latents to another's.

        The method's `interpolate` defines the path. Every step has the same noise, so that only the
        latents change.

        Args:
          image_a, image_b: uint8 [H, W, C].
          num_steps: number of images on the path, including both ends; at least 2.
          seed: seeds the latents and the draws given them.
          label: class of all images on the path, for class-conditional methods.

        Returns:
          {name: uint8 [num_steps, H, W, C]} from `decode`: `image`, and for example `f_z`.
        """
        self._require("encode", "decode")
        if num_steps < 2:
            raise ValueError(f"num_steps is {num_steps}; give 2 or more, including both ends")
        pair = [np.asarray(image) for image in (image_a, image_b)]
        spec = self._run.train_data.fields
        shape = spec[main_field(spec)].shape
        for image in pair:
            if image.shape != shape:
                raise ValueError(f"an end of the path has shape {image.shape}, not {shape}")
        ends = self._dataset(np.stack(pair), None if label is None else np.full(2, label))
        return latent_space.interpolate(self._run, self._variables, ends, num_steps, seed)

    def translate(self, images: np.ndarray, direction: str = "a_to_b") -> dict[str, np.ndarray]:
        """Translates images of one domain to the other; nothing is drawn.

        Args:
          images: uint8 [N, H, W, C] in the levels of the domain that they come from.
          direction: `a_to_b` or `b_to_a`.

        Returns:
          `image`, uint8 [N, H, W, C'] in the channels and levels of the other domain; `cycle`, that
          translated back; and `cycle_error`, float32 [N], the mean distance of `cycle` from the
          image on the scale [−1, 1], before it is rounded to levels.
        """
        self._require("translate")
        source, _ = ends_of(direction)
        domain = of_domain(self._run.train_data.fields, source)
        examples = checked_dataset(images, None, domain)
        return translate(self._run, self._variables, examples, direction)

    def show(self, images: np.ndarray | Mapping[str, np.ndarray]) -> Image.Image:
        """Draws a picture of images, or of what `sample` and the like return, for notebooks.

        Images of one example are stacked vertically; points give a scatter plot.
        """
        rows = _rows(images)
        if self.levels is None:
            return picture_of(scatter_row(*rows.values()))
        return picture_of(side_by_side(rows, self.levels))

    def save(self, path: epath.PathLike, images: np.ndarray | Mapping[str, np.ndarray]) -> None:
        """Writes images, with their levels spread over 0..255.

        Args:
          path: `*.png` for the picture of `show`; `*.gif` for an animation, such as from
            `interpolate`; `*.npz` for the unchanged arrays, which `data.source=npz:PATH` reads; or
            a folder for one PNG per image. Missing parent folders are created; existing files are
            replaced.
          images: uint8 [N, H, W, C] in 0..levels−1, or what `sample` and the like return.
        """
        rows, path = _rows(images), epath.Path(path)
        if path.suffix == ".npz":
            write_npz(path, {**rows, **({} if self.levels is None else {"levels": self.levels})})
        elif path.suffix == ".png":
            save_png(path, np.atleast_3d(np.asarray(self.show(rows))))
        elif self.levels is None:
            raise ValueError(f"{path}: points are saved as .npz or, scattered, as .png")
        else:
            save = save_gif if path.suffix == ".gif" else save_pngs
            save(path, spread(rows["image"], self.levels))

    def log_likelihood(
        self,
        images: np.ndarray,
        num_importance_samples: int = 1,
        labels: np.ndarray | None = None,
    ) -> np.ndarray:
        """Log-likelihood of every image, or a lower bound, as from `--mode=evaluate`.

        Args:
          images: the images; in the order of the split the numbers equal those of a run's
            `test.npz`.
          num_importance_samples: k of the bound of Burda et al. (2016), eq. 8.
          labels: int [N], for class-conditional methods.

        Returns:
          float64 [N], nats per image.
        """
        self._require("log_likelihood")
        dataset = self._dataset(images, labels)
        if num_importance_samples == 1:
            terms = evaluate_likelihood(self._run, self._variables, dataset)
        else:
            terms = importance_weighted_likelihood(
                self._run, self._variables, dataset, num_importance_samples
            )
        return terms["log_likelihood"]

    def bits_per_dim(
        self,
        images: np.ndarray,
        num_importance_samples: int = 1,
        labels: np.ndarray | None = None,
    ) -> np.ndarray:
        """`log_likelihood` in bits/dim, float64 [N]: lower is better."""
        if self.image_shape is None:
            raise ValueError("bits/dim are of images; for points, ask for log_likelihood (nats)")
        nats = self.log_likelihood(images, num_importance_samples, labels)
        return distributions.bits_per_dim(nats, self.image_shape)

    def compress(self, images: np.ndarray, batch_size: int | None = None) -> bytes:
        """Compresses images without loss to the contents of a `.gmz` file (`docs/coding.md`).

        The file is about as large as their `log_likelihood`, in bits.

        Args:
          images: the images.
          batch_size: images at once, for encoder and decoder; None chooses by their number.

        Raises:
          ValueError: the method cannot be coded; the message says why.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give 1 or more")
        return self._codec.compress(self._dataset(images, None).arrays["image"], batch_size)

    def decompress(self, content: bytes) -> np.ndarray:
        """The images of `compress`, uint8 [N, H, W, C].

        Raises:
          ValueError: the contents are damaged, or the model, the program or the machine is another
            than the one that compressed them.
        """
        return self._codec.decompress(content)

    @functools.cached_property
    def _codec(self) -> Codec:
        return Codec(self._run.method, self._variables)

    def _require(self, *functions: str) -> None:
        offers = self._run.method.capabilities
        missing = [name for name in functions if name not in offers]
        if missing:
            offered = [name for name in _FUNCTIONS if name in offers]
            raise ValueError(
                f"the method '{self.config.method}' has no {' and no '.join(missing)}; it offers "
                f"{', '.join(offered) or 'none of ' + ', '.join(_FUNCTIONS)}"
            )

    def _dataset(self, images: np.ndarray, labels: np.ndarray | None) -> data.Dataset:
        return checked_dataset(images, labels, self._run.train_data.fields)


def _rows(images: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**images} if isinstance(images, Mapping) else {"image": np.asarray(images)}


class _CallableModule(types.ModuleType):
    """Makes `gm_jax.load` both the function and this module, in whatever order they are used."""

    __call__ = staticmethod(load)


sys.modules[__name__].__class__ = _CallableModule
