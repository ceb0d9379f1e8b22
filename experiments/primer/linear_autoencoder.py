"""A linear auto-encoder finds the subspace of PCA (thesis, 2.3; Baldi & Hornik, 1989).

    python experiments/primer/linear_autoencoder.py [--output=DIR]

It minimises ‖x − DEx‖² by gradients, with free D and E. The columns of D then span the first
principal components, in a basis of their own. `angle.png` has, by step, the largest angle in
degrees between the two subspaces, and the error; `reconstructions.png` has digits, PCA's and ours.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import subspace_angles

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.primer import figures

Array = jax.Array
NUM_LATENTS, EVERY = 10, 50


def trained(x: np.ndarray, latents: int, steps: int = 4_000) -> list[tuple[np.ndarray, np.ndarray]]:
    """E [D, Z] and D [Z, D] after every EVERY steps of Adam on centred data [N, D]."""
    keys = jax.random.split(jax.random.key(0))
    size = x.shape[1]
    params = [
        0.1 * jax.random.normal(keys[0], (size, latents)),
        0.1 * jax.random.normal(keys[1], (latents, size)),
    ]
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, steps))

    def loss(params: list[Array]) -> Array:
        encoder, decoder = params
        return jnp.mean(jnp.sum((x - x @ encoder @ decoder) ** 2, -1))

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    def several(carry: tuple, _: None) -> tuple[tuple, list[Array]]:
        carry = jax.lax.scan(step, carry, None, EVERY)[0]
        return carry, carry[0]

    carry = (params, optimizer.init(params))
    _, kept = jax.jit(lambda carry: jax.lax.scan(several, carry, None, steps // EVERY))(carry)
    return [*zip(*map(np.asarray, kept), strict=True)]


def principal(x: np.ndarray, latents: int) -> np.ndarray:
    """The first principal components of centred data, [D, Z], orthonormal."""
    return np.linalg.svd(x, full_matrices=False)[2][:latents].T


def angle(decoder: np.ndarray, components: np.ndarray) -> float:
    """The largest angle between the rows' and the columns' spans, degrees."""
    return float(np.degrees(subspace_angles(decoder.T, components).max()))


def main() -> None:
    """Trains, compares and draws."""
    images = figures.digits()
    x = np.float32(images.reshape(len(images), -1)) / 8 - 1
    centred, components = x - x.mean(0), principal(x - x.mean(0), NUM_LATENTS)
    kept = trained(centred, NUM_LATENTS)
    curves: dict[str, list[tuple[int, float]]] = {"degrees": [], "error": []}
    for number, (encoder, decoder) in enumerate(kept, 1):
        error = ((centred - centred @ encoder @ decoder) ** 2).sum(1).mean()
        curves["degrees"].append((number * EVERY, angle(decoder, components)))
        curves["error"].append((number * EVERY, float(error)))
    best = ((centred - centred @ components @ components.T) ** 2).sum(1).mean()
    print(f"largest angle to PCA's subspace: {curves['degrees'][-1][1]:.3f} degrees")
    print(f"squared error per digit: {curves['error'][-1][1]:.4f}, of PCA {best:.4f}")
    figures.save_curves("angle.png", {"linear auto-encoder": curves})
    encoder, decoder = kept[-1]
    rows = [
        centred[:16],
        centred[:16] @ components @ components.T,
        centred[:16] @ encoder @ decoder,
    ]
    figures.save_images(
        "reconstructions.png", [(row + x.mean(0)).reshape(-1, 8, 8, 1) for row in rows]
    )


if __name__ == "__main__":
    figures.run(main)
