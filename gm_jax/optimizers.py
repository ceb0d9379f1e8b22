"""The papers' optimizers, by name."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict


class AdamaxState(NamedTuple):
    """First moment and infinity norm of the gradients."""

    mean: Any
    norm: Any


def adamax(
    learning_rate: optax.ScalarOrSchedule, beta1: float, beta2: float, epsilon: float
) -> optax.GradientTransformation:
    """Adamax as published with the IAF-VAE: no bias correction, norm = max(β₂·norm + ε, |g|).

    Without the correction, the first steps are smaller (optax.adamax divides by 1 − β₁ᵗ).
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


# {name: (function of the learning rate and options, the config fields that are its options)}
OPTIMIZERS: dict[str, tuple[Callable[..., optax.GradientTransformation], tuple[str, ...]]] = {
    "adamax": (adamax, ("beta1", "beta2", "epsilon")),
    "adam": (optax.adam, ("beta1", "beta2", "epsilon", "epsilon_root")),
    "momentum": (optax.sgd, ("momentum",)),
    "sgd": (optax.sgd, ()),
}

# What every optimizer has.
_SHARED = (
    *("learning_rate", "learning_rate_decay", "decay_steps", "decay_factor", "warmup_steps"),
    *("linear_decay_steps", "linear_decay_start", "cosine_decay_steps", "clip_norm"),
)


def clip_parameters(limit: float) -> optax.GradientTransformation:
    """Shortens updates so that parameters end in [−limit, limit]; the last part of a chain.

    This is w ← clip(w + update, −limit, limit) of the Wasserstein GAN (Arjovsky et al., 2017,
    Algorithm 1). Their code clips before an update instead, so the critic that the generator meets
    has just left the box. Here only parameters that never moved can lie outside it.
    """

    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        def land(update: jax.Array, param: jax.Array) -> jax.Array:
            return jnp.clip(param + update, -limit, limit) - param

        return jax.tree.map(land, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def create(
    config: Any, updates_per_step: int = 1, player: str | None = None
) -> optax.GradientTransformation:
    """Builds an optimizer from a config; its state treats the parameters as one vector.

    Args:
      config: has `name`, one of OPTIMIZERS, and the fields that OPTIMIZERS lists for it (Adam adds
        `epsilon_root` inside its root); `learning_rate`; `learning_rate_decay`, a factor per step
        (1 keeps the rate); `decay_steps`, after each of which the rate is multiplied by
        `decay_factor`; `linear_decay_steps`, the step by which the rate has also fallen linearly to
        0 (0 for no such decay), from `linear_decay_start` on; `cosine_decay_steps`, the step by
        which it has also fallen to 0 along half a cosine (0 for no such decay), from the end of the
        warm-up on (Loshchilov & Hutter, 2017, Eq. 5); `warmup_steps`, over which it also rises
        linearly, to 1/warmup_steps of itself at the first step (0 for no rise); `clip_norm`, to
        which longer gradients are shortened first (0 for never). Each may also be {player: value}.
      updates_per_step: number of the player's updates per step; the rate is scheduled by steps.
      player: the player's name, which selects its value where each has its own.

    Raises:
      ValueError: there is no such optimizer, one of its fields or the player's value is missing, or
        a decay ends before it starts.
    """
    if config.name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer '{config.name}'; choose among {', '.join(OPTIMIZERS)}")
    build, fields = OPTIMIZERS[config.name]
    missing = [field for field in fields if field not in config]
    if missing:
        raise ValueError(
            f"optimizer.name is '{config.name}', but this page's section optimizer has no "
            f"{', '.join(missing)}; configs/common.py has sections with these fields"
        )
    own = {name: _of_player(config, name, player) for name in (*_SHARED, *fields)}
    optimizer = build(_rate(own, updates_per_step), *(own[field] for field in fields))
    if own["clip_norm"]:
        optimizer = optax.chain(optax.clip_by_global_norm(own["clip_norm"]), optimizer)
    # No rule here depends on the division into leaves. On a tree, XLA would compile one fusion per
    # leaf for each operation.
    return optax.flatten(optimizer)


def decay_beside(config: Any, steps: int) -> str:
    """What to tell of a decay to 0 that does not end with a training of `steps`; "" if it does.

    The decay is counted in steps of its own, so that a training may be prolonged; another
    `train.steps` alone does not move it. Players with decays of their own are not looked at.
    """
    lowest = config.cosine_decay_steps
    if isinstance(lowest, int) and lowest not in (0, steps):
        return (
            f"the training ends at step {steps}, and the cosine decay of the learning rate at "
            f"{lowest}" + (f": the rate is 0 from {lowest} on" if steps > lowest else "") + "; to "
            f"end it with the training, give --config.optimizer.cosine_decay_steps={steps}"
        )
    start, end = config.linear_decay_start, config.linear_decay_steps
    if not (isinstance(start, int) and isinstance(end, int)) or end in (0, steps):
        return ""
    left = min(max((end - steps) / (end - start), 0.0), 1.0)
    return (
        f"the training ends at step {steps}, and the linear decay of the learning rate runs from "
        f"step {start} to {end}: "
        + (f"the rate is 0 from {end} on" if steps > end else f"it ends at {left:.0%} of the rate")
        + "; to scale it with the training, give --config.optimizer.linear_decay_start="
        f"{start * steps // end} --config.optimizer.linear_decay_steps={steps}"
    )


def _of_player(config: Any, name: str, player: str | None) -> Any:
    """A field of an optimizer's config: the player's own, where each player has one."""
    value = config[name]
    if not isinstance(value, Mapping | ConfigDict):
        return value
    if player not in value:
        what = "rates" if name == "learning_rate" else "values"
        raise ValueError(
            f"optimizer.{name} has {what} of {', '.join(value)}, and none of "
            f"{player or 'a single player'}; add it, or give one number for all"
        )
    return value[player]


def _rate(config: Mapping[str, Any], updates_per_step: int) -> optax.Schedule:
    """Returns update -> learning rate, by all the fields of a config that change it."""
    smooth = optax.exponential_decay(config["learning_rate"], 1, config["learning_rate_decay"])
    jumps = dict.fromkeys(config["decay_steps"], config["decay_factor"])
    begin, end = config["linear_decay_start"], config["linear_decay_steps"]
    warmup, lowest = config["warmup_steps"], config["cosine_decay_steps"]
    if end and begin >= end:
        raise ValueError(
            f"optimizer.linear_decay_start is {begin} and linear_decay_steps {end}, the step by "
            "which the rate is 0; give a later one, or 0 for no such decay"
        )
    if lowest and warmup >= lowest:
        raise ValueError(
            f"optimizer.warmup_steps is {warmup} and cosine_decay_steps {lowest}, the step by "
            "which the rate is 0; give a later one, or 0 for no such decay"
        )

    def rate(update: jax.Array) -> jax.Array:
        step = update // updates_per_step
        value = optax.piecewise_constant_schedule(smooth(step), jumps)(step)
        if warmup:
            value *= jnp.minimum((step + 1) / warmup, 1)
        if lowest:
            share = jnp.clip((step - warmup) / (lowest - warmup), 0, 1)
            value *= (1 + jnp.cos(jnp.pi * share)) / 2
        return value * jnp.clip(1 - (step - begin) / (end - begin), 0, 1) if end else value

    return rate
