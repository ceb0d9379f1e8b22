"""The battery on runs: a chosen list of metrics, each by itself, written down as it comes."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from gm_jax.command_line import closest
from gm_jax.evaluation.context import Context, spread_images, subset
from gm_jax.evaluation.feature_batches import rows_in_batches
from gm_jax.evaluation.frechet_distance import feature_statistics, frechet_distance
from gm_jax.evaluation.inception_score import inception_score
from gm_jax.evaluation.likelihood import judge_likelihood, kind_of_likelihood
from gm_jax.evaluation.ms_ssim import sample_diversity
from gm_jax.evaluation.precision_recall import (
    area_under_curve,
    f_beta,
    precision_recall_distribution,
)
from gm_jax.evaluation.records import Records
from gm_jax.evaluation.request import Request
from gm_jax.training.run import Run

_NUM_PAIRS = 5000  # of MS-SSIM: a standard error of about 0.002
# What a metric may fail by without taking the others along: bad input, missing files, no memory.
_REASONS = (ValueError, OSError, ImportError, jax.errors.JaxRuntimeError)


class Outcome(NamedTuple):
    """values: {name: number}, the first one carries the metric's own name; arrays: {name: array},
    kept in an npz; warning: what a reader of the numbers must know."""

    values: dict[str, Any]
    arrays: dict[str, np.ndarray] | None = None
    warning: str | None = None


class Metric(NamedTuple):
    """compute: of a context; identified_by: the parts of `Context.identity` it depends on."""

    compute: Callable[[Context], Outcome]
    identified_by: tuple[str, ...]


def evaluate(run: Run, request: Request) -> dict[str, str]:
    """Computes the metrics of a request, skipping those written down before.

    JSON goes to stdout and `<workdir>/evaluation.json`, progress to stderr. A metric that cannot
    be computed says why, and the next one follows.

    Args:
      run: of `open_run`.
      request: what is asked for.

    Returns:
      {metric: reason} of those that are missing.

    Raises:
      ValueError: an unknown metric or number: nothing was computed.
    """
    check(request)
    if "image" not in run.train_data.fields:
        raise ValueError(
            f"--metrics={','.join(request.metrics)}: they judge images, and {run.train_data.name} "
            f"has {', '.join(run.train_data.fields)}; --mode=evaluate without --metrics scores it"
        )
    first = jax.process_index() == 0
    records = Records(run.workdir, writes=first)
    results, missing = [], {}
    with Context(run, request) as context:
        for name in request.metrics:
            try:
                results.append(_compute(name, context, records))
            except _REASONS as error:
                logging.debug("%s", name, exc_info=True)  # --verbosity=1 shows where
                missing[name] = f"{error}" or type(error).__name__
                _say(f"{name}: missing: {missing[name]}")
    if first:
        print(json.dumps({"results": results, "missing": missing}, indent=1), flush=True)
    return missing


def check(request: Request) -> None:
    """Refuses an unknown metric and numbers out of range with a ValueError."""
    for name in request.metrics:
        if name not in METRICS:
            near = closest(name, METRICS)
            hint = f"did you mean {near[0]}?" if near else f"choose among {', '.join(METRICS)}"
            raise ValueError(f"unknown metric '{name}'; {hint}")
    if not request.metrics:
        raise ValueError(f"--metrics names no metric; choose among {', '.join(METRICS)}")
    if request.resize not in ("tf1", "clean"):
        raise ValueError(f"--resize={request.resize}: choose tf1 (papers) or clean (antialiased)")
    for name, least in (("num_samples", 2), ("num_importance_samples", 1), ("training_steps", 1)):
        value = getattr(request, name)
        if value is not None and value < least:
            raise ValueError(f"--{name}={value}: give {least} or more")


def _compute(name: str, context: Context, records: Records) -> dict[str, Any]:
    metric = METRICS[name]
    # Named after the feature network, if it has one, before anything is computed.
    depends = "features" in metric.identified_by
    reported = context.network.metric_name(name) if depends else name
    identity = {part: context.identity(part) for part in metric.identified_by}
    found = records.find(reported, identity)
    # In a run of several processes the first one's file decides.
    if context.run.parallel.to_host(np.array([found is not None]))[0]:
        _say(f"{reported}: already in {context.run.workdir / 'evaluation.json'}")
        return found or {}
    start = time.perf_counter()
    outcome = metric.compute(context)
    result = {"metric": reported, "identity": identity, "values": outcome.values}
    if outcome.warning:
        result["warning"] = outcome.warning
    seconds = time.perf_counter() - start
    result = records.add({**result, "seconds": round(seconds, 1)}, outcome.arrays)
    numbers = {key: value for key, value in outcome.values.items() if isinstance(value, float)}
    text = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())
    _say(f"{reported}: {text} ({seconds:.0f} s)")
    if outcome.warning:
        _say(f"{reported}: warning: {outcome.warning}")
    return result


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(text, file=sys.stderr, flush=True)


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


def _precision_recall(context: Context) -> Outcome:
    sets = [context.sample_features["features"], context.reference_features["features"]]
    count, seed = min(map(len, sets)), context.request.seed
    # The curve is biased unless both sets are equally large.
    samples, reference = (rows_in_batches(each, subset(len(each), count, seed)) for each in sets)
    precision, recall = precision_recall_distribution(samples, reference, seed=seed)
    values = {
        context.network.metric_name("prd"): area_under_curve(precision, recall),
        "f_8": f_beta(precision, recall, 8),
        "f_1/8": f_beta(precision, recall, 1 / 8),
        "num_images": count,
    }
    return Outcome(values, {"precision": precision, "recall": recall})


def _diversity(context: Context) -> Outcome:
    def diversity(images: np.ndarray) -> tuple[float, int]:
        pairs = min(_NUM_PAIRS, len(images) * (len(images) - 1) // 2)
        return sample_diversity(images, pairs, context.request.seed), pairs

    value, pairs = diversity(context.sample_images)
    real, _ = diversity(spread_images(context.reference))
    return Outcome({"diversity": value, "reference": real, "num_pairs": pairs})


def _critic(context: Context) -> Outcome:
    # Networks are imported by those who train them.
    from gm_jax.evaluation.wasserstein_critic import independent_wasserstein_critic

    steps, extra = context.request.training_steps, {}
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
            raise ValueError(f"the {what} images have no labels, which these accuracies are about")
    classes = train.classes
    assert train.labels is not None and classes is not None  # those of a source have names
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


_FEATURES = ("samples", "features", "reference", "seed")
_TRAINED = ("reference", "training_steps", "seed")
METRICS = {
    "bpd": Metric(_bits_per_dim, ("model", "test")),
    "iwae": Metric(_importance_weighted_bits, ("model", "test", "num_importance_samples")),
    "is": Metric(_inception_score, _FEATURES),
    "fid": Metric(_frechet_distance, _FEATURES),
    "prd": Metric(_precision_recall, _FEATURES),
    "diversity": Metric(_diversity, ("samples", "reference", "seed")),
    "critic": Metric(_critic, ("samples", "validation", *_TRAINED)),
    "gan_train_test": Metric(_train_test, ("samples", "train", *_TRAINED)),
}
