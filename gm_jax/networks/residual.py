"""i-ResNet (Behrmann et al., 2019) and Residual Flow (Chen et al., 2019), of images or points."""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.flows.actnorm import ActNorm
from gm_jax.flows.coupling import ChannelHalf
from gm_jax.flows.dequantise import Logit
from gm_jax.flows.reshape import FactorOut, Flatten, Squeeze
from gm_jax.flows.residual import Exact, LogDet, Residual, Series, geometric, poisson
from gm_jax.flows.transform import Chain, Context, Inverse, Transform
from gm_jax.nn.spectral_norm import SpectralNormConv, SpectralNormDense
from gm_jax.nn.weight_norm import NormalKernel

Array = jax.Array
# Of the singular vectors, in every update, as in i-ResNet's code. That of Residual Flow iterates
# until they change by 1e-3, but on CPU a loop of unknown length is slow. In both they are kept from
# update to update, and follow the weights.
ITERATIONS = 5
# P(N ≥ k), with the papers' numbers; `none` cuts the series, which is i-ResNet's.
ROULETTES = {"none": (), "geometric": geometric(0.5), "poisson": poisson(2.0)}


class LipSwish(nn.Module):
    """x·σ(s·x)/1.1 with a learned s = softplus(β) > 0: its slope is at most 1 (Eq. 10)."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Elementwise."""
        beta = self.param("beta", nn.initializers.constant(0.5), ())
        return x * nn.sigmoid(nn.softplus(beta) * x) / 1.1


class Elu(nn.Module):
    """ELU, whose slope is at most 1."""

    def __call__(self, x: Array) -> Array:
        """Elementwise."""
        return nn.elu(x)


ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": Elu, "lip_swish": LipSwish}


class LimitedConv(NormalKernel, SpectralNormConv):
    """A convolution with W/max(1, σ/limit), whose kernel is drawn with those of other layers."""

    kernel_std: float = 1.0
    kernel_name: ClassVar[str] = "kernel"


class LimitedDense(NormalKernel, SpectralNormDense):
    """The same for vectors."""

    kernel_std: float = 1.0
    kernel_name: ClassVar[str] = "kernel"


class LipschitzNetwork(nn.Module):
    """g: linear layers with W/max(1, σ/limit), and an activation between two.

    Vectors have dense layers. On images the first and the last layer are 3×3 convolutions and those
    between are 1×1; σ is that of the convolution at the images' size. The last kernel starts as
    1/1000 of the usual, as the authors' code does for points. Their images start with whole
    kernels, whose singular vectors 200 iterations find first; here they have time to settle while g
    is small. Biases start at 0.

    Attributes:
      widths: of the hidden layers.
      activation: a name in ACTIVATIONS.
      limit: largest σ of a layer, below 1.
      activate_first: whether an activation comes in front of the first layer, too.
      dtype: dtype of the products; the outputs are float32.
    """

    widths: Sequence[int]
    activation: str
    limit: float
    activate_first: bool
    dtype: Any = jnp.float32

    @property
    def lipschitz(self) -> float:
        """The product of the layers' limits, which bounds the constant."""
        return float(self.limit ** (len(self.widths) + 1))

    @nn.compact
    def __call__(self, x: Array, context: Context) -> Array:
        """Maps [B, ..., C] to float32 of the same shape."""
        del context
        outputs = (*self.widths, x.shape[-1])
        for number, features in enumerate(outputs):
            last = number == len(outputs) - 1
            if number or self.activate_first:
                x = ACTIVATIONS[self.activation]()(x)
            kernel = (1, 1) if number and not last else (3, 3)
            inputs = x.shape[-1] * (1 if x.ndim == 2 else math.prod(kernel))
            std = (3 * inputs) ** -0.5 * (1e-3 if last else 1)  # but for 1e-3, PyTorch's default
            shared: dict[str, Any] = {
                "kernel_init": nn.initializers.normal(std),
                "kernel_std": std,
                "iterations": ITERATIONS,
                "limit": self.limit,
                "dtype": self.dtype,
            }
            if x.ndim == 2:
                x = LimitedDense(features, **shared)(x)
            else:  # σ of a 1×1 convolution is that of its kernel as a matrix
                kind = "reshaped" if kernel == (1, 1) else "operator"
                x = LimitedConv(features, kernel, kind=kind, **shared)(x)
        return x.astype(jnp.float32)


