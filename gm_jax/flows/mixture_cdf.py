"""The change by the CDF of a mixture of logistics (Flow++: Ho et al., 2019, Eqs. 14 to 18)."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from gm_jax.distributions import MIN_LOG_SCALE
from gm_jax.flows.bisection import increasing_root

Array = jax.Array
Mixture = tuple[Array, Array, Array]  # ln π, µ and ln s, [..., K, C] each


@dataclasses.dataclass(frozen=True)
class MixtureCdf:
    """y = logit(F(x))·e^(tanh s) + t with F(x) = Σ_k π_k·σ((x − µ_k)/s_k), a kind of change.

    Each dimension has t, s, and the logits of π, µ and ln s of K logistics, in this order. Numbers
    that are equal for two logistics have equal gradients: a network that starts at 0 would have a
    single logistic forever, so its last layer starts at random.

    logit F is ln F − ln(1 − F), both from the logistics' logarithms; F itself rounds to 1 from 17
    deviations on.

    Attributes:
      num_mixtures: K (published: 32).
    """

    num_mixtures: int

    @property
    def num_parameters(self) -> int:
        """2 + 3K."""
        return 2 + 3 * self.num_mixtures

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        """Maps x to y and ln|∂y/∂x| = ln f − ln F − ln(1 − F) + tanh s, f being F's density."""
        shift, log_scale, mixture = self._split(x, parameters)
        logit, log_slope = _logit(x, mixture), _log_slope(x, mixture)
        return logit * jnp.exp(log_scale) + shift, log_slope + log_scale

    def inverse(self, y: Array, parameters: Array) -> tuple[Array, Array]:
        """Maps y to x and ln|∂x/∂y|, by bisection.

        With v = logit(F(x)), σ(v) is a mean of σ((x − µ_k)/s_k). So v lies between the least and
        the greatest (x − µ_k)/s_k, and x between the least and the greatest µ_k + s_k·v.
        """
        shift, log_scale, mixture = self._split(y, parameters)
        target = (y - shift) * jnp.exp(-log_scale)
        _, means, log_scales = mixture
        ends = means + jnp.exp(log_scales) * target[..., None, :]
        low, high = jnp.min(ends, -2), jnp.max(ends, -2)
        middle, radius = (low + high) / 2, (high - low) / 2
        x = increasing_root(lambda x: _logit(x, mixture) - target, middle, radius)
        return x, -_log_slope(x, mixture) - log_scale

    def _split(self, x: Array, parameters: Array) -> tuple[Array, Array, Mixture]:
        """t, tanh s and the mixture."""
        each = parameters.reshape(*x.shape[:-1], self.num_parameters, x.shape[-1])
        logits, means, log_scales = jnp.split(each[..., 2:, :], 3, -2)
        log_scales = jnp.maximum(log_scales, MIN_LOG_SCALE)
        return (
            each[..., 0, :],
            jnp.tanh(each[..., 1, :]),
            (
                nn.log_softmax(logits, -2),
                means,
                log_scales,
            ),
        )


def _log_cdfs(x: Array, mixture: Mixture) -> tuple[Array, Array]:
    """ln π_k + ln σ(z_k) and ln π_k + ln σ(−z_k), [..., K, C], with z_k = (x − µ_k)/s_k."""
    log_weights, means, log_scales = mixture
    z = (x[..., None, :] - means) * jnp.exp(-log_scales)
    return log_weights + nn.log_sigmoid(z), log_weights + nn.log_sigmoid(-z)


def _logit(x: Array, mixture: Mixture) -> Array:
    """ln F(x) − ln(1 − F(x))."""
    below, above = _log_cdfs(x, mixture)
    return logsumexp(below, -2) - logsumexp(above, -2)


def _log_slope(x: Array, mixture: Mixture) -> Array:
    """ln f − ln F − ln(1 − F), the logarithm of the slope of `_logit`."""
    log_weights, _, log_scales = mixture
    below, above = _log_cdfs(x, mixture)
    log_density = logsumexp(below + above - log_weights - log_scales, -2)
    return log_density - logsumexp(below, -2) - logsumexp(above, -2)
