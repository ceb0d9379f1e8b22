"""Feature networks that judge images: Inception, a classifier, raw pixels, a file, any function.

A network states its identity (name, hash of its weights, resize), and metrics from any network but
the published Inception have other names: `is_c` and `fd_c` for a classifier, never IS and FID.
"""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax import data, distributions
from gm_jax.data.cache import append_rows
from gm_jax.evaluation.exported_network import read_exported
from gm_jax.evaluation.inception_v3 import InceptionOutputs, InceptionV3
from gm_jax.evaluation.inception_weights import load_inception_weights
from gm_jax.evaluation.resize import resize
from gm_jax.images import spread
from gm_jax.training import workdir as workdirs
from gm_jax.training.progress import progress
from gm_jax.training.run import Run, open_trained

NETWORKS = ("inception", "classifier:WORKDIR", "pixels", "exported:FILE")
# Covariances with more dimensions take gigabytes and minutes.
_MOST_PIXELS = 4096


@dataclass(frozen=True)
class FeatureNetwork:
    """A feature network on the devices of a run.

    Attributes:
      suffix: added to the names of metrics; '' only for the published Inception.
      identity: everything that the features depend on besides the images, as JSON.
      extract: maps this process's share of a batch, uint8 [B, H, W, C] in 0..255, to float32 arrays
        for the whole batch: {'features': [B, d]} and, if it classifies, {'logits': [B, classes]}.
      classes: names of the logits' classes, if known.
    """

    suffix: str
    identity: dict[str, Any]
    extract: Callable[[np.ndarray], dict[str, np.ndarray]]
    classes: tuple[str, ...] | None = None

    def metric_name(self, metric: str) -> str:
        """Names a metric such as 'is' or 'fid' after the network: 'fid', 'fd_c', 'fd_pixels'."""
        if not self.suffix:
            return metric
        return f"{metric.replace('fid', 'fd')}_{self.suffix}"


def open_network(name: str, run: Run, weights: str | None, resize_method: str) -> FeatureNetwork:
    """Opens a feature network by its name.

    Args:
      name: one of NETWORKS.
      run: provides the devices and the shape of the images.
      weights: file of Inception's weights; None takes it from the environment variable.
      resize_method: Inception's resize, 'tf1' or 'clean'.

    Raises:
      ValueError: an unknown name, or a network that does not fit the images.
      FileNotFoundError: no weights, no such classifier or file.
    """
    kind, _, argument = name.partition(":")
    if kind == "inception" and not argument:
        return _inception(run, weights, resize_method)
    if kind == "classifier" and argument:
        return _classifier(run, argument)
    if name == "pixels":
        return _pixels(run)
    if kind == "exported" and argument:
        return _exported(run, argument)
    raise ValueError(f"unknown features {name!r}; choose among {', '.join(NETWORKS)}")


def any_callable(function: Callable[[np.ndarray], Any], name: str, run: Run) -> FeatureNetwork:
    """Makes a feature network from a function: uint8 [B, H, W, C] in 0..255 -> features [B, d].

    Args:
      function: called with NumPy arrays, one batch (or this process's share of it) at a time.
      name: used in the names of metrics and results, such as 'vgg16_pool5'; nothing checks that it
        is honest.
      run: provides the shape of the images.
    """

    def extract(images: np.ndarray) -> dict[str, np.ndarray]:
        return run.parallel.to_host({"features": np.asarray(function(images), np.float32)})

    return FeatureNetwork(name, {"name": name}, extract)


