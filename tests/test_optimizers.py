"""The optimizers do what their papers print."""

import chex
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from ml_collections import ConfigDict

from gm_jax import optimizers


def config(name, **fields):
    return ConfigDict(
        {
            "name": name,
            "learning_rate": 0.1,
            "learning_rate_decay": 1.0,
            "decay_steps": (),
            "decay_factor": 0.1,
            "linear_decay_steps": 0,
            "linear_decay_start": 0,
            "cosine_decay_steps": 0,
            "warmup_steps": 0,
            "momentum": 0.9,
            "beta1": 0.9,
            "beta2": 0.999,
            "epsilon": 1e-8,
            "epsilon_root": 0.0,
            "clip_norm": 0.0,
        }
        | fields
    )


def run(optimizer, gradients):
    params = {"w": jnp.zeros(2)}
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update({"w": jnp.array(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
    return params["w"]


def test_adamax_has_no_bias_correction():
    gradients = [[1.0, -2.0], [3.0, 0.5]]
    mean, norm, w = np.zeros(2), np.zeros(2), np.zeros(2)
    for gradient in np.array(gradients):
        mean = 0.9 * mean + 0.1 * gradient
        norm = np.maximum(0.999 * norm + 1e-8, np.abs(gradient))
        w -= 0.1 * mean / norm
    np.testing.assert_allclose(run(optimizers.create(config("adamax")), gradients), w, rtol=1e-5)


def test_adam_takes_epsilon_inside_the_root():
    gradient = 1e-4
    expected = -0.1 * gradient / np.sqrt(gradient**2 + 1e-8)
    adam = optimizers.create(config("adam", epsilon=0.0, epsilon_root=1e-8))
    np.testing.assert_allclose(run(adam, [[gradient, 0.0]])[0], expected, rtol=1e-5)


def test_the_rate_decays_a_factor_a_step():
    sgd = optimizers.create(config("sgd", learning_rate_decay=0.5))
    np.testing.assert_allclose(run(sgd, [[1.0, 0.0]] * 3)[0], -0.1 * 1.75, rtol=1e-6)


def test_the_rate_jumps_after_each_of_some_steps():
    sgd = optimizers.create(config("sgd", decay_steps=(2, 3), decay_factor=0.5))
    rates = [run(sgd, [[-1.0, 0.0]] * count)[0] for count in range(6)]
    np.testing.assert_allclose(np.diff(rates), [0.1, 0.1, 0.05, 0.025, 0.025], rtol=1e-5)
    both = optimizers.create(config("sgd", decay_steps=(1,), learning_rate_decay=0.5))
    np.testing.assert_allclose(run(both, [[1.0, 0.0]] * 2)[0], -0.1 - 0.1 * 0.5 * 0.1, rtol=1e-6)


def test_the_rate_falls_in_a_line_that_counts_steps_not_updates():
    """Two updates a step, over four steps: each rate appears twice, and the last is 0."""
    sgd = optimizers.create(config("sgd", linear_decay_steps=4), updates_per_step=2)
    ends = [run(sgd, [[-1.0, 0.0]] * count)[0] for count in range(11)]
    rates = np.repeat([0.1, 0.075, 0.05, 0.025, 0.0], 2)
    np.testing.assert_allclose(np.diff(ends), rates, rtol=1e-5, atol=1e-7)


def test_the_line_may_start_later_and_ends_at_the_same_step():
    sgd = optimizers.create(config("sgd", linear_decay_start=2, linear_decay_steps=4))
    ends = [run(sgd, [[-1.0, 0.0]] * count)[0] for count in range(7)]
    np.testing.assert_allclose(np.diff(ends), [0.1, 0.1, 0.1, 0.05, 0, 0], rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="linear_decay_start is 4 and linear_decay_steps 4"):
        optimizers.create(config("sgd", linear_decay_start=4, linear_decay_steps=4))


def test_a_decay_that_does_not_end_with_the_training_is_told_with_one_that_does():
    fields = {"linear_decay_start": 50, "linear_decay_steps": 100}
    assert optimizers.decay_beside(config("sgd", **fields), 100) == ""
    assert optimizers.decay_beside(config("sgd"), 100) == ""
    for steps, rate in ((40, "ends at 100% of"), (80, "ends at 40% of"), (200, "is 0 from 100 on")):
        told = optimizers.decay_beside(config("sgd", **fields), steps)
        assert rate in told
        given = dict(word.split("=") for word in told.split() if word.startswith("--"))
        scaled = {name.rpartition(".")[2]: int(value) for name, value in given.items()}
        assert scaled == {"linear_decay_start": steps // 2, "linear_decay_steps": steps}
        assert optimizers.decay_beside(config("sgd", **scaled), steps) == ""


def test_the_rate_rises_in_a_line_and_meets_the_decay():
    """Steps count, not updates: the rate of step t is .1·min((t + 1)/4, 1), halved from step 5."""
    fields = {"warmup_steps": 4, "decay_steps": (5,), "decay_factor": 0.5}
    sgd = optimizers.create(config("sgd", **fields), updates_per_step=2)
    ends = [run(sgd, [[-1.0, 0.0]] * count)[0] for count in range(13)]
    rates = np.repeat([0.025, 0.05, 0.075, 0.1, 0.1, 0.05], 2)
    np.testing.assert_allclose(np.diff(ends), rates, rtol=1e-5, atol=1e-7)


def test_each_player_has_its_own_rate_where_the_config_says_so():
    section = config("sgd", learning_rate={"encoder": 0.5, "critic": 0.25})
    for player, rate in section.learning_rate.items():
        sgd = optimizers.create(section, player=player)
        np.testing.assert_allclose(run(sgd, [[-1.0, 0.0]])[0], rate)
    with pytest.raises(ValueError, match=r"rates of critic, encoder, and none of decoder; add"):
        optimizers.create(section, player="decoder")
    with pytest.raises(ValueError, match=r"none of a single player; .* one number for all"):
        optimizers.create(section)


def test_a_cosine_that_does_not_end_with_the_training_is_told():
    cosine = config("sgd", cosine_decay_steps=100)
    assert optimizers.decay_beside(cosine, 100) == ""
    assert "the rate is 0 from 100 on" in optimizers.decay_beside(cosine, 150)
    assert "--config.optimizer.cosine_decay_steps=50" in optimizers.decay_beside(cosine, 50)


def test_the_rate_falls_along_half_a_cosine_after_the_warm_up():
    """.1·(1 + cos π(t − 2)/4)/2 from t = 2 on; 0 from step 6 on."""
    fields = {"warmup_steps": 2, "cosine_decay_steps": 6}
    sgd = optimizers.create(config("sgd", **fields), updates_per_step=2)
    ends = [run(sgd, [[-1.0, 0.0]] * count)[0] for count in range(15)]
    cosine = 0.05 * (1 + np.cos(np.pi * np.array([0, 0.25, 0.5, 0.75, 1])))
    rates = np.repeat([0.05, 0.1, *cosine[:4], 0], 2)
    np.testing.assert_allclose(np.diff(ends), rates, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="warmup_steps is 6 and cosine_decay_steps 6"):
        optimizers.create(config("sgd", warmup_steps=6, cosine_decay_steps=6))


def test_each_player_has_its_own_schedule_and_clipping():
    """The critic warms up over 4 steps and is cut to length ½; the generator falls to 0 by 2."""
    section = config(
        "sgd",
        warmup_steps={"critic": 4, "generator": 0},
        cosine_decay_steps={"critic": 0, "generator": 2},
        clip_norm={"critic": 0.5, "generator": 0.0},
    )
    moves = {
        player: [
            run(optimizers.create(section, player=player), [[-1.0, 0.0]] * n)[0] for n in (1, 2)
        ]
        for player in ("critic", "generator")
    }
    np.testing.assert_allclose(moves["critic"], [0.0125, 0.0375], rtol=1e-5)
    np.testing.assert_allclose(moves["generator"], [0.1, 0.15], rtol=1e-5)
    with pytest.raises(ValueError, match=r"warmup_steps has values of critic, generator, and none"):
        optimizers.create(section, player="encoder")


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_clipped_parameters_stay_in_the_box_as_a_tree_and_as_one_vector(name):
    optimizer = optax.chain(optimizers.create(config(name)), optimizers.clip_parameters(0.15))
    generator = np.random.default_rng(0)
    tree = {"w": jnp.float32(generator.normal(size=(3, 4))), "b": jnp.zeros(5)}
    flat, unravel = ravel_pytree(tree)
    states = [optimizer.init(tree), optimizer.init(flat)]
    for _ in range(4):
        gradient = jnp.float32(generator.normal(size=flat.shape))
        update, states[0] = optimizer.update(unravel(gradient), states[0], tree)
        flat_update, states[1] = optimizer.update(gradient, states[1], flat)
        tree, flat = optax.apply_updates(tree, update), optax.apply_updates(flat, flat_update)
        np.testing.assert_allclose(ravel_pytree(tree)[0], flat, rtol=1e-5)
        assert np.abs(flat).max() <= 0.15 * (1 + 1e-6)
    assert (np.abs(flat) < 0.149).any() and (np.abs(flat) > 0.149).any()


def test_the_classifier_is_trained_as_before_it_spoke_this_config():
    fields = {"learning_rate": 0.3, "decay_steps": (3, 7), "decay_factor": 0.1, "momentum": 0.9}
    schedule = optax.piecewise_constant_schedule(0.3, {3: 0.1, 7: 0.1})
    params = {"w": jnp.zeros(5)}
    pair = [
        optax.flatten(optax.sgd(schedule, 0.9)),
        optimizers.create(config("momentum", **fields)),
    ]
    states = [optimizer.init(params) for optimizer in pair]
    for gradient in np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32):
        results = [o.update({"w": gradient}, s) for o, s in zip(pair, states, strict=True)]
        np.testing.assert_array_equal(*(updates["w"] for updates, _ in results))
        states = [state for _, state in results]
    chex.assert_trees_all_equal(*states)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match=r"'adagrad'.*adamax, adam, momentum, sgd"):
        optimizers.create(config("adagrad"))


def test_a_section_without_the_fields_of_its_optimizer_is_refused():
    section = config("adam")
    del section.momentum
    section.name = "momentum"
    with pytest.raises(ValueError, match=r"name is 'momentum', but .* has no momentum"):
        optimizers.create(section)


def test_long_gradients_are_shortened_to_the_clip_norm():
    sgd = optimizers.create(config("sgd", clip_norm=2.0))
    np.testing.assert_allclose(run(sgd, [[6.0, 8.0]]), [-0.12, -0.16], rtol=1e-6)
    np.testing.assert_allclose(run(sgd, [[0.6, 0.8]]), [-0.06, -0.08], rtol=1e-6)
