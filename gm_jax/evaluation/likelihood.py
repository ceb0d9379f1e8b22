"""Held-out likelihood: nats of every image of a split, and their bits/dim."""

from typing import Any

import jax
import numpy as np

from gm_jax import data, distributions
from gm_jax.training.run import Run


def evaluate_likelihood(
    run: Run, variables: dict[str, Any], dataset: data.ImageDataset
) -> dict[str, np.ndarray]:
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
    score = run.parallel.per_example(run.method.log_likelihood)
    key = jax.random.fold_in(run.key, 1)
    batches = data.evaluation_batches(
        dataset,
        batch_size=run.config.evaluate.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    parts = [score(variables, batch, key) for batch in batches]
    # The last batch is padded at its end.
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
