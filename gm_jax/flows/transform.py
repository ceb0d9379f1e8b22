"""The interface of a flow's layers, and how layers compose."""

from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from gm_jax.distributions import gaussian_log_prob
from gm_jax.nn.noise import Noise

Array = jax.Array
Likelihood = Literal["exact", "bound", "estimate"]
ORDER: tuple[Likelihood, ...] = ("exact", "bound", "estimate")


@flax.struct.dataclass
class Context:
    """What a layer may need besides its input; `Chain` passes it on unchanged.

    Attributes:
      train: whether to normalise with the statistics of the global batch and update the running
        ones (`batch_stats` must be mutable), instead of using these. It is static under `jit`.
      noise: the examples' noise. `Dequantise` draws from it; any other layer that draws takes
        `noise.layer(n)`, with its own number n.
      condition: [B, ...], what the density is conditioned on.
    """

    train: bool = flax.struct.field(pytree_node=False)
    noise: Noise | None = None
    condition: Array | None = None


class Transform(nn.Module):
    """An invertible map f of data x [B, ...] to features y = f(x)."""

    @property
    def likelihood(self) -> Likelihood:
        """The kind of `log_prob`: exact, a lower bound in the mean, or an estimate."""
        return "exact"

    @property
    def inverse_has_gradient(self) -> bool:
        """Whether the inverse has one in reverse mode; a search for a fixed point has none."""
        return True

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x to y and ln|det ∂y/∂x| in nats [B]."""
        raise NotImplementedError

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y to x and ln|det ∂x/∂y| in nats [B].

        It undoes the forward direction with `train=False`. With `train=True` a layer with batch
        statistics refuses: the batch that it should recover, and so its moments, are unknown.
        """
        raise NotImplementedError

    def log_prob(self, x: Array, context: Context) -> tuple[Array, dict[str, Array]]:
        """ln p(x) = ln N(f(x); 0, I) + ln|det ∂f/∂x| in nats [B], and its parts by name.

        Every prior is N(0, I). A learned prior, N(µ, σ²) on some dimensions given the others, is a
        final `Coupling`, (y − µ)/σ, whose log-determinant −Σ ln σ is the rest of its density.

        Returns:
          ln p(x), and {"prior", "log_det"}, which sum to it.
        """
        y, log_det = self.forward_and_log_det(x, context)
        prior = normal_log_prob(y)
        return prior + log_det, {"prior": prior, "log_det": log_det}


class Chain(Transform):
    """Transforms applied one after the other, from data to features; log-determinants add up.

    Attributes:
      transforms: the transforms, in forward order.
    """

    transforms: Sequence[Transform]

    @property
    def likelihood(self) -> Likelihood:
        """The loosest kind among the transforms."""
        return max((part.likelihood for part in self.transforms), key=ORDER.index, default="exact")

    @property
    def inverse_has_gradient(self) -> bool:
        """Whether that of each transform has."""
        return all(part.inverse_has_gradient for part in self.transforms)

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Applies the transforms in order."""
        log_det = jnp.zeros(x.shape[0])
        for transform in self.transforms:
            x, change = transform.forward_and_log_det(x, context)
            log_det += change
        return x, log_det

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Undoes the transforms, the last one first."""
        log_det = jnp.zeros(y.shape[0])
        for transform in reversed(self.transforms):
            y, change = transform.inverse_and_log_det(y, context)
            log_det += change
        return y, log_det


class Inverse(Transform):
    """Exchanges the forward and inverse directions of a transform.

    Attributes:
      transform: the transform to invert; to be trained, it must have no batch statistics.
    """

    transform: Transform

    @property
    def likelihood(self) -> Likelihood:
        """The transform's kind."""
        return self.transform.likelihood

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Applies the transform's inverse."""
        return self.transform.inverse_and_log_det(x, context)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Applies the transform."""
        return self.transform.forward_and_log_det(y, context)


def normal_log_prob(y: Array) -> Array:
    """ln N(y; 0, I) of each example in nats, [B, ...] to [B]."""
    return sum_of_example(gaussian_log_prob(y, 0.0, 0.0))


def sum_of_example(x: Array) -> Array:
    """Sums all dimensions of each example: [B, ...] to [B]."""
    return jnp.sum(x, tuple(range(1, x.ndim)))


def is_known(x: Array) -> bool:
    """Whether an array has values, so that they can be checked; inside `jit` it has none."""
    return not isinstance(x, jax.core.Tracer)
