"""Ancestral sampling of a PixelCNN with the operations of one pass (Ramachandran et al., 2017).

Pixels are drawn in raster order, and every layer runs once at every position: u a row at a time, ul
a pixel at a time, and a coarser scale whenever one of its rows or pixels begins. A convolution sees
one row up, so its cache is the last row of its inputs. Rows and columns are unrolled over the
period of the coarsest scale: the scales to run are known at compile time, and no cache passes
through a conditional, which would copy it.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from gm_jax.networks.pixel_distributions import Drawn
from gm_jax.networks.pixelcnn import GatedResnet, PixelCNN, down_shifted_conv
from gm_jax.nn.weight_norm import WeightNormConv

Array = jax.Array
Conditions = list[tuple[Array, ...]] | None
Cache = dict[str, Array]
Carry = tuple[Array, Cache, Cache]
LAYOUT = ("NHWC", "HWIO", "NHWC")


def sample_with_cache(
    network: PixelCNN,
    variables: dict[str, Any],
    conditions: Conditions,
    draw: Callable[[Array, Drawn], Array],
    noise: Drawn,
    image_shape: tuple[int, int, int],
) -> Array:
    """Returns the ancestral sample that the noise determines, as `sample_by_fixed_point` does.

    Args:
      network, variables: the network to sample from, and its {"params": tree}.
      conditions: the network's conditions, a pair of [B, h, w, 2F] per layer; or None.
      draw: maps parameters and noise to pixels, each by itself.
      noise: arrays [B, H, W, ...].
      image_shape: (H, W, C).

    Returns:
      Images float32 [B, H, W, C].

    Raises:
      ValueError: the scales do not divide the image, or the noise has another shape.
    """
    shape = (noise[0].shape[0], *image_shape)
    if any(part.shape[:3] != shape[:3] for part in noise):
        shapes = " and ".join(str(part.shape) for part in noise)
        raise ValueError(f"noise of shapes {shapes} for {image_shape=}: draw it for this shape")
    caches = _empty_caches(network, variables, conditions, shape)
    model = _Model.create(network, variables, conditions)
    period = 2 ** (network.num_scales - 1)

    def draw_rows(block: Array, carry: Carry) -> Carry:
        for phase in range(period):
            carry = _draw_row(model, draw, noise, block * period + phase, phase, carry)
        return carry

    # Above and to the left of the image all is zero, even the channel of ones.
    canvas = jnp.pad(jnp.zeros(shape), ((0, 0), (1, 0), (1, 0), (0, 1)))
    canvas = jax.lax.fori_loop(0, shape[1] // period, draw_rows, (canvas, *caches))[0]
    return canvas[:, 1:, 1:, :-1]


def _draw_row(
    model: "_Model", draw: Any, noise: Any, row: Array, phase: int, carry: Carry
) -> Carry:
    """Draws a row onto the canvas [B, 1 + H, 1 + W, C + 1], and advances the caches by a row."""
    canvas, u_cache, ul_cache = carry
    above = jax.lax.dynamic_slice_in_dim(canvas, row, 1, 1)[:, :, 1:]
    u = _Row(model, u_cache, (phase,), row, 0)
    # The shifts bring in zeros, not the bias that a convolution of zeros would give.
    from_above = jnp.where(row > 0, model.convolve("WeightNormConv_1", above), 0.0)
    u.run(0, jnp.where(row > 0, u.convolve("WeightNormConv_0", 0, above), 0.0))
    # The number of columns after which the scales that run in this row repeat.
    period = phase & -phase or 2 ** len(model.strided)

    def draw_pixels(block: Array, carry: tuple[Array, Cache]) -> tuple[Array, Cache]:
        canvas, cache = carry
        for column_phase in range(period):
            column = block * period + column_phase
            ul = _Pixel(model, cache, (phase, column_phase), row, column, ul_cache, u.outputs)
            left = _at(canvas, row, column, height=2)
            left = jnp.where(column > 0, model.convolve("WeightNormConv_2", left), 0.0)
            features = ul.run(0, _at(from_above, 0, column) + left)
            parameters = model.convolve(model.head, nn.elu(features))
            pixel = draw(parameters, tuple(_at(part, row, column) for part in noise))
            pixel = jnp.pad(pixel, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1.0)
            canvas = jax.lax.dynamic_update_slice(canvas, pixel, (0, row + 1, column + 1, 0))
        return canvas, cache

    blocks = (canvas.shape[2] - 1) // period
    canvas, ul_cache = jax.lax.fori_loop(0, blocks, draw_pixels, (canvas, ul_cache))
    return canvas, u_cache, ul_cache


@dataclasses.dataclass(frozen=True)
class _Model:
    """The network's weights and the order of its layers."""

    weights: dict[str, tuple[Array, Array]]  # normalised kernel [h, w, in, out] and bias [out]
    conditions: Conditions
    up: dict[int, list[int]]  # a scale's layer numbers on the way to coarser scales,
    down: dict[int, list[int]]  # and on the way back
    strided: dict[int, tuple[str, str]]  # convolutions of u and ul from a scale to the next,
    upsampling: dict[int, tuple[str, str]]  # and from the next to this
    head: str  # the convolution to mixture parameters
    resnet: GatedResnet  # the module of every layer

    @classmethod
    def create(cls, network: PixelCNN, variables: dict, conditions: Conditions) -> "_Model":
        """Normalises the kernels, and numbers the layers in the order of their creation."""
        flat = traverse_util.flatten_dict(variables["params"], sep="/")
        weights = {}
        for name in (path[:-2] for path in flat if path.endswith("/v")):
            kernel, gain, bias = (flat[f"{name}/{leaf}"] for leaf in "vgb")
            kernel = kernel * jax.lax.rsqrt(jnp.sum(kernel**2, axis=(0, 1, 2)) + 1e-12) * gain
            weights[name] = kernel.astype(network.dtype), bias
        layers = itertools.count()
        # The first three convolutions apply to the image.
        names = (f"WeightNormConv_{number}" for number in itertools.count(3))
        up, down, strided, upsampling = {}, {}, {}, {}
        last = network.num_scales - 1
        for scale in range(last + 1):
            up[scale] = [next(layers) for _ in range(network.num_blocks)]
            if scale < last:
                strided[scale] = next(names), next(names)
        for scale in reversed(range(last + 1)):
            down[scale] = [next(layers) for _ in range(network.num_blocks + (scale < last))]
            if scale > 0:
                upsampling[scale - 1] = next(names), next(names)
        resnet = GatedResnet(
            down_shifted_conv, 0.0, network.gate_init_scale, network.kernel_std, network.dtype
        )
        return cls(weights, conditions, up, down, strided, upsampling, next(names), resnet)

    def convolve(self, name: str, x: Array, stride: int = 1) -> Array:
        """Maps rows [B, h, W, in], with h the kernel's height, to float32 [B, 1, W', out]."""
        kernel, bias = self.weights[name]
        x, strides, sides = x.astype(kernel.dtype), (stride, stride), kernel.shape[1] // 3
        if x.shape[1:3] == kernel.shape[:2] and not sides:  # a product is faster
            y = jnp.tensordot(x, kernel, 3)[:, None, None]
        else:
            padding = ((0, 0), (sides, sides))  # u's kernels see a column on either side
            y = jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=LAYOUT)
        return y.astype(jnp.float32) + bias

    def upsample(self, name: str, x: Array) -> Array:
        """Upsamples a row [B, 1, W, F] to two rows of the finer scale, [B, 2, 2W, F]."""
        kernel, bias = self.weights[name]
        y = jax.lax.conv_transpose(x.astype(kernel.dtype), kernel, (2, 2), "VALID", None, LAYOUT)
        # u's kernel is one column wider, and the network drops the first column.
        return y.astype(jnp.float32)[:, :, y.shape[2] % 2 :] + bias


