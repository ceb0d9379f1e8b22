"""Batch normalisation with the statistics of the global batch (Ioffe & Szegedy, 2015)."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import devices

Array = jax.Array
COLLECTION = "batch_stats"
_forgetting = contextvars.ContextVar("forgetting", default=False)


@contextlib.contextmanager
def forgetting() -> Iterator[None]:
    """Inside it (while a function is traced), running averages forget all but the last batch."""
    token = _forgetting.set(True)
    try:
        yield
    finally:
        _forgetting.reset(token)


def share_of_old(decay: float) -> float:
    """The share of the old value in an update of running averages: `decay`, or 0 if forgetting."""
    return 0.0 if _forgetting.get() else decay


def global_moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel of x [..., C] over the global batch, float32 [C].

    Both take a single all-reduce, of the mean and the mean of squares.

    Args:
      x: the device's share of the batch, float.
    """
    x = x.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    moments = jnp.stack([jnp.mean(x, axes), jnp.mean(jnp.square(x), axes)])
    mean, mean_of_squares = devices.mean(moments)
    return mean, jnp.maximum(mean_of_squares - jnp.square(mean), 0)  # rounding can give less than 0


class BatchStatistics(nn.Module):
    """The moments used to normalise: the batch's in training, their running averages otherwise.

    The running averages start at the moments of the batch on which the network is initialised, so
    that evaluation and inversion make sense from the first step.

    Attributes:
      decay: share of the old value in an update of the running averages.
    """

    decay: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Returns mean and variance, float32 [C]; in training `batch_stats` must be mutable."""
        first = not self.has_variable(COLLECTION, "mean")
        if not (train or first):
            mean: Array = self.get_variable(COLLECTION, "mean")
            variance: Array = self.get_variable(COLLECTION, "variance")
            return mean, variance
        moments = global_moments(x)
        running_mean = self.variable(COLLECTION, "mean", lambda: moments[0])
        running_variance = self.variable(COLLECTION, "variance", lambda: moments[1])
        if train and not first:
            decay = share_of_old(self.decay)
            for running, moment in zip((running_mean, running_variance), moments, strict=True):
                running.value = decay * running.value + (1 - decay) * moment
        return moments


class BatchNorm(nn.Module):
    """Standardises each channel of [..., C] and adds a learned shift.

    Attributes:
      decay: as for `BatchStatistics`; None keeps no running averages, and takes the batch's own
        moments always, as a discriminator may, which has no use after training.
      epsilon: added to the variance.
      scale_init: initialises a learned scale, applied after standardisation; None learns none.
      num_classes: number of classes if the label selects shift and scale (Dumoulin et al., 2017),
        else None.
    """

    decay: float | None
    epsilon: float
    scale_init: Any = None
    num_classes: int | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool, label: Array | None = None) -> Array:
        """Maps x [..., C] to float32 [..., C], with the global batch's moments in training.

        With classes, x is [B, ..., C] and the label int32 [B].
        """
        if self.decay is None:
            mean, variance = global_moments(x)
        else:
            mean, variance = BatchStatistics(self.decay)(x, train)
        scale = jax.lax.rsqrt(variance + self.epsilon)
        if self.scale_init is not None:
            scale *= self._each("scale", self.scale_init, x, label)
        shift = self._each("bias", nn.initializers.zeros, x, label)
        return (x.astype(jnp.float32) - mean) * scale + shift

    def _each(self, name: str, initializer: Any, x: Array, label: Array | None) -> Array:
        """A parameter per channel, or per label and channel, that broadcasts to x."""
        if self.num_classes is None:
            return self.param(name, initializer, (x.shape[-1],))
        rows = self.param(name, initializer, (self.num_classes, x.shape[-1]))[label]
        return rows.reshape(-1, *(1 for _ in x.shape[2:]), x.shape[-1])
