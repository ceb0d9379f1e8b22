"""Held-out likelihood: nats of every image of a split, and their bits/dim."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gm_jax import data, distributions
from gm_jax.training.run import Run

Terms = dict[str, np.ndarray]


def evaluate_likelihood(run: Run, variables: dict[str, Any], dataset: data.ImageDataset) -> Terms:
    """Scores every image of a data set once, on all devices.

    The noise of an image is keyed by its place in the split, so batch size and devices change
    nothing.

    Args:
      run: whose method has `log_likelihood`.
      variables: of `state.evaluation_variables`.
      dataset: the images.

    Returns:
      {term: float64 [N]} in nats: `log_likelihood`, and the parts that the method names.
    """
    return score_images(run, "log_likelihood", variables, dataset)


def score_images(
    run: Run, name: str, variables: dict[str, Any], dataset: data.ImageDataset
) -> Terms:
    """Calls a method's `name`(variables, batch, rng) -> {term: [B]} on every image: float64 [N]."""
    score = run.program(name, getattr(run.method, name))
    return _every_image(run, dataset, functools.partial(score, variables, rng=run.keys["evaluate"]))


def importance_weighted_likelihood(
    run: Run, variables: dict[str, Any], dataset: data.ImageDataset, num_samples: int
) -> Terms:
    """The k-sample bound on every image: ln (1/k) Σ_k p(x, z_k) / q(z_k | x), z_k ~ q.

    Burda et al. (2016), eq. 8. A one-sample `log_likelihood` is the logarithm of one such weight;
    the weights are summed as they come, by `logaddexp`.

    Args:
      run: whose method has a `log_likelihood` that is a one-sample bound.
      variables: of `state.evaluation_variables`.
      dataset: the images.
      num_samples: k, at least 1.

    Returns:
      {term: float64 [N]} in nats: `log_likelihood`, the bound, never below `one_sample`, the mean
      over the same k draws of the one-sample bound.
    """
    score = run.program("log_likelihood", run.method.log_likelihood)

    def bound(batch: dict[str, np.ndarray]) -> Terms:
        total, mean = -np.inf, 0.0
        for draw in range(num_samples):
            key = jax.random.fold_in(run.keys["evaluate"], draw)
            weight = score(variables, batch, key)["log_likelihood"].astype(np.float64)
            total = np.logaddexp(total, weight)
            mean = mean + weight / num_samples
        return {"log_likelihood": total - np.log(num_samples), "one_sample": mean}

    return _every_image(run, dataset, bound)


def _every_image(
    run: Run, dataset: data.ImageDataset, score: Callable[[dict[str, np.ndarray]], Terms]
) -> Terms:
    batches = data.evaluation_batches(
        dataset,
        batch_size=run.config.evaluate.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    parts = [score(batch) for batch in batches]
    # Global batches come whole and in the order of the split; the last is padded at its end.
    return {
        name: np.concatenate([part[name] for part in parts]).astype(np.float64)[: len(dataset)]
        for name in parts[0]
    }


def summarize(terms: dict[str, np.ndarray], image_shape: tuple[int, int, int]) -> dict[str, float]:
    """Bits/dim of a split: the mean over its images of the total and of each part.

    Args:
      terms: of `evaluate_likelihood`, in nats. `kl` is a cost, the others log-probabilities.
      image_shape: (H, W, C).

    Returns:
      `bits_per_dim`, `standard_error` of it, and `<part>` in bits/dim (they are costs: for a bound
      without other terms the parts that it is made of sum to it).
    """

    def bits(name: str) -> np.ndarray:
        nats = terms[name] if name != "kl" else -terms[name]
        return np.asarray(distributions.bits_per_dim(nats, image_shape), np.float64)

    total = bits("log_likelihood")
    error = float(total.std(ddof=1) / np.sqrt(len(total))) if len(total) > 1 else 0.0
    parts = {name: float(bits(name).mean()) for name in terms if name != "log_likelihood"}
    return {"bits_per_dim": float(total.mean()), "standard_error": error, **parts}
