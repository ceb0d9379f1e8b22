"""The optimizers of the papers, by name."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class AdamaxState(NamedTuple):
    """First moment and infinity norm of the gradients."""

    mean: Any
    norm: Any


def adamax(
    learning_rate: optax.ScalarOrSchedule, beta1: float, beta2: float, epsilon: float
) -> optax.GradientTransformation:
    """Adamax as published with the IAF-VAE: no bias correction, norm = max(β₂·norm + ε, |g|).

    Without the correction the first steps are smaller (optax.adamax divides by 1 − β₁ᵗ).
    """

    def init(params: Any) -> AdamaxState:
        return AdamaxState(*(jax.tree.map(jnp.zeros_like, params) for _ in range(2)))

    def update(gradients: Any, state: AdamaxState, params: Any = None) -> tuple[Any, AdamaxState]:
        del params
        mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.mean, gradients)
        norm = jax.tree.map(
            lambda n, g: jnp.maximum(beta2 * n + epsilon, jnp.abs(g)), state.norm, gradients
        )
        return jax.tree.map(lambda m, n: m / n, mean, norm), AdamaxState(mean, norm)

    return optax.chain(
        optax.GradientTransformation(init, update), optax.scale_by_learning_rate(learning_rate)
    )


OPTIMIZERS = ("adamax", "adam", "momentum", "sgd")


def create(config: Any) -> optax.GradientTransformation:
    """Builds the optimizer of a config.

    Args:
      config: fields of all: `name` (one of OPTIMIZERS); `learning_rate`, `learning_rate_decay` (a
        factor a step: 1 keeps the rate), `decay_steps` (after each of these steps the rate is
        multiplied by `decay_factor`); `clip_norm` (gradients longer than this are shortened to it
        first; 0 never does). Adam and Adamax have `beta1`, `beta2`, `epsilon`, Adam alone
        `epsilon_root` (inside its root); `momentum` has `momentum`.
    """
    if config.clip_norm < 0:
        raise ValueError(f"optimizer.clip_norm is {config.clip_norm}; give a length, or 0 for none")
    optimizer = _named(config)
    if config.clip_norm:
        optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)
    return optimizer


def _rate(config: Any) -> optax.Schedule:
    smooth = optax.exponential_decay(config.learning_rate, 1, config.learning_rate_decay)
    jumps = dict.fromkeys(config.decay_steps, config.decay_factor)
    return lambda step: optax.piecewise_constant_schedule(smooth(step), jumps)(step)


def _named(config: Any) -> optax.GradientTransformation:
    rate = _rate(config)
    if config.name == "adamax":
        return adamax(rate, config.beta1, config.beta2, config.epsilon)
    if config.name == "adam":
        return optax.adam(rate, config.beta1, config.beta2, config.epsilon, config.epsilon_root)
    if config.name == "momentum":
        return optax.sgd(rate, config.momentum)
    if config.name == "sgd":
        return optax.sgd(rate)
    raise ValueError(f"unknown optimizer '{config.name}'; choose among {', '.join(OPTIMIZERS)}")
