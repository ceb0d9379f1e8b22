"""Adaptive density estimation on devices and by class: one update, whatever they are."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import adaptive_density as configs
from gm_jax import methods
from gm_jax.state import evaluation_variables
from gm_jax.training import loop
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.parallel import Parallel
from gm_jax.training.run import open_run
from tests.support import LEVELS, SHAPE, images, randomized

KEY = jax.random.key(7)
INDEX = np.arange(16, dtype=np.int32)
LABELS = INDEX % 5  # of 10 classes


def config_of(class_conditional):
    """The smoke config under plain SGD, which hides no constant factor of a gradient."""
    config = configs.get_config("av_ade,smoke").unlock()
    config.optimizer.update({"name": "sgd", "learning_rate": 1e-4})
    config.model.class_conditional = class_conditional
    return config.lock()


@functools.cache
def method(class_conditional=False):
    return methods.create(config_of(class_conditional), SHAPE, LEVELS, 10)


def batch_of(seed):
    return {"image": images(16, seed), "label": LABELS}


@functools.cache
def start(class_conditional=False):
    init = jax.jit(method(class_conditional).init)
    return jax.device_get(init(jax.random.key(1), batch_of(0)))


@functools.cache
def trained(mode, num_devices):
    """The state after three steps, of which the first warms up, and the terms of the last."""
    parallel = Parallel(mode, jax.devices()[:num_devices])
    step = parallel.train_step(chex.assert_max_traces(method().train_step, n=1))
    state = jax.device_put(start(), parallel.replicated)
    for seed in range(3):
        state, terms = step(state, parallel.put_training_batch(batch_of(seed)), KEY)
    chex.clear_trace_counter()
    return jax.device_get(state), jax.device_get(terms)


@pytest.mark.parametrize(("mode", "devices"), [("pmap", 2), ("pmap", 8), ("shard_map", 8)])
def test_all_devices_give_the_update_of_one(mode, devices):
    alone, terms = trained("jit", 1)
    together, same_terms = trained(mode, devices)
    chex.assert_trees_all_close(together.params, alone.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(together.variables, alone.variables, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(same_terms, terms, rtol=1e-4, atol=1e-5)


def test_three_steps_move_parameters_and_statistics_visibly():
    """Else the equality above would say nothing."""
    after, terms = trained("jit", 1)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.params, start().params)
    for name, tree in moved.items():
        assert max(jax.tree.leaves(tree)) > 1e-4, name
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.variables, start().variables)
    assert max(jax.tree.leaves(moved)) > 1e-3
    assert terms["generator/adversarial"] != 0 and terms["discriminator/gradient_penalty"] > 1


def test_the_terms_of_each_player_sum_to_its_loss():
    _, terms = trained("jit", 1)
    for player, parts in (
        ("discriminator", ("cross_entropy", "gradient_penalty")),
        ("generator", ("reconstruction", "kl", "log_det", "adversarial")),
    ):
        total = sum(terms[f"{player}/{part}"] for part in parts)
        np.testing.assert_allclose(terms[f"{player}/loss"], total, rtol=1e-6)
    nats = terms["generator/loss"] - terms["generator/adversarial"]
    bits = terms["generator/bits_per_dim"]
    np.testing.assert_allclose(bits, nats / (64 * np.log(2)), rtol=1e-5)


def final_state(run):
    with Checkpoints(run.workdir, read_only=True) as checkpoints:
        return jax.device_get(checkpoints.restore(run.state_template)[0])


def test_four_steps_are_two_a_restore_and_two_more(tmp_path):
    def run_of(name, steps):
        config = configs.get_config("av_ade,smoke").unlock()
        config.train.update({"steps": steps, "evaluate_every_steps": 100})
        config.data.cache_dir = str(tmp_path / "cache")
        return open_run(config.lock(), tmp_path / name)

    for name, steps in (("halves", 2), ("halves", 4), ("whole", 4)):
        assert loop.train(run_of(name, steps), lambda *_: 1.0)
    halves, whole = (final_state(run_of(name, 4)) for name in ("halves", "whole"))
    chex.assert_trees_all_equal(halves, whole)
    assert whole.step == 4 and whole.opt_state.keys() == {"generator", "discriminator"}


@functools.cache
def conditional_variables():
    return randomized(evaluation_variables(start(True)))


@functools.cache
def sampler():
    variables, draw = conditional_variables(), functools.partial(method(True).sample, index=INDEX)
    return jax.jit(lambda labels: draw(variables, KEY, 16, labels)["image"])


def test_a_step_moves_the_classes_in_the_batch_alone():
    warm = start(True).replace(step=np.int32(1))
    after, _ = jax.jit(method(True).train_step)(warm, batch_of(1), KEY)
    for network, path in (("encoder", "WeightNormConv_0"), ("decoder", "WeightNormConv_0")):
        for name in ("g", "b"):
            rows = [state.params[network][path][name] for state in (after, start(True))]
            moved = np.abs(rows[0] - rows[1]).max(1)
            assert (moved[:5] > 0).all() and (moved[5:] == 0).all(), (network, name)
    rows = [state.params["discriminator"]["Embed_0"]["embedding"] for state in (after, start(True))]
    moved = np.abs(rows[0] - rows[1]).max(1)
    assert (moved[:5] > 0).all() and (moved[5:] == 0).all()


def test_an_images_sample_is_of_its_own_class():
    first = sampler()(LABELS)
    again = sampler()(np.where(INDEX < 8, LABELS, 9))
    np.testing.assert_array_equal(again[:8], first[:8])
    assert (again[8:] != first[8:]).any((1, 2, 3)).all()


def test_reconstructions_and_scores_are_given_the_class():
    variables = conditional_variables()
    batch = {"image": images(16), "index": INDEX}
    batches = [{**batch, "label": label} for label in (LABELS, 9 - LABELS)]
    score = jax.jit(method(True).log_likelihood)
    first, other = (score(variables, batch, KEY)["log_likelihood"] for batch in batches)
    assert (first != other).all()
    latent_key, noise_key = jax.random.split(KEY)
    latents = jax.jit(method(True).encode)(variables, batches[0], latent_key)
    key = jax.random.split(noise_key, 1)[0]
    decode = jax.jit(method(True).decode)
    decoded = decode(variables, latents, key, INDEX, LABELS)["image"]
    reconstructed = jax.jit(method(True).reconstruct)(variables, batches[0], KEY)["image"]
    np.testing.assert_array_equal(decoded, reconstructed)
    assert (decode(variables, latents, key, INDEX, 9 - LABELS)["image"] != decoded).any()


def test_missing_labels_are_refused():
    with pytest.raises(ValueError, match=r"class_conditional is True.*images have no labels"):
        methods.create(config_of(True), SHAPE, LEVELS, None)
    expected = "class_conditional is True: give labels"
    for call in (
        lambda: method(True).sample({}, KEY, 4),
        lambda: method(True).decode({}, [], KEY, INDEX),
        lambda: method(True).log_likelihood({}, {"image": images(4)}, KEY),
        lambda: jax.eval_shape(method(True).init, KEY, {"image": jnp.zeros((4, *SHAPE))}),
    ):
        with pytest.raises(ValueError, match=expected):
            call()
