"""The update of one player."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gm_jax import devices
from gm_jax import state as train_state
from gm_jax.state import Loss

PARAMS = {"a": {"w": jnp.array([1.0, 2.0])}, "b": {"w": jnp.array([3.0])}}
OPTIMIZER = optax.sgd(0.1, momentum=0.9)


def new_state():
    return train_state.create(PARAMS, {"p": (("a",), OPTIMIZER)}, ema=True)


def update(state, weight):
    def loss_fn(params):
        loss = weight * jnp.sum(params["a"]["w"] ** 2)
        return Loss({"squares": loss}, {"also": loss * 2})

    return train_state.update_player(state, "p", ("a",), OPTIMIZER, loss_fn)


def test_only_the_players_networks_move():
    state, terms = update(new_state(), 1.0)
    np.testing.assert_allclose(state.params["a"]["w"], [0.8, 1.6], rtol=1e-6)
    assert state.params["b"]["w"] is PARAMS["b"]["w"]
    np.testing.assert_allclose(terms["gradient_norm"], 2 * np.sqrt(5), rtol=1e-6)


@pytest.mark.parametrize("flatten", [False, True])
def test_an_optimizer_sees_trees_or_flattened_one_vector(flatten):
    params = {
        "a": {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(2)},
        "b": {"w": jnp.full((2, 1, 2), -0.5)},
    }
    optimizer = optax.chain(optax.clip_by_global_norm(3.0), OPTIMIZER)

    def loss(params):
        return sum(jnp.sum(jnp.cos(leaf) * leaf) for leaf in jax.tree.leaves(params))

    def loss_fn(params):
        return Loss({"waves": loss(params)})

    moments = optimizer.init(params)
    player = optax.flatten(optimizer) if flatten else optimizer
    state = train_state.create(params, {"p": (("a", "b"), player)}, ema=False)
    for _ in range(2):
        state, _ = train_state.update_player(state, "p", ("a", "b"), player, loss_fn)
        updates, moments = optimizer.update(jax.grad(loss)(params), moments)
        params = optax.apply_updates(params, updates)
    chex.assert_trees_all_close(state.params, params, rtol=1e-5)
    shapes = [leaf.shape for leaf in jax.tree.leaves(state.opt_state)]
    assert shapes == ([(12,)] if flatten else [leaf.shape for leaf in jax.tree.leaves(params)])


def test_a_mask_holds_some_parameters_still():
    params = {"a": {"w": jnp.ones(2), "b": jnp.ones(3)}}
    masks = {"a": {"w": True, "b": False}}
    frozen = optax.masked(optax.set_to_zero(), jax.tree.map(np.logical_not, masks))
    optimizer = optax.chain(optax.masked(optax.flatten(OPTIMIZER), masks), frozen)
    state = train_state.create(params, {"p": (("a",), optimizer)}, ema=False)

    def loss_fn(params):
        return Loss({"sum": sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params))})

    state, _ = train_state.update_player(state, "p", ("a",), optimizer, loss_fn)
    np.testing.assert_allclose(state.params["a"]["w"], 0.9, rtol=1e-6)
    np.testing.assert_array_equal(state.params["a"]["b"], 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_update_is_skipped_and_recorded(bad):
    state, _ = update(new_state(), 1.0)
    state = train_state.advance(state, 0.5)
    skipped, terms = update(state, bad)
    for new, old in zip(
        jax.tree.leaves((skipped.params, skipped.opt_state)),
        jax.tree.leaves((state.params, state.opt_state)),
        strict=True,
    ):
        np.testing.assert_array_equal(new, old)
    message = train_state.describe_failure(skipped, terms)
    bad_terms = "also, gradient_norm, loss, squares, update_norm"
    assert message == f"step 2: player 'p': {bad_terms} not finite"
    assert train_state.describe_failure(state, terms) is None


@functools.partial(jax.jit, static_argnums=2)
def update_both(state, weights, player):
    """Several updates of one of two players; the method adds a metric of its own."""

    def one(state, weight):
        def loss_fn(params):
            loss = weight * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
            return Loss({"squares": loss}, {"another": jnp.float32(1)})

        return train_state.update_player(state, player, (player,), OPTIMIZER, loss_fn)

    state, terms = jax.lax.scan(one, state, weights)
    return state, {**{name: term[-1] for name, term in terms.items()}, f"{player}/aardvark": 0.0}


def test_a_failure_is_told_by_its_player_and_its_terms_alone():
    players = {name: ((name,), OPTIMIZER) for name in PARAMS}
    state = train_state.create(PARAMS, players, ema=False)
    metrics = {}
    for player, weights in (("b", [1.0, 1.0]), ("a", [1.0, jnp.nan, 1.0])):
        state, terms = update_both(state, jnp.array(weights), player)
        metrics |= terms
    assert {"a/loss", "b/loss", "a/update_norm"} < set(metrics)
    message = train_state.describe_failure(state, metrics)
    expected = "a/gradient_norm, a/loss, a/squares, a/update_norm"
    assert message == f"step 1: player 'a': {expected} not finite"


def test_the_first_failure_is_the_one_remembered():
    state, _ = update(new_state(), jnp.nan)
    state, _ = update(train_state.advance(state, 0.5), jnp.nan)
    assert int(state.failures["p"][0]) == 0


@pytest.mark.parametrize(("step", "decay"), [(0, 0.1), (8, 0.5), (1000, 0.75)])
def test_the_average_follows_the_parameters_ever_more_slowly(step, decay):
    state, _ = update(new_state().replace(step=jnp.int32(step)), 1.0)
    state = train_state.advance(state, 0.75)
    expected = decay * np.array([1.0, 2.0]) + (1 - decay) * np.array([0.8, 1.6])
    np.testing.assert_allclose(state.ema_params["a"]["w"], expected, rtol=1e-6)
    assert int(state.step) == step + 1
    variables = train_state.evaluation_variables(state)
    assert variables["a"]["params"] is state.ema_params["a"]


def test_the_loss_is_the_sum_of_its_terms_means_and_no_curve_moves_anything():
    def loss_fn(params):
        w = params["a"]["w"]
        return Loss({"each": w, "one": 0.5 * w[0] ** 2}, {"curve": 7 * w})

    _, terms = train_state.update_player(new_state(), "p", ("a",), OPTIMIZER, loss_fn)
    found = {name: float(terms[name]) for name in ("each", "one", "loss", "curve")}
    assert found == {"each": 1.5, "one": 0.5, "loss": 2.0, "curve": 10.5}
    np.testing.assert_allclose(terms["gradient_norm"], np.hypot(0.5 + 1, 0.5), rtol=1e-6)


def with_statistics(weight, network="a"):
    """An update whose loss also counts the updates of a network."""
    state = new_state().replace(statistics={name: {"counts": {"n": 0.0}} for name in PARAMS})

    def loss_fn(params):
        loss = weight * jnp.sum(params["a"]["w"] ** 2)
        return Loss({"squares": loss}, statistics={network: {"counts": {"n": jnp.float32(1)}}})

    return train_state.update_player(state, "p", ("a",), OPTIMIZER, loss_fn)[0]


@pytest.mark.parametrize(("weight", "count"), [(1.0, 1), (np.nan, 0)])
def test_statistics_are_those_of_a_good_update(weight, count):
    state = with_statistics(weight)
    assert float(state.statistics["a"]["counts"]["n"]) == count
    assert state.statistics["b"]["counts"]["n"] == 0
    variables = train_state.training_variables(state, {"a": {"w": "moved"}})
    assert variables["a"] == {"params": {"w": "moved"}, **state.statistics["a"]}
    assert variables["b"]["params"] is state.params["b"]


def test_a_collection_that_does_not_move_stays():
    statistics = {"a": {"counts": {"n": 0.0}, "other": {"u": jnp.ones(2)}}}
    state = new_state().replace(statistics=statistics)

    def loss_fn(params):
        loss = jnp.sum(params["a"]["w"])
        return Loss({"sum": loss}, statistics={"a": {"counts": {"n": jnp.float32(1)}}})

    after, _ = train_state.update_player(state, "p", ("a",), OPTIMIZER, loss_fn)
    assert float(after.statistics["a"]["counts"]["n"]) == 1
    np.testing.assert_array_equal(after.statistics["a"]["other"]["u"], 1)


def test_statistics_of_a_network_that_rests_are_refused():
    with pytest.raises(ValueError, match=r"player 'p' moves \('a',\), not all of \['b'\]"):
        with_statistics(1.0, "b")


def test_gradients_and_terms_of_devices_are_averaged_in_one_reduction():
    """Parameters differ from device to device only by their batch, so that none is left."""

    def step(x):
        def loss_fn(params):
            return Loss({"product": x * params["a"]["w"]}, {"mean": x})

        state, terms = train_state.update_player(new_state(), "p", ("a",), OPTIMIZER, loss_fn)
        return state.params["a"]["w"], terms

    x = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    mapped = jax.pmap(step, devices.AXIS)
    moved, terms = mapped(x)
    expected = PARAMS["a"]["w"] - 0.1 * x.mean(0) / 2
    np.testing.assert_allclose(moved, np.tile(expected, (8, 1)), rtol=1e-5)
    np.testing.assert_allclose(terms["mean"], np.full(8, x.mean()), rtol=1e-5)
    np.testing.assert_allclose(terms["loss"], terms["product"])
    assert mapped.lower(x).as_text().count("stablehlo.all_reduce") == 1
