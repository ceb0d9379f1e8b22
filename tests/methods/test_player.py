"""The updates of a step: their order, their parameters, their batches and their noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gm_jax import devices
from gm_jax import state as train_state
from gm_jax.methods.player import Player, in_order, moments, play
from gm_jax.nn.batch_norm import COLLECTION, BatchStatistics, global_moments
from gm_jax.state import Loss

KEY = jax.random.key(5)
PARAMS = {"e": jnp.array([0.5, -1.0]), "g": jnp.array([2.0, 0.3]), "d": jnp.array([-0.7, 1.5])}
BATCHES = [
    devices.numbered({"x": np.random.default_rng(seed).normal(size=(4, 2)).astype(np.float32)})
    for seed in range(2)
]
# A loss that couples all networks, so that the order of the updates matters.
SIGNS = {"E": 1.0, "G": 0.5, "D": -1.0}


def objective(sign, params, x):
    """[B]."""
    e, g, d = (params[name] for name in "egd")
    return sign * (jnp.sin(x * e + g) * d + g**2 * e).sum(1) + 0.1 * (e * g * d).sum()


def player(name):
    def loss(variables, batch, noise, step):
        params = {network: tree["params"] for network, tree in variables.items()}
        drawn = {"key": jax.random.key_data(noise.key)[-1], "first": batch["x"][0, 0]}
        return Loss({"objective": objective(SIGNS[name], params, batch["x"])}, drawn)

    return Player(name, (name.lower(),), optax.sgd(0.1, momentum=0.9), loss)


E, G, D = (player(name) for name in "EGD")


def state_of(updates):
    optimizers = {p.name: (p.networks, p.optimizer) for p in in_order(updates)}
    return train_state.create(PARAMS, optimizers, ema=False)


def played(updates):
    step = jax.jit(lambda state: play(updates, state, BATCHES, KEY))
    state, terms = step(state_of(updates))
    return jax.device_get(state.params), jax.device_get(terms)


def by_hand(*groups):
    """The same by a loop over names; those of a group take gradients at the same parameters."""
    params, momenta = dict(PARAMS), dict.fromkeys(SIGNS, 0.0)
    gradient = jax.jit(jax.grad(lambda p, sign: objective(sign, p, BATCHES[0]["x"]).mean()))
    for group in groups:
        before = dict(params)
        for name in group:
            slope = gradient(before, SIGNS[name])[name.lower()]
            momenta[name] = 0.9 * momenta[name] + slope
            params[name.lower()] = before[name.lower()] - 0.1 * momenta[name]
    return params


def assert_same(found, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_players_move_in_their_order_and_repeatedly():
    found, _ = played((E, G, E, G, D))
    assert_same(found, by_hand("E", "G", "E", "G", "D"))
    other = by_hand("D", "E", "G", "E", "G")
    assert any(np.abs(found[name] - other[name]).max() > 1e-3 for name in PARAMS)


def test_a_tuple_of_players_moves_from_the_same_parameters():
    found, _ = played(((E, G), D))
    assert_same(found, by_hand("EG", "D"))
    one_by_one = by_hand("E", "G", "D")
    assert np.abs(found["g"] - one_by_one["g"]).max() > 1e-3


def test_two_that_move_one_network_simultaneously_are_refused():
    with pytest.raises(ValueError, match=r"players E, E move simultaneously, and .* e, e twice"):
        in_order((G, (E, E)))
    assert in_order((G, (E, D), E)) == [G, E, D, E]


def test_a_player_sees_the_batch_that_it_asks_for():
    second = G.on_batch(1)
    assert (second.batch, second.name, second.loss) == (1, "G", G.loss)
    _, terms = played((E, second))
    assert [terms[f"{name}/first"] for name in "EG"] == [batch["x"][0, 0] for batch in BATCHES]


def test_several_updates_have_noise_of_their_own_and_an_only_one_the_steps():
    _, terms = played((E,))
    assert terms["key"] == jax.random.key_data(KEY)[-1]
    _, terms = played((E, (G, D)))
    assert len({int(terms[f"{name}/key"]) for name in "EGD"}) == 3


def test_two_players_of_one_name_with_other_optimizers_are_refused():
    other = dataclasses.replace(E, optimizer=optax.sgd(0.2))
    with pytest.raises(ValueError, match="two players are called 'E'"):
        in_order((E, D, other))
    assert in_order((E, D, E.on_batch(1))) == [E, D, E.on_batch(1)]


def test_the_moments_of_a_network_are_the_mean_over_the_losses_that_normalise_it():
    norm = BatchStatistics(decay=0.9)

    def judge(factor):
        def loss(variables, batch, noise, step):
            running = {COLLECTION: variables["d"][COLLECTION]}
            _, moved = norm.apply(running, factor * batch["x"], True, mutable=[COLLECTION])
            return Loss({"none": jnp.zeros(())}, statistics={"d": moved})

        return dataclasses.replace(D, loss=loss)

    updates = (judge(1.0), E, judge(3.0).on_batch(1), judge(-2.0))
    scaled = [BATCHES[0]["x"], 3 * BATCHES[1]["x"], -2 * BATCHES[0]["x"]]
    variables = {name: {"params": value} for name, value in PARAMS.items()}
    variables["d"] |= norm.init(KEY, BATCHES[1]["x"], True)
    found = moments(updates, variables, BATCHES, KEY, jnp.int32(0))
    expected = np.mean([global_moments(x) for x in scaled], 0)
    np.testing.assert_allclose([*found["d"].values()], expected, rtol=1e-5)
