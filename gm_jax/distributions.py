"""Log-densities in nats, their samplers, and the only conversion to bits/dim.

Discrete images have `levels` values: level v lies at x = 2v / (levels − 1) − 1 in [−1, 1] and
stands for the interval of half-width 1 / (levels − 1) around it. All computations are in float32.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gm_jax.choices import differences

Array = jax.Array
Nats = TypeVar("Nats", jax.Array, np.ndarray, float)

# The published PixelCNN++ keeps the log-scales of its mixtures above this.
MIN_LOG_SCALE = -7.0


def scale_to_unit(images: ArrayLike, levels: int) -> Array:
    """Scales the values of an image to [−1, 1]: x = 2v / (levels − 1) − 1.

    Args:
      images: integers of any shape in 0..levels−1.
      levels: number of values, 2..256; here and below any other raises a ValueError.

    Returns:
      float32 of the same shape in [−1, 1], symmetric about 0, identical with and without jit.
    """
    _check_levels(levels)
    # This rounds a single product; 2v / (levels − 1) − 1 can give 1.0000001 under jit.
    steps = 2.0 * jnp.asarray(images).astype(jnp.float32) - (levels - 1)
    return steps * (1.0 / (levels - 1))


def quantize(x: ArrayLike, levels: int) -> Array:
    """Rounds to the nearest level and clips: the inverse of `scale_to_unit`.

    Args:
      x: float of any shape; values outside [−1, 1] go to the end levels.
      levels: number of values, 2..256.

    Returns:
      uint8 of the same shape in 0..levels−1.
    """
    _check_levels(levels)
    values = jnp.round((jnp.asarray(x).astype(jnp.float32) + 1.0) * ((levels - 1) / 2))
    return jnp.clip(values, 0, levels - 1).astype(jnp.uint8)


def discretized_logistic_log_prob(
    x: ArrayLike, mean: ArrayLike, log_scale: ArrayLike, levels: int = 256
) -> Array:
    """Log-mass of the level at x under a logistic; the two end levels take the tails.

    log[σ(a) − σ(b)] with a = (x + h − mean) / s, b = (x − h − mean) / s, h = 1 / (levels − 1)
    (Salimans et al. 2017, Eq. 2), rewritten as log σ(a) + log σ(−b) + log(1 − e^(b−a)): in float32
    the difference of two sigmoids loses half of its digits if the mass is below 1e-3. Departure:
    the published code replaces masses below 1e-5 by density × width; this is their exact value,
    with finite gradients, so the probabilities sum to one at every scale.

    AGAVE's auxiliary likelihood with b colour levels (thesis Eq. 3.17, with tails) is this function
    with levels=b, the mean multiplied by b / (b − 1), and ln(b / (b − 1)) added to the log-scale:
    its bins are b equal steps of [−1, 1], whereas our end bins are centred on −1 and 1.

    Args:
      x: float in [−1, 1], on the grid of levels (see `scale_to_unit`).
      mean: float, any real number in the units of x.
      log_scale: float, natural logarithm of the scale in the units of x; −80..80.
      levels: number of values, 2..256. The three arrays broadcast, such as [B, H, W, C] with [C].

    Returns:
      float32 of the broadcast shape, nats.

    Raises:
      ValueError: if x holds unscaled uint8 values.
    """
    _check_levels(levels)
    x, mean, log_scale = _as_float(x), _as_float(mean), _as_float(log_scale)
    half_width = 1.0 / (levels - 1)
    inverse_scale = jnp.exp(-log_scale)
    centred = x - mean
    # End levels are recognised half-way to their neighbours, so rounding of x does no harm.
    has_upper_edge = x < 1.0 - half_width
    has_lower_edge = x > -1.0 + half_width
    below_upper = jax.nn.log_sigmoid((centred + half_width) * inverse_scale)
    above_lower = jax.nn.log_sigmoid((half_width - centred) * inverse_scale)
    width = jnp.log(-jnp.expm1(-2.0 * half_width * inverse_scale))
    # All three are finite everywhere, and so are the gradients of the branches not taken.
    return (
        jnp.where(has_upper_edge, below_upper, 0.0)
        + jnp.where(has_lower_edge, above_lower, 0.0)
        + jnp.where(has_upper_edge & has_lower_edge, width, 0.0)
    )


def discretized_logistic_masses(mean: ArrayLike, log_scale: ArrayLike, levels: int = 256) -> Array:
    """Masses of all levels under a logistic, which `discretized_logistic_log_prob` gives for one.

    They are differences of the cumulative distribution in float32, so that a mass below 1e-7 may be
    zero; they sum to one.

    Args:
      mean, log_scale: float, broadcastable to one shape [...].
      levels: number of values, 2..256.

    Returns:
      float32 [..., levels].
    """
    return differences(_logistic_cdf(mean, log_scale, levels))


def discretized_logistic_sample(
    mean: ArrayLike,
    log_scale: ArrayLike,
    logistic_noise: Array,
    levels: int = 256,
    temperature: float = 1.0,
) -> Array:
    """Draws from the discretized logistic: mean + temperature · scale · noise, rounded to a level.

    Args:
      mean: float [..., C], in the units of x.
      log_scale: float, broadcastable to the mean.
      logistic_noise: float [..., C], from `noise.standard_logistic`.
      levels: number of values, 2..256.
      temperature: multiplies the scale; 0 gives the rounded mean.

    Returns:
      float32 [..., C] in [−1, 1], on the grid of levels.
    """
    scale = jnp.exp(_as_float(log_scale)) * temperature
    return scale_to_unit(quantize(_as_float(mean) + scale * logistic_noise, levels), levels)


def num_mixture_parameters(num_mixtures: int, channels: int) -> int:
    """Parameters per pixel of a mixture of K logistics over C channels: K(1 + 2C + C(C−1)/2)."""
    return num_mixtures * (1 + 2 * channels + channels * (channels - 1) // 2)


def discretized_logistic_mixture_log_prob(
    x: ArrayLike,
    parameters: ArrayLike,
    levels: int = 256,
    min_log_scale: float = MIN_LOG_SCALE,
) -> Array:
    """Log-probability of pixels under the PixelCNN++ mixture (Salimans et al. 2017, Eqs. 1–3).

    log Σ_k π_k Π_c P(x_c | m_ck + Σ_{j<c} tanh(coefficient_cjk) · x_j, s_ck), with log s_ck ≥ −7
    unless `min_log_scale` says otherwise.

    The last axis consists of runs of length K: the mixture logits, then for each channel a block
    [means, log-scales, coefficients]. The coefficients (target ← source) G←R, B←R, B←G, then those
    of a fourth channel and so on, are dealt to the blocks in turn, one run each. For RGB every
    block has one, which is the published layout; a single channel has none.

    Args:
      x: float [B, H, W, C] in [−1, 1], on the grid of levels (see `scale_to_unit`).
      parameters: float [B, H, W, K(1 + 2C + C(C−1)/2)]: 10K for RGB, 3K for one channel.
      levels: number of values, 2..256.
      min_log_scale: lower bound to which log-scales are clipped, in the units of x.

    Returns:
      float32 [B, H, W], nats, summed over the channels.

    Raises:
      ValueError: if the parameters fit no K, the ranks differ, or x holds unscaled uint8 values.
    """
    x, parameters = _as_float(x), _as_float(parameters)
    if x.ndim != parameters.ndim:
        raise ValueError(
            f"x has shape {x.shape} and parameters {parameters.shape}: they should differ only in "
            "the last axis"
        )
    channels = x.shape[-1]
    num_mixtures = _num_mixtures(parameters.shape[-1], channels)
    logits, *runs = jnp.split(parameters, parameters.shape[-1] // num_mixtures, axis=-1)
    log_joint = logits
    pixel = [x[..., channel, None] for channel in range(channels)]
    for channel in range(channels):
        mean, log_scale = _conditional_logistic(runs, channels, pixel[:channel], min_log_scale)
        log_joint += discretized_logistic_log_prob(pixel[channel], mean, log_scale, levels)
    return jax.nn.logsumexp(log_joint, axis=-1) - jax.nn.logsumexp(logits, axis=-1)


def discretized_logistic_mixture_masses(
    known: Sequence[ArrayLike],
    parameters: ArrayLike,
    channels: int,
    levels: int = 256,
    min_log_scale: float = MIN_LOG_SCALE,
) -> Array:
    """Masses of all levels of a pixel's next channel, given those before it.

    The channels share the mixture: P(x_c | x_<c) has the weights π_k Π_{j<c} P_k(x_j | x_<j), up to
    a factor. The product of a pixel's masses is `discretized_logistic_mixture_log_prob`'s.

    Args:
      known: the values of the channels before it, float [...] in [−1, 1] each.
      parameters: float [..., K(1 + 2C + C(C−1)/2)], as for the log-probability.
      channels: C.
      levels: number of values, 2..256.
      min_log_scale: as for the log-probability.

    Returns:
      float32 [..., levels]; they sum to one, and those below 1e-7 may be zero.
    """
    parameters = _as_float(parameters)
    num_mixtures = _num_mixtures(parameters.shape[-1], channels)
    logits, *runs = jnp.split(parameters, parameters.shape[-1] // num_mixtures, axis=-1)
    pixel = [_as_float(value)[..., None] for value in known]
    for channel in range(len(pixel)):
        mean, log_scale = _conditional_logistic(runs, channels, pixel[:channel], min_log_scale)
        logits += discretized_logistic_log_prob(pixel[channel], mean, log_scale, levels)
    mean, log_scale = _conditional_logistic(runs, channels, pixel, min_log_scale)
    weights = jax.nn.softmax(logits)[..., None]
    return differences(jnp.sum(weights * _logistic_cdf(mean, log_scale, levels), -2))


def discretized_logistic_mixture_sample(
    parameters: ArrayLike,
    gumbel_noise: Array,
    logistic_noise: Array,
    levels: int = 256,
    temperature: float = 1.0,
    min_log_scale: float = MIN_LOG_SCALE,
) -> Array:
    """Draws pixels from the PixelCNN++ mixture, channel after channel (R, G, B).

    The component is the argmax of logits / temperature + Gumbel noise. Each channel is clipped and
    rounded to its level before it conditions the next, so that the frequencies agree with
    `discretized_logistic_mixture_log_prob` (the published code conditions on unrounded values).

    Args:
      parameters: float [B, H, W, K(1 + 2C + C(C−1)/2)], as for the log-probability.
      gumbel_noise: float [B, H, W, K], standard Gumbel.
      logistic_noise: float [B, H, W, C], from `noise.standard_logistic`.
      levels: number of values, 2..256.
      temperature: divides the logits and multiplies the scales; 0 gives the rounded means of the
        likeliest component.
      min_log_scale: as for the log-probability.

    Returns:
      float32 [B, H, W, C] in [−1, 1], on the grid of levels.

    Raises:
      ValueError: if the parameters fit no K, or a noise array does not have the matching shape.
    """
    parameters = _as_float(parameters)
    *pixels, count = parameters.shape
    channels = logistic_noise.shape[-1]
    num_mixtures = _num_mixtures(count, channels)
    for name, noise, size in (
        ("gumbel_noise", gumbel_noise, num_mixtures),
        ("logistic_noise", logistic_noise, channels),
    ):
        if noise.shape != (*pixels, size):
            raise ValueError(f"{name} has shape {noise.shape} instead of {(*pixels, size)}")
    # Scores multiplied by the temperature have the same argmax, which exists at temperature 0 too.
    scores = parameters[..., :num_mixtures] + temperature * gumbel_noise
    component = jnp.argmax(scores, axis=-1)[..., None, None]
    runs = parameters.reshape(*pixels, count // num_mixtures, num_mixtures)
    of_component = jnp.take_along_axis(runs, component, axis=-1)[..., 0]
    chosen = [of_component[..., run] for run in range(1, count // num_mixtures)]
    pixel: list[Array] = []
    for channel in range(channels):
        mean, log_scale = _conditional_logistic(chosen, channels, pixel, min_log_scale)
        noise = logistic_noise[..., channel]
        pixel.append(discretized_logistic_sample(mean, log_scale, noise, levels, temperature))
    return jnp.stack(pixel, axis=-1)


def gaussian_log_prob(x: Array, mean: Array | float, log_std: Array | float) -> Array:
    """Log-density of a normal: −½ ln 2π − log_std − ½ ((x − mean) / std)².

    Args:
      x, mean, log_std: float, broadcastable to one shape.

    Returns:
      float of the broadcast shape, nats.
    """
    standardised = (x - mean) * jnp.exp(-log_std)
    return -0.5 * math.log(2.0 * math.pi) - log_std - 0.5 * jnp.square(standardised)


def gaussian_kl(
    mean_q: Array | float,
    log_std_q: Array | float,
    mean_p: Array | float,
    log_std_p: Array | float,
) -> Array:
    """KL(q ‖ p) of two normals: ln(std_p / std_q) + (std_q² + (mean_q − mean_p)²) / 2 std_p² − ½.

    Args:
      mean_q, log_std_q: float, parameters of q, over which the expectation is taken.
      mean_p, log_std_p: float, parameters of p; the four broadcast to one shape.

    Returns:
      float of the broadcast shape, nats.
    """
    log_ratio = log_std_q - log_std_p
    # expm1 loses no digits when the posterior is close to the prior.
    shift = (mean_q - mean_p) * jnp.exp(-log_std_p)
    return 0.5 * (jnp.expm1(2.0 * log_ratio) + jnp.square(shift)) - log_ratio


def bits_per_dim(log_likelihood: Nats, image_shape: Sequence[int]) -> Nats:
    """Bits per sub-pixel: −log_likelihood / (H · W · C · ln 2).

    Args:
      log_likelihood: nats per image, any shape (or their mean).
      image_shape: (H, W, C) of one image, without a batch axis.

    Returns:
      Bits/dim, in the shape of the log-likelihood.

    Raises:
      ValueError: if `image_shape` is not three positive sizes.
    """
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(
            f"image_shape is {tuple(image_shape)} instead of (height, width, channels)"
        )
    return -log_likelihood / (math.prod(image_shape) * math.log(2.0))


def _conditional_logistic(
    runs: Sequence[Array], channels: int, previous: Sequence[Array], min_log_scale: float
) -> tuple[Array, Array]:
    """Mean and log-scale of channel c = len(previous), given the channels before it.

    `runs` holds the parameters after the logits, one array per run (for the layout see
    `discretized_logistic_mixture_log_prob`); the values in `previous` broadcast to a run.
    """
    channel = len(previous)
    # A block is a mean, a log-scale and its coefficients: those of pairs block, block + C, ...
    pairs = channels * (channels - 1) // 2
    starts = [0]
    for block in range(channels - 1):
        starts.append(starts[-1] + 2 + len(range(block, pairs, channels)))
    mean, log_scale = runs[starts[channel]], runs[starts[channel] + 1]
    for pair, value in enumerate(previous, start=channel * (channel - 1) // 2):
        deal, block = divmod(pair, channels)
        mean += jnp.tanh(runs[starts[block] + 2 + deal]) * value
    return mean, jnp.maximum(log_scale, min_log_scale)


def _logistic_cdf(mean: ArrayLike, log_scale: ArrayLike, levels: int) -> Array:
    """P(x below the edge above each level but the last), [..., levels − 1]."""
    edges = scale_to_unit(jnp.arange(levels - 1), levels) + 1.0 / (levels - 1)
    centred = edges - _as_float(mean)[..., None]
    return jax.nn.sigmoid(centred * jnp.exp(-_as_float(log_scale))[..., None])


def _num_mixtures(count: int, channels: int) -> int:
    """K for a pixel with `count` parameters."""
    each = num_mixture_parameters(1, channels)
    if count < each or count % each:
        raise ValueError(
            f"{count} parameters per pixel fit no number of mixtures: images of {channels} "
            f"channel(s) need a multiple of {each}"
        )
    return count // each


def _check_levels(levels: int) -> None:
    if not 2 <= levels <= 256:
        raise ValueError(f"levels is {levels}; images have 2 to 256 levels")


def _as_float(x: ArrayLike) -> Array:
    """Converts to float32, whatever the dtype of matrix products; refuses raw uint8 images."""
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.unsignedinteger):
        raise ValueError(
            f"{x.dtype} values where floats in [-1, 1] are expected: "
            "call scale_to_unit(images, levels) first"
        )
    return x.astype(jnp.float32)
