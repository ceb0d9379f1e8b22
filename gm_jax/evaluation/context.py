"""What the metrics of an evaluation share: samples, reference images and their features."""

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
from etils import epath

from gm_jax import data
from gm_jax.data import cache
from gm_jax.evaluation.feature_networks import (
    FeatureNetwork,
    hash_of_variables,
    open_network,
    read_features,
    write_features,
)
from gm_jax.evaluation.frechet_distance import feature_statistics
from gm_jax.evaluation.image_sets import identity_of, load_given, spread_images, subset
from gm_jax.evaluation.pictures import class_labels, sample_batches
from gm_jax.evaluation.reference_statistics import (
    Statistics,
    check_features,
    check_images,
    read_statistics,
    write_statistics,
)
from gm_jax.evaluation.request import Request
from gm_jax.training import recalibration
from gm_jax.training.progress import say
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
        self._check_shape(dataset, "reference")
        if self._shared is not None and request.reference_statistics is not None:
            check_images(self._shared, identity_of(dataset), request.reference_statistics)
        return dataset

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
    def reference_statistics(self) -> Statistics:
        """Statistics of the reference's features; from the file of the request, if it is there.

        If it is not, they are written there.

        Raises:
          ValueError: the file is of other features.
        """
        path, features = self.request.reference_statistics, self.network.identity
        if path is not None and self._shared is not None:
            check_features(self._shared, features, path)
            return self._shared
        with np.load(self._folder_of_features("reference") / "statistics.npz") as stored:
            mean, covariance, count = stored["mu"], stored["sigma"], int(stored["n"])
        found = Statistics(mean, covariance, count, features, self.identity("reference"))
        if path is not None and jax.process_index() == 0:
            write_statistics(path, found)
            say(f"wrote the reference's statistics: {path}")
        return found

    def share_statistics(self) -> None:
        """Writes the file of statistics that the request names, if it is missing."""
        if self.request.reference_statistics is not None and self._shared is None:
            _ = self.reference_statistics

    @functools.cached_property
    def _shared(self) -> Statistics | None:
        """What the file of statistics held at first, or None without one."""
        path = self.request.reference_statistics
        return None if path is None or not epath.Path(path).exists() else read_statistics(path)

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
        if part == "reference" and self._shared is not None:
            asked = self.request.reference or self.request.reference_split
            return identity_of(self.reference) if asked else self._shared.data
        if part in ("reference", "train", "validation", "test"):
            return identity_of(getattr(self, part))
        if part != "samples":
            return getattr(self.request, part)
        if self.request.samples is not None:
            return {**identity_of(self._given_samples), "seed": self.request.seed}
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
        name, request = self.request.samples, self.request
        assert name is not None  # called only if images are given
        dataset = load_given(name, self.run.config.data.cache_dir)
        self._check_shape(dataset, "given")
        count, wanted = len(dataset), request.num_samples
        if wanted is None:
            return dataset
        if wanted > count:
            raise ValueError(f"--num_samples={wanted} of {name}, which holds {count} images")
        return dataset.chosen(subset(count, wanted, request.seed))

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
