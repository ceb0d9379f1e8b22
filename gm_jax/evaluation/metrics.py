"""The metrics of the battery, each a function of a context, in one table."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gm_jax.evaluation.context import Context, spread_images, subset
from gm_jax.evaluation.extrapolation import extrapolated_frechet_distance
from gm_jax.evaluation.feature_batches import rows_in_batches
from gm_jax.evaluation.frechet_distance import feature_statistics, frechet_distance
from gm_jax.evaluation.inception_score import inception_score
from gm_jax.evaluation.kernel_distance import kernel_distance
from gm_jax.evaluation.latents import encode
from gm_jax.evaluation.likelihood import judge_likelihood, kind_of_likelihood
from gm_jax.evaluation.manifolds import density_coverage, manifold_precision_recall
from gm_jax.evaluation.ms_ssim import sample_diversity
from gm_jax.evaluation.precision_recall import (
    area_under_curve,
    f_beta,
    precision_recall_distribution,
)

_NUM_PAIRS = 5000  # of MS-SSIM: a standard error of about 0.002
_KID_SUBSET = 1000  # rows of a subset, or all if there are fewer


class Outcome(NamedTuple):
    """values: {name: number}, of which the first has the metric's own name; arrays: {name: array},
    saved in an npz; warning: what a reader of the numbers must know."""

    values: dict[str, Any]
    arrays: dict[str, np.ndarray] | None = None
    warning: str | None = None


class Metric(NamedTuple):
    """compute: maps a context to an Outcome; identified_by: the parts of `Context.identity` that it
    depends on; by_name: why `--metrics=auto` omits it, or "" if it does not."""

    compute: Callable[[Context], Outcome]
    identified_by: tuple[str, ...]
    by_name: str = ""


def _bits_per_dim(context: Context) -> Outcome:
    return _likelihood("bpd", context)


def _importance_weighted_bits(context: Context) -> Outcome:
    if context.run.method.likelihood == "exact":
        raise ValueError("the likelihood of this method is exact: there is no bound to tighten")
    return _likelihood("iwae", context, context.request.num_importance_samples)


def _likelihood(name: str, context: Context, num_samples: int | None = None) -> Outcome:
    run = context.run
    if run.method.likelihood is None:
        raise ValueError(f"the method '{run.config.method}' has no likelihood")
    terms, scores = judge_likelihood(run, context.model[0], context.test, num_samples)
    kind = kind_of_likelihood(run.method, num_samples or 1)
    return Outcome({name: scores.pop("bits_per_dim"), **scores, "likelihood": kind}, terms)


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
    reference_mean, reference_covariance, num_reference = context.reference_statistics
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
    mean, covariance, num_reference = context.reference_statistics
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


def _diversity(context: Context) -> Outcome:
    def diversity(images: np.ndarray) -> tuple[float, int]:
        pairs = min(_NUM_PAIRS, len(images) * (len(images) - 1) // 2)
        return sample_diversity(images, pairs, context.request.seed), pairs

    value, pairs = diversity(context.sample_images)
    real, _ = diversity(spread_images(context.reference))
    return Outcome({"diversity": value, "reference": real, "num_pairs": pairs})


def _perplexity(context: Context) -> Outcome:
    run = context.run
    if not run.method.num_codes:
        raise ValueError(f"the latents of the method '{run.config.method}' are no codes")
    codes = encode(run, context.model[0], context.test)
    usage = np.bincount(np.ravel(codes), minlength=run.method.num_codes)
    share = usage[usage > 0] / usage.sum()
    values = {
        "perplexity": float(np.exp(-np.sum(share * np.log(share)))),  # at most the next but one
        "num_used": len(share),
        "num_codes": run.method.num_codes,
    }
    return Outcome(values, {"usage": usage})


def _critic(context: Context) -> Outcome:
    # Imported here, because only metrics that train networks need it.
    from gm_jax.evaluation.wasserstein_critic import independent_wasserstein_critic

    steps = context.request.training_steps
    extra: dict[str, Any] = {}
    if steps is not None:
        extra = {"num_steps": steps, "num_points": min(20, steps)}
    result = independent_wasserstein_critic(
        context.sample_images,
        spread_images(context.validation),
        spread_images(context.reference),
        seed=context.request.seed,
        **extra,
    )
    curves = {name: getattr(result, name) for name in result._fields[1:]}
    return Outcome({"critic": result.negative_distance, "steps": int(result.steps[-1])}, curves)


def _train_test(context: Context) -> Outcome:
    from gm_jax.evaluation.train_test_classifier import gan_train_test

    train, test, samples = context.train, context.reference, context.samples
    for what, dataset in (("samples", samples), ("training", train), ("reference", test)):
        if dataset.labels is None:
            raise ValueError(f"the {what} images have no labels, which these accuracies need")
    classes = train.classes
    assert train.labels is not None and classes is not None  # a source's classes have names
    steps = context.request.training_steps
    result = gan_train_test(
        context.sample_images,
        samples.labels_among(classes),
        spread_images(train),
        train.labels,
        spread_images(test),
        test.labels_among(classes),
        len(classes),
        seed=context.request.seed,
        **({} if steps is None else {"num_steps": steps}),
    )
    return Outcome({"gan_train_test": result.gan_train, **result._asdict()})


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
_TRAINED = ("reference", "training_steps", "seed")
_TRAINS = "it trains a network"
METRICS = {
    "bpd": Metric(_bits_per_dim, ("model", "test"), "test.json holds it"),
    "iwae": Metric(
        _importance_weighted_bits,
        ("model", "test", "num_importance_samples"),
        "it takes a pass over the test split for each of its draws",
    ),
    "is": Metric(_inception_score, _FEATURES),
    "fid": Metric(_frechet_distance, _FEATURES),
    "fid_infinity": Metric(
        _extrapolated_frechet_distance, _FEATURES, "it takes fifteen Fréchet distances"
    ),
    "kid": Metric(_kernel_distance, _FEATURES),
    "prd": Metric(_precision_recall, _FEATURES),
    "precision": Metric(_manifold_precision_recall, _FEATURES),
    "density": Metric(_density_coverage, _FEATURES),
    "diversity": Metric(_diversity, ("samples", "reference", "seed")),
    "perplexity": Metric(_perplexity, ("model", "test")),
    "critic": Metric(_critic, ("samples", "validation", *_TRAINED), _TRAINS),
    "gan_train_test": Metric(_train_test, ("samples", "train", *_TRAINED), _TRAINS),
}
