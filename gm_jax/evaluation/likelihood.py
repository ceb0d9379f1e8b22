"""Held-out likelihood: nats of every image of a split, and their bits/dim."""

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
    """Scores a split: by one draw an image or, where given, by the bound of `num_samples` draws.

    Returns:
      {term: float64 [N]} in nats, and what `summarize` makes of it.
    """
    if num_samples is None:
        terms = evaluate_likelihood(run, variables, dataset)
    else:
        terms = importance_weighted_likelihood(run, variables, dataset, num_samples)
    return terms, summarize(terms, dataset.fields)


def evaluate_likelihood(run: Run, variables: dict[str, Any], dataset: data.Dataset) -> Terms:
    """Scores every image of a data set once, on all devices.

    The noise of an image is keyed by its place in the split, so batch size and devices change
    nothing. It is that of draw 0 of `importance_weighted_likelihood`.

    Args:
      run: whose method has `log_likelihood`.
      variables: of `state.evaluation_variables`.
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
    """Calls score(variables, batch, noise) -> {term: [B]} on every image: float64 [N].

    The program is compiled once a run for a name.
    """
    program, key = run.program(name, keyed(score)), draw_key(run.keys["evaluate"], 0)
    return _score(run, dataset, functools.partial(program, variables, key=key))


def draw_key(key: Array, draw: int | Array) -> Array:
    """The key of draw 0, 1, … of a bound: however many follow, the first ones stay the same."""
    return jax.random.fold_in(key, draw)


def importance_weighted_likelihood(
    run: Run, variables: dict[str, Any], dataset: data.Dataset, num_samples: int
) -> Terms:
    """The k-sample bound on every image: ln (1/k) Σ_k p(x, z_k) / q(z_k | x), z_k ~ q.

    Burda et al. (2016), eq. 8. Draw j of an image has the key `draw_key(run.keys["evaluate"], j)`,
    to which the method folds in the image's place in the split. So the first 150 of 1,000 draws are
    those of k = 150, and k = 1 is `evaluate_likelihood`.

    Args:
      run: whose method has a `log_likelihood` that is a one-sample bound.
      variables: of `state.evaluation_variables`.
      dataset: the images.
      num_samples: k, at least 1; memory does not depend on it.

    Returns:
      {term: float64 [N]} in nats: `log_likelihood`, the bound, never below `one_sample`, the mean
      over the same k draws of the one-sample bound.

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
    # Added in float64: in float32 the bound of a large image would be rounded to 0.0005 nats.
    return {
        "log_likelihood": sums["largest"] + sums["log_mean"],
        "one_sample": sums["anchor"] + sums["mean_above_anchor"],
    }


def check_num_samples(method: Method, num_samples: int) -> None:
    """Refuses numbers of importance samples that mean nothing with a ValueError."""
    if num_samples < 1:
        raise ValueError(
            f"num_importance_samples is {num_samples}: the bound is a mean over 1 or more draws"
        )
    if method.likelihood is None:
        raise ValueError(f"num_importance_samples is {num_samples}: this method has no likelihood")
    if num_samples > 1 and method.likelihood == "exact":
        raise ValueError("the likelihood of this method is exact: there is no bound to tighten")


def kind_of_likelihood(method: Method, num_samples: int = 1) -> str:
    """What a method's bits/dim are: "exact", "estimate", or "lower bound, one sample" (or so many).

    It stands in brackets, as its numbers are printed, where they are of a density that was added to
    a model without one.
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
    """Sums k importance weights w_j of every image, one draw for the whole batch at a time.

    The sum is kept relative to the largest weight so far, and k is an argument of the program: it
    is compiled once for every k, in the memory of one draw.

    Args:
      log_likelihood: (variables, batch, noise) -> `log_likelihood` [B], ln w of one draw.
      variables: of `state.evaluation_variables`.
      batch: images and their `index`.
      draws: the key that `draw_key` takes, and k, int32.

    Returns:
      {name: float32 [B]} in nats: `largest`, max_j ln w_j; `log_mean`, ln (1/k) Σ_j w_j − largest;
      `anchor`, ln w_0 (0 where w_0 is 0); and `mean_above_anchor`, the mean of ln w_j − anchor, −∞
      where any weight is 0.
    """
    key, num_samples = draws

    def add(draw: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        largest, relative_sum, anchor, above_anchor = sums
        noise = Noise(draw_key(key, draw), batch["index"])
        log_weight = log_likelihood(variables, batch, noise)["log_likelihood"]
        # −∞ − (−∞), of a first weight of zero, would not be a number.
        first = jnp.where(log_weight == -jnp.inf, 0.0, log_weight)
        anchor = jnp.where(draw == 0, first, anchor)
        new = jnp.maximum(largest, log_weight)
        relative_sum = relative_sum * jnp.exp(largest - new) + jnp.exp(log_weight - new)
        return new, relative_sum, anchor, above_anchor + (log_weight - anchor)

    # The least finite number, not −∞, for the same reason.
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
    """What a split costs: the mean over its examples of the total and of each part.

    Args:
      terms: of `evaluate_likelihood`, in nats. `kl` is a cost, the others log-probabilities.
      spec: fields of the data; images are counted in bits/dim, all else in nats an example.

    Returns:
      `bits_per_dim` (or `nats`), `standard_error` of it, and every part in the same unit (they are
      costs: for a bound without other terms the parts that it is made of sum to it).
    """
    unit = math.prod(spec["image"].shape) * math.log(2) if "image" in spec else 1.0

    def cost(name: str) -> np.ndarray:
        return (terms[name] if name == "kl" else -terms[name]) / unit

    total = cost("log_likelihood")
    error = 0.0
    if not np.isfinite(total).all():  # ∞ − ∞ would not be a number
        error = math.inf
    elif len(total) > 1:
        error = float(total.std(ddof=1) / np.sqrt(len(total)))
    parts = {name: float(cost(name).mean()) for name in terms if name != "log_likelihood"}
    return {unit_of(spec): float(total.mean()), "standard_error": error, **parts}


def unit_of(spec: DataSpec) -> str:
    """What likelihoods are reported in: `bits_per_dim` of images, `nats` of all else."""
    return "bits_per_dim" if "image" in spec else "nats"
