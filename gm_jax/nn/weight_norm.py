"""Weight-normalised convolutions with data-dependent initialisation (Salimans & Kingma, 2016)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
KERNEL_STD = 0.05  # of the directions before they are normalised


class WeightNormConv(nn.Module):
    """Convolution with kernel g·V/‖V‖, the norm taken over each output channel.

    In the pass of `data_dependent_init`, g and b are set from the batch so that the outputs have
    mean 0 and standard deviation `init_scale`, and those outputs are what the next layer sees.

    Attributes:
      features: output channels.
      kernel_size: height and width of the kernel.
      strides: of the output, or for a transposed convolution of the input.
      padding: as `jax.lax.conv_general_dilated` takes it.
      transpose: a transposed ("deconvolution") layer.
      init_scale: standard deviation of the outputs on the initialising batch.
      init_exponent: training starts from the gain (init_scale/std)^init_exponent. 1 is the exact
        initialisation; openai/iaf starts from 1/3 while passing on the exact outputs.
      exponential_gain: the gain is exp(g), not g.
      mask: 0/1 array that broadcasts to the kernel [h, w, in, out]; masked before the norm.
      use_gain, use_bias: whether g (else 1) and b (else 0) are learned; where a batch norm follows,
        they would be undone.
      init_gain: g where the network is not initialised on data.
      kernel_init: draws V where the network is not initialised on data.
      dtype: of the convolution; parameters and the norm are float32.
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] = (1, 1)
    padding: Any = "SAME"
    transpose: bool = False
    init_scale: float = 1.0
    init_exponent: float = 1.0
    exponential_gain: bool = False
    mask: np.ndarray | None = None
    use_gain: bool = True
    use_bias: bool = True
    init_gain: float = 1.0
    kernel_init: Any = nn.initializers.normal(KERNEL_STD)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, in] to float32 [B, H', W', features]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("v", self.kernel_init, shape)
        if self.mask is not None:
            kernel = kernel * self.mask
        kernel = kernel * jax.lax.rsqrt(jnp.sum(kernel**2, axis=(0, 1, 2)) + 1e-12)
        if self.use_gain:
            start = math.log(self.init_gain) if self.exponential_gain else self.init_gain
            gain = self.param("g", nn.initializers.constant(start), (self.features,))
        if self.use_bias:
            bias = self.param("b", nn.initializers.zeros, (self.features,))
        if is_data_dependent_init(self) and self.use_gain and self.use_bias:
            return self._initialize(self._convolve(x, kernel))
        if self.use_gain:
            kernel = kernel * (jnp.exp(gain) if self.exponential_gain else gain)
        outputs = self._convolve(x, kernel)
        return outputs + bias if self.use_bias else outputs

    def _convolve(self, x: Array, kernel: Array) -> Array:
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        names = ("NHWC", "HWIO", "NHWC")
        if self.transpose:
            y = jax.lax.conv_transpose(x, kernel, self.strides, self.padding, None, names)
        else:
            y = jax.lax.conv_general_dilated(
                x, kernel, self.strides, self.padding, dimension_numbers=names
            )
        return y.astype(jnp.float32)

    def _initialize(self, outputs: Array) -> Array:
        axes = (0, 1, 2)
        mean = jnp.mean(outputs, axes)
        scale = self.init_scale * jax.lax.rsqrt(jnp.var(outputs, axes) + 1e-10)
        gain = jnp.log(scale) * self.init_exponent
        self.put_variable("params", "g", gain if self.exponential_gain else jnp.exp(gain))
        self.put_variable("params", "b", -mean * scale)
        return (outputs - mean) * scale


def is_data_dependent_init(module: nn.Module) -> bool:
    """Whether a module runs in the pass of `data_dependent_init`."""
    return module.is_mutable_collection("params") and not module.is_initializing()


def data_dependent_init(
    module: nn.Module, key: Array, *args: Any, rngs: dict[str, Array] | None = None, **kwargs: Any
) -> tuple[Any, dict[str, Any]]:
    """Initialises a network of weight-normalised layers on the batch it is called with.

    Args:
      module: the network.
      key: of the parameters.
      *args: of `module.__call__`, as are `**kwargs`.
      rngs: keys of other noise, such as dropout, which is on as in training.

    Returns:
      The outputs, and the variables {"params": tree}.
    """
    init_key, kernel_key = jax.random.split(key)
    params = module.init({"params": init_key, **(rngs or {})}, *args, **kwargs)["params"]
    variables = {
        "params": draw_kernels(kernel_key, params, jax.random.normal, lambda _: KERNEL_STD)
    }
    return module.apply(variables, *args, mutable=["params"], rngs=rngs, **kwargs)


def draw_kernels(
    key: Array,
    params: Any,
    draw: Callable[[Array, tuple[int, ...]], Array],
    scale: Callable[[tuple[int, ...]], float],
) -> Any:
    """Draws the kernels V of a tree of parameters anew, all at once.

    `module.init` draws them one by one, and to compile a generator a layer takes longer than to
    compile the network (here the compiler drops its draws).

    Args:
      key: of the kernels.
      params: of `module.init`, in the same compiled program.
      draw: (key, shape) -> float32 array, such as `jax.random.normal`.
      scale: of a kernel's shape, the factor of its draws.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(params)
    is_kernel = [path[-1].key == "v" for path, _ in paths]
    leaves = [leaf for _, leaf in paths]
    sizes = [leaf.size for leaf, kernel in zip(leaves, is_kernel, strict=True) if kernel]
    drawn = iter(jnp.split(draw(key, (sum(sizes),)), np.cumsum(sizes)[:-1]))
    leaves = [
        scale(leaf.shape) * next(drawn).reshape(leaf.shape) if kernel else leaf
        for leaf, kernel in zip(leaves, is_kernel, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)


def num_parameters(tree: Any) -> int:
    """Returns how many numbers a tree of arrays (or of their shapes) holds."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