@dataclasses.dataclass
class _Stream:
    """One stream of the network at one position."""

    model: _Model
    cache: Cache  # updated in place
    phases: tuple[int, ...]  # of the row and a pixel's column, in the coarsest scale's period
    row: Array  # at the finest scale
    column: Any
    number: ClassVar[int]  # of the stream: 0 is u, 1 is ul

    def layer(self, layer: int, scale: int, x: Array, skip: Array | None) -> Array:
        """Applies the gated resnet, with its scale's skip on the way back."""
        raise NotImplementedError

    def cut(self, x: Array, row: Any, scale: int) -> Array:
        """Cuts this position, [B, 1, w, F], out of an image of the scale."""
        raise NotImplementedError

    def window(self, name: str, scale: int, x: Array) -> Array:
        """The inputs of a convolution here, [B, 2, w, in]."""
        raise NotImplementedError

    def run(self, scale: int, x: Array) -> Array:
        """Runs a scale's layers, with the coarser scales in between; [B, 1, w, F] in and out."""
        skips = [x]
        for layer in self.model.up[scale]:
            x = self.layer(layer, scale, x, None)
            skips.append(x)
        x = self._visit_coarser(scale, x) if scale in self.model.strided else skips.pop()
        for layer in self.model.down[scale]:
            x = self.layer(layer, scale, x, skips.pop())
        return x

    def _visit_coarser(self, scale: int, x: Array) -> Array:
        """The next scale's output here; that scale runs when one of its positions begins."""
        strided = self.model.strided[scale][self.number]
        upsampling = self.model.upsampling[scale][self.number]
        window = self.window(strided, scale, x)
        if all((phase >> scale) % 2 == 0 for phase in self.phases):
            coarse = self.run(scale + 1, self.model.convolve(strided, window, stride=2))
            finer = self.model.upsample(upsampling, coarse)
            self.cache[upsampling] = jax.lax.dynamic_update_slice_in_dim(
                self.cache[upsampling], finer, self.column >> scale, axis=2
            )
        return self.cut(self.cache[upsampling], (self.phases[0] >> scale) % 2, scale)

    def resnet(self, layer: int, scale: int, x: Array, auxiliary: Array | None) -> Array:
        """The network's own gated resnet, with each convolution replaced by the cached one."""
        name = f"GatedResnet_{2 * layer + self.number}"

        def convolve(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if not isinstance(context.module, WeightNormConv):
                return call(*args, **kwargs)
            return self.convolve(f"{name}/{context.module.name}", scale, *args)

        pair = self.model.conditions and self.model.conditions[layer]
        condition = pair and self.cut(pair[self.number], self.row >> scale, scale)
        with nn.intercept_methods(convolve):
            h = self.model.resnet.apply({}, x, auxiliary, condition, index=None, train=False)
            return cast(Array, h)

    def convolve(self, name: str, scale: int, x: Array) -> Array:
        """Convolves at this position, [B, 1, w, in] to [B, 1, w, out]."""
        if self.model.weights[name][0].shape[0] == 2:
            x = self.window(name, scale, x)
        return self.model.convolve(name, x)


@dataclasses.dataclass
class _Row(_Stream):
    """u on a row; `outputs` holds its layers' rows [B, 1, w, F], which ul sees."""

    number = 0
    outputs: dict[int, Array] = dataclasses.field(default_factory=dict)

    def layer(self, layer: int, scale: int, x: Array, skip: Array | None) -> Array:
        """Applies the gated resnet, with its scale's skip on the way back."""
        self.outputs[layer] = self.resnet(layer, scale, x, skip)
        return self.outputs[layer]

    def cut(self, x: Array, row: Any, scale: int) -> Array:
        """Cuts a row, [B, 1, w, F], out of an image of the scale."""
        return jax.lax.dynamic_slice_in_dim(x, row, 1, axis=1)

    def window(self, name: str, scale: int, x: Array) -> Array:
        """The row and the one above it [B, 2, w, in]."""
        above, self.cache[name] = self.cache[name], x
        return jnp.concatenate([above, x], axis=1)


@dataclasses.dataclass
class _Pixel(_Stream):
    """ul on a pixel; `above` is the cache after the row above, `u` the outputs of u."""

    number = 1
    above: Cache
    u: dict[int, Array]

    def layer(self, layer: int, scale: int, x: Array, skip: Array | None) -> Array:
        """Applies the gated resnet, which sees u and, on the way back, its scale's skip."""
        u = self.cut(self.u[layer], 0, scale)
        return self.resnet(layer, scale, x, u if skip is None else jnp.concatenate([u, skip], -1))

    def cut(self, x: Array, row: Any, scale: int) -> Array:
        """Cuts a pixel, [B, 1, 1, F], out of an image of the scale."""
        return _at(x, row, self.column >> scale)

    def window(self, name: str, scale: int, x: Array) -> Array:
        """The pixel with its neighbours to the left and above, [B, 2, 2, in]."""
        column = self.column >> scale
        # A column of zeros lies to the left of the first one.
        self.cache[name] = jax.lax.dynamic_update_slice_in_dim(self.cache[name], x, column + 1, 2)
        rows = self.above[name], self.cache[name]
        return jnp.concatenate([_at(row, 0, column, width=2) for row in rows], axis=1)


def _empty_caches(
    network: PixelCNN, variables: dict, conditions: Conditions, shape: tuple[int, ...]
) -> tuple[Cache, Cache]:
    """The caches of u and ul before the first row, with the widths of the network's own pass.

    A convolution caches its last row of inputs, [B, 1, w, in] (ul: [B, 1, 1 + w, in]). An
    upsampling one caches its last two rows of outputs, [B, 2, w, F].
    """
    shapes: tuple[dict[str, tuple[int, ...]], ...] = {}, {}

    def record(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        is_convolution = isinstance(module, WeightNormConv) and context.method_name == "__call__"
        if is_convolution and tuple(module.kernel_size) in ((2, 3), (2, 2)):
            batch, _, width, features = args[0].shape
            number = 3 - module.kernel_size[1]
            size = (2, 2 * width) if module.transpose else (1, width + number)
            shapes[number]["/".join(module.path)] = (batch, *size, features)
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        jax.eval_shape(network.apply, variables, jnp.zeros(shape), jnp.arange(shape[0]), conditions)
    u, ul = ({name: jnp.zeros(size) for name, size in cache.items()} for cache in shapes)
    return u, ul


def _at(x: Array, row: Any, column: Any, height: int = 1, width: int = 1) -> Array:
    """Cuts [B, height, width, F] out of [B, H, W, F]."""
    return jax.lax.dynamic_slice(x, (0, row, column, 0), (x.shape[0], height, width, x.shape[-1]))
