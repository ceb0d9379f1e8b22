"""The metrics of the battery that compare features of samples with features of real images."""

import numpy as np

from gm_jax.evaluation.context import Context
from gm_jax.evaluation.extrapolation import extrapolated_frechet_distance
from gm_jax.evaluation.feature_batches import rows_in_batches
from gm_jax.evaluation.frechet_distance import feature_statistics, frechet_distance
from gm_jax.evaluation.image_sets import subset
from gm_jax.evaluation.inception_score import inception_score
from gm_jax.evaluation.kernel_distance import kernel_distance
from gm_jax.evaluation.manifolds import density_coverage, manifold_precision_recall
from gm_jax.evaluation.outcome import Metric, Outcome
from gm_jax.evaluation.precision_recall import (
    area_under_curve,
    f_beta,
    precision_recall_distribution,
)
from gm_jax.evaluation.training_neighbours import training_neighbours

_KID_SUBSET = 1000  # rows of a subset, or all if there are fewer


def _inception_score(context: Context) -> Outcome:
    name, seed = context.network.metric_name("is"), context.request.seed
    features = context.sample_features
    if "logits" not in features:
        raise ValueError(
            f"features '{context.network.identity['name']}' classify nothing: the score needs "
            "inception or a classifier"
        )
    mean, std = inception_score(features["logits"], seed=seed)
    real, _ = inception_score(context.reference_features["logits"], seed=seed)
    return Outcome({name: mean, "std": std, "reference": real})


def _frechet_distance(context: Context) -> Outcome:
    features = context.sample_features["features"]
    reference_mean, reference_covariance, num_reference, *_ = context.reference_statistics
    distance = frechet_distance(*feature_statistics(features), reference_mean, reference_covariance)
    count, size = features.shape
    values = {
        context.network.metric_name("fid"): distance,
        "num_samples": count,
        "num_reference": num_reference,
        "num_features": size,
    }
    smallest = min(count, num_reference)
    warning = None
    if smallest <= size:
        warning = (
            f"n = {smallest} images (of {count} samples, {num_reference} reference images) for "
            f"{size} features: biased upwards; compare at equal n only, or take n > {size}"
        )
    return Outcome(values, warning=warning)


def _extrapolated_frechet_distance(context: Context) -> Outcome:
    features = context.sample_features["features"]
    mean, covariance, num_reference, *_ = context.reference_statistics
    seed = context.request.seed
    found = extrapolated_frechet_distance(features, mean, covariance, seed=seed)
    smallest, size = int(found.counts[0]), features.shape[1]
    values = {
        context.network.metric_name("fid_infinity"): found.distance,
        "slope": found.slope,
        "num_smallest": smallest,
        "num_samples": len(features),
        "num_reference": num_reference,
    }
    warning = None
    if smallest <= size:
        warning = (
            f"the smallest of the {len(found.counts)} subsets has {smallest} samples for {size} "
            f"features, where the bias is no line in 1/n: take {10 * (size + 1)} samples"
        )
    arrays = {"counts": found.counts, "distances": found.distances}
    return Outcome(values, arrays, warning)


def _kernel_distance(context: Context) -> Outcome:
    samples, reference = _features(context)
    size = min(_KID_SUBSET, len(samples), len(reference))
    distance, std = kernel_distance(samples, reference, subset_size=size, seed=context.request.seed)
    values = {
        context.network.metric_name("kid"): distance,
        "std": std,
        "subset_size": size,
        "num_samples": len(samples),
        "num_reference": len(reference),
    }
    return Outcome(values)


def _precision_recall(context: Context) -> Outcome:
    chosen, count = _equally_many(context)
    samples, reference = (rows_in_batches(*each) for each in chosen)
    seed = context.request.seed
    precision, recall = precision_recall_distribution(samples, reference, seed=seed)
    values = {
        context.network.metric_name("prd"): area_under_curve(precision, recall),
        "f_8": f_beta(precision, recall, 8),
        "f_1/8": f_beta(precision, recall, 1 / 8),
        "num_images": count,
    }
    return Outcome(values, {"precision": precision, "recall": recall})


def _manifold_precision_recall(context: Context) -> Outcome:
    chosen, count = _equally_many(context)
    precision, recall = manifold_precision_recall(*(features[rows] for features, rows in chosen))
    name = context.network.metric_name("precision")
    return Outcome({name: precision, "recall": recall, "num_images": count})


def _density_coverage(context: Context) -> Outcome:
    chosen, count = _equally_many(context)
    density, coverage = density_coverage(*(features[rows] for features, rows in chosen))
    name = context.network.metric_name("density")
    return Outcome({name: density, "coverage": coverage, "num_images": count})


def _features(context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Features of the samples [n, d] and of the reference [N, d]."""
    return context.sample_features["features"], context.reference_features["features"]


def _equally_many(context: Context) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """(features, rows to take) of samples and reference, and the number of rows.

    Precision and recall of any kind are biased unless both sets are equally large.
    """
    sets = _features(context)
    count = min(map(len, sets))
    return [(each, subset(len(each), count, context.request.seed)) for each in sets], count


_FEATURES = ("samples", "features", "reference", "seed")
_COMPARES = "it compares every image with every other"
FEATURE_METRICS = {
    "is": Metric(_inception_score, _FEATURES),
    "fid": Metric(_frechet_distance, _FEATURES),
    "fid_infinity": Metric(
        _extrapolated_frechet_distance, _FEATURES, "it takes fifteen Fréchet distances"
    ),
    "kid": Metric(_kernel_distance, _FEATURES),
    "prd": Metric(_precision_recall, _FEATURES),
    "precision": Metric(_manifold_precision_recall, _FEATURES, _COMPARES),
    "density": Metric(_density_coverage, _FEATURES, _COMPARES),
    "neighbours": Metric(
        training_neighbours, (*_FEATURES, "train"), "it takes the features of all training images"
    ),
}
