"""Noise that belongs to an example, not to its place in a batch or on a device.

A draw is keyed by the example's global index, so that the same global batch sees the same noise
however it is split over devices, processes and evaluation batches.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.noise import draw_flat

Array = jax.Array


def global_index(batch: dict[str, Any], axis_name: str | None = None) -> Array:
    """Returns the index by which each example's noise is keyed, int32 [B].

    Args:
      batch: holds `image` [B, H, W, C], and `index` int32 [B] where the data pipeline gave one.
      axis_name: the mapped axis over which the global batch is split, if any.
    """
    if "index" in batch:
        return batch["index"]
    local_batch = batch["image"].shape[0]
    index = jnp.arange(local_batch, dtype=jnp.int32)
    return index if axis_name is None else index + jax.lax.axis_index(axis_name) * local_batch


def keys(key: Array, index: Array) -> Array:
    """Returns one key an example [B]: `fold_in(key, index[b])`."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)


def normal(key: Array, index: Array, shape: tuple[int, ...]) -> Array:
    """Standard normal noise float32 [B, *shape], keyed by `index` [B]."""
    draw = functools.partial(draw_flat, jax.random.normal, shape=shape)
    return jax.vmap(draw)(keys(key, index))


def uniform(key: Array, index: Array, shape: tuple[int, ...]) -> Array:
    """Uniform noise in [0, 1), float32 [B, *shape], keyed by `index` [B]."""
    draw = functools.partial(draw_flat, jax.random.uniform, shape=shape)
    return jax.vmap(draw)(keys(key, index))


class Dropout(nn.Module):
    """Elementwise dropout whose mask is keyed by the example (Srivastava et al., 2014).

    `rate` is rounded to a 256th: a byte a unit decides, which draws a quarter of the random bits.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, index: Array, train: bool) -> Array:
        """Drops units of x [B, ...] by the masks of the examples `index` [B] while training."""
        threshold = round(self.rate * 256)
        if not train or threshold == 0:
            return x
        words = -(-x[0].size // 4)
        example_keys = keys(self.make_rng("dropout"), index)
        bits = jax.vmap(lambda key: jax.random.bits(key, (words,), jnp.uint32))(example_keys)
        octets = jax.lax.bitcast_convert_type(bits, jnp.uint8).reshape(x.shape[0], -1)
        keep = octets[:, : x[0].size].reshape(x.shape) >= threshold
        return jnp.where(keep, x * (256 / (256 - threshold)), 0).astype(x.dtype)
