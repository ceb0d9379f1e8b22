"""Spectral normalisation: layers whose weight is divided by its largest singular value σ.

There are two definitions of σ for a convolution. `operator` is the singular value of the
convolution itself, at the stride and the size of the images that it sees (Gouk et al., 2018;
Behrmann et al., 2019). `reshaped` is that of the kernel as a matrix [in·k², out] (Miyato et
al., 2018), which bounds the former from below; for 3×3 kernels it can be up to 3 times too small.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.nn.weight_norm import convolve

Array = jax.Array
Variables = dict[str, Any]
COLLECTION = "spectral_norm"
KINDS = ("reshaped", "operator")


class SpectralNorm(nn.Module):
    """σ = uᵀAv of a linear map A by power iteration: v ← Aᵀu/‖Aᵀu‖, u ← Av/‖Av‖.

    u and v are statistics. They move in a forward pass in which COLLECTION is mutable, and stay
    fixed in any other. The gradient treats them as constants and flows through A only (Miyato et
    al., Eq. 10). The iteration is unrolled: on CPU a convolution inside a loop is many times
    slower.

    Attributes:
      iterations: number per forward pass that moves u and v, including the initialising one.
    """

    iterations: int

    @nn.compact
    def __call__(
        self, linear: Callable[[Array, Array], Array], kernel: Array, shape: tuple[int, ...]
    ) -> Array:
        """Returns σ, float32 [], of v ↦ linear(kernel, v), for v float32 `shape`."""
        apply = partial(linear, jax.lax.stop_gradient(kernel))
        start = jax.ShapeDtypeStruct(shape, jnp.float32)

        left = self.variable(
            COLLECTION, "u", lambda: _scattered(jax.eval_shape(apply, start).shape)
        )
        right = self.variable(COLLECTION, "v", jnp.zeros, shape)
        u, v = left.value, right.value
        if self.is_mutable_collection(COLLECTION):
            transposed = jax.linear_transpose(apply, start)
            for _ in range(self.iterations):
                v = _unit(transposed(u)[0])
                u = _unit(apply(v))
            left.value, right.value = u, v
        return jnp.vdot(u, linear(kernel, v), precision="highest")


def _scattered(shape: tuple[int, ...]) -> Array:
    """Fixed numbers in [−½, ½) without a pattern, from which the iteration starts.

    Kernels are random, so these need not be: a draw for each layer would take longer to compile
    than the iteration.
    """
    place = jnp.arange(math.prod(shape), dtype=jnp.uint32)
    scrambled = place * (place + 1) * np.uint32(2654435769)  # modulo 2^32
    return (scrambled.astype(jnp.float32) / 2.0**32 - 0.5).reshape(shape)


def _unit(x: Array) -> Array:
    return x / (jnp.linalg.norm(x.ravel()) + 1e-12)


def _divisor(sigma: Array, limit: float | None) -> Array:
    """σ or, given a limit, max(1, σ/limit)."""
    return sigma if limit is None else jnp.maximum(1.0, sigma / limit)


def _product(kernel: Array, v: Array) -> Array:
    """Multiplies a weight [..., in, out], as a matrix, by a vector [... · in]."""
    return jnp.matmul(v, kernel.reshape(-1, kernel.shape[-1]), precision="highest")


class SpectralNormConv(nn.Module):
    """Convolution with W/σ, plus a bias.

    Attributes:
      features, kernel_size, strides, padding, transpose, dtype: as for `WeightNormConv`.
      use_bias, kernel_init: as for `nn.Conv`.
      kind: definition of σ, one of KINDS.
      iterations: as for `SpectralNorm`.
      limit: if given, only a σ above it is lowered to it: W/max(1, σ/limit) (Behrmann et al.,
        2019).
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] = (1, 1)
    padding: Any = "SAME"
    transpose: bool = False
    use_bias: bool = True
    kernel_init: Any = nn.initializers.lecun_normal()
    kind: str = "reshaped"
    iterations: int = 1
    limit: float | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, in] to float32 [B, H', W', features]."""
        if self.kind not in KINDS:
            raise ValueError(f"spectral norm '{self.kind}'; choose among {', '.join(KINDS)}")
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        layer = partial(
            convolve, strides=self.strides, padding=self.padding, transpose=self.transpose
        )

        def linear(kernel: Array, v: Array) -> Array:
            return layer(v, kernel, dtype=jnp.float32, precision="highest")

        norm = SpectralNorm(self.iterations)
        if self.kind == "operator":
            sigma = norm(linear, kernel, (1, *x.shape[1:]))
        else:
            sigma = norm(_product, kernel, (kernel.size // self.features,))
        y = layer(x, kernel / _divisor(sigma, self.limit), dtype=self.dtype)
        if self.use_bias:
            y += self.param("bias", nn.initializers.zeros, (self.features,))
        return y


class SpectralNormDense(nn.Module):
    """Dense layer with W/σ, plus a bias. The attributes are those of `SpectralNormConv`."""

    features: int
    use_bias: bool = True
    kernel_init: Any = nn.initializers.lecun_normal()
    iterations: int = 1
    limit: float | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [..., in] to [..., features]."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        sigma = SpectralNorm(self.iterations)(_product, kernel, (x.shape[-1],))
        kernel = kernel / _divisor(sigma, self.limit)
        y = jnp.matmul(x.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            y += self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return y


class SpectralNormEmbed(nn.Module):
    """Looks up rows of W/σ."""

    num_embeddings: int
    features: int
    iterations: int = 1

    @nn.compact
    def __call__(self, label: Array) -> Array:
        """Maps int32 [B] to float32 [B, features]."""
        shape = (self.num_embeddings, self.features)
        rows = self.param("embedding", nn.initializers.normal(self.features**-0.5), shape)
        sigma = SpectralNorm(self.iterations)(_product, rows, (self.num_embeddings,))
        return rows[label] / sigma


def iterate(network: nn.Module, variables: Variables, *args: Any) -> tuple[Variables, Variables]:
    """Iterates the singular vectors of a network's layers, before an update of its parameters.

    The forward pass on `*args` gives the layers their input shapes; the compiler drops all of it
    except the iterations, because the vectors depend on the parameters only.

    Returns:
      The variables for the update, and those of their collections that changed: {} for a network
      without spectral normalisation.
    """
    if COLLECTION not in variables:
        return variables, {}
    _, moved = network.apply(variables, *args, mutable=[COLLECTION])
    return {**variables, **moved}, dict(moved)
