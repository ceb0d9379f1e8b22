"""Residual layers y = x + g(x) (Behrmann et al., 2019; Chen et al., 2019; tutorial, Eqs. 15–20).

If g is contractive, Lip(g) < 1, the layer is invertible, and ln det(I + J) with J = ∂g/∂x is the
series Σ_k (−1)^(k+1) tr(J^k)/k. Its traces are estimated by tr(A) = E[vᵀAv], v ~ N(0, I).
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.flows.transform import Context, Likelihood, Transform, sum_of_example
from gm_jax.nn import rematerialize
from gm_jax.nn.weight_norm import is_data_dependent_init

Array = jax.Array
Function = Callable[[Any, Array], Array]
RAREST = 1e-12  # a roulette is cut where it has this probability to reach a term
MAX_ITERATIONS = 1_000  # of an inverse; only rounding, or Lip(g) ≥ 1, can take so many


class LogDet(Protocol):
    """How ln det(I + J) is found."""

    @property
    def likelihood(self) -> Likelihood:
        """The kind of the densities that it gives."""

    def __call__(self, function: Function, variables: Any, x: Array, context: Context) -> Array:
        """Returns ln det(I + ∂g/∂x) [B] for g = function(variables, ·) at x [B, ...].

        Its gradient, with respect to the variables and x, is that of the logarithm, or estimates
        it.
        """


@dataclasses.dataclass(frozen=True)
class Exact:
    """The determinant of the whole Jacobian, by D products: for examples of few dimensions."""

    @property
    def likelihood(self) -> Likelihood:
        """Exact."""
        return "exact"

    def __call__(self, function: Function, variables: Any, x: Array, context: Context) -> Array:
        """Returns ln det(I + J) in nats [B]; x is [B, ...]."""
        del context
        identity = jnp.eye(x[0].size)
        _, product = jax.linearize(functools.partial(function, variables), x)

        def column(direction: Array) -> Array:
            return product(jnp.broadcast_to(direction.reshape(x.shape[1:]), x.shape))

        columns = jax.vmap(column)(identity).reshape(-1, *x.reshape(x.shape[0], -1).shape)
        return jnp.linalg.slogdet(identity + columns.transpose(1, 2, 0))[1]


@dataclasses.dataclass(frozen=True)
class Series:
    """The first terms of the series and, by a roulette, an unbiased estimate of the others.

    The first n = `terms` terms are certain. Term n + k is computed if the random N is at least k,
    and is then divided by P(N ≥ k) (Chen et al., Eq. 6). Without a roulette the series ends after n
    terms (Behrmann et al.), which errs by at most D·Σ_{k > n} c^k/k with c = Lip(g); see
    `truncation_bound`.

    In training N is the same for the whole batch, on all devices: the fewest products. In
    evaluation every example has its own, so that estimates are independent and the spread over
    examples shows their error. Their variance is finite if c² < P(N ≥ k + 1)/P(N ≥ k) for large k:
    with a geometric roulette of a small p, never with a Poisson.

    The gradient is E[vᵀ·∂J·Σ_k (−1)^(k−1) w_k J^(k−1) v] (Chen et al., Eq. 8), with the weight w_k
    of a term. Given N it is, in the mean, the gradient of the value; the authors' series has one
    more term than their value. As no gradient passes through the loop over terms, memory does not
    grow with their number. The loop multiplies J by vectors, not by vectors from the left: on CPU
    plain convolutions are as fast in a loop as out of it, transposed ones two to four times slower
    (measured, 64 channels).

    Attributes:
      terms: n, at least 1.
      reach: P(N ≥ k) for k = 1, 2, …: `geometric` or `poisson`; () for no roulette.
    """

    terms: int
    reach: tuple[float, ...] = ()

    @property
    def likelihood(self) -> Likelihood:
        """An estimate: unbiased with a roulette, biased without."""
        return "estimate"

    def __call__(self, function: Function, variables: Any, x: Array, context: Context) -> Array:
        """Returns an estimate of ln det(I + J) in nats [B]; x is [B, ...]."""
        if context.noise is None:
            raise ValueError("a series of traces draws noise: give Context(train, noise)")
        probes, roulette = context.noise.split()
        number = jnp.zeros((), jnp.int32)
        if self.reach:
            uniform = (
                jax.random.uniform(roulette.shared(), (2,))
                if context.train
                else roulette.uniform(2)
            )
            number = self.number(uniform)
        return self.sum(function, variables, x, probes.normal(*x.shape[1:]), number)

    def number(self, uniform: Array) -> Array:
        """Maps two uniform numbers, [..., 2], to N, int32 [...]."""
        # float32 draws multiples of 2^−23; the second number refines the first.
        fine = uniform[..., 0] + uniform[..., 1] * 2.0**-23
        return jnp.sum(fine[..., None] < jnp.array(self.reach), -1)

    def sum(
        self, function: Function, variables: Any, x: Array, probe: Array, number: Array
    ) -> Array:
        """Σ_k (−1)^(k+1) w_k vᵀJ^k v/k up to k = terms + number, [B].

        Args:
          function: g, of variables and x.
          variables: those of g.
          x: [B, ...].
          probe: v, in the shape of x.
          number: N, int32 [] or [B].
        """
        fixed, at = jax.lax.stop_gradient((variables, x))
        _, product = jax.linearize(functools.partial(function, fixed), at)
        weights = jnp.array([1.0] * self.terms + [1 / reach for reach in self.reach])
        last = self.terms + number

        def add(k: Array, sums: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            power, value, neumann = sums  # J^(k−1) v, and the sums so far
            weight = jnp.where(k % 2 == 1, 1.0, -1.0) * weights[k - 1] * (k <= last)
            weight = jnp.broadcast_to(weight, x.shape[:1])
            neumann += weight.reshape(-1, *(1,) * (x.ndim - 1)) * power
            power = product(power)
            return power, value + weight / k * sum_of_example(probe * power), neumann

        start = (probe, jnp.zeros(x.shape[0]), jnp.zeros_like(probe))
        _, value, neumann = jax.lax.fori_loop(1, jnp.max(last) + 1, add, start)
        neumann = jax.lax.stop_gradient(neumann)
        _, moved = jax.jvp(functools.partial(function, variables), (x,), (neumann,))
        slope = sum_of_example(probe * moved)
        return jax.lax.stop_gradient(value) + (slope - jax.lax.stop_gradient(slope))


def geometric(p: float) -> tuple[float, ...]:
    """P(N ≥ k) = (1 − p)^k for k = 1, 2, …; N has the mean (1 − p)/p."""
    count = math.floor(math.log(RAREST) / math.log1p(-p))
    return tuple((1 - p) ** k for k in range(1, count + 1))


def poisson(rate: float) -> tuple[float, ...]:
    """P(N ≥ k) for k = 1, 2, … of a Poisson distribution with this mean."""
    # Summed from the tail, where differences from 1 would be rounded away.
    at = [math.exp(k * math.log(rate) - rate - math.lgamma(k + 1)) for k in range(1, 200)]
    tail = np.cumsum(at[::-1])[::-1]
    return tuple(tail[tail >= RAREST].tolist())


def truncation_bound(lipschitz: float, size: int, terms: int) -> float:
    """D·Σ_{k > n} c^k/k, which bounds the rest of the series after n terms, in nats.

    Args:
      lipschitz: c, a bound on Lip(g), below 1.
      size: D, the dimensions of an example.
      terms: n.
    """
    done = sum(lipschitz**k / k for k in range(1, terms + 1))
    return size * (-math.log1p(-lipschitz) - done)


class Residual(Transform):
    """y = x + g(x).

    Attributes:
      network: g, called with (x, context); its `lipschitz` is a bound on its constant, below 1. It
        may have spectral norms, but neither batch statistics nor noise.
      number: of the layer, for its noise.
      training: finds the log-determinant with `Context(train=True)`.
      evaluation: finds it otherwise.
      tolerance: bounds the error of the inverse, ‖x − f⁻¹(y)‖₂ of an example.
    """

    network: nn.Module
    number: int
    training: LogDet
    evaluation: LogDet
    tolerance: float

    @property
    def likelihood(self) -> Likelihood:
        """That of `evaluation`."""
        return self.evaluation.likelihood

    @property
    def inverse_has_gradient(self) -> bool:
        """No: it is a search."""
        return False

    @rematerialize.block
    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x to y and ln|det ∂y/∂x|, or its estimate, in nats [B]."""
        y = x + self.network(x, context)  # in training its singular vectors move here
        if self.is_initializing() or is_data_dependent_init(self):
            return y, jnp.zeros(x.shape[0])  # which nobody uses, and which takes long to trace
        return y, self._log_det(x, context)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y to x and ln|det ∂x/∂y|, or its estimate, in nats [B].

        x ← y − g(x) from x = y on (Eqs. 18 and 19) is done for an example where c/(1 − c) times its
        last step is at most the tolerance, which then bounds the error up to rounding.
        """
        function, variables = self._function(context)
        lipschitz: float = self.network.lipschitz
        x = fixed_point(
            lambda x: y - function(variables, x), y, self.tolerance * (1 - lipschitz) / lipschitz
        )
        return x, -self._log_det(x, context)

    def _log_det(self, x: Array, context: Context) -> Array:
        noise = None if context.noise is None else context.noise.layer(self.number)
        own = Context(context.train, noise)
        log_det = self.training if context.train else self.evaluation
        return log_det(*self._function(context), x, own)

    def _function(self, context: Context) -> tuple[Function, Any]:
        """g as a pure function of its variables, and these."""
        network, variables = self.network.unbind()

        def function(variables: Any, x: Array) -> Array:
            return cast(Array, network.apply(variables, x, context))

        return function, variables


def fixed_point(step: Callable[[Array], Array], start: Array, length: float) -> Array:
    """Iterates x ← step(x) for every example until its last step is at most `length`, in ‖·‖₂.

    Examples that are done rest, so that none depends on the others of its batch.
    """

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        _, moving, count = state
        return jnp.any(moving) & (count < MAX_ITERATIONS)

    def iterate(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, moving, count = state
        moved = jnp.where(moving.reshape(-1, *(1,) * (x.ndim - 1)), step(x), x)
        return moved, moving & (sum_of_example((moved - x) ** 2) > length**2), count + 1

    first = (start, jnp.ones(start.shape[0], bool), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(unfinished, iterate, first)[0]
