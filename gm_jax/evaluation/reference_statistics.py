"""Statistics of a reference's features in one file, to judge by them without its images."""

import json
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from gm_jax.borders import reading
from gm_jax.training.workdir import write_npz


class Statistics(NamedTuple):
    """Mean [d] and covariance [d, d] of features, float64, and what they are of.

    Attributes:
      num_images: their number.
      features: the identity of the feature network, `FeatureNetwork.identity`.
      data: the identity of the images: source, split, number, hash.
    """

    mean: np.ndarray
    covariance: np.ndarray
    num_images: int
    features: dict[str, Any]
    data: dict[str, Any]


def write_statistics(path: epath.PathLike, statistics: Statistics) -> None:
    """Writes an npz of `mu` and `sigma` (as other libraries name them), `n`, `features`, `data`."""
    arrays = {
        "mu": statistics.mean,
        "sigma": statistics.covariance,
        "n": statistics.num_images,
        "features": json.dumps(statistics.features),
        "data": json.dumps(statistics.data),
    }
    write_npz(epath.Path(path), arrays)


def read_statistics(path: epath.PathLike) -> Statistics:
    """Reads what `write_statistics` wrote.

    Raises:
      ValueError: the file is damaged, or does not say what its statistics are of, as those of other
        libraries do not.
    """
    path = epath.Path(path)
    way_out = "write it anew with --reference_statistics, from the images"
    with reading(f"{path}", way_out), path.open("rb") as file, np.load(file) as stored:
        missing = {"mu", "sigma", "n", "features", "data"} - set(stored.files)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        mean, covariance, num_images = stored["mu"], stored["sigma"], int(stored["n"])
        if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
            raise ValueError(f"mu is {mean.shape}, sigma {covariance.shape}")
        of = [dict(json.loads(str(stored[name]))) for name in ("features", "data")]
    return Statistics(mean, covariance, num_images, *of)


def check_features(statistics: Statistics, features: dict[str, Any], path: epath.PathLike) -> None:
    """Refuses statistics of a file that are of other features than these, with a ValueError."""
    if statistics.features != json.loads(json.dumps(features)):  # tuples are lists in the file
        raise ValueError(
            f"{path} is of the features {json.dumps(statistics.features)}, not of "
            f"{json.dumps(features)}: take the same --features, weights and --resize, or another "
            "file"
        )


def check_images(statistics: Statistics, data: dict[str, Any], path: epath.PathLike) -> None:
    """Refuses statistics of a file that are of other images than these, with a ValueError."""
    if statistics.data["sha256"] != data["sha256"]:  # one may name the source differently
        raise ValueError(
            f"{path} is of other images ({json.dumps(statistics.data)}) than the reference "
            f"({json.dumps(data)}): judge by one of them at a time"
        )
