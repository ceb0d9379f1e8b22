"""A codebook of vectors that follow what an encoder gives (van den Oord et al., 2017, appendix A).

An output becomes the nearest of K vectors. Each vector is the running mean of the outputs that
became it, so no loss moves it: with a decay of 0 an update is a step of k-means. The codebook is
part of the encoder's statistics.
"""

import jax
import jax.numpy as jnp

from gm_jax import devices

Array = jax.Array
Codebook = dict[str, Array]
COLLECTION = "codebook"


def start(outputs: Array, num_codes: int, key: Array) -> Codebook:
    """A codebook of some of the outputs [..., D]: `vectors` [K, D] and `usage` [K], 1 each.

    Running sums that start at 0, as in published code, turn what the first batch misses into 0.
    """
    flat = outputs.reshape(-1, outputs.shape[-1])
    few = len(flat) < num_codes
    vectors = jax.random.choice(key, flat, (num_codes,), replace=few)
    return {"vectors": vectors, "usage": jnp.ones(num_codes)}


def nearest(codebook: Codebook, outputs: Array) -> Array:
    """The codes of outputs [..., D], int32 [...]: argmin_k ‖z − e_k‖²."""
    vectors = codebook["vectors"]
    products = jnp.einsum("...d,kd->...k", outputs, vectors, precision="highest")
    distances = jnp.sum(jnp.square(vectors), -1) - 2 * products  # but for ‖z‖²
    return jnp.argmin(distances, -1).astype(jnp.int32)


def embed(codebook: Codebook, codes: Array) -> Array:
    """The vectors of codes int32 [...], float32 [..., D]."""
    return codebook["vectors"][codes]


def follow(
    codebook: Codebook, outputs: Array, codes: Array, decay: float, reset_share: float, key: Array
) -> Codebook:
    """The codebook after an update by the global batch.

    With n_k outputs of the batch that became k, the usage is N_k ← γN_k + (1 − γ)n_k, and the
    vector is the mean of what was counted in it. A vector that no output became stays where it is;
    the published smoothing of N would draw it to 0. If its usage falls under a share of the mean
    usage, it starts anew, at a random output and with the mean usage.

    Args:
      codebook: from `start` or from here.
      outputs: this device's, float32 [B, ..., D].
      codes: their codes, int32 [B, ...].
      decay: γ, in [0, 1).
      reset_share: that share; 0 resets none.
      key: the same on all devices (`Noise.shared`).
    """
    vectors, old = codebook["vectors"], decay * codebook["usage"]
    flat = jax.lax.stop_gradient(outputs).reshape(-1, vectors.shape[-1])
    one_hot = jax.nn.one_hot(codes.reshape(-1), len(vectors))
    sums = jnp.einsum("nk,nd->kd", one_hot, flat, precision="highest")
    mean_count, mean_sum = devices.mean((jnp.sum(one_hot, 0), sums))
    count, total = mean_count * devices.count(), mean_sum * devices.count()
    usage = old + (1 - decay) * count
    moved = (old[:, None] * vectors + (1 - decay) * total) / jnp.maximum(usage, 1e-30)[:, None]
    vectors = jnp.where(count[:, None] > 0, moved, vectors)
    dead = usage < reset_share * jnp.mean(usage)
    fresh = jax.random.choice(key, devices.gather(flat), (len(vectors),))
    return {
        "vectors": jnp.where(dead[:, None], fresh, vectors),
        "usage": jnp.where(dead, jnp.mean(usage), usage),
    }


def perplexity(usage: Array) -> Array:
    """exp of the entropy of the codes' shares, from 1 to K, float32 []."""
    share = usage / jnp.sum(usage)
    return jnp.exp(jnp.sum(jax.scipy.special.entr(share)))
