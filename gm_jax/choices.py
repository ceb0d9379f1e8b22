"""Numbers that a coder chooses by their masses, and normal latents on a grid of such numbers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

Array = jax.Array
# (masses float32 [B, ..., n], what is given int32 [B, ...]) -> one of 0..n−1 for each, int32
# [B, ...]. The calls of a program have an order, and so have the numbers of a file.
Choose = Callable[[Array, Array], Array]
NUM_BINS = 1024
# The bins' places, by their numbers. The bits of a latent's number choose the next image's latents:
# if neighbouring values had neighbouring numbers, these would depend on it, and would not be draws
# of the posterior. So the numbers are shuffled.
_PLACES = 633 * np.arange(NUM_BINS) % NUM_BINS


def latents_of(bins: Array) -> Array:
    """The latents that stand for bins int32 [...], float32 [...] (Townsend et al., 2019).

    The bins have equal masses under the prior N(0, 1), where their numbers are thus uniform, and a
    latent is its bin's median. Fine bins cost nothing: the posterior gives back what they cost more
    under the prior.
    """
    medians = ndtri((_PLACES + 0.5) / NUM_BINS).astype(np.float32)
    return jnp.asarray(medians)[bins]


def uniform_masses(shape: tuple[int, ...], count: int = NUM_BINS) -> Array:
    """The masses of `count` equally likely numbers, such as bins, float32 [*shape, count]."""
    return jnp.full((*shape, count), 1 / count, jnp.float32)


def bin_masses(mean: Array, log_std: Array) -> Array:
    """The masses of the bins under N(mean, std²), float32 [..., NUM_BINS], which sum to one."""
    edges = jnp.asarray(ndtri(np.arange(1, NUM_BINS) / NUM_BINS).astype(np.float32))
    standardised = (edges - mean[..., None]) * jnp.exp(-log_std)[..., None]
    return differences(jax.scipy.special.ndtr(standardised))[..., _PLACES]


def differences(below: Array) -> Array:
    """The masses [..., n] of a distribution function at the n − 1 edges between them."""
    zero, one = jnp.zeros_like(below[..., :1]), jnp.ones_like(below[..., :1])
    # Rounding may let a sum of sigmoids fall.
    return jnp.maximum(jnp.diff(jnp.concatenate([zero, below, one], -1), axis=-1), 0.0)
