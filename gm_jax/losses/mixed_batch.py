"""Mixed batches: data and samples in one batch, whose share of data the discriminator predicts.

Lucas, Tallec, Verbeek & Ollivier (2018), chapter 4 of the thesis. A logit is ln D − ln(1 − D).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from numpy.typing import ArrayLike
from scipy.special import betaln, gammaln

from gm_jax import devices
from gm_jax.nn.noise import Noise

Array = jax.Array
Tree = Any
PRIORS = {"uniform": 0, "gamma": 1, "beta": 2}  # {law of p*: the number of its parameters}


def draw_mixing(noise: Noise, gamma: float) -> Array:
    """Draws β, bool [B]: whether each example is real (section 4.3.1).

    The batch shares p* ~ U([0, γ] ∪ [1 − γ, 1]), and β_b ~ Bernoulli(p*). γ = 0 gives pure batches
    (Eq. 4.1), γ = ½ the uniform law of Eq. 4.4.
    """
    side, position = jax.random.uniform(noise.shared(), (2,))
    share = jnp.where(side < 0.5, gamma * position, 1 - gamma * position)
    return noise.uniform() < share


def mix(beta: Array, real: Tree, fake: Tree) -> Tree:
    """The mixed batch m_β (Eq. 4.2) of trees of arrays [B, ...]: x where β, x̃ elsewhere."""

    def choose(x: Array, y: Array) -> Array:
        return jnp.where(beta.reshape(-1, *(1 for _ in x.shape[1:])), x, y)

    return jax.tree.map(choose, real, fake)


def realised_ratio(beta: Array) -> Array:
    """#β/B of the global batch, float32 []."""
    return devices.mean(jnp.mean(beta.astype(jnp.float32)))


def bernoulli_cross_entropy(ratio: Array | float, logits: Array) -> Array:
    """−u ln σ(logit) − (1 − u) ln(1 − σ(logit)), in nats, for u in [0, 1]."""
    return ratio * jax.nn.softplus(-logits) + (1 - ratio) * jax.nn.softplus(logits)


def bernoulli_kl(ratio: Array | float, logits: Array) -> Array:
    """KL(B(u) ‖ B(σ(logit))), in nats (Eq. 4.3), for u in [0, 1]; exact at its ends."""
    negative_entropy = xlogy(ratio, ratio) + xlogy(1 - ratio, 1 - ratio)
    return negative_entropy + bernoulli_cross_entropy(ratio, logits)


def bgan(logits: Array, ratio: Array | float) -> Array:
    """The loss of the mean logit of the global batch (Eq. 4.13): [B] -> []."""
    return bernoulli_kl(ratio, devices.mean(jnp.mean(logits)))


def m_bgan(logits: Array, ratio: Array | float) -> Array:
    """The loss of each logit (Eq. 4.14, unreduced): [B] -> [B]. Its mean is at least `bgan`'s."""
    return bernoulli_kl(ratio, logits)


# (logits [B], ratio []) -> nats, [] or [B]. With ratio 1 it is −ln D, the generator's loss: Eq. 4.5
# prints E ln D, to be maximised. The thesis does not say whether the mean of Eq. 4.13 is taken
# before or after the sigmoid; here it is the logits'.
REDUCTIONS = {"bgan": bgan, "m_bgan": m_bgan}


def batch_prior(batch_size: int, kind: str, *parameters: float) -> np.ndarray:
    """ln P(β) of a single β with k ones, float64 [B + 1] for k = 0, …, B.

    Args:
      batch_size: B.
      kind: the law of p*: `uniform` on [0, 1]; `gamma` (γ), uniform on [0, γ] ∪ [1 − γ, 1]; `beta`
        (a, b), Eq. 4.19.
      parameters: those of the law.

    Raises:
      ValueError: the kind is unknown, or a number is out of range.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    if kind not in PRIORS:
        raise ValueError(f"unknown prior '{kind}'; choose among {', '.join(PRIORS)}")
    if len(parameters) != PRIORS[kind]:
        raise ValueError(f"prior '{kind}' takes {PRIORS[kind]} parameters; got {parameters}")
    ones = np.arange(batch_size + 1)
    if kind == "uniform":
        return betaln(ones + 1, batch_size - ones + 1)
    if kind == "beta":
        a, b = parameters
        if not (a > 0 and b > 0):
            raise ValueError(f"a and b of a beta prior are {a} and {b}; give positive numbers")
        return betaln(ones + a, batch_size - ones + b) - betaln(a, b)
    (gamma,) = parameters
    if not 0 <= gamma <= 0.5:
        raise ValueError(f"gamma is {gamma}; give a number from 0 to 0.5")
    if gamma == 0:
        return np.where((ones == 0) | (ones == batch_size), -math.log(2), -np.inf)
    # ∫₀^γ p^k (1 − p)^(B − k) dp = B(k + 1, B − k + 1) · P(Binomial(B + 1, γ) > k); the tail is
    # summed in the log domain, since it is as small as γ^B.
    drawn = np.arange(batch_size + 2)
    log_binomial = (
        gammaln(batch_size + 2)
        - gammaln(drawn + 1)
        - gammaln(batch_size + 2 - drawn)
        + drawn * math.log(gamma)
        + (batch_size + 1 - drawn) * math.log1p(-gamma)
    )
    tail = np.logaddexp.accumulate(log_binomial[::-1])[::-1][1:]
    lower = betaln(ones + 1, batch_size - ones + 1) + tail
    return np.logaddexp(lower, lower[::-1]) - math.log(2 * gamma)


def optimal_discriminator(log_ratios: ArrayLike, log_prior: ArrayLike) -> np.ndarray:
    """D*(y) = E[#β/B | y], the best discriminator of mixed batches (Proposition 1, section 4.7).

    P(β | y) is proportional to P(β) Π_{β_i = 1} r_i, so D* is Σ_k (k/B) P_k e_k(r) / Σ_k P_k e_k(r)
    with the elementary symmetric polynomials e_k, which cost B² operations in the log domain.

    Args:
      log_ratios: ln r_i = ln p₁(y_i) − ln p₂(y_i), [B] or [N, B]; ±∞ where a density is zero.
      log_prior: from `batch_prior`, [B + 1].

    Returns:
      float64 [] or [N].

    Raises:
      ValueError: the shapes do not fit.
    """
    log_ratios = np.asarray(log_ratios, np.float64)
    log_prior = np.asarray(log_prior, np.float64)
    size = log_ratios.shape[-1] if log_ratios.ndim in (1, 2) else -1
    if log_prior.shape != (size + 1,):
        raise ValueError(
            f"log_ratios are [B] or [N, B] and log_prior [B + 1], got {log_ratios.shape} and "
            f"{log_prior.shape}"
        )
    # r_i : 1 is scaled to r_i/(1 + r_i) : 1/(1 + r_i), which changes no posterior and stays finite.
    log_real, log_fake = -np.logaddexp(0, -log_ratios), -np.logaddexp(0, log_ratios)
    polynomials = np.full((*log_ratios.shape[:-1], size + 1), -np.inf)
    polynomials[..., 0] = 0
    for i in range(size):
        real, fake = log_real[..., i, None], log_fake[..., i, None]
        with_real = polynomials[..., :-1] + real
        polynomials = polynomials + fake
        polynomials[..., 1:] = np.logaddexp(polynomials[..., 1:], with_real)
    log_posterior = polynomials + log_prior
    log_posterior -= np.logaddexp.reduce(log_posterior, -1, keepdims=True)
    return np.exp(log_posterior) @ (np.arange(size + 1) / size)
