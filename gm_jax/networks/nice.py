"""NICE: additive couplings of dense networks, then a scale per dimension (Dinh et al., 2015)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.flows.actnorm import Rescale
from gm_jax.flows.coupling import Additive, Coupling, EvenOdd
from gm_jax.flows.priors import LogisticPrior
from gm_jax.flows.reshape import Flatten
from gm_jax.flows.transform import Chain, Context, Inverse, Transform

Array = jax.Array
PRIORS: dict[str, list[type[Transform]]] = {"gaussian": [], "logistic": [LogisticPrior]}


class DenseNetwork(nn.Module):
    """Maps the kept part of vectors to the parameters of a coupling, by dense layers with ReLU.

    Attributes:
      widths: widths of the hidden layers.
      kernel_init: initialises the kernels of the hidden layers.
      last_init: initialises that of the last layer.
      dtype: dtype of the products; the outputs are float32.
    """

    widths: Sequence[int]
    kernel_init: Any
    last_init: Any
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, outputs: int, context: Context) -> Array:
        """Maps x [B, D] to float32 [B, outputs]."""
        del context
        for width in self.widths:
            x = nn.relu(nn.Dense(width, dtype=self.dtype, kernel_init=self.kernel_init)(x))
        x = nn.Dense(outputs, dtype=self.dtype, kernel_init=self.last_init)(x)
        return x.astype(jnp.float32)


def nice(
    shape: tuple[int, ...],
    hidden_layers: Sequence[int],
    features: int,
    init_range: float,
    prior: str,
    dtype: Any = jnp.float32,
) -> Chain:
    """The flow from images or points to features of the same shape.

    The couplings change the odd and the even dimensions in turn (§5.1); the authors' code puts the
    odd ones first and reverses the order after each coupling, which is the same. Their code for
    CIFAR-10 splits the vector in the middle instead, after whitening, which the paper has, too;
    here it is treated like the other data.

    Args:
      shape: the shape of an example.
      hidden_layers: for each coupling, the number of its network's hidden layers.
      features: their width.
      init_range: kernels start uniform on [−init_range, init_range] (published: .01, for a width of
        1,000; narrower networks need more, or the first gradients are as good as 0).
      prior: a name in PRIORS.
      dtype: dtype of the products; everything else is float32.

    Raises:
      ValueError: the prior is unknown.
    """
    if prior not in PRIORS:
        raise ValueError(f"model.network.prior is '{prior}'; choose among {', '.join(PRIORS)}")

    def uniform(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -init_range, init_range)

    couplings = [
        Coupling(
            EvenOdd((number + 1) % 2),
            DenseNetwork((features,) * count, uniform, uniform, dtype),
            Additive(),
        )
        for number, count in enumerate(hidden_layers)
    ]
    last = [Rescale(), *(layer() for layer in PRIORS[prior])]
    return Chain((Flatten(shape), *couplings, *last, Inverse(Flatten(shape))))
