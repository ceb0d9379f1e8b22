"""Networks of bidirectional GANs: dense encoders and generators, and critics of pairs (x, z).

The dense ones are those of BiGAN on MNIST (Donahue et al., 2017, 4.1); the convolutional ones are
the DCGAN's, in place of those of the papers, which have no padding. A critic has the form of ALI's
(Dumoulin et al., 2017, appendix A): features of x, features of z, and layers that see both. BiGAN's
critic adds a linear function of z to its second layer, which is this form without features of z.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.networks import dcgan, kinds
from gm_jax.networks.mlp import Mlp
from gm_jax.nn.activations import maxout
from gm_jax.nn.noise import Dropout

Array = jax.Array
Activation = Callable[[Array], Array]


class DenseEncoder(nn.Module):
    """A perceptron from images or points to latents.

    Attributes:
      num_latents: Z.
      widths: widths of the hidden layers.
      slope: slope of the leaky ReLU; 0 gives a ReLU.
      batch_norm: as for `Mlp`.
      dtype: dtype of the products.
    """

    num_latents: int
    widths: tuple[int, ...]
    slope: float
    batch_norm: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Maps [B, ...] to float32 [B, Z]; in training `batch_stats` must be mutable."""
        active = partial(nn.leaky_relu, negative_slope=self.slope)
        shared = {"batch_norm": self.batch_norm, "dtype": self.dtype}
        return Mlp(self.widths, self.num_latents, active, **shared)(x, train=train)


class DenseGenerator(nn.Module):
    """A perceptron from latents to images or points.

    Attributes:
      image_shape: shape of an image, or of a point.
      output: maps the last layer to the images.
      The others are as for `DenseEncoder`.
    """

    image_shape: tuple[int, ...]
    widths: tuple[int, ...]
    slope: float
    batch_norm: bool
    output: Activation = jnp.tanh
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, train: bool = False) -> Array:
        """Maps [B, Z] to float32 [B, *image_shape]; in training `batch_stats` must be mutable."""
        active = partial(nn.leaky_relu, negative_slope=self.slope)
        shared = {"batch_norm": self.batch_norm, "dtype": self.dtype}
        x = Mlp(self.widths, math.prod(self.image_shape), active, **shared)(z, train=train)
        return self.output(x.reshape(-1, *self.image_shape))


class PairCritic(nn.Module):
    """Judges pairs of an image or a point and a code, each by itself: it has no batch norm.

    Attributes:
      code_widths: widths of the layers that see z alone; () gives z itself.
      joint_widths: widths of the layers that see both.
      pieces: linear pieces of each maxout unit; 1 gives leaky ReLUs.
      slope: slope of the leaky ReLU.
      input_dropout_rate: share of the inputs that are dropped.
      dropout_rate: share of the units of every hidden layer that are dropped.
      dtype: dtype of the products.
    """

    code_widths: tuple[int, ...]
    joint_widths: tuple[int, ...]
    pieces: int
    slope: float
    input_dropout_rate: float
    dropout_rate: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, z: Array, index: Array | None = None) -> Array:
        """Maps x [B, ...] and z [B, Z] to the logits of "encoded", float32 [B].

        Args:
          x: images in [−1, 1], or points.
          z: their codes.
          index: int32 [B], the examples' numbers; their dropout (`rngs`) needs them.
        """

        def drop(rate: float, h: Array) -> Array:
            return h if index is None else Dropout(rate)(h, index, True)

        def active(h: Array) -> Array:
            h = nn.leaky_relu(h, self.slope) if self.pieces == 1 else maxout(h, self.pieces)
            return drop(self.dropout_rate, h)

        h = self.features(drop(self.input_dropout_rate, x), active)
        code = self.dense(drop(self.input_dropout_rate, z), self.code_widths, active)
        pair = jnp.concatenate([h.reshape(h.shape[0], -1), code], -1)
        pair = self.dense(pair, self.joint_widths, active)
        return nn.Dense(1, dtype=self.dtype)(pair)[:, 0].astype(jnp.float32)

    def features(self, x: Array, active: Activation) -> Array:
        """Maps x to features [B, ...], by layers that see x alone."""
        raise NotImplementedError

    def dense(self, h: Array, widths: tuple[int, ...], active: Activation) -> Array:
        """Dense layers, each followed by the nonlinearity."""
        for width in widths:
            h = active(nn.Dense(self.pieces * width, dtype=self.dtype)(h))
        return h


class DensePairCritic(PairCritic, kw_only=True):
    """Dense layers of the widths `widths` see x alone; () gives x itself."""

    widths: tuple[int, ...]

    def features(self, x: Array, active: Activation) -> Array:
        """Maps [B, ...] to [B, F]."""
        return self.dense(x.reshape(x.shape[0], -1), self.widths, active)


class ConvolutionalPairCritic(PairCritic, kw_only=True):
    """Convolutions see x alone; `kernel_size` and `layers` are as for the DCGAN's generator."""

    kernel_size: int
    layers: dcgan.Convolutions

    def features(self, x: Array, active: Activation) -> Array:
        """Maps images [B, H, W, C] to feature maps."""
        conv = partial(nn.Conv, kernel_init=dcgan.KERNEL, dtype=self.dtype)
        layers = tuple((self.pieces * features, stride) for features, stride in self.layers)
        return dcgan.convolved(x, conv, self.kernel_size, layers, lambda _, h: h, active)


ENCODERS: dict[str, type[nn.Module]] = {"dense": DenseEncoder, "convolutional": dcgan.Encoder}
GENERATORS: dict[str, type[nn.Module]] = {"dense": DenseGenerator, "convolutional": dcgan.Generator}
CRITICS: dict[str, type[nn.Module]] = {
    "dense": DensePairCritic,
    "convolutional": ConvolutionalPairCritic,
}


def create_encoder(config: Any, num_latents: int, dtype: Any) -> nn.Module:
    """Builds an encoder from a config's `kind` and the attributes of its class."""
    return kinds.create("encoder", config, ENCODERS, num_latents=num_latents, dtype=dtype)


def create_generator(
    config: Any, shape: tuple[int, ...], dtype: Any, output: Activation = jnp.tanh
) -> nn.Module:
    """Builds a generator of images or points from a config's `kind` and its class's attributes."""
    shared = {"image_shape": shape, "output": output, "dtype": dtype}
    return kinds.create("generator", config, GENERATORS, **shared)


def create_critic(config: Any, dtype: Any) -> nn.Module:
    """Builds a critic of pairs from a config's `kind` and the attributes of its class."""
    return kinds.create("discriminator", config, CRITICS, dtype=dtype)