def i_resnet(
    shape: tuple[int, ...],
    num_scales: int,
    num_blocks: int,
    features: int,
    activation: str,
    limit: float,
    num_terms: int,
    roulette: str,
    evaluation_terms: int,
    tolerance: float,
    dtype: Any = jnp.float32,
) -> Chain:
    """i-ResNet: blocks of actnorm and x + g(x), and a normal with learned moments at the end.

    Images are squeezed first. After each scale but the last they are squeezed again, and half of
    the channels leaves.

    Args:
      shape: the shape of an example: (H, W, C) with H and W multiples of 2^num_scales, or (D,).
      num_scales: 1 for points.
      num_blocks: blocks per scale.
      features: width of the hidden layers of g: two for images, four for points.
      activation: a name in ACTIVATIONS.
      limit: largest σ of a layer.
      num_terms: certain terms of the log-determinant in training; 0: it is exact.
      roulette: a name in ROULETTES, for further terms in training.
      evaluation_terms: certain terms in evaluation, with a roulette of finite variance for the
        others, so that the estimate is unbiased; 0: it is exact. The authors of i-ResNet evaluate
        it by the cut series of training, those of Residual Flow by 20 terms and the roulette of
        training.
      tolerance: bounds the error of a layer's inverse, ‖x − f⁻¹(y)‖₂.
      dtype: dtype of the products of g; everything else is float32.

    Raises:
      ValueError: a name is unknown, or the images do not fit.
    """
    _check(shape, num_scales, 2**num_scales)
    network = partial(LipschitzNetwork, activation=activation, limit=limit, dtype=dtype)
    residual = _layers(num_terms, roulette, evaluation_terms, tolerance)
    images = len(shape) == 3
    widths = (features,) * (2 if images else 4)
    places = itertools.count()

    def blocks() -> list[Transform]:
        layers: list[Transform] = []
        for place in itertools.islice(places, num_blocks):
            g = network(widths, activate_first=images and place > 0)
            layers += [ActNorm(1.0), residual(g, place)]
        return layers

    def scales(count: int) -> list[Transform]:
        if count == 1:
            return blocks()
        layers = blocks()
        rest = FactorOut(ChannelHalf(1), Chain(scales(count - 1)))
        return [*layers, Squeeze(), rest, Inverse(Squeeze())]

    if not images:
        return Chain([*blocks(), ActNorm(1.0)])
    moments = [Flatten(shape), ActNorm(1.0), Inverse(Flatten(shape))]
    return Chain([Squeeze(), *scales(num_scales), Inverse(Squeeze()), *moments])


def residual_flow(
    shape: tuple[int, ...],
    num_scales: int,
    num_blocks: int,
    features: int,
    num_dense_blocks: int,
    dense_features: int,
    activation: str,
    limit: float,
    num_terms: int,
    roulette: str,
    evaluation_terms: int,
    tolerance: float,
    logit_margin: float | None,
    dtype: Any = jnp.float32,
) -> Chain:
    """Residual Flow: an actnorm, then blocks of x + g(x) and actnorm, and a squeeze between scales.

    No channel leaves, the prior is N(0, I), and the last blocks have dense networks.

    Args:
      shape: the shape of an example: (H, W, C) with H and W multiples of 2^(num_scales − 1), or
        (D,).
      num_dense_blocks: blocks after the last scale, with dense networks of two hidden layers.
      dense_features: their width.
      logit_margin: if given, images are in [0, 1], and `flows.dequantise.Logit` comes first.
      num_scales: and the other arguments are those of `i_resnet`.

    Raises:
      ValueError: a name is unknown, or the images do not fit.
    """
    _check(shape, num_scales, 2 ** (num_scales - 1))
    network = partial(LipschitzNetwork, activation=activation, limit=limit, dtype=dtype)
    residual = _layers(num_terms, roulette, evaluation_terms, tolerance)
    images, places = len(shape) == 3, itertools.count()
    widths = (features,) * (2 if images else 4)
    layers: list[Transform] = [] if logit_margin is None else [Logit(logit_margin)]
    layers.append(ActNorm(1.0))
    for scale in range(num_scales):
        layers += [Squeeze()] if scale else []
        for place in itertools.islice(places, num_blocks):
            g = network(widths, activate_first=images and place > 0)
            layers += [residual(g, place), ActNorm(1.0)]
    side = 2 ** (num_scales - 1)
    flat = [Flatten((shape[0] // side, shape[1] // side, shape[2] * side**2))] if images else []
    layers += flat
    for place in itertools.islice(places, num_dense_blocks):
        g = network((dense_features,) * 2, activate_first=True)
        layers += [residual(g, place), ActNorm(1.0)]
    layers += [Inverse(layer) for layer in flat]
    return Chain([*layers, *(Inverse(Squeeze()) for _ in range(num_scales - 1))])


def _layers(
    num_terms: int, roulette: str, evaluation_terms: int, tolerance: float
) -> Callable[[LipschitzNetwork, int], Residual]:
    """Makes x + g(x) of a network and the layer's number."""
    if roulette not in ROULETTES:
        raise ValueError(
            f"model.network.roulette is '{roulette}'; choose among {', '.join(ROULETTES)}"
        )
    training: LogDet = Series(num_terms, ROULETTES[roulette]) if num_terms else Exact()

    def layer(network: LipschitzNetwork, number: int) -> Residual:
        if network.activation not in ACTIVATIONS:
            raise ValueError(
                f"model.network.activation is '{network.activation}'; choose among "
                f"{', '.join(ACTIVATIONS)}"
            )
        # The variance is finite, as Lip(g)² < 1 − p.
        evaluation = Series(evaluation_terms, geometric((1 - network.lipschitz**2) / 2))
        return Residual(
            network, number, training, evaluation if evaluation_terms else Exact(), tolerance
        )

    return layer


def _check(shape: tuple[int, ...], num_scales: int, multiple: int) -> None:
    """Refuses examples that do not fit the scales."""
    if len(shape) == 1 and num_scales != 1:
        raise ValueError(f"model.network.num_scales is {num_scales}, and points have 1 scale")
    if len(shape) == 3 and (shape[0] % multiple or shape[1] % multiple):
        raise ValueError(
            f"images of {shape[0]}×{shape[1]} pixels do not fit {num_scales} scales: height and "
            f"width must be multiples of {multiple}; lower model.network.num_scales, or set "
            "data.resize"
        )
