"""Noise that belongs to an example, not to its position in a batch or on a device.

The example's global index keys its draws, so the same global batch sees the same noise however it
is split over devices, processes and evaluation batches.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from gm_jax.cpu import draw_flat

Array = jax.Array
_SHARED = 2**32 - 1  # no example's index


@flax.struct.dataclass
class Noise:
    """The source of all randomness for a batch.

    Draw from a noise once, or split it, or take its layers: all draws from one noise use the same
    bits, so a second draw would not be independent of the first.

    Attributes:
      key: a single key; each example's key is derived from it and the example's index.
      index: int32 [B], the global number of each example.
    """

    key: Array
    index: Array
    replace: ClassVar[Callable[..., "Noise"]]  # flax.struct makes it

    def split(self, count: int = 2) -> tuple["Noise", ...]:
        """Returns independent noises for the same examples."""
        return tuple(
            dataclasses.replace(self, key=key) for key in jax.random.split(self.key, count)
        )

    def layer(self, number: int | Array) -> "Noise":
        """Returns the noise of a numbered layer; there are as many layers as are asked for."""
        return dataclasses.replace(self, key=jax.random.fold_in(self.key, number))

    def keys(self) -> Array:
        """Returns one key per example, [B]: `fold_in(key, index[b])`."""
        return jax.vmap(jax.random.fold_in, (None, 0))(self.key, self.index)

    def shared(self) -> Array:
        """Returns a key that is equal on all devices, for draws that a batch shares."""
        return jax.random.fold_in(self.key, _SHARED)

    def normal(self, *shape: int) -> Array:
        """Draws standard normal noise, float32 [B, *shape]."""
        return self._draw(functools.partial(draw_flat, jax.random.normal, shape=shape))

    def uniform(self, *shape: int) -> Array:
        """Draws uniform noise in [0, 1), float32 [B, *shape]."""
        return self._draw(functools.partial(draw_flat, jax.random.uniform, shape=shape))

    def logistic(self, *shape: int) -> Array:
        """Draws standard logistic noise, float32 [B, *shape], as `standard_logistic`."""
        return self._draw(functools.partial(standard_logistic, shape=shape))

    def bits(self, *shape: int) -> Array:
        """Draws uint16 [B, *shape], all values equally likely."""
        draw = functools.partial(draw_flat, jax.random.bits, shape=shape, dtype=jnp.uint16)
        return self._draw(draw)

    def _draw(self, draw: Callable[[Array], Array]) -> Array:
        return jax.vmap(draw)(self.keys())


def keyed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turns a function of (variables, batch, noise) into one of (variables, batch, key).

    The noise takes its index from the batch.
    """

    def call(variables: Any, batch: dict[str, Array], key: Array) -> Any:
        return function(variables, batch, Noise(key, batch["index"]))

    return call


class Dropout(nn.Module):
    """Elementwise dropout whose mask is keyed by the example (Srivastava et al., 2014).

    `rate` is rounded to a multiple of 1/256: one byte decides a unit, which takes a quarter of the
    random bits.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, index: Array, train: bool) -> Array:
        """In training, drops units of x [B, ...] by the masks of the examples `index` [B].

        Pass the key as `rngs={"dropout": noise.key}`; linen derives a key for each layer from it.
        """
        threshold = round(self.rate * 256)
        if not train or threshold == 0:
            return x
        words = -(-x[0].size // 4)
        example_keys = Noise(self.make_rng("dropout"), index).keys()
        bits = jax.vmap(lambda key: jax.random.bits(key, (words,), jnp.uint32))(example_keys)
        octets = jax.lax.bitcast_convert_type(bits, jnp.uint8).reshape(x.shape[0], -1)
        keep = octets[:, : x[0].size].reshape(x.shape) >= threshold
        return jnp.where(keep, x * (256 / (256 - threshold)), 0).astype(x.dtype)


def standard_logistic(key: Array, shape: tuple[int, ...]) -> Array:
    """Draws ln u − ln(1 − u), float32 `shape`, with u in [1e-5, 1 − 1e-5] as published."""
    uniform = draw_flat(jax.random.uniform, key, shape, minval=1e-5, maxval=1.0 - 1e-5)
    return jnp.log(uniform) - jnp.log1p(-uniform)
