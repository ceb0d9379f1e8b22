"""Players: networks that one optimizer moves down one loss, and the updates of a step."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import optax

from gm_jax import devices
from gm_jax import state as train_state
from gm_jax.nn import batch_norm
from gm_jax.nn.noise import Noise
from gm_jax.state import Loss, TrainState

Array = jax.Array
Batch = dict[str, Array]
Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Player:
    """Networks that one optimizer moves down one loss.

    Attributes:
      name: names its curves and its part of the state.
      networks: the networks whose parameters it moves.
      optimizer: from `optimizers.create`.
      loss: (variables, batch, noise, step) -> Loss.
      batch: the number of the fresh batch, among the step's, that it sees.
    """

    name: str
    networks: tuple[str, ...]
    optimizer: optax.GradientTransformation
    loss: Callable[[Variables, Batch, Noise, Array], Loss]
    batch: int = 0

    def with_loss(self, loss: Callable[[Variables, Batch, Noise, Array], Loss]) -> "Player":
        """The same player with another loss, which may depend on the place in the step."""
        return dataclasses.replace(self, loss=loss)

    def on_batch(self, number: int) -> "Player":
        """The same player on another of the step's batches."""
        return dataclasses.replace(self, batch=number)


# The updates of a step, in order; those in a tuple start from the same parameters.
Updates = Sequence[Player | tuple[Player, ...]]


def in_order(updates: Updates) -> list[Player]:
    """The players in the order in which they move.

    Raises:
      ValueError: two simultaneous players move the same network, or two players with the same name
        differ in more than their loss and batch.
    """
    groups = [update if isinstance(update, tuple) else (update,) for update in updates]
    by_name: dict[str, Player] = {}
    for player in (player for group in groups for player in group):
        namesake = by_name.setdefault(player.name, player)
        if (namesake.networks, namesake.optimizer) != (player.networks, player.optimizer):
            raise ValueError(
                f"two players are called '{player.name}' and have other networks or another "
                "optimizer; give each its own name"
            )
    for group in groups:
        moved = [network for player in group for network in player.networks]
        if len(set(moved)) < len(moved):
            raise ValueError(
                f"players {', '.join(player.name for player in group)} move simultaneously, and "
                f"one of the networks {', '.join(moved)} twice"
            )
    return [player for group in groups for player in group]


def play(
    updates: Updates, state: TrainState, batches: Sequence[Batch], key: Array, num_parts: int = 1
) -> tuple[TrainState, dict[str, Array]]:
    """Makes the updates of a step, each with its own noise.

    They are unrolled: on CPU the gradient of a convolution inside a loop is many times slower.

    Args:
      updates: the players.
      state: the state before the step.
      batches: a device's share of each of the step's batches.
      key: of this step.
      num_parts: the parts of a batch whose gradients are averaged one after the other. Examples
        have their noise by index, so the update is that of the whole batch.

    Raises:
      ValueError: the parts are not equally large, or a loss is no mean over examples.

    Returns:
      The new state (same step) and the terms from `state.update_player`; for a player that moves
      several times they come from its last update.
    """
    terms: dict[str, Array] = {}
    keys = _keys(updates, key)
    for update in updates:
        before = state
        for player in update if isinstance(update, tuple) else (update,):
            batch = batches[player.batch]
            own = next(keys)
            losses = [
                functools.partial(
                    _loss, player, before, part, Noise(own, part["index"]), num_parts > 1
                )
                for part in _parts(batch, num_parts)
            ]
            state, logged = train_state.update_player(
                state, player.name, player.networks, player.optimizer, *losses
            )
            terms |= logged
    return state, terms


def moments(
    updates: Updates, variables: Variables, batches: Sequence[Batch], key: Array, step: Array
) -> Variables:
    """The moments by which the losses of a step's players normalise, while no network moves.

    Returns:
      {network: tree of COLLECTION}, for networks that have batch norms. Where several losses
      normalise a network, they are the losses' mean: so do running averages settle whose decay is
      near 1. A loss that applies it several times returns what it makes of that, as in training.
    """
    found: dict[str, list[Any]] = {}
    with batch_norm.forgetting():
        for player, own in zip(in_order(updates), _keys(updates, key), strict=True):
            batch = batches[player.batch]
            wanted = player.loss(variables, batch, Noise(own, batch["index"]), step)
            for network, collections in (wanted.statistics or {}).items():
                if batch_norm.COLLECTION in collections:
                    found.setdefault(network, []).append(collections[batch_norm.COLLECTION])
    return {
        network: jax.tree.map(lambda *each: sum(each) / len(each), *trees)
        for network, trees in found.items()
    }


def _keys(updates: Updates, key: Array) -> Iterator[Array]:
    """A key for each player's update of a step, in order."""
    count = len(in_order(updates))
    return iter(jax.random.split(key, count) if count > 1 else [key])


def _parts(batch: Batch, count: int) -> list[Batch]:
    """Divides a device's share of a batch evenly."""
    size = len(batch["index"])
    if size % count:
        raise ValueError(
            f"train.accumulate_steps is {count}, which does not divide a device's share of the "
            f"batch, {size} examples; change it or data.batch_size"
        )
    part = size // count
    return [
        {name: x[start : start + part] for name, x in batch.items()}
        for start in range(0, size, part)
    ]


def _loss(
    player: Player,
    before: TrainState,
    batch: Batch,
    noise: Noise,
    is_part: bool,
    params: dict[str, Any],
) -> Loss:
    """A player's loss as a function of the parameters that it moves; the others are fixed."""
    variables = train_state.training_variables(before, params)
    with devices.micro_batches() if is_part else contextlib.nullcontext():
        return player.loss(variables, batch, noise, before.step)
