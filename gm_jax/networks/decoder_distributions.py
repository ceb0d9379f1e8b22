"""The distribution of an image that the outputs of a decoder stand for."""

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from gm_jax import distributions
from gm_jax.choices import Choose
from gm_jax.networks.pixel_distributions import (
    Drawn,
    LogisticMixture,
    Param,
    Parameters,
    PixelDistribution,
    Shape,
    chosen_in_turn,
    gumbel_noise,
)
from gm_jax.nn.noise import Noise

Array = jax.Array


class DecoderDistribution(PixelDistribution, Protocol):
    """One whose parameters a decoder gives, some of which may be the same for all images.

    Attributes:
      continuous: whether it is a density of images that are dequantised in [−1, 1], whose volume
        of a level is to be counted.
    """

    continuous: bool

    def num_outputs(self, channels: int) -> int:
        """Outputs of the network a pixel."""

    def parameters(self, outputs: Array, param: Param) -> Parameters:
        """The parameters, of outputs [B, H, W, P] and of what `param` learns for all images."""

    def mean(self, parameters: Parameters) -> Array:
        """The means of the images, in [−1, 1]."""


@dataclasses.dataclass(frozen=True)
class DiscretizedLogistic:
    """Independent logistics, discretized to the levels of the image.

    Attributes:
      levels: number of levels of a value.
      init_log_scale: log-scale of the logistics where the network gives 0.
    """

    levels: int
    init_log_scale: float
    continuous = False

    def num_outputs(self, channels: int) -> int:
        """A mean and a log-scale for each value."""
        return 2 * channels

    def parameters(self, outputs: Array, param: Param) -> tuple[Array, Array]:
        """Means and log-scales, [B, H, W, C]."""
        mean, log_scale = jnp.split(outputs, 2, -1)
        return mean, jnp.maximum(self.init_log_scale + log_scale, distributions.MIN_LOG_SCALE)

    def log_prob(self, x: Array, parameters: tuple[Array, Array]) -> Array:
        """ln p of images, in nats [B]."""
        log_prob = distributions.discretized_logistic_log_prob(x, *parameters, self.levels)
        return jnp.sum(log_prob, (1, 2, 3))

    def noise(self, noise: Noise, image_shape: Shape) -> Drawn:
        """Standard logistic [B, H, W, C]."""
        return (noise.logistic(*image_shape),)

    def draw(self, parameters: tuple[Array, Array], drawn: Drawn, temperature: float) -> Array:
        """Draws images; the temperature multiplies the scales."""
        (mean, log_scale), (logistic,) = parameters, drawn
        return distributions.discretized_logistic_sample(
            mean, log_scale, logistic, self.levels, temperature
        )

    def chosen(self, parameters: tuple[Array, Array], given: Array, choose: Choose) -> Array:
        """The images whose values `choose` chooses."""

        def masses(known: list[Array]) -> Array:
            mean, log_scale = (part[..., len(known)] for part in parameters)
            return distributions.discretized_logistic_masses(mean, log_scale, self.levels)

        return chosen_in_turn(masses, given, self.levels, choose)

    def mean(self, parameters: tuple[Array, Array]) -> Array:
        """The means of the logistics, clipped."""
        return jnp.clip(parameters[0], -1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Bernoulli(DiscretizedLogistic):
    """Images of two levels: logistics with a scale of 1, whose means are the logits."""

    levels: int = 2
    init_log_scale: float = 0.0

    def num_outputs(self, channels: int) -> int:
        """A logit for each value."""
        return channels

    def parameters(self, outputs: Array, param: Param) -> tuple[Array, Array]:
        """Logits, and log-scales of 0, [B, H, W, C]."""
        return outputs, jnp.zeros_like(outputs)

    def mean(self, parameters: tuple[Array, Array]) -> Array:
        """The means of what is −1 or 1."""
        return jnp.tanh(parameters[0] / 2)


@dataclasses.dataclass(frozen=True)
class Softmax:
    """Each value has one of the levels, by a softmax (van den Oord et al., 2016; T 2155–2170).

    It knows nothing of the order of the levels.
    """

    levels: int
    continuous = False

    def num_outputs(self, channels: int) -> int:
        """A logit for each level of each value."""
        return self.levels * channels

    def parameters(self, outputs: Array, param: Param) -> Array:
        """Logits [B, H, W, C, levels]."""
        return outputs.reshape(*outputs.shape[:-1], -1, self.levels)

    def log_prob(self, x: Array, parameters: Array) -> Array:
        """ln p of images, in nats [B]."""
        level = distributions.quantize(x, self.levels).astype(jnp.int32)[..., None]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(parameters), level, -1)
        return jnp.sum(chosen, (1, 2, 3, 4))

    def noise(self, noise: Noise, image_shape: Shape) -> Drawn:
        """Gumbel [B, H, W, C, levels]."""
        return (gumbel_noise(noise, (*image_shape, self.levels)),)

    def draw(self, parameters: Array, drawn: Drawn, temperature: float) -> Array:
        """Draws images; the temperature divides the logits, and 0 takes the likeliest levels."""
        (gumbel,) = drawn
        chosen = jnp.argmax(parameters + temperature * gumbel, -1)
        return distributions.scale_to_unit(chosen, self.levels)

    def chosen(self, parameters: Array, given: Array, choose: Choose) -> Array:
        """The images whose values `choose` chooses."""
        masses = jax.nn.softmax(parameters)
        return chosen_in_turn(lambda known: masses[..., len(known), :], given, self.levels, choose)

    def mean(self, parameters: Array) -> Array:
        """The means of the levels."""
        values = distributions.scale_to_unit(jnp.arange(self.levels), self.levels)
        return jnp.einsum("...l,l->...", jax.nn.softmax(parameters), values, precision="highest")


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A density of dequantised images (thesis 2.10.1): N(x; µ, σ²).

    Attributes:
      spread: of what σ is: `one` of all values, `channel`, or `pixel`, which the network gives.
      init_log_std: ln σ before training.
    """

    spread: str
    init_log_std: float
    continuous = True

    def num_outputs(self, channels: int) -> int:
        """A mean for each value, and a log-deviation if they differ by pixel."""
        return 2 * channels if self.spread == "pixel" else channels

    def parameters(self, outputs: Array, param: Param) -> tuple[Array, Array]:
        """Means [B, H, W, C], and log-deviations that broadcast to them."""
        if self.spread == "pixel":
            mean, own = jnp.split(outputs, 2, -1)
        else:
            size = outputs.shape[-1] if self.spread == "channel" else 1
            mean, own = outputs, param("log_std", jax.nn.initializers.zeros, (size,))
        return mean, jnp.maximum(self.init_log_std + own, distributions.MIN_LOG_SCALE)

    def log_prob(self, x: Array, parameters: tuple[Array, Array]) -> Array:
        """ln p of images, in nats [B]."""
        return jnp.sum(distributions.gaussian_log_prob(x, *parameters), (1, 2, 3))

    def noise(self, noise: Noise, image_shape: Shape) -> Drawn:
        """Standard normal [B, H, W, C]."""
        return (noise.normal(*image_shape),)

    def draw(self, parameters: tuple[Array, Array], drawn: Drawn, temperature: float) -> Array:
        """Draws images; the temperature multiplies the deviations."""
        mean, log_std = parameters
        return mean + temperature * jnp.exp(log_std) * drawn[0]

    def mean(self, parameters: tuple[Array, Array]) -> Array:
        """The means, clipped."""
        return jnp.clip(parameters[0], -1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class FullGaussian:
    """A density of dequantised images with one covariance for all (thesis 2.10.1).

    A(x − µ) is standard normal, and A, lower triangular, is learned: for small images, as it has
    as many numbers as pairs of values.

    Attributes:
      init_log_std: ln σ before training, when A = I/σ.
    """

    init_log_std: float
    continuous = True

    def num_outputs(self, channels: int) -> int:
        """A mean for each value."""
        return channels

    def parameters(self, outputs: Array, param: Param) -> tuple[Array, Array]:
        """Means [B, H, W, C], and A [D, D].

        Raises:
          ValueError: the images have more than 1,024 values.
        """
        size = math.prod(outputs.shape[1:])
        if size > 1024:
            raise ValueError(
                f"model.likelihood is 'gaussian_full', for images of {size} values, and would "
                f"learn {size}² numbers; give gaussian_pixel, or images of at most 1,024 values"
            )
        free = param("precision_root", jax.nn.initializers.zeros, (size, size))
        diagonal = jnp.exp(jnp.diag(free) - self.init_log_std)
        return outputs, jnp.tril(free, -1) + jnp.diag(diagonal)

    def log_prob(self, x: Array, parameters: tuple[Array, Array]) -> Array:
        """ln p of images, in nats [B]."""
        mean, root = parameters
        offset = (x - mean).reshape(x.shape[0], -1)
        whitened = jnp.einsum("ij,bj->bi", root, offset, precision="highest")
        log_det = jnp.sum(jnp.log(jnp.diag(root)))
        return log_det + jnp.sum(distributions.gaussian_log_prob(whitened, 0.0, 0.0), -1)

    def noise(self, noise: Noise, image_shape: Shape) -> Drawn:
        """Standard normal [B, H, W, C]."""
        return (noise.normal(*image_shape),)

    def draw(self, parameters: tuple[Array, Array], drawn: Drawn, temperature: float) -> Array:
        """Draws images; the temperature multiplies the deviations."""
        mean, root = parameters
        flat = drawn[0].reshape(mean.shape[0], -1)
        offset = jax.scipy.linalg.solve_triangular(root, flat.T, lower=True).T
        return mean + temperature * offset.reshape(mean.shape)

    def mean(self, parameters: tuple[Array, Array]) -> Array:
        """The means, clipped."""
        return jnp.clip(parameters[0], -1.0, 1.0)


_NUM_MIXTURES = 10  # as in PixelCNN++
# {name: (levels, initial log-scale) -> what a decoder may give}
LIKELIHOODS: dict[str, Callable[[int, float], DecoderDistribution]] = {
    "bernoulli": lambda levels, scale: Bernoulli(),
    "discretized_logistic": DiscretizedLogistic,
    "logistic_mixture": lambda levels, scale: LogisticMixture(levels, _NUM_MIXTURES),
    "softmax": lambda levels, scale: Softmax(levels),
    "gaussian": lambda levels, scale: Gaussian("one", scale),
    "gaussian_channel": lambda levels, scale: Gaussian("channel", scale),
    "gaussian_pixel": lambda levels, scale: Gaussian("pixel", scale),
    "gaussian_full": lambda levels, scale: FullGaussian(scale),
}
