"""The metrics of the battery, each a function of a context, in one table."""

from typing import Any

import numpy as np

from gm_jax.evaluation.context import Context
from gm_jax.evaluation.feature_metrics import FEATURE_METRICS
from gm_jax.evaluation.image_sets import spread_images
from gm_jax.evaluation.latents import encode
from gm_jax.evaluation.likelihood import judge_likelihood, kind_of_likelihood
from gm_jax.evaluation.ms_ssim import sample_diversity
from gm_jax.evaluation.outcome import Metric, Outcome

_NUM_PAIRS = 5000  # of MS-SSIM: a standard error of about 0.002


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


_TRAINED = ("reference", "training_steps", "seed")
_TRAINS = "it trains a network"
METRICS = {
    "bpd": Metric(_bits_per_dim, ("model", "test"), "test.json holds it"),
    "iwae": Metric(
        _importance_weighted_bits,
        ("model", "test", "num_importance_samples"),
        "it takes a pass over the test split for each of its draws",
    ),
    **FEATURE_METRICS,
    "diversity": Metric(_diversity, ("samples", "reference", "seed")),
    "perplexity": Metric(_perplexity, ("model", "test")),
    "critic": Metric(_critic, ("samples", "validation", *_TRAINED), _TRAINS),
    "gan_train_test": Metric(_train_test, ("samples", "train", *_TRAINED), _TRAINS),
}
