"""Flows of vectors by name: posteriors of VAEs, and densities in the plane."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.flows.actnorm import ActNorm
from gm_jax.flows.autoregressive import Autoregressive, AutoregressiveNetwork
from gm_jax.flows.coupling import Affine, ChannelHalf, Coupling
from gm_jax.flows.planar import Planar
from gm_jax.flows.radial import Radial
from gm_jax.flows.reshape import Flatten
from gm_jax.flows.transform import Chain, Context, Inverse, Transform

Array = jax.Array
MOST_PASSES = 1_024
Widths = tuple[int, ...]


class VectorNetwork(nn.Module):
    """Maps the kept half of a vector, and the condition, to a coupling's parameters.

    The last layer starts at 0, with which an affine coupling is the identity.

    Attributes:
      widths: units of the hidden layers.
    """

    widths: Widths

    @nn.compact
    def __call__(self, kept: Array, outputs: int, context: Context) -> Array:
        """Maps [B, D] and a condition [B, F], if there is one, to [B, outputs]."""
        dense = partial(nn.Dense, precision="highest")
        condition = () if context.condition is None else (context.condition,)
        h = jnp.concatenate([kept, *condition], -1)
        for width in self.widths:
            h = nn.elu(dense(width)(h))
        return dense(outputs, kernel_init=nn.initializers.zeros)(h)


def _iaf(place: int, widths: Widths) -> Transform:
    return Autoregressive(AutoregressiveNetwork(widths, place % 2 == 1), Affine(1.0))


def _real_nvp(place: int, widths: Widths) -> Transform:
    return Coupling(ChannelHalf(1 - place % 2), VectorNetwork(widths), Affine(1.0))


# {kind: (place in the flow, widths of its networks) -> a layer}; where layers differ by place, two
# that follow each other take the dimensions in opposite orders.
NETWORKS: dict[str, Callable[[int, Widths], Transform]] = {"iaf": _iaf, "real_nvp": _real_nvp}
LAYERS: dict[str, type[Transform]] = {"planar": Planar, "radial": Radial}


def vector_flow(kind: str, length: int, widths: Widths | None = None) -> Chain:
    """A flow of vectors [B, D] that starts as the identity.

    Args:
      kind: planar, radial, iaf or real_nvp (for an even D).
      length: K, the number of layers; 0 makes the identity of any kind.
      widths: units of the hidden layers of each layer's network, for the kinds that have one.

    Raises:
      ValueError: there is no such kind, or its networks have no widths.
    """
    if kind in LAYERS:
        return Chain([LAYERS[kind]() for _ in range(length)])
    if kind not in NETWORKS:
        raise ValueError(
            f"a flow of vectors '{kind}'; choose among {', '.join([*LAYERS, *NETWORKS])}"
        )
    if widths is None:
        raise ValueError(
            f"a flow of vectors '{kind}' has a network a layer: give the widths of its hidden "
            "layers (model.flow.widths)"
        )
    return Chain([NETWORKS[kind](place, tuple(widths)) for place in range(length)])


def vector_density(
    kind: str,
    shape: tuple[int, ...],
    length: int,
    widths: Widths | None = None,
    dtype: Any = jnp.float32,
) -> Chain:
    """A flow from data of any shape to features of the same shape: actnorm, then vector layers.

    The direction of the layers that is cheap leads to the features, so a density costs one pass.
    Samples of planar layers take bisections, those of iaf a pass for each dimension.

    Args:
      kind, length, widths: as for `vector_flow`.
      shape: the shape of an example.
      dtype: must be float32, in which these layers compute.

    Raises:
      ValueError: as `vector_flow`; or the dtype is another; or samples would take too many passes.
    """
    size = int(np.prod(shape))
    if dtype != jnp.float32:
        raise ValueError(
            f"model.matmul_dtype asks for {jnp.dtype(dtype).name} products, but a flow of vectors "
            f"'{kind}' computes in float32; choose float32 or tf32"
        )
    if kind == "iaf" and size > MOST_PASSES:
        raise ValueError(
            f"an inverse autoregressive flow of {size} dimensions takes as many passes of its "
            f"networks for a sample, and more than {MOST_PASSES} would take too long; choose "
            "smaller images, or another flow, such as real_nvp"
        )
    layers = vector_flow(kind, length, widths).transforms
    return Chain((Flatten(shape), ActNorm(), *layers, Inverse(Flatten(shape))))
