"""Batch normalisation by the statistics of the global batch (Ioffe & Szegedy, 2015)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import devices

Array = jax.Array


def global_moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance of every channel of x [..., C] over the global batch, float32 [C].

    Both come of one all-reduce, of the mean and the mean of squares.

    Args:
      x: float, the device's share of the batch.
    """
    x = x.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    moments = jnp.stack([jnp.mean(x, axes), jnp.mean(jnp.square(x), axes)])
    mean, mean_of_squares = devices.mean(moments)
    return mean, jnp.maximum(mean_of_squares - jnp.square(mean), 0)  # rounding can pass below 0


class BatchStatistics(nn.Module):
    """The moments that normalise: the batch's while training, running averages of them otherwise.

    The running averages start at the moments of the first batch seen, that on which the network is
    initialised, so that evaluation and inversion make sense from the first step.

    Attributes:
      decay: of the running averages, the share of the old value in a step.
    """

    decay: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Returns mean and variance, float32 [C]; while training `batch_stats` is mutable."""
        first = not self.has_variable("batch_stats", "mean")
        if not (train or first):
            mean: Array = self.get_variable("batch_stats", "mean")
            variance: Array = self.get_variable("batch_stats", "variance")
            return mean, variance
        moments = global_moments(x)
        running_mean = self.variable("batch_stats", "mean", lambda: moments[0])
        running_variance = self.variable("batch_stats", "variance", lambda: moments[1])
        if train and not first:
            for running, moment in zip((running_mean, running_variance), moments, strict=True):
                running.value = self.decay * running.value + (1 - self.decay) * moment
        return moments


class BatchNorm(nn.Module):
    """Standardises each channel of [..., C] and adds a learned shift; there is no learned scale.

    Attributes:
      decay: of `BatchStatistics`.
      epsilon: added to the variance.
    """

    decay: float
    epsilon: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Maps x [..., C] to float32 [..., C], by the global batch's moments while training."""
        mean, variance = BatchStatistics(self.decay)(x, train)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return (x.astype(jnp.float32) - mean) * jax.lax.rsqrt(variance + self.epsilon) + bias
