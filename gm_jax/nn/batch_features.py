"""Features of an example that depend on its batch, for the last layer of a discriminator."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import devices

Array = jax.Array


class MinibatchDiscrimination(nn.Module):
    """Σ_{j ≠ i} exp(−‖M_i − M_j‖₁) of several projections M (Salimans et al., 2016, 3.2).

    As in the authors' code, a column of the projection has the length exp(s) of a learned s. They
    also scale s to the first batch, and add a bias, which the bias of the next layer replaces here.

    Attributes:
      kernels: the number of outputs (authors' code: 100 or more).
      dimensions: the dimensions of each projection.
    """

    kernels: int = 100
    dimensions: int = 5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps features [B, F] to float32 [B, kernels], over the global batch."""
        shape = (self.kernels, self.dimensions)
        theta = self.param("theta", nn.initializers.normal(0.05), (x.shape[-1], *shape))
        log_scale = self.param("log_scale", nn.initializers.zeros, shape)
        directions = theta * (jnp.exp(log_scale) / jnp.linalg.norm(theta, axis=0))
        own = jnp.einsum("bf,fkd->bkd", x.astype(jnp.float32), directions, precision="highest")
        others = devices.gather(own)
        distances = jnp.sum(jnp.abs(own[:, None] - others), -1)
        # An example's distance to itself is 0: it is taken off again.
        return jnp.sum(jnp.exp(-distances), 1) - 1


def standard_deviation(x: Array) -> Array:
    """The features' standard deviation in the global batch, averaged (Karras et al., 2018, 3).

    Maps [B, F] to float32 [B, 1], the same number for all. Their 1e-8 is inside the root, too.
    """
    x = x.astype(jnp.float32)
    mean = devices.mean(jnp.mean(x, 0))
    variance = devices.mean(jnp.mean(jnp.square(x - mean), 0))
    return jnp.broadcast_to(jnp.mean(jnp.sqrt(variance + 1e-8)), (x.shape[0], 1))


def none(x: Array) -> Array:
    """No feature: maps [B, F] to [B, 0]."""
    return x[:, :0].astype(jnp.float32)


KINDS: dict[str, Callable[[Array], Array]] = {
    "none": none,
    "minibatch_discrimination": lambda x: MinibatchDiscrimination()(x),
    "standard_deviation": standard_deviation,
}


def append(kind: str, features: Array) -> Array:
    """Appends the features called `kind`, one of KINDS, to [B, F]. Call it in a network.

    Raises:
      ValueError: there are no such features.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown batch_features '{kind}'; choose among {', '.join(KINDS)}")
    return jnp.concatenate([features, KINDS[kind](features)], -1)
