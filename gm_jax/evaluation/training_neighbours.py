"""The metric that looks for samples among the training images, and draws what it finds."""

from typing import NamedTuple

import numpy as np

from gm_jax import data
from gm_jax.evaluation.context import Context
from gm_jax.evaluation.image_sets import spread_images, subset
from gm_jax.evaluation.memorisation import Band, closeness, columns_of, picture_of_neighbours
from gm_jax.evaluation.nearest_neighbours import Nearest, nearest
from gm_jax.evaluation.outcome import Outcome

_MOST_JUDGED = 1000  # samples, and held-out images: a standard error of `nearer` of about .013
_CHUNK_ROWS = 4096  # training images whose pixels are in memory at once


class _Judged(NamedTuple):
    """Images, uint8 [n, H, W, C] in 0..255, and their nearest training images in two ways."""

    images: np.ndarray
    features: Nearest
    pixels: Nearest


def training_neighbours(context: Context) -> Outcome:
    """Distances to the nearest training image, of samples and of held-out images (the reference).

    Distances are Euclidean in features, and root mean squares of a pixel's difference in 0..255.
    The picture shows the first samples judged, the samples that are nearest in features, and the
    held-out images that are.
    """
    train, features = context.train, context.train_features["features"]
    samples = _judge(context, context.samples, context.sample_features["features"], features)
    held_out = _judge(context, context.reference, context.reference_features["features"], features)
    by_features = closeness(samples.features.distances, held_out.features.distances)
    by_pixels = closeness(samples.pixels.distances, held_out.pixels.distances)
    values = {context.network.metric_name("neighbours"): by_features.nearer}
    for kind, found in (("features", by_features), ("pixels", by_pixels)):
        values |= {f"{name}_in_{kind}": number for name, number in found._asdict().items()}
    values |= {"num_samples": len(samples.images), "num_held_out": len(held_out.images)}
    values["num_train"] = len(train)
    arrays = {
        f"{what}_{name}_in_{kind}": numbers
        for what, judged in (("samples", samples), ("held_out", held_out))
        for kind, found in (("features", judged.features), ("pixels", judged.pixels))
        for name, numbers in found._asdict().items()
    }
    columns = columns_of(samples.images.shape[2])
    bands = {
        "samples": _band(samples, np.arange(len(samples.images))[:columns], train),
        f"the nearest of {len(samples.images)} samples": _nearest_band(samples, columns, train),
        f"the nearest of {len(held_out.images)} held-out images": _nearest_band(
            held_out, columns, train
        ),
    }
    return Outcome(values, arrays, picture=picture_of_neighbours(bands))


def nearest_images(images: np.ndarray, train: data.Dataset) -> Nearest:
    """The nearest training image by pixels of uint8 [n, H, W, C] in 0..255, a chunk at a time.

    Distances are root mean squares in 0..255.
    """
    rows, distances = np.zeros(len(images), int), np.full(len(images), np.inf)
    for start in range(0, len(train), _CHUNK_ROWS):
        chunk = spread_images(train.chosen(slice(start, start + _CHUNK_ROWS)))
        found = nearest(images, chunk)
        nearer = found.distances < distances
        rows[nearer] = found.rows[nearer] + start
        distances[nearer] = found.distances[nearer]
    return Nearest(rows, distances / np.sqrt(images[0].size))


def _judge(
    context: Context, dataset: data.Dataset, features: np.ndarray, train_features: np.ndarray
) -> _Judged:
    rows = subset(len(dataset), _MOST_JUDGED, context.request.seed)
    images = spread_images(dataset.chosen(rows))
    return _Judged(
        images, nearest(features[rows], train_features), nearest_images(images, context.train)
    )


def _nearest_band(judged: _Judged, columns: int, train: data.Dataset) -> Band:
    return _band(judged, np.argsort(judged.features.distances, kind="stable")[:columns], train)


def _band(judged: _Judged, chosen: np.ndarray, train: data.Dataset) -> Band:
    return Band(
        judged.images[chosen],
        {
            f"nearest training images in {kind}, with their distances": (
                spread_images(train.chosen(found.rows[chosen])),
                found.distances[chosen],
            )
            for kind, found in (("features", judged.features), ("pixels", judged.pixels))
        },
    )
