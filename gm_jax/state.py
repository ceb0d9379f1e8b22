"""The state of a run, and the update of a player."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, cast

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from gm_jax import devices

Array = jax.Array
Tree = Any
_MAX_CODES = 16


@flax.struct.dataclass
class TrainState:
    """Everything that changes while a method trains.

    Attributes:
      step: number of steps done, int32 scalar.
      params: {network: tree}, float32.
      opt_state: {player: tree}, its optimizer's state; vectors if the optimizer is flattened.
      ema_params: {network: tree}, or {} if the method keeps no average.
      statistics: {network: {collection: tree}}: batch statistics, power-iteration vectors.
      failures: {player: int32 [1 + 16]}: the step whose update was first skipped as non-finite
        (−1: none), and for its first 16 terms a code of the name if it was not finite, else 0.
    """

    step: Array
    params: dict[str, Tree]
    opt_state: dict[str, Tree]
    ema_params: dict[str, Tree]
    statistics: dict[str, Tree]
    failures: dict[str, Array]
    replace: ClassVar[Callable[..., "TrainState"]]  # flax.struct makes it


class Loss(NamedTuple):
    """A player's loss on a batch.

    Attributes:
      terms: {name: float [B] or scalar}, nats per example; their means sum to the loss.
      curves: {name: float [B] or scalar}, which are only logged; a non-finite one also skips the
        update.
      statistics: {network: {collection: tree}}, the new running statistics of networks that this
        player moves.
    """

    terms: Mapping[str, Array]
    curves: Mapping[str, Array] | None = None
    statistics: Mapping[str, Tree] | None = None


def create(
    params: dict[str, Tree],
    optimizers: Mapping[str, tuple[tuple[str, ...], optax.GradientTransformation]],
    ema: bool,
    statistics: dict[str, Tree] | None = None,
) -> TrainState:
    """Builds the state at step 0.

    Args:
      params: {network: tree}.
      optimizers: {player: (its networks, its optimizer)}, as `update_player` takes them.
      ema: whether to keep an average of the parameters; it starts as a copy of them.
      statistics: {network: {collection: tree}}.
    """
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state={
            player: optimizer.init({name: params[name] for name in networks})
            for player, (networks, optimizer) in optimizers.items()
        },
        ema_params=jax.tree.map(jnp.copy, params) if ema else {},
        statistics=statistics or {},
        failures={player: _no_failure() for player in optimizers},
    )


def update_player(
    state: TrainState,
    player: str,
    networks: tuple[str, ...],
    optimizer: optax.GradientTransformation,
    *loss_fns: Callable[[dict[str, Tree]], Loss],
) -> tuple[TrainState, dict[str, Array]]:
    """Moves one player's networks down its loss; every other network stays unchanged.

    One all-reduce averages gradient and terms over the devices. An update in which any of them is
    not finite is skipped, and the first such update is recorded in `state.failures`.

    Args:
      state: the state before the update.
      player: the player's name.
      networks: the networks whose parameters it moves.
      optimizer: its optimizer, over {network: tree}.
      *loss_fns: each maps {network: params} of these networks to the loss on a part of the local
        batch; the parts are equally large, and only one at a time is in memory.

    Returns:
      The new state (same step), and the means of the terms and curves with `loss`, `gradient_norm`
      and `update_norm`, each named "player/term" if the method has several players.
    """
    params = {name: state.params[name] for name in networks}

    def total(
        params: dict[str, Tree], loss_fn: Callable[[dict[str, Tree]], Loss]
    ) -> tuple[Array, tuple[dict[str, Array], dict[str, Tree]]]:
        wanted = loss_fn(params)
        terms = {name: jnp.mean(term) for name, term in wanted.terms.items()}
        curves = {name: jnp.mean(curve) for name, curve in (wanted.curves or {}).items()}
        loss = cast(Array, sum(terms.values()))  # there are terms
        return loss, ({"loss": loss, **terms, **curves}, dict(wanted.statistics or {}))

    gradient = jax.grad(total, has_aux=True)
    gradients, (terms, statistics) = gradient(params, loss_fns[0])
    for loss_fn in loss_fns[1:]:
        # A part waits for the gradients of the last one, or XLA would hold all in memory. (An
        # `optimization_barrier` is gone on CPU when the order is chosen; 0·x may be NaN and stays.)
        zero = 0 * sum(jnp.ravel(leaf)[0] for leaf in jax.tree.leaves(gradients))
        later = jax.tree.map(lambda param, zero=zero: param + zero, params)
        further, (further_terms, statistics) = gradient(later, loss_fn)
        gradients, terms = jax.tree.map(jnp.add, (gradients, terms), (further, further_terms))
    if len(loss_fns) > 1:
        gradients, terms = jax.tree.map(lambda x: x / len(loss_fns), (gradients, terms))
    if not statistics.keys() <= set(networks):
        raise ValueError(f"player '{player}' moves {networks}, not all of {sorted(statistics)}")
    gradients, terms = devices.mean((gradients, terms))
    updates, opt_state = optimizer.update(gradients, state.opt_state[player], params)
    norms = {"gradient_norm": _norm(gradients), "update_norm": _norm(updates)}
    prefix = f"{player}/" if len(state.failures) > 1 else ""
    terms = {prefix + name: term for name, term in {**norms, **terms}.items()}
    good = jnp.stack([jnp.isfinite(term) for term in terms.values()])
    updates = jax.tree.map(lambda update: jnp.where(jnp.all(good), update, 0), updates)

    def keep(new: Tree, old: Tree) -> Tree:
        return jax.tree.map(lambda a, b: jnp.where(jnp.all(good), a, b), new, old)

    moved = {
        name: {
            **state.statistics[name],
            **{
                kind: keep(tree, state.statistics[name][kind]) for kind, tree in collections.items()
            },
        }
        for name, collections in statistics.items()
    }
    codes = jnp.where(good, 0, jnp.array([_code(name) for name in terms], jnp.int32))
    failure = jnp.append(state.step, jnp.pad(codes, (0, _MAX_CODES))[:_MAX_CODES])
    first = (state.failures[player][0] < 0) & ~jnp.all(good)
    return state.replace(
        params={**state.params, **optax.apply_updates(params, updates)},
        opt_state={**state.opt_state, player: keep(opt_state, state.opt_state[player])},
        statistics={**state.statistics, **moved},
        failures={
            **state.failures,
            player: jnp.where(first, failure, state.failures[player]),
        },
    ), terms


def advance(state: TrainState, ema_decay: float) -> TrainState:
    """Ends a step: updates the parameter average, if there is one, and counts the step.

    The decay grows to `ema_decay` as (1 + step)/(10 + step), so that the average of a young run is
    not its initialisation.
    """
    ema_params = state.ema_params
    if ema_params:
        decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
        ema_params = optax.incremental_update(state.params, ema_params, 1 - decay)
    return state.replace(step=state.step + 1, ema_params=ema_params)


def describe_failure(state: TrainState, metrics: Iterable[str]) -> str | None:
    """Says what was not finite, when and for which player; None if nothing failed.

    Args:
      state: its `failures` may be on the host or on devices.
      metrics: names that the train step returns; those that are no player's terms are ignored.
    """
    for player, failure in state.failures.items():
        step, *codes = jax.device_get(failure).tolist()
        if step >= 0:
            bad = [name for name in sorted(metrics) if _code(name) in codes]
            what = ", ".join(bad) or "a term that the method does not return"
            return f"step {step + 1}: player '{player}': {what} not finite"
    return None


def training_variables(state: TrainState, params: dict[str, Tree]) -> dict[str, Tree]:
    """Returns {network: variables} for `apply` in training: `params` replaces the state's."""
    return _with_statistics(state, {**state.params, **params})


def evaluation_variables(state: TrainState) -> dict[str, Tree]:
    """Returns {network: variables} for `apply`: parameters, averaged if kept, and statistics."""
    return _with_statistics(state, state.ema_params or state.params)


def _with_statistics(state: TrainState, params: dict[str, Tree]) -> dict[str, Tree]:
    return {name: {"params": params[name], **state.statistics.get(name, {})} for name in params}


def _norm(tree: Tree) -> Array:
    """Norm of all leaves as one vector; leaf by leaf, each would need a fusion to be compiled."""
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def _no_failure() -> Array:
    return jnp.zeros(1 + _MAX_CODES, jnp.int32).at[0].set(-1)


def _code(name: str) -> int:
    """31 bits, never 0, that identify a term independently of what else the method returns."""
    return zlib.crc32(name.encode()) >> 1 or 1
