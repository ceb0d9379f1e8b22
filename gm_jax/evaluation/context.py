"""What the metrics of an evaluation share: samples, reference images and their features."""

import functools
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from gm_jax import data
from gm_jax.data import cache
from gm_jax.data.fields import label_field
from gm_jax.evaluation.feature_networks import (
    FeatureNetwork,
    hash_of_variables,
    open_network,
    read_features,
    write_features,
)
from gm_jax.evaluation.frechet_distance import feature_statistics
from gm_jax.evaluation.pictures import class_labels, sample_batches
from gm_jax.evaluation.request import Request
from gm_jax.images import spread
from gm_jax.training import recalibration
from gm_jax.training.run import Run


class Context:
    """Computes each shared part once, when it is needed, and identifies it by its dependencies.

    As a context manager it removes the features of samples on exit; those of the reference stay in
    the image cache.

    Args:
      run: the run returned by `open_run`; with `request.samples`, only its data and devices are
        used.
      request: the requested evaluation.
    """

    def __init__(self, run: Run, request: Request):
        self.run, self.request = run, request
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()

    @functools.cached_property
    def model(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The variables of the best checkpoint, and their identity: method, step, hash."""
        if self.request.samples is not None:
            raise ValueError(
                f"it judges a model, and --samples={self.request.samples} gives images alone"
            )
        variables, step = self.run.restore("best")
        identity = {"method": self.run.config.method, "step": step}
        batches = recalibration.batches_of(self.run)
        if batches is not None:
            identity["recalibration_batches"] = batches
        return variables, {**identity, "sha256": hash_of_variables(variables)}

    @functools.cached_property
    def reference(self) -> data.Dataset:
        """The real images."""
        config, request = self.run.config.data, self.request
        source = request.reference or config.source
        dataset = data.load(
            source,
            data.split_of(source, request.reference_split or config.test_split, "test"),
            resize=config.resize,
            crop=config.crop,
            cache_dir=config.cache_dir,
        )
        return self._check_shape(dataset, "reference")

    @functools.cached_property
    def test(self) -> data.Dataset:
        """The test split of the config, used for likelihoods whatever the reference."""
        return self.run.dataset("test")

    @functools.cached_property
    def validation(self) -> data.Dataset:
        """The validation split of the config."""
        return self.run.dataset("validation")

    @property
    def train(self) -> data.Dataset:
        """The training split of the config."""
        return self.run.train_data

    @functools.cached_property
    def network(self) -> FeatureNetwork:
        """The feature network."""
        request = self.request
        if isinstance(request.features, FeatureNetwork):
            return request.features
        return open_network(request.features, self.run, request.features_weights, request.resize)

    @functools.cached_property
    def samples(self) -> data.Dataset:
        """The images to judge: the run's samples, or the given images."""
        if self.request.samples is not None:
            return self._given_samples
        folder = self._cached(self.identity("samples"), "samples", self._draw)
        arrays, fields = cache.open_arrays(folder), self.run.train_data.fields
        return data.Dataset(arrays, {name: fields[name] for name in arrays}, "samples", "samples")

    @functools.cached_property
    def sample_images(self) -> np.ndarray:
        """The samples, uint8 [n, H, W, C] in 0..255."""
        return spread_images(self.samples)

    @functools.cached_property
    def sample_features(self) -> dict[str, np.ndarray]:
        """`features` and possibly `logits` of the samples, memory-mapped [n, d]."""
        self._scratch = tempfile.TemporaryDirectory(prefix="gm_jax-features-")
        folder = Path(self._scratch.name)
        write_features(self.run, self.network, self.samples, folder)
        return read_features(folder)

    @functools.cached_property
    def reference_features(self) -> dict[str, np.ndarray]:
        """`features` and possibly `logits` of the reference, memory-mapped [N, d]."""
        return read_features(self._folder_of_features("reference"))

    @functools.cached_property
    def train_features(self) -> dict[str, np.ndarray]:
        """`features` and possibly `logits` of the training split, memory-mapped [N, d]."""
        return read_features(self._folder_of_features("train"))

    @functools.cached_property
    def reference_statistics(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Mean [d] and covariance [d, d] of the reference's features, and their number."""
        with np.load(self._folder_of_features("reference") / "statistics.npz") as stored:
            return stored["mu"], stored["sigma"], int(stored["n"])

    def identity(self, part: str) -> Any:
        """Everything that identifies one part of an evaluation, as JSON.

        Args:
          part: 'model', 'samples', 'features', a set of real images ('reference', 'train',
            'validation', 'test'), or a field of the request.

        Raises:
          ValueError: 'samples' of a method that draws none, and none are given.
        """
        if part == "model":
            return self.model[1]
        if part == "features":
            return self.network.identity
        if part in ("reference", "train", "validation", "test"):
            return _name_of(getattr(self, part))
        if part != "samples":
            return getattr(self.request, part)
        if self.request.samples is not None:
            return {**_name_of(self._given_samples), "seed": self.request.seed}
        num_samples = self.request.num_samples
        config = self.run.config
        if "sample" not in self.run.method.capabilities:  # nor does its page say how to
            raise ValueError(f"the method '{config.method}' draws no samples")
        how = {name: value for name, value in config.sample.items() if name != "batch_size"}
        return {
            **how,  # the method's options besides the temperature
            "model": self.model[1],
            "num_images": config.sample.num_images if num_samples is None else num_samples,
            "run_seed": config.seed,
            "seed": self.request.seed,
        }

    @functools.cached_property
    def _given_samples(self) -> data.Dataset:
        name, config = self.request.samples, self.run.config.data
        assert name is not None  # called only if images are given
        splits = data.split_names(name)
        splits = ["all"] if "all" in splits else splits
        if len(splits) > 1:
            raise ValueError(
                f"--samples={name} holds the splits {', '.join(splits)}: give a folder "
                "with the images of one split only, or an npz without splits"
            )
        dataset = data.load(name, splits[0], cache_dir=config.cache_dir)
        self._check_shape(dataset, "given")
        count, wanted = len(dataset), self.request.num_samples
        if wanted is None:
            return dataset
        if wanted > count:
            raise ValueError(f"--num_samples={wanted} of {name}, which holds {count} images")
        return dataset.chosen(subset(count, wanted, self.request.seed))

    def _folder_of_features(self, part: str) -> Path:
        """The folder of the image cache with features of real images and their statistics."""
        dataset, network = getattr(self, part), self.network

        def write(folder: Path) -> None:
            write_features(self.run, network, dataset, folder)
            mean, covariance = feature_statistics(read_features(folder)["features"])
            identity = repr(network.identity)
            np.savez(
                folder / "statistics.npz", mu=mean, sigma=covariance, n=len(dataset), id=identity
            )

        recipe = {"reference": self.identity(part), "features": network.identity}
        return self._cached(recipe, f"features-{dataset.name}", write)

    def _draw(self, folder: Path) -> None:
        """Writes images.npy and, if the method is class-conditional, labels.npy."""
        request = self.request
        num_images = self.identity("samples")["num_images"]
        labels = class_labels(self.run, num_images)
        temperature = self.run.config.sample.temperature
        batches = sample_batches(
            self.run, self.model[0], num_images, temperature, labels, request.seed
        )
        for drawn in batches:
            cache.append_rows(folder / "images.npy", drawn["image"], num_images)
        if labels is not None:
            np.save(folder / "labels.npy", labels)

    def _cached(self, recipe: dict, name: str, write: Callable[[Path], None]) -> Path:
        """Returns the folder of the image cache that `write` fills, and fills it if it is missing.

        All processes of a run write if any must, because they compute together.
        """
        recipe = {**recipe, "source": name, "split": ""}
        cache_dir = self.run.config.data.cache_dir
        found = cache.folder_of(cache_dir, recipe)
        if np.all(self.run.parallel.to_host(np.array([cache.damage(found) is None]))):
            return found
        found.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=found.parent, prefix=f"{found.name}.writing-"
        ) as temporary:
            write(Path(temporary))

            def move(folder: Path) -> dict:
                for file in Path(temporary).iterdir():
                    shutil.move(file, folder)
                return {}

            return cache.find_or_write(cache_dir, recipe, {}, move)

    def _check_shape(self, dataset: data.Dataset, what: str) -> data.Dataset:
        expected = self.run.train_data.image_shape
        if dataset.image_shape != expected:
            raise ValueError(
                f"{what} images have shape {dataset.image_shape}, the config's data {expected}; "
                "compare images of one shape (data.resize)"
            )
        return dataset


def subset(count: int, wanted: int, seed: int) -> np.ndarray:
    """Row numbers of a random subset, ascending; determined by the arguments."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:wanted])


def spread_images(dataset: data.Dataset) -> np.ndarray:
    """The images of a data set, uint8 [N, H, W, C] in 0..255."""
    assert dataset.levels is not None  # images have levels
    return spread(np.asarray(dataset.images), dataset.levels)


def _name_of(dataset: data.Dataset) -> dict[str, Any]:
    """Source, split, number and hash of images (the hash includes the labels)."""
    images, labels = dataset.images, dataset.labels
    assert images is not None  # metrics judge only images
    digest = hashlib.sha256(str((dataset.levels, images.shape)).encode())
    for start in range(0, len(dataset), 4096):
        digest.update(np.ascontiguousarray(images[start : start + 4096]).data)
    if labels is not None:
        digest.update(np.ascontiguousarray(labels).data)
        # Classes named by number need no names here, so older records stay valid.
        if dataset.classes != label_field(dataset.num_classes or 0).classes:
            digest.update(repr(dataset.classes).encode())
    return {
        "source": dataset.name,
        "split": dataset.split,
        "num_images": len(dataset),
        "sha256": digest.hexdigest()[:16],
    }
