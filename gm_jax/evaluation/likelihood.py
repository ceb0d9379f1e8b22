"""Held-out likelihood: nats of every image of a split, and bits/dim."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax import data
from gm_jax.data.fields import DataSpec
from gm_jax.evaluation.batches import over_images
from gm_jax.methods.method import Method
from gm_jax.nn.noise import Noise, keyed
from gm_jax.training.run import Run

Array = jax.Array
Terms = dict[str, np.ndarray]


def judge_likelihood(
    run: Run, variables: dict[str, Any], dataset: data.Dataset, num_samples: int | None = None
) -> tuple[Terms, dict[str, float]]:
    """Scores a split with one draw per image or, if given, with the `num_samples`-draw bound.

    Returns:
      {term: float64 [N]} in nats, and its summary by `summarize`.
    """
    if num_samples is None:
        terms = evaluate_likelihood(run, variables, dataset)
    else:
        terms = importance_weighted_likelihood(run, variables, dataset, num_samples)
    return terms, summarize(terms, dataset.fields)


def evaluate_likelihood(run: Run, variables: dict[str, Any], dataset: data.Dataset) -> Terms:
    """Scores every image of a data set once, on all devices.

    An image's position in the split keys its noise, so batch size and devices change nothing. The
    noise is that of draw 0 of `importance_weighted_likelihood`.

    Args:
      run: a run whose method has `log_likelihood`.
      variables: from `state.evaluation_variables`.
      dataset: the images.

    Returns:
      {term: float64 [N]} in nats: `log_likelihood`, and the parts that the method names.
    """
    return score_images(run, "log_likelihood", run.method.log_likelihood, variables, dataset)


def score_images(
    run: Run,
    name: str,
    score: Callable[..., dict[str, Array]],
    variables: dict[str, Any],
    dataset: data.Dataset,
) -> Terms:
    """Calls score(variables, batch, noise) -> {term: [B]} on every image; returns float64 [N].

    The program is compiled once per run and name.
    """
    program, key = run.program(name, keyed(score)), draw_key(run.keys["evaluate"], 0)
    return _score(run, dataset, functools.partial(program, variables, key=key))


def draw_key(key: Array, draw: int | Array) -> Array:
    """The key of draw 0, 1, … of a bound, which does not depend on the number of draws."""
    return jax.random.fold_in(key, draw)


def importance_weighted_likelihood(
    run: Run, variables: dict[str, Any], dataset: data.Dataset, num_samples: int
) -> Terms:
    """The k-sample bound on every image: ln (1/k) Σ_k p(x, z_k) / q(z_k | x), z_k ~ q.

    Burda et al. (2016), eq. 8. Draw j of an image has the key `draw_key(run.keys["evaluate"], j)`,
    into which the method folds the image's position in the split. So the first 150 of 1,000 draws
    are those of k = 150, and k = 1 gives `evaluate_likelihood`.

    Args:
      run: a run whose method's `log_likelihood` is a one-sample bound.
      variables: from `state.evaluation_variables`.
      dataset: the images.
      num_samples: k, at least 1; memory does not depend on it.

    Returns:
      {term: float64 [N]} in nats: `log_likelihood`, the bound, and `one_sample`, the mean of the
      one-sample bound over the same k draws, which is never above it.

    Raises:
      ValueError: k < 1, or there is no bound to tighten.
    """
    check_num_samples(run.method, num_samples)
    program = run.program(
        "importance weights",
        functools.partial(stream_importance_weights, run.method.log_likelihood),
    )
    draws = (run.keys["evaluate"], np.int32(num_samples))
    sums = _score(run, dataset, functools.partial(program, variables, key=draws))
    # The sum is in float64: float32 would round the bound of a large image to 0.0005 nats.
    return {
        "log_likelihood": sums["largest"] + sums["log_mean"],
        "one_sample": sums["anchor"] + sums["mean_above_anchor"],
    }


def check_num_samples(method: Method, num_samples: int) -> None:
    """Raises a ValueError for meaningless numbers of importance samples."""
    if num_samples < 1:
        raise ValueError(
            f"num_importance_samples is {num_samples}: the bound is a mean over 1 or more draws"
        )
    if method.likelihood is None:
        raise ValueError(f"num_importance_samples is {num_samples}: this method has no likelihood")
    if num_samples > 1 and method.likelihood == "exact":
        raise ValueError("the likelihood of this method is exact: there is no bound to tighten")
    if num_samples > 1 and method.likelihood == "estimate":
        raise ValueError(
            "the likelihood of this method is an estimate in the logarithm: the mean of its "
            "exponentials is too high and bounds nothing; give 1"
        )


def kind_of_likelihood(method: Method, num_samples: int = 1) -> str:
    """The kind of a method's bits/dim: "exact", "estimate", or "lower bound, one sample" (or k).

    It is in brackets, like the printed numbers, if the density was added to a model without one.
    """
    if method.likelihood in ("exact", "estimate"):
        return method.likelihood
    kind = f"lower bound, {'one sample' if num_samples == 1 else f'{num_samples} samples'}"
    return f"[{kind}]" if method.likelihood == "bracketed" else kind


def stream_importance_weights(
    log_likelihood: Callable[..., dict[str, Array]],
    variables: dict[str, Any],
    batch: dict[str, Array],
    draws: tuple[Array, Array],
) -> dict[str, Array]:
    """Sums k importance weights w_j of every image, one draw of the whole batch at a time.

    The sum is kept relative to the largest weight so far. The program takes k as an argument, so it
    is compiled once for all k and needs the memory of one draw.

    Args:
      log_likelihood: (variables, batch, noise) -> `log_likelihood` [B], ln w of one draw.
      variables: from `state.evaluation_variables`.
      batch: images and their `index`.
      draws: the key for `draw_key`, and k, int32.

    Returns:
      {name: float32 [B]} in nats: `largest`, max_j ln w_j; `log_mean`, ln (1/k) Σ_j w_j − largest;
      `anchor`, ln w_0 (0 if w_0 is 0); and `mean_above_anchor`, the mean of ln w_j − anchor, −∞ if
      any weight is 0.
    """
    key, num_samples = draws

    def add(draw: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        largest, relative_sum, anchor, above_anchor = sums
        noise = Noise(draw_key(key, draw), batch["index"])
        log_weight = log_likelihood(variables, batch, noise)["log_likelihood"]
        # A first weight of zero would give −∞ − (−∞), which is not a number.
        first = jnp.where(log_weight == -jnp.inf, 0.0, log_weight)
        anchor = jnp.where(draw == 0, first, anchor)
        new = jnp.maximum(largest, log_weight)
        relative_sum = relative_sum * jnp.exp(largest - new) + jnp.exp(log_weight - new)
        return new, relative_sum, anchor, above_anchor + (log_weight - anchor)

    # The smallest finite number instead of −∞, for the same reason.
    zeros = jnp.zeros(len(batch["index"]), jnp.float32)
    start = (zeros + jnp.finfo(jnp.float32).min, zeros, zeros, zeros)
    largest, relative_sum, anchor, above_anchor = jax.lax.fori_loop(0, num_samples, add, start)
    count = num_samples.astype(jnp.float32)
    return {
        "largest": largest,
        "log_mean": jnp.log(relative_sum / count),
        "anchor": anchor,
        "mean_above_anchor": above_anchor / count,
    }


def _score(
    run: Run, dataset: data.Dataset, score: Callable[[dict[str, np.ndarray]], Terms]
) -> Terms:
    terms = over_images(dataset, score, run.config.evaluate.batch_size, "likelihood")
    return {name: term.astype(np.float64) for name, term in terms.items()}


def summarize(terms: dict[str, np.ndarray], spec: DataSpec) -> dict[str, float]:
    """The mean cost of a split's examples, in total and for each part.

    Args:
      terms: from `evaluate_likelihood`, in nats. `kl` is a cost, the others are log-probabilities.
      spec: fields of the data; images are reported in bits/dim, other data in nats per example.

    Returns:
      `bits_per_dim` (or `nats`), its `standard_error`, and every part in the same unit, as a cost
      (the parts that make up a bound sum to it).
    """
    unit = math.prod(spec["image"].shape) * math.log(2) if "image" in spec else 1.0

    def cost(name: str) -> np.ndarray:
        return (terms[name] if name == "kl" else -terms[name]) / unit

    total = cost("log_likelihood")
    error = 0.0
    if not np.isfinite(total).all():  # ∞ − ∞ is not a number
        error = math.inf
    elif len(total) > 1:
        error = float(total.std(ddof=1) / np.sqrt(len(total)))
    parts = {name: float(cost(name).mean()) for name in terms if name != "log_likelihood"}
    return {unit_of(spec): float(total.mean()), "standard_error": error, **parts}


def unit_of(spec: DataSpec) -> str:
    """The unit of reported likelihoods: `bits_per_dim` for images, `nats` for other data."""
    return "bits_per_dim" if "image" in spec else "nats"
