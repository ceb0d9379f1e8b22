"""Flows of vectors by name: posteriors of VAEs, and densities in the plane."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.flows.autoregressive import Autoregressive, AutoregressiveNetwork
from gm_jax.flows.coupling import Affine, ChannelHalf, Coupling
from gm_jax.flows.planar import Planar
from gm_jax.flows.radial import Radial
from gm_jax.flows.transform import Chain, Context, Transform

Array = jax.Array
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
