"""Generators and discriminators of SNGAN (Miyato et al., 2018, Tables 3, 4 and 5).

The kind of layers is an argument: spectral normalisation comes from a discriminator's `layers`. The
number of widths determines the depth and the image shape the size; the published widths are for
32×32. With classes, the label selects the generator's batch norm, and ⟨V_y, φ(x)⟩ is added to the
discriminator's logit (Miyato & Koyama, 2018).
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.networks import kinds
from gm_jax.networks.top_down_vae import STRIDED, top_size
from gm_jax.nn import batch_features as batch
from gm_jax.nn.batch_norm import BatchNorm
from gm_jax.nn.layers import PLAIN, Layers

Array = jax.Array
RESIDUAL = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")  # the authors' code
GLOROT = nn.initializers.glorot_uniform()


def project(
    features: Array,
    label: Array | None,
    num_classes: int | None,
    layers: Layers = PLAIN,
    use_bias: bool = True,
    batch_features: str = "none",
) -> Array:
    """Maps features [B, F] to logits [B]: a dense unit, plus the label's row if there is one.

    `batch_features`, one of `nn.batch_features.KINDS`, are appended to the features.
    """
    features = batch.append(batch_features, features)
    logits = layers.dense(1, use_bias=use_bias)(features)[:, 0]
    if num_classes is None:
        return logits
    assert label is not None  # there are classes
    return logits + jnp.sum(layers.embed(num_classes, features.shape[-1])(label) * features, -1)


class Generator(nn.Module):
    """The shared part of both generators: latents to feature maps, and feature maps to an image.

    Layers before a batch norm have no bias, since it would be undone (the authors' code has them).

    Attributes:
      image_shape: (H, W, C); H and W are multiples of 2^(len(widths) − 1).
      widths: channels from the image's resolution to the top; each one halves the resolution.
      batch_norm_decay, batch_norm_epsilon: settings of every batch norm.
      num_classes: number of classes of conditional batch norm, or None (the authors' last batch
        norm is not conditional).
      layers: the kind of layers that it uses.
      dtype: dtype of the convolutions.
    """

    image_shape: tuple[int, int, int]
    widths: tuple[int, ...]
    batch_norm_decay: float
    batch_norm_epsilon: float
    num_classes: int | None
    layers: Layers = PLAIN
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, label: Array | None = None, train: bool = False) -> Array:
        """Maps latents [B, Z] to images float32 [B, H, W, C] in [−1, 1].

        In training it normalises with the global batch, and `batch_stats` must be mutable.
        """

        def active(h: Array) -> Array:
            norm = BatchNorm(
                self.batch_norm_decay,
                self.batch_norm_epsilon,
                scale_init=nn.initializers.ones,
                num_classes=self.num_classes,
            )
            return nn.relu(norm(h, train, label))

        height, width = top_size(self.image_shape, self.widths)
        # Batch norm undoes what all positions share: the whole bias if there is only one position.
        dense = partial(self.layers.dense, use_bias=height * width > 1, dtype=self.dtype)
        h = dense(height * width * self.widths[-1], kernel_init=GLOROT)(z)
        h = self.upsample(h.reshape(-1, height, width, self.widths[-1]), active)
        conv = self.layers.conv(self.image_shape[-1], (3, 3), kernel_init=GLOROT, dtype=self.dtype)
        return jnp.tanh(conv(active(h)).astype(jnp.float32))

    def upsample(self, h: Array, active: Any) -> Array:
        """Maps [B, h, w, top width] to [B, H, W, first width], with layers after `active`."""
        raise NotImplementedError


class ConvolutionalGenerator(Generator):
    """Table 3: transposed convolutions."""

    def upsample(self, h: Array, active: Any) -> Array:
        """Each layer doubles the resolution."""
        for width in reversed(self.widths[:-1]):
            deconv = self.layers.deconv(width, **STRIDED, use_bias=False, dtype=self.dtype)
            h = deconv(active(h))
        return h


class ResidualGenerator(Generator):
    """Tables 4 and 5: residual blocks, each of which doubles the resolution."""

    def upsample(self, h: Array, active: Any) -> Array:
        """Each block doubles the resolution."""
        conv = partial(self.layers.conv, use_bias=False, dtype=self.dtype)
        for width in reversed(self.widths[:-1]):
            hidden = conv(width, (3, 3), kernel_init=RESIDUAL)(_double(active(h)))
            hidden = conv(width, (3, 3), kernel_init=RESIDUAL)(active(hidden))
            h = hidden + conv(width, (1, 1), kernel_init=GLOROT)(_double(h))
        return h


class ConvolutionalDiscriminator(nn.Module):
    """Table 3: at every resolution a 3×3 convolution, then a strided one.

    The paper's table and its authors' other descriptions disagree about which convolution doubles
    the channels: the 3×3 one (2.94 million parameters for 32×32 images) or the strided one (5.86).

    Attributes:
      widths: channels from the image's resolution down; each one halves the resolution (64 … 512).
      slope: slope of the leaky ReLU (published: .1).
      num_classes: number of classes of the projection, or None.
      double_when_strided: whether the strided convolution doubles the channels.
      batch_features: one of `nn.batch_features.KINDS`, appended before the last layer.
      layers: the kind of layers that it uses.
      dtype: dtype of the convolutions.
    """

    widths: tuple[int, ...]
    slope: float
    num_classes: int | None
    double_when_strided: bool = False
    batch_features: str = "none"
    layers: Layers = PLAIN
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, label: Array | None = None) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to the logits of "real", float32 [B]."""
        active = partial(nn.leaky_relu, negative_slope=self.slope)
        conv = partial(self.layers.conv, dtype=self.dtype)
        strided = self.widths[1:] if self.double_when_strided else self.widths[:-1]
        for width, strided_width in zip(self.widths, strided, strict=False):
            x = active(conv(width, (3, 3))(x))
            x = active(conv(strided_width, **STRIDED)(x))
        x = active(conv(self.widths[-1], (3, 3))(x))
        features = x.reshape(x.shape[0], -1).astype(jnp.float32)
        of_batch = self.batch_features
        return project(features, label, self.num_classes, self.layers, batch_features=of_batch)


class ResidualDiscriminator(nn.Module):
    """Tables 4 and 5: residual blocks, the sum over all positions, a dense unit.

    The unit has no bias, as in the authors' code for CIFAR-10; for STL-10 this is unknown.

    Attributes:
      widths: widths of the blocks (CIFAR-10: 128 four times; STL-10: 64, 128, 256, 512, 1024).
      num_down: number of blocks, from the first, that halve the resolution (2; 4).
      The others are as for `ConvolutionalDiscriminator`.
    """

    widths: tuple[int, ...]
    num_down: int
    num_classes: int | None
    batch_features: str = "none"
    layers: Layers = PLAIN
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, label: Array | None = None) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to the logits of "real", float32 [B]."""
        conv = partial(self.layers.conv, dtype=self.dtype)
        residual = partial(conv, kernel_size=(3, 3), kernel_init=RESIDUAL)
        shortcut = partial(conv, kernel_size=(1, 1), kernel_init=GLOROT)
        for block, width in enumerate(self.widths):
            down = block < self.num_down
            # The first block sees pixels: it has no ReLU before it, and its hidden layer is as wide
            # as its output. A shortcut averages before its convolution: equivalent but cheaper.
            hidden_width = x.shape[-1] if block else width
            hidden = residual(hidden_width)(nn.relu(x) if block else x)
            hidden = residual(width)(nn.relu(hidden))
            if down:
                hidden, x = _halve(hidden), _halve(x)
            if down or x.shape[-1] != width:
                x = shortcut(width)(x)
            x = x + hidden
        features = jnp.sum(nn.relu(x).astype(jnp.float32), axis=(1, 2))
        return project(
            features,
            label,
            self.num_classes,
            self.layers,
            use_bias=False,
            batch_features=self.batch_features,
        )


def _double(x: Array) -> Array:
    """Repeats every pixel of [B, H, W, C] in a square of four."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def _halve(x: Array) -> Array:
    """Averages [B, H, W, C] over squares of four pixels."""
    return nn.avg_pool(x, (2, 2), (2, 2))


GENERATORS: dict[str, type[Generator]] = {
    "convolutional": ConvolutionalGenerator,
    "residual": ResidualGenerator,
}
DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "convolutional": ConvolutionalDiscriminator,
    "residual": ResidualDiscriminator,
}


def create_generator(config: Any, image_shape: tuple[int, int, int], **shared: Any) -> Generator:
    """Builds a generator from a config's `kind` and the attributes that are not `shared`."""
    return kinds.create("generator", config, GENERATORS, image_shape=image_shape, **shared)


def create_discriminator(config: Any, **shared: Any) -> nn.Module:
    """Builds a discriminator from a config's `kind` and the attributes that are not `shared`."""
    return kinds.create("discriminator", config, DISCRIMINATORS, **shared)
