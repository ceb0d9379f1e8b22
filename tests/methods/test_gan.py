"""The GAN: two players, each of which moves its own network alone."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import adaptive_density as configs
from gm_jax import methods
from gm_jax.dequantization import requantize
from gm_jax.methods import gan
from gm_jax.nn import per_example
from gm_jax.state import evaluation_variables
from gm_jax.training.parallel import Parallel
from tests.support import LEVELS, SHAPE, images, randomized

KEY = jax.random.key(0)
BATCH = {"image": images(16, seed=1)}


def config_of(**model):
    """The smoke config under plain SGD, which hides no factor of a gradient."""
    config = configs.get_config("gan,smoke").unlock()
    config.optimizer.update({"name": "sgd", "learning_rate": 1e-3})
    config.model.update(model)
    return config.lock()


@functools.cache
def method():
    return methods.create(config_of(), SHAPE, LEVELS, None)


@functools.cache
def state():
    return jax.device_get(jax.jit(method().init)(KEY, BATCH))


@functools.cache
def trained(mode, num_devices):
    """The state after two steps, and the terms of the second."""
    parallel = Parallel(mode, jax.devices()[:num_devices])
    step = parallel.train_step(method().train_step)
    after = jax.device_put(state(), parallel.replicated)
    for seed in range(2):
        batch = parallel.put_training_batch({"image": images(16, seed)})
        after, terms = step(after, batch, KEY)
    return jax.device_get(after), jax.device_get(terms)


def moved(after):
    """The networks that an update of `state()` has changed in any bit."""
    before = state().params
    differs = jax.tree.map(lambda a, b: (a != b).any(), before, after.params)
    return {name for name in before if any(jax.tree.leaves(differs[name]))}


def test_the_discriminators_update_leaves_the_generator_bit_identical(monkeypatch):
    """The generator's own update is skipped, its loss not being a number."""
    monkeypatch.setattr(gan, "generator_log_ratio", lambda logits: jnp.nan * logits)
    after, _ = jax.jit(method().train_step)(state(), BATCH, KEY)
    assert moved(after) == {"discriminator"}
    assert after.failures["generator"][0] == 0 and after.failures["discriminator"][0] == -1


def test_the_generators_update_leaves_the_discriminator_bit_identical():
    """The discriminator's own update is skipped, its penalty not being a number."""
    broken = methods.create(config_of(gradient_penalty=float("nan")), SHAPE, LEVELS, None)
    after, _ = jax.jit(broken.train_step)(state(), BATCH, KEY)
    assert moved(after) == {"decoder"}
    assert after.failures["discriminator"][0] == 0 and after.failures["generator"][0] == -1


def test_the_terms_of_both_players_sum_to_their_losses():
    after, terms = trained("jit", 1)
    parts = terms["discriminator/cross_entropy"] + terms["discriminator/gradient_penalty"]
    np.testing.assert_allclose(terms["discriminator/loss"], parts, rtol=1e-6)
    assert terms["discriminator/gradient_penalty"] > 0
    np.testing.assert_array_equal(terms["generator/loss"], terms["generator/adversarial"])
    assert moved(after) == {"decoder", "discriminator"}


def test_all_devices_give_the_update_of_one():
    alone, terms = trained("jit", 1)
    together, same_terms = trained("shard_map", 8)
    chex.assert_trees_all_close(together.params, alone.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(same_terms, terms, rtol=1e-4, atol=1e-5)


def test_a_sample_is_what_the_generator_makes_of_its_latents():
    variables = evaluation_variables(state())
    draw = jax.jit(lambda index, t: method().sample(variables, KEY, 4, None, t, index)["image"])
    sample, shifted = draw(jnp.arange(4), 1.0), draw(jnp.arange(2, 6), 1.0)
    latents = per_example.normal(KEY, jnp.arange(4), (method().num_latents,))
    x = jax.jit(method().generate)({"decoder": variables["decoder"]}, latents)
    assert x.shape == (4, *SHAPE) and np.abs(x).max() < 1
    np.testing.assert_array_equal(sample, requantize((x + 1) / 2, LEVELS))
    np.testing.assert_array_equal(sample[2:], shifted[:2])
    assert (sample[0] != sample[1]).any()
    np.testing.assert_array_equal(*draw(jnp.arange(2), 0.0))


def test_the_generator_is_differentiable_in_its_latents():
    generate = functools.partial(method().generate, evaluation_variables(state()))
    z, direction = np.random.default_rng(0).normal(size=(2, 3, method().num_latents))
    step = 1e-2
    slope = jax.jit(lambda z: jax.jvp(generate, (z,), (jnp.float32(direction),))[1])(jnp.float32(z))
    ends = [jax.jit(generate)(jnp.float32(z + sign * step * direction)) for sign in (1, -1)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), atol=2e-3)
    assert np.abs(slope).max() > 0.1


def test_classes_condition_the_samples():
    conditional = methods.create(config_of(class_conditional=True), SHAPE, LEVELS, 10)
    batch = {**BATCH, "label": np.arange(16, dtype=np.int32) % 10}
    start = jax.jit(conditional.init)(KEY, batch)
    awake = randomized({"params": start.params["decoder"]})  # classes begin alike
    variables = {"decoder": jax.device_put(awake)}
    draw = jax.jit(lambda label: conditional.sample(variables, KEY, 4, label)["image"])
    fours, mixed = draw(jnp.full(4, 4)), draw(jnp.array([4, 4, 5, 6]))
    np.testing.assert_array_equal(fours[:2], mixed[:2])
    assert (fours[2:] != mixed[2:]).any((1, 2, 3)).all()
    with pytest.raises(ValueError, match="class_conditional is True: give labels"):
        conditional.sample(variables, KEY, 4)
