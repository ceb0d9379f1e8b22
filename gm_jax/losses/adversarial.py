"""The losses of discriminator and generator, as functions of the discriminator's logits.

With cross-entropy a logit is ln D − ln(1 − D); with the other losses it is the raw output.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gm_jax.losses.gradient_penalty import gradient_penalty

Array = jax.Array
Tree = Any


class AdversarialLoss(NamedTuple):
    """The losses of the two players.

    Attributes:
      term: name of the discriminator's loss in the curves.
      discriminator: (logits of data, logits of samples), float [B] each -> float32 [B]; of mixed
        batches (logits, share of data), float [B] and [], as in `mixed_batch.REDUCTIONS`.
      generator: (logits of samples), float [B] -> float32 [B].
    """

    term: str
    discriminator: Callable[[Array, Array], Array]
    generator: Callable[[Array], Array]


def cross_entropy(real: Array, fake: Array) -> Array:
    """−ln D(x) − ln(1 − D(x̃)), in nats (Goodfellow et al., 2014, Eq. 1)."""
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def minimax(fake: Array) -> Array:
    """ln(1 − D(x̃)), in nats (Goodfellow et al., 2014, Eq. 1).

    With the optimal discriminator its mean is KL(model ‖ (data + model)/2) − ln 2. Its gradient
    vanishes where the discriminator is sure of a sample.
    """
    return -jax.nn.softplus(fake)


def non_saturating(fake: Array) -> Array:
    """−ln D(x̃), in nats (Goodfellow et al., 2014, section 3)."""
    return jax.nn.softplus(-fake)


def log_ratio(fake: Array) -> Array:
    """−[ln D(x̃) − ln(1 − D(x̃))] = −logit, in nats (Lucas et al., 2019, Eq. 5).

    With the optimal discriminator its mean is KL(model ‖ data). It is also the generator's loss
    with `wasserstein` and `hinge`.
    """
    return -fake


def wasserstein(real: Array, fake: Array) -> Array:
    """D(x̃) − D(x), minus the estimate of W₁ by a 1-Lipschitz D (Arjovsky et al., 2017, Eq. 2)."""
    return fake - real


def hinge(real: Array, fake: Array) -> Array:
    """max(0, 1 − D(x)) + max(0, 1 + D(x̃)) (Miyato et al., 2018, Eq. 16)."""
    return jax.nn.relu(1 - real) + jax.nn.relu(1 + fake)


def least_squares(real: Array, fake: Array, a: float = 0.0, b: float = 1.0) -> Array:
    """½(D(x) − b)² + ½(D(x̃) − a)² (Mao et al., 2017, Eq. 2); a = 0 and b = 1 are Eq. 9."""
    return 0.5 * (jnp.square(real - b) + jnp.square(fake - a))


def least_squares_generator(fake: Array, c: float = 1.0) -> Array:
    """½(D(x̃) − c)² (Mao et al., 2017, Eq. 2); c = 1 is Eq. 9."""
    return 0.5 * jnp.square(fake - c)


LOSSES = {
    "minimax": AdversarialLoss("cross_entropy", cross_entropy, minimax),
    "non_saturating": AdversarialLoss("cross_entropy", cross_entropy, non_saturating),
    "log_ratio": AdversarialLoss("cross_entropy", cross_entropy, log_ratio),
    "wasserstein": AdversarialLoss("wasserstein", wasserstein, log_ratio),
    "hinge": AdversarialLoss("hinge", hinge, log_ratio),
    "least_squares": AdversarialLoss("least_squares", least_squares, least_squares_generator),
}


def create(name: str) -> AdversarialLoss:
    """Returns the pair of losses called `name`; ValueError if there is none."""
    if name not in LOSSES:
        raise ValueError(f"unknown adversarial loss '{name}'; choose among {', '.join(LOSSES)}")
    return LOSSES[name]


def discriminator_terms(
    loss: AdversarialLoss,
    critic: Callable[[Tree], Array],
    real: Tree,
    fake: Tree,
    fraction: Array,
    weight: float,
) -> dict[str, Array]:
    """The discriminator's loss and gradient penalty, as terms.

    The penalty applies to the logit: the papers do not say whether they mean the logit or D.

    Args:
      loss: from `create`.
      critic: examples -> logits [B].
      real, fake: arrays or trees of arrays, float [B, ...].
      fraction: position between them where the penalty is taken, float [B] in [0, 1].
      weight: weight of the penalty; 0 omits it.

    Returns:
      `loss.term` and `gradient_penalty` (weighted), float32 [B].
    """
    terms = {loss.term: loss.discriminator(critic(real), critic(fake))}
    if weight:
        terms["gradient_penalty"] = weight * gradient_penalty(critic, real, fake, fraction)
    return terms