def write_features(run: Run, network: FeatureNetwork, dataset: data.Dataset, folder: Path) -> None:
    """Writes features.npy and, if there are any, logits.npy: float32 [N, d], in bounded memory.

    Args:
      run: sets the number of images at once, `evaluate.batch_size` on all devices.
      network: the feature network.
      dataset: the images, which are spread over 0..255 here.
      folder: the folder to write to.
    """
    batches = data.evaluation_batches(
        dataset,
        batch_size=run.config.evaluate.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    count, start, levels = dataset.lengths[""], 0, dataset.levels
    assert levels is not None  # images have levels
    with progress("features", count, " images") as bar:
        for batch in itertools.islice(batches, -(-count // run.config.evaluate.batch_size)):
            outputs = network.extract(spread(batch["image"], levels))
            for name, array in outputs.items():
                rows = array[: count - start]  # the last batch is padded at its end
                append_rows(folder / f"{name}.npy", np.asarray(rows, np.float32), count)
            start += len(outputs["features"])
            bar.update(min(start, count) - bar.n)


def read_features(folder: Path) -> dict[str, np.ndarray]:
    """Memory-maps what `write_features` wrote: `features`, and possibly `logits`."""
    names = ("features", "logits")
    files = {name: folder / f"{name}.npy" for name in names}
    return {name: np.load(file, "r") for name, file in files.items() if file.exists()}


def hash_of_variables(variables: Any) -> str:
    """The first 16 hex digits of the SHA-256 of the names and values of a tree of arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(jax.device_get(variables))[0]:
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _on_devices(run: Run, function: Callable[..., dict], variables: Any) -> Callable:
    """Compiles `function(variables, images)` for a run's devices; places the variables once."""
    mapped = run.parallel.per_example(lambda variables, batch, _: function(variables, **batch))
    placed = jax.device_put(variables, run.parallel.replicated)
    return lambda images: mapped(placed, {"images": images}, run.keys["evaluate"])


def _inception(run: Run, path: str | None, resize_method: str) -> FeatureNetwork:
    shape = run.train_data.image_shape
    if shape is not None and shape[-1] not in (1, 3):
        raise ValueError(f"inception judges grey or RGB images; these have {shape[-1]} channels")
    weights = load_inception_weights(path)

    def apply(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
        if images.shape[-1] == 1:
            images = jnp.repeat(images, 3, axis=-1)
        outputs = InceptionV3().apply(variables, resize(images, resize_method))
        return cast(InceptionOutputs, outputs)._asdict()

    identity = {"name": "inception", "sha256": weights.sha256, "resize": resize_method}
    suffix = "" if weights.is_canonical else "unpublished_inception"
    return FeatureNetwork(suffix, identity, _on_devices(run, apply, weights.variables))


def _classifier(run: Run, workdir: str) -> FeatureNetwork:
    folder = workdirs.absolute(workdir)
    if not (folder / "config.json").exists():
        raise FileNotFoundError(
            f"no classifier in {folder} (there is no config.json): train one with "
            "--config=configs/classifier.py --workdir=WORKDIR"
        )
    trained = open_trained(folder)
    config, method = trained.config, trained.method
    if config.method != "classifier":
        raise ValueError(f"{folder} holds a run of the method '{config.method}', not a classifier")
    shape, levels = method.image_shape, method.levels
    if shape != run.train_data.image_shape:
        raise ValueError(
            f"the classifier of {folder} judges images of shape {shape}, but these have "
            f"{run.train_data.image_shape}; train one on them, with the same data.resize"
        )
    variables, step = trained.restore("best")

    def apply(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
        # Convert back to the levels of its training: exact for images spread from these.
        images = distributions.quantize(distributions.scale_to_unit(images, 256), levels)
        return method.features(variables, images)._asdict()

    variables = jax.device_get(variables)
    identity = {
        "name": f"classifier:{folder.name}",
        "source": config.data.source,
        "step": step,
        "sha256": hash_of_variables(variables),
    }
    extract = _on_devices(run, apply, variables)
    return FeatureNetwork("c", identity, extract, trained.train_data.classes)


def _pixels(run: Run) -> FeatureNetwork:
    shape = run.train_data.image_shape
    assert shape is not None  # feature networks judge only images
    size = int(np.prod(shape))
    if size > _MOST_PIXELS:
        raise ValueError(
            f"images of {shape} have {size} pixel features, more than "
            f"{_MOST_PIXELS}: choose inception or a classifier"
        )

    def extract(images: np.ndarray) -> dict[str, np.ndarray]:
        features = images.reshape(len(images), -1).astype(np.float32) / 255
        return run.parallel.to_host({"features": features})

    return FeatureNetwork("pixels", {"name": "pixels", "scale": "0..1"}, extract)


def _exported(run: Run, path: str) -> FeatureNetwork:
    function, identity = read_exported(path, run.train_data.image_shape)

    def extract(images: np.ndarray) -> dict[str, np.ndarray]:
        return run.parallel.to_host(function(images))

    return FeatureNetwork(identity["name"].partition(":")[2], identity, extract)
