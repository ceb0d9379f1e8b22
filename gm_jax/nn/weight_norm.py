"""Weight-normalised convolutions with data-dependent initialisation (Salimans & Kingma, 2016)."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

Array = jax.Array


class NormalKernel:
    """A layer whose kernel starts as N(0, kernel_std²); `init` draws all such kernels at once.

    Attributes:
      kernel_std: the standard deviation.
      kernel_name: the parameter's name.
    """

    kernel_std: float
    kernel_name: ClassVar[str] = "v"


class WeightNormConv(NormalKernel, nn.Module):
    """Convolution with kernel g·V/‖V‖, where the norm is taken per output channel.

    `data_dependent_init` sets g and b from the batch so that the outputs have mean 0 and standard
    deviation `init_scale`; the next layer sees these outputs.

    Attributes:
      features: output channels.
      kernel_size: height and width of the kernel.
      strides: strides of the output or, if transposed, of the input.
      padding: as `jax.lax.conv_general_dilated` takes it.
      transpose: whether the convolution is transposed ("deconvolution").
      init_scale: standard deviation of the outputs on the initialising batch.
      kernel_std: initial standard deviation of the directions V, .05 in the code of PixelCNN++ and
        of the IAF-VAE: the longer they are, the less a gradient step turns them.
      init_exponent: training starts from the gain (init_scale/std)^init_exponent. 1 is the exact
        initialisation; openai/iaf starts from 1/3 while passing on the exact outputs.
      exponential_gain: whether the gain is exp(g) instead of g.
      mask: 0/1 array that broadcasts to the kernel [h, w, in, out]; applied before the norm.
      num_classes: number of classes in conditional weight normalisation, w = g(y)·V/‖V‖ with a bias
        b(y) (Lucas et al., 2019, Eq. 16); None conditions on nothing.
      use_gain, use_bias: whether g (else 1) and b (else 0) are learned; a following batch norm
        would undo them.
      init_gain: initial g if the network is not initialised on data.
      dtype: dtype of the convolution; the parameters and the norm are float32.
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] = (1, 1)
    padding: Any = "SAME"
    transpose: bool = False
    init_scale: float = 1.0
    kernel_std: float = 0.05
    init_exponent: float = 1.0
    exponential_gain: bool = False
    mask: np.ndarray | None = None
    num_classes: int | None = None
    use_gain: bool = True
    use_bias: bool = True
    init_gain: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, label: Array | None = None) -> Array:
        """Maps [B, H, W, in] (with classes, and label int32 [B]) to [B, H', W', features]."""
        if (label is None) != (self.num_classes is None):
            given = "no label" if label is None else "a label"
            raise TypeError(f"{given}, with num_classes {self.num_classes}: give both or neither")
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("v", nn.initializers.normal(self.kernel_std), shape)
        if self.mask is not None:
            kernel = kernel * self.mask
        kernel = kernel * jax.lax.rsqrt(jnp.sum(kernel**2, axis=(0, 1, 2)) + 1e-12)
        each = (self.features,) if self.num_classes is None else (self.num_classes, self.features)
        gain, bias = jnp.ones(()), jnp.zeros(())
        if self.use_gain:
            start = math.log(self.init_gain) if self.exponential_gain else self.init_gain
            gain = self.param("g", nn.initializers.constant(start), each)
        if self.use_bias:
            bias = self.param("b", nn.initializers.zeros, each)
        if is_data_dependent_init(self):
            return self._initialize(self._convolve(x, kernel), each)
        gain = jnp.exp(gain) if self.exponential_gain else gain
        if self.num_classes is not None:
            gain, bias = (jnp.asarray(leaf)[label][:, None, None] for leaf in (gain, bias))
            return self._convolve(x, kernel) * gain + bias
        return self._convolve(x, kernel * gain) + bias

    def _convolve(self, x: Array, kernel: Array) -> Array:
        return convolve(x, kernel, self.strides, self.padding, self.transpose, self.dtype)

    def _initialize(self, outputs: Array, each: tuple[int, ...]) -> Array:
        axes = (0, 1, 2)
        mean = jnp.mean(outputs, axes)
        scale = self.init_scale * jax.lax.rsqrt(jnp.var(outputs, axes) + 1e-10)
        gain = jnp.log(scale) * self.init_exponent
        gain = gain if self.exponential_gain else jnp.exp(gain)
        self.put_variable("params", "g", jnp.broadcast_to(gain, each))
        self.put_variable("params", "b", jnp.broadcast_to(-mean * scale, each))
        return (outputs - mean) * scale


def convolve(
    x: Array,
    kernel: Array,
    strides: Sequence[int],
    padding: Any,
    transpose: bool,
    dtype: Any,
    precision: Any = None,
) -> Array:
    """Convolves [B, H, W, in] with [h, w, in, out] in `dtype`, to float32 [B, H', W', out].

    The arguments are as for `WeightNormConv`, and `precision` as for `jax.lax`.
    """
    x, kernel, names = x.astype(dtype), kernel.astype(dtype), ("NHWC", "HWIO", "NHWC")
    if transpose:
        y = jax.lax.conv_transpose(
            x, kernel, strides, padding, dimension_numbers=names, precision=precision
        )
    else:
        y = jax.lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=names, precision=precision
        )
    return y.astype(jnp.float32)


def is_data_dependent_init(module: nn.Module) -> bool:
    """Whether a module is running inside `data_dependent_init`."""
    return module.is_mutable_collection("params") and not module.is_initializing()


def data_dependent_init(
    module: nn.Module, key: Array, *args: Any, rngs: dict[str, Array] | None = None, **kwargs: Any
) -> tuple[Any, dict[str, Any]]:
    """Initialises a network on the batch that it is called with.

    Layers initialise on data if `is_data_dependent_init` says so.

    Args:
      module: the network.
      key: draws the parameters.
      *args: arguments of `module.__call__`, as are `**kwargs`, which may include `method`.
      rngs: keys for other noise, such as dropout, which is active as in training.

    Returns:
      The outputs, and the variables {collection: tree}.
    """
    variables = init(module, key, *args, rngs=rngs, **kwargs)
    outputs, initialised = module.apply(variables, *args, mutable=["params"], rngs=rngs, **kwargs)
    return outputs, {**variables, **cast(dict[str, Any], initialised)}


def init(
    module: nn.Module, key: Array, *args: Any, rngs: dict[str, Array] | None = None, **kwargs: Any
) -> dict[str, Any]:
    """The variables from `module.init`, with all kernels V drawn at once.

    With one draw per layer, the random generators would take longer to compile than the network.
    The compiler drops those draws here, unless something else that depends on them is used.

    The arguments are as for `data_dependent_init`.
    """
    init_key, kernel_key = jax.random.split(key)
    stds = {}

    def record(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        path = context.module.path
        if isinstance(context.module, NormalKernel):
            stds[*path, context.module.kernel_name] = context.module.kernel_std
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        variables = module.init({"params": init_key, **(rngs or {})}, *args, **kwargs)
    flat = traverse_util.flatten_dict(variables["params"])
    kernels = sorted(stds)
    sizes = [flat[path].size for path in kernels]
    ends = np.cumsum(sizes, dtype=int)
    draws = jnp.split(jax.random.normal(kernel_key, (sum(sizes),)), ends)[:-1]  # the last is empty
    for path, draw in zip(kernels, draws, strict=True):
        flat[path] = stds[path] * draw.reshape(flat[path].shape)
    return {**variables, "params": traverse_util.unflatten_dict(flat)}


def num_parameters(tree: Any) -> int:
    """Returns the number of elements in a tree of arrays (or of their shapes)."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
