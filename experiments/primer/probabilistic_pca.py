"""Probabilistic PCA: training by gradients comes to the solution in closed form (thesis, 2.3).

    python experiments/primer/probabilistic_pca.py [--output=DIR]

x = Wz + µ + σε, so x ~ N(µ, WWᵀ + σ²I). The maximum of the likelihood is W = U(Λ − σ²I)^½, with
the first eigenvectors U and eigenvalues Λ of the data's covariance, and σ² the mean of the others
(Tipping & Bishop, 1999). `likelihood.png` has nats per digit by step, beside that maximum;
`samples.png` digits, and below them samples.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.primer import figures

Array = jax.Array
NUM_LATENTS = 10


def log_likelihood(x: Array, mean: Array, weights: Array, log_std: Array) -> Array:
    """ln N(x; µ, WWᵀ + σ²I), nats [N], by a matrix of the latents' size alone."""
    offset, variance = x - mean, jnp.exp(2 * log_std)
    dimensions, latents = weights.shape
    inner = weights.T @ weights + variance * jnp.eye(latents)
    projected = offset @ weights
    inverse = jnp.linalg.solve(inner, projected.T).T
    square = (jnp.sum(offset**2, -1) - jnp.sum(projected * inverse, -1)) / variance
    log_det = jnp.linalg.slogdet(inner)[1] + (dimensions - latents) * 2 * log_std
    return -0.5 * (dimensions * jnp.log(2 * jnp.pi) + log_det + square)


def closed_form(x: np.ndarray, latents: int) -> tuple[np.ndarray, np.ndarray, float]:
    """µ, W and ln σ that maximise the likelihood of x [N, D]."""
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    variance = values[:-latents].mean()
    weights = vectors[:, -latents:] * np.sqrt(values[-latents:] - variance)
    return x.mean(0), weights, 0.5 * float(np.log(variance))


def trained(x: np.ndarray, latents: int, steps: int = 3_000) -> list[tuple[int, float]]:
    """Mean nats by step of Adam, from a small random W; the mean is that of the data."""
    mean = jnp.asarray(x.mean(0))
    weights = 0.1 * jax.random.normal(jax.random.key(0), (x.shape[1], latents))
    params = {"weights": weights, "log_std": jnp.zeros(())}
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, steps))

    def loss(params: dict[str, Array]) -> Array:
        return -jnp.mean(log_likelihood(x, mean, **params))

    def step(carry: tuple, _: None) -> tuple[tuple, Array]:
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), -value

    carry = (params, optimizer.init(params))
    _, nats = jax.jit(lambda carry: jax.lax.scan(step, carry, None, steps))(carry)
    return [(number, float(nats[number])) for number in range(0, steps, 20)]


def main() -> None:
    """Trains, compares and draws."""
    images = figures.digits()
    x = np.float32(images.reshape(len(images), -1)) / 8 - 1
    mean, weights, log_std = closed_form(x, NUM_LATENTS)
    best = float(jnp.mean(log_likelihood(x, mean, weights, log_std)))
    nats = trained(x, NUM_LATENTS)
    print(f"nats per digit: {nats[-1][1]:.3f} by gradients, {best:.3f} in closed form")
    flat = [(step, best) for step, _ in nats]
    figures.save_curves(
        "likelihood.png", {"gradients": {"nats": nats}, "closed form": {"nats": flat}}
    )
    draw = np.random.default_rng(0).normal
    samples = mean + draw(size=(16, NUM_LATENTS)) @ weights.T
    samples += np.exp(log_std) * draw(size=samples.shape)
    figures.save_images("samples.png", [x[:16].reshape(-1, 8, 8, 1), samples.reshape(-1, 8, 8, 1)])


if __name__ == "__main__":
    figures.run(main)
