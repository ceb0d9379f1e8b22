"""A scale and a shift for each channel, learned from the first batch on (Kingma & Dhariwal, 2018).

In the paper activation normalisation stands in section 3.1 and in Table 1.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.flows.transform import Context, Transform, is_known, sum_of_example
from gm_jax.nn.weight_norm import is_data_dependent_init

Array = jax.Array


class ActNorm(Transform):
    """y = (x + b)·e^l with l = factor·(a parameter), for each channel.

    `data_dependent_init` chooses b and l so that y has mean 0 and deviation 1 on its batch. From
    then on they are parameters like others: a restored flow keeps them.

    A channel that is constant on that batch has no deviation. Where the batch is known, it is
    refused; inside `jit` its l becomes NaN, and a run ends at its first step, with a line that says
    so. The authors' code divides by 10⁻⁶ instead, which gives the data an unlimited density.

    Attributes:
      factor: how much faster l learns than its parameter (openai/glow; the paper has none).
      by_position: whether b and l are [..., C] of an example instead of [C], as in Flow++.
    """

    factor: float = 3.0
    by_position: bool = False

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x [B, ..., C] to y and ln|det ∂y/∂x|, Σ l times the positions, in nats [B]."""
        del context
        bias, log_scale = self._parameters(x)
        return (x + bias) * jnp.exp(log_scale), _sum(log_scale, x)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y [B, ..., C] to x and ln|det ∂x/∂y| in nats [B]."""
        del context
        bias, log_scale = self._parameters(y)
        return y * jnp.exp(-log_scale) - bias, -_sum(log_scale, y)

    @nn.compact
    def _parameters(self, x: Array) -> tuple[Array, Array]:
        """The bias and l; in a data-dependent initialisation they are chosen for x."""
        shared = 1 if self.by_position else x.ndim - 1  # the number of axes that share them
        bias = self.param("bias", nn.initializers.zeros, x.shape[shared:])
        log_scale = self.param("log_scale", nn.initializers.zeros, x.shape[shared:])
        if is_data_dependent_init(self):
            axes = tuple(range(shared))
            bias, std = -jnp.mean(x, axes), jnp.std(x, axes)
            log_scale = -jnp.log(_varying(std, bias)) / self.factor
            self.put_variable("params", "bias", bias)
            self.put_variable("params", "log_scale", log_scale)
        return bias, self.factor * log_scale


class Rescale(Transform):
    """y = x·e^l with a learned l for each channel, from 0 on (NICE: Dinh et al., 2015, §3.3)."""

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x [B, ..., C] to y and ln|det ∂y/∂x| in nats [B]."""
        del context
        log_scale = self._log_scale(x.shape[-1])
        return x * jnp.exp(log_scale), _sum(log_scale, x)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y [B, ..., C] to x and ln|det ∂x/∂y| in nats [B]."""
        del context
        log_scale = self._log_scale(y.shape[-1])
        return y * jnp.exp(-log_scale), -_sum(log_scale, y)

    @nn.compact
    def _log_scale(self, channels: int) -> Array:
        log_scale: Array = self.param("log_scale", nn.initializers.zeros, (channels,))
        return log_scale


def _varying(std: Array, mean: Array) -> Array:
    """The deviations of channels; NaN for those that are constant but for rounding.

    Raises:
      ValueError: one is constant, and the values are known.
    """
    constant = std <= 1e-5 * jnp.abs(mean)
    if is_known(constant) and constant.any():
        raise ValueError(
            f"actnorm: channels {jnp.flatnonzero(constant).tolist()} of {constant.size} are "
            "constant on the batch that initialises it, so no scale gives them deviation 1; leave "
            "these dimensions out of the data, or initialise on more examples "
            "(train.init_batch_size)"
        )
    return jnp.where(constant, jnp.nan, std)


def _sum(log_scale: Array, x: Array) -> Array:
    """Sums a value for each channel over all dimensions of an example, for every example: [B]."""
    return sum_of_example(jnp.broadcast_to(log_scale, x.shape))
