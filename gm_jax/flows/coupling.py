"""Couplings: some dimensions change the others (Dinh et al., 2017, Eqs. 7–9).

A coupling has three parts: the split into kept and changed dimensions, the network that maps the
kept ones to the parameters of the change, and the kind of change.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.flows.transform import Context, Transform, sum_of_example
from gm_jax.nn import rematerialize

Array = jax.Array


class Split(Protocol):
    """Which dimensions are changed, and which are kept."""

    def mask(self, shape: Sequence[int]) -> np.ndarray:
        """1 at changed dimensions and 0 at kept ones; broadcasts to x of this shape."""

    def halves(self, x: Array) -> tuple[Array, Array]:
        """The kept part and the changed part; they differ at most in their number of channels."""

    def join(self, kept: Array, changed: Array) -> Array:
        """Puts the halves back in place; positions of `changed` that are kept are ignored."""


@dataclasses.dataclass(frozen=True)
class Checkerboard:
    """Every other pixel of [B, H, W, C]; each half has this shape and is 0 at the other pixels.

    Attributes:
      parity: 0 changes the pixels whose row plus column is even, 1 the others.
    """

    parity: int

    def mask(self, shape: Sequence[int]) -> np.ndarray:
        """[H, W, 1]."""
        height, width = shape[-3:-1]
        sums = np.arange(height)[:, None] + np.arange(width)
        return (sums % 2 == self.parity).astype(np.float32)[..., None]

    def halves(self, x: Array) -> tuple[Array, Array]:
        """Both [B, H, W, C]."""
        mask = self.mask(x.shape)
        return x * (1 - mask), x * mask

    def join(self, kept: Array, changed: Array) -> Array:
        """[B, H, W, C]."""
        return kept + changed * self.mask(kept.shape)


@dataclasses.dataclass(frozen=True)
class ChannelHalf:
    """Half of the channels of [B, ..., C].

    Attributes:
      half: 0 changes the first half, 1 the second.
    """

    half: int

    def mask(self, shape: Sequence[int]) -> np.ndarray:
        """[C]."""
        second = np.arange(shape[-1]) >= shape[-1] // 2
        return (second == self.half).astype(np.float32)

    def halves(self, x: Array) -> tuple[Array, Array]:
        """Both [B, ..., C/2]."""
        if x.shape[-1] % 2:
            raise ValueError(
                f"a channel coupling cannot halve {x.shape[-1]} channels; squeeze before it, or "
                "use checkerboard couplings"
            )
        halves = jnp.split(x, 2, -1)
        return halves[1 - self.half], halves[self.half]

    def join(self, kept: Array, changed: Array) -> Array:
        """[B, ..., C]."""
        return jnp.concatenate([kept, changed] if self.half else [changed, kept], -1)


@dataclasses.dataclass(frozen=True)
class EvenOdd:
    """Every other channel of [B, ..., C], which for vectors is every other dimension.

    Attributes:
      parity: 0 changes the channels with an even number, 1 the others.
    """

    parity: int

    def mask(self, shape: Sequence[int]) -> np.ndarray:
        """[C]."""
        return (np.arange(shape[-1]) % 2 == self.parity).astype(np.float32)

    def halves(self, x: Array) -> tuple[Array, Array]:
        """[B, ..., C/2] each; if C is odd, the channels with an even number are one more."""
        return x[..., 1 - self.parity :: 2], x[..., self.parity :: 2]

    def join(self, kept: Array, changed: Array) -> Array:
        """[B, ..., C]."""
        even, odd = (kept, changed) if self.parity else (changed, kept)
        count = even.shape[-1] + odd.shape[-1]
        if count % 2:
            odd = jnp.concatenate([odd, even[..., :1]], -1)  # its last channel is cut off again
        pairs = jnp.stack([even, odd], -1)
        return pairs.reshape(*pairs.shape[:-2], -1)[..., :count]


@dataclasses.dataclass(frozen=True)
class Columns:
    """Every other column of [B, H, W, C] with an even W.

    Attributes:
      parity: 0 changes the columns with an even number, 1 the others.
    """

    parity: int

    def mask(self, shape: Sequence[int]) -> np.ndarray:
        """[W, 1]."""
        return (np.arange(shape[-2]) % 2 == self.parity).astype(np.float32)[:, None]

    def halves(self, x: Array) -> tuple[Array, Array]:
        """Both [B, H, W/2, C]."""
        if x.shape[-2] % 2:
            raise ValueError(
                f"every other of {x.shape[-2]} columns is no half of an image; use checkerboard "
                "couplings, or set data.resize"
            )
        return x[..., 1 - self.parity :: 2, :], x[..., self.parity :: 2, :]

    def join(self, kept: Array, changed: Array) -> Array:
        """[B, H, W, C]."""
        pairs = jnp.stack([kept, changed] if self.parity else [changed, kept], -2)
        *outer, half, _, channels = pairs.shape
        return pairs.reshape(*outer, 2 * half, channels)


class Kind(Protocol):
    """An elementwise change, with parameters for each dimension."""

    @property
    def num_parameters(self) -> int:
        """The number of parameters per dimension."""

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        """Maps x [..., C], with parameters [..., num_parameters·C], to y and ln|∂y/∂x|."""

    def inverse(self, y: Array, parameters: Array) -> tuple[Array, Array]:
        """Maps y [..., C], with the same parameters, to x and ln|∂x/∂y|."""


class ShiftThenScale:
    """y = (x + t)·e^l, with t and l from `shift_and_log_scale` of the parameters."""

    num_parameters: ClassVar[int] = 2  # of which t is the first

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        """Maps x to y and l."""
        shift, log_scale = self.shift_and_log_scale(parameters)
        return (x + shift) * jnp.exp(log_scale), log_scale

    def inverse(self, y: Array, parameters: Array) -> tuple[Array, Array]:
        """Maps y to x and −l."""
        shift, log_scale = self.shift_and_log_scale(parameters)
        return y * jnp.exp(-log_scale) - shift, -log_scale

    def shift_and_log_scale(self, parameters: Array) -> tuple[Array, Array]:
        """Maps parameters [..., 2·C] to t and l, [..., C] each."""
        raise NotImplementedError


class Affine(ShiftThenScale, nn.Module):
    """y = (x + t)·e^s with s = scale·tanh(·); all dimensions share one learned scale.

    The shift comes before the scale, as in the authors' code (Eqs. 7 and 8 scale first).

    Attributes:
      init_scale: initial scale.
    """

    init_scale: float

    def setup(self) -> None:
        self.scale = self.param("scale", nn.initializers.constant(self.init_scale), ())

    def shift_and_log_scale(self, parameters: Array) -> tuple[Array, Array]:
        """Maps t and the argument of tanh to t and s."""
        shift, log_scale = jnp.split(parameters, 2, -1)
        return shift, self.scale * jnp.tanh(log_scale)


@dataclasses.dataclass(frozen=True)
class Additive:
    """y = x + t, which keeps volumes (Dinh et al., 2015, Eq. 7)."""

    num_parameters: ClassVar[int] = 1

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        """Maps x to y and 0."""
        return x + parameters, jnp.zeros_like(x)

    def inverse(self, y: Array, parameters: Array) -> tuple[Array, Array]:
        """Maps y to x and 0."""
        return y - parameters, jnp.zeros_like(y)


@dataclasses.dataclass(frozen=True)
class SigmoidAffine(ShiftThenScale):
    """y = (x + t)·σ(h + 2), whose scale is below 1, as in the code of Glow (openai/glow).

    The paper has s ⊙ x + t (Kingma & Dhariwal, 2018, Table 1). That code takes t and h from the
    network's even and odd channels; here t comes first, which only numbers the channels anew.
    """

    def shift_and_log_scale(self, parameters: Array) -> tuple[Array, Array]:
        """Maps t and h to t and ln σ(h + 2)."""
        shift, h = jnp.split(parameters, 2, -1)
        return shift, nn.log_sigmoid(h + 2)


class Coupling(Transform):
    """Keeps some dimensions and changes the others, with parameters computed from the kept ones.

    Attributes:
      split: which dimensions are kept and which are changed.
      network: maps (kept part, number of parameters, context) to [..., number of parameters].
      kind: how the parameters change a dimension.
    """

    split: Split
    network: nn.Module
    kind: Kind

    @rematerialize.block
    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x to y and ln|det ∂y/∂x| in nats [B]."""
        kept, changed = self.split.halves(x)
        changed, slopes = self.kind.forward(changed, self._parameters(kept, changed, context))
        return self._joined(kept, changed, slopes)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y to x and ln|det ∂x/∂y| in nats [B]."""
        kept, changed = self.split.halves(y)
        changed, slopes = self.kind.inverse(changed, self._parameters(kept, changed, context))
        return self._joined(kept, changed, slopes)

    def _parameters(self, kept: Array, changed: Array, context: Context) -> Array:
        return self.network(kept, self.kind.num_parameters * changed.shape[-1], context)

    def _joined(self, kept: Array, changed: Array, slopes: Array) -> tuple[Array, Array]:
        of_kept = jnp.zeros_like(kept)  # the log slope of a kept dimension
        log_det = sum_of_example(self.split.join(of_kept, slopes))
        return self.split.join(kept, changed), log_det
