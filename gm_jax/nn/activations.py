"""Nonlinearities that two or more networks share."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def concat_elu(x: jax.Array) -> jax.Array:
    """elu([x, −x]) along channels: [..., C] -> [..., 2C] (Salimans et al., 2017)."""
    return nn.elu(jnp.concatenate([x, -x], axis=-1))
