"""Losses of discriminator and generator on the discriminator's logits, ln D − ln(1 − D)."""

from collections.abc import Callable

import jax

from gm_jax.losses.gradient_penalty import gradient_penalty

Array = jax.Array


def discriminator_cross_entropy(real_logits: Array, fake_logits: Array) -> Array:
    """−ln D(x) − ln(1 − D(x̃)) (Goodfellow et al., 2014, Eq. 1).

    Args:
      real_logits: float [B], of images of the data.
      fake_logits: float [B], of samples.

    Returns:
      float32 [B], nats.
    """
    return jax.nn.softplus(-real_logits) + jax.nn.softplus(fake_logits)


def penalized_discriminator_terms(
    critic: Callable[[Array], Array], real: Array, fake: Array, fraction: Array, weight: float
) -> dict[str, Array]:
    """The discriminator's loss in two terms: the cross-entropy and its gradient penalty.

    The penalty is on the logit: the papers leave open whether it is on the logit or on D.

    Args:
      critic: [B, H, W, C] -> logits [B].
      real, fake: float [B, H, W, C].
      fraction: where between them the penalty is taken, in [0, 1], float [B].
      weight: of the penalty; 0 leaves it out.

    Returns:
      `cross_entropy` and `gradient_penalty` (weighted), float32 [B].
    """
    terms = {"cross_entropy": discriminator_cross_entropy(critic(real), critic(fake))}
    if weight:
        penalty = gradient_penalty(critic, real, fake, fraction)
        terms["gradient_penalty"] = weight * penalty
    return terms


def generator_log_ratio(fake_logits: Array) -> Array:
    """−[ln D(x̃) − ln(1 − D(x̃))] = −logit (Lucas et al., 2019, Eq. 5).

    With the optimal discriminator its mean is KL(model ‖ data).

    Args:
      fake_logits: float [B].

    Returns:
      float32 [B], nats.
    """
    return -fake_logits
