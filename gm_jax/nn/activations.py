"""Nonlinearities that two or more networks share."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def concat_elu(x: jax.Array) -> jax.Array:
    """elu([x, −x]) along channels: [..., C] -> [..., 2C] (Salimans et al., 2017)."""
    return nn.elu(jnp.concatenate([x, -x], axis=-1))


def maxout(x: jax.Array, pieces: int) -> jax.Array:
    """The largest of every `pieces` channels (Goodfellow et al., 2013).

    [..., pieces·C] -> [..., C], each the maximum of `pieces` neighbours.
    """
    return jnp.max(x.reshape(*x.shape[:-1], -1, pieces), axis=-1)
