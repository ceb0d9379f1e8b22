"""The layers that a network is built from, which determine how its weights are parameterised."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.nn.spectral_norm import SpectralNormConv, SpectralNormDense, SpectralNormEmbed
from gm_jax.nn.weight_norm import WeightNormConv

Array = jax.Array


class Layers(NamedTuple):
    """Functions that make layers in a network's `__call__`.

    All but `embed` also take the keywords `use_bias`, `kernel_init` and `dtype` of `nn.Conv`.

    Attributes:
      conv, deconv: (features, kernel_size, strides) -> a (transposed) convolution.
      dense: (features) -> a dense layer, [B, in] to [B, features].
      embed: (number of classes, features) -> a vector per class, int32 [B] to [B, features].
    """

    conv: Callable[..., Callable[[Array], Array]]
    deconv: Callable[..., Callable[[Array], Array]]
    dense: Callable[..., Callable[[Array], Array]]
    embed: Callable[..., Callable[[Array], Array]]


PLAIN = Layers(nn.Conv, nn.ConvTranspose, nn.Dense, nn.Embed)


def spectral_norm(kind: str, iterations: int = 1) -> Layers:
    """Returns layers whose weights are divided by their largest singular value.

    Args:
      kind: one of `nn.spectral_norm.KINDS`.
      iterations: as for `SpectralNorm`.
    """
    conv = partial(SpectralNormConv, kind=kind, iterations=iterations)
    return Layers(
        conv,
        partial(conv, transpose=True),
        partial(SpectralNormDense, iterations=iterations),
        partial(SpectralNormEmbed, iterations=iterations),
    )


def _weight_norm_conv(
    features: int,
    kernel_size: Sequence[int],
    strides: Sequence[int] = (1, 1),
    *,
    padding: Any = "SAME",
    transpose: bool = False,
    use_bias: bool = True,
    kernel_init: Any = None,
    dtype: Any = jnp.float32,
) -> Callable[[Array], Array]:
    del kernel_init  # only the direction of the drawn kernel would matter
    return WeightNormConv(
        features,
        kernel_size,
        strides,
        padding,
        transpose,
        use_bias=use_bias,
        dtype=dtype,
    )


def _weight_norm_dense(features: int, **options: Any) -> Callable[[Array], Array]:
    conv = _weight_norm_conv(features, (1, 1), **options)
    return lambda x: conv(x[:, None, None])[:, 0, 0]


WEIGHT_NORM = Layers(
    _weight_norm_conv, partial(_weight_norm_conv, transpose=True), _weight_norm_dense, nn.Embed
)
