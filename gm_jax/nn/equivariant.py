"""Layers that are equivariant to permutations of the batch (thesis, section 4.4)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import devices
from gm_jax.nn.layers import Layers

Array = jax.Array


class Equivariant(nn.Module):
    """bias + x_b·Λ̃ + ρ(x)·Γ̃ (Eq. 4.12), ρ the mean of the global batch of B examples.

    Λ̃ = B/(B + 1)·Λ and Γ̃ = Γ/(B + 1) (section 4.4.3), so that at the start the mean weighs 1/B of
    the example itself. The inputs are scaled instead of the weights, which is the same.

    Attributes:
      linear: (use_bias) -> a linear layer, dense or convolutional; the first is Λ, the second Γ.
      use_bias: whether there is a bias.
    """

    linear: Callable[..., Callable[[Array], Array]]
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, ...] to [B, ...]; permuted examples give permuted outputs."""
        size = x.shape[0] * devices.count()
        own = self.linear(use_bias=self.use_bias)(x * (size / (size + 1)))
        mean = devices.mean(jnp.mean(x.astype(jnp.float32), 0, keepdims=True)).astype(x.dtype)
        return own + self.linear(use_bias=False)(mean / (size + 1))


def equivariant(layers: Layers) -> Layers:
    """Turns pointwise layers into equivariant ones; a label's embedding stays pointwise.

    A network of these layers, reduced over the batch, approximates every continuous symmetric
    function of a batch (Theorem 1).
    """

    def symmetric(make: Callable[..., Any]) -> Callable[..., Callable[[Array], Array]]:
        def layer(*sizes: Any, use_bias: bool = True, **options: Any) -> Equivariant:
            return Equivariant(partial(make, *sizes, **options), use_bias)

        return layer

    return Layers(
        symmetric(layers.conv), symmetric(layers.deconv), symmetric(layers.dense), layers.embed
    )
