"""How much a model's samples depend on their latents, as information in nats.

The mutual information uses the model's own density p(x | z), so both bounds here are bounds on the
model's I(x; z), with z drawn from the prior and x given z.
"""

import functools
from typing import Any

import jax
import numpy as np

from gm_jax.evaluation.batches import over_rows
from gm_jax.nn.noise import Noise, keyed
from gm_jax.training.run import Run

Tree = Any


def information_bounds(log_probs: np.ndarray) -> dict[str, float]:
    """Bounds on I(x; z) from K independent pairs (x_i, z_i) and all their cross densities.

    Args:
      log_probs: [K, K], K ≥ 2: ln p(x_i | z_j) in nats.

    Returns:
      Nats, means over i of ln p(x_i | z_i) minus
      `lower`: ln (1/K) Σ_j p(x_i | z_j); its expectation is at most I, and its value at most ln K
        (van den Oord et al., 2018, with the true density as critic; Poole et al., 2019, section
        2.3);
      `upper`: the same over j ≠ i; its expectation is at least I (Poole et al., eq. 13);
      `shuffled`: the mean of ln p(x_i | z_j) over j ≠ i, the cost of a shuffled z. It is never
        below `upper`; its expectation is KL(p(x, z) ‖ p(x)p(z)) + KL(p(x)p(z) ‖ p(x, z)).
      All are 0 if x does not depend on z.

    Raises:
      ValueError: not square, or smaller than 2×2.
    """
    log_probs = np.asarray(log_probs, np.float64)
    count = len(log_probs)
    if log_probs.shape != (count, count) or count < 2:
        raise ValueError(f"log_probs has shape {log_probs.shape}; give [K, K] with K ≥ 2")
    own = np.diagonal(log_probs)
    others = log_probs[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    return {
        "lower": float(np.mean(own - _log_mean_exp(log_probs))),
        "upper": float(np.mean(own - _log_mean_exp(others))),
        "shuffled": float(np.mean(own - others.mean(1))),
    }


def _log_mean_exp(rows: np.ndarray) -> np.ndarray:
    largest = rows.max(1)
    return largest + np.log(np.mean(np.exp(rows - largest[:, None]), axis=1))


def draw_latents(run: Run, variables: dict[str, Tree], count: int, seed: int = 0) -> Tree:
    """Draws latents from the prior.

    Args:
      run: a run whose method has `sample_latents`.
      variables: from `state.evaluation_variables`.
      count: number of latents, at least 1.
      seed: seeds the latents.

    Returns:
      A tree of float32 [count, ...]; row i is the same whatever the count.
    """
    program = run.program(
        "sample latents",
        keyed(lambda variables, batch, noise: run.method.sample_latents(variables, noise)),
    )
    draw = functools.partial(program, variables, key=_key(run, seed, 0))
    index = np.arange(count, dtype=np.int32)
    return over_rows({}, draw, run.config.sample.batch_size, index)


def draw_images(
    run: Run, variables: dict[str, Tree], latents: Tree, seed: int = 0
) -> dict[str, np.ndarray]:
    """Draws an image given each row of latents, as `decode` does; the seed varies the images."""
    program = run.program(
        "draw given latents",
        keyed(lambda variables, batch, noise: run.method.decode(variables, batch["rows"], noise)),
    )
    index = np.arange(len(jax.tree.leaves(latents)[0]), dtype=np.int32)
    draw = functools.partial(program, variables, key=_key(run, seed, 1))
    return over_rows(latents, draw, run.config.sample.batch_size, index)


def pairwise_log_probs(
    run: Run, variables: dict[str, Tree], images: np.ndarray, latents: Tree
) -> np.ndarray:
    """ln p(x_i | z_j) of every image given every row of latents, in nats, float64 [K, K]."""

    def log_prob(variables: Tree, batch: Tree, noise: Noise) -> jax.Array:
        rows = {"image": batch["rows"]["image"], "index": batch["index"]}
        return run.method.conditional_log_prob(variables, rows, batch["rows"]["latents"], noise)

    program = run.program("log prob given latents", keyed(log_prob))
    score = functools.partial(program, variables, key=_key(run, 0, 1))
    index = np.arange(len(images), dtype=np.int32)
    matrix = np.empty((len(images), len(images)))
    for shift in range(len(images)):
        other = np.roll(index, -shift)
        rows = {"image": images, "latents": jax.tree.map(lambda z, other=other: z[other], latents)}
        matrix[index, other] = over_rows(rows, score, run.config.sample.batch_size, index)
    return matrix


def latent_information(
    run: Run, variables: dict[str, Tree], count: int, seed: int = 0
) -> dict[str, float]:
    """Draws `count` samples of the model and returns their `information_bounds`."""
    latents = draw_latents(run, variables, count, seed)
    images = draw_images(run, variables, latents, seed)["image"]
    return information_bounds(pairwise_log_probs(run, variables, images, latents))


def _key(run: Run, seed: int, use: int) -> jax.Array:
    """The key for latents (use 0) or for draws given latents (use 1)."""
    return jax.random.split(jax.random.fold_in(run.keys["sample"], seed))[use]
