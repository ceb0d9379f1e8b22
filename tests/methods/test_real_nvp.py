"""Real-NVP: an exact density of dequantised images, trained alike on any devices."""

import functools
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gm_jax
from configs import real_nvp as configs
from gm_jax import methods, session
from gm_jax.state import evaluation_variables
from gm_jax.training import loop
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.parallel import Parallel
from gm_jax.training.run import open_run
from tests.support import LEVELS, SHAPE, images, randomized, zeros_like

KEY = jax.random.key(0)
BATCH = {"image": images(16, seed=1)}


def config_of(**network):
    """The smoke config under plain SGD without clipping, which hide factors of a gradient."""
    config = configs.get_config("smoke").unlock()
    config.optimizer.update({"name": "sgd", "learning_rate": 1e-4, "clip_norm": 1e6})
    config.model.real_nvp.update(network)
    return config.lock()


@functools.cache
def method():
    return methods.create(config_of(), SHAPE, LEVELS, None)


@functools.cache
def state():
    return jax.device_get(jax.jit(method().init)(KEY, BATCH))


@functools.cache
def variables():
    start = evaluation_variables(state())
    return {"real_nvp": randomized(zeros_like(start["real_nvp"]))}


@functools.cache
def score():
    return jax.jit(method().log_likelihood)


@functools.cache
def trained(mode, num_devices):
    """The state after three steps, and the terms of the last."""
    parallel = Parallel(mode, jax.devices()[:num_devices])
    step = parallel.train_step(method().train_step)
    after = jax.device_put(state(), parallel.replicated)
    for seed in range(3):
        batch = parallel.put_training_batch({"image": images(16, seed)})
        after, terms = step(after, batch, KEY)
    return jax.device_get(after), jax.device_get(terms)


@pytest.mark.parametrize(("mode", "devices"), [("pmap", 2), ("pmap", 8), ("shard_map", 8)])
def test_all_devices_give_the_update_of_one(mode, devices):
    alone, terms = trained("jit", 1)
    together, same_terms = trained(mode, devices)
    chex.assert_trees_all_close(together.params, alone.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(together.variables, alone.variables, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(same_terms, terms, rtol=1e-4)


def test_three_steps_move_parameters_and_statistics_visibly():
    """Else the equality above would say nothing."""
    after, _ = trained("jit", 1)
    for trees in ((after.params, state().params), (after.variables, state().variables)):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), *trees)
        assert max(jax.tree.leaves(moved)) > 1e-3


def test_the_terms_sum_to_the_loss_and_the_bits_are_without_penalty():
    _, terms = trained("jit", 1)
    parts = ("prior", "log_det", "regularization")
    np.testing.assert_allclose(sum(terms[name] for name in parts), terms["loss"], rtol=1e-6)
    nats = terms["loss"] - terms["regularization"]
    np.testing.assert_allclose(terms["bits_per_dim"], nats / (64 * np.log(2)), rtol=1e-5)
    assert terms["regularization"] > 0


def test_the_reported_parts_sum_to_the_likelihood_of_any_batch():
    whole = score()(variables(), {**BATCH, "index": np.arange(16, dtype=np.int32)}, KEY)
    np.testing.assert_allclose(
        whole["log_likelihood"], whole["prior"] + whole["log_det"], rtol=1e-6
    )
    order = np.roll(np.arange(16, dtype=np.int32), 5)
    rolled = score()(variables(), {"image": BATCH["image"][order], "index": order}, KEY)
    for name in whole:
        np.testing.assert_allclose(rolled[name], whole[name][order], rtol=1e-5)


def test_the_density_integrates_to_one():
    """Over images of 1×2 pixels and 3 levels, in steps of p = .05 + .9x, which fills (0, 1)."""
    config = config_of(num_scales=1, num_last=3)
    small = methods.create(config, (1, 2, 1), 3, None)
    batch = {"image": images(16, shape=(1, 2, 1), levels=3)}
    start = evaluation_variables(jax.eval_shape(small.init, KEY, batch))["real_nvp"]
    p = (np.arange(500) + 0.5) / 500
    x = ((np.stack(np.meshgrid(p, p), -1) - 0.05) / 0.9).reshape(-1, 1, 2, 1).astype(np.float32)
    forward = functools.partial(small.network.apply, method="forward_and_log_det", train=False)
    parts = small._log_likelihood(*jax.jit(forward)(randomized(zeros_like(start)), x))
    density = np.exp(np.asarray(parts["prior"] + parts["log_det"], np.float64))
    area = (3 / 0.9) ** 2 / len(x)  # of a step, in units of levels
    np.testing.assert_allclose(density.sum() * area, 1, atol=2e-3)


def test_reconstructions_are_the_images():
    reconstructed = jax.jit(method().reconstruct)(variables(), BATCH, KEY)["image"]
    np.testing.assert_array_equal(reconstructed, BATCH["image"])


def test_a_sample_is_the_same_in_any_batch_and_tightens_with_the_temperature():
    draw = jax.jit(
        lambda index, temperature: method().sample(
            variables(), KEY, 4, temperature=temperature, index=index
        )["image"]
    )
    first, shifted = draw(jnp.arange(4), 1.0), draw(jnp.arange(2, 6), 1.0)
    assert first.shape == (4, *SHAPE) and first.dtype == jnp.uint8 and first.max() < LEVELS
    np.testing.assert_array_equal(first[2:], shifted[:2])
    assert (first[0] != first[1]).any()
    cold = draw(jnp.arange(4), 0.0)
    np.testing.assert_array_equal(cold, jnp.broadcast_to(cold[0], cold.shape))


def final_state(run):
    with Checkpoints(run.workdir, read_only=True) as checkpoints:
        return jax.device_get(checkpoints.restore(run.state_template)[0])


def test_a_run_scores_and_draws_and_two_more_steps_are_those_of_four(tmp_path):
    def run_of(name, steps):
        config = configs.get_config("smoke").unlock()
        config.train.update({"steps": steps, "evaluate_every_steps": 100})
        config.data.cache_dir = str(tmp_path / "cache")
        return open_run(config.lock(), tmp_path / name)

    session.run(run_of("halves", 2).config, str(tmp_path / "halves"), "train")
    result = json.loads((tmp_path / "halves" / "test.json").read_text())
    parts = result["prior"] + result["log_det"]
    np.testing.assert_allclose(result["bits_per_dim"], parts, rtol=1e-5)
    assert result["likelihood"] == "lower bound, one sample"
    assert len(list((tmp_path / "halves" / "samples").glob("best*/*.png"))) == 8
    pair = images(2)
    way = gm_jax.load(tmp_path / "halves").interpolate(*pair, num_steps=3)["image"]
    np.testing.assert_array_equal(way[[0, -1]], pair)
    for name in ("halves", "whole"):
        assert loop.train(run_of(name, 4), lambda *_: 1.0)
    states = [final_state(run_of(name, 4)) for name in ("halves", "whole")]
    chex.assert_trees_all_equal(*states)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="invertible network asked for a data set with a single"):
        methods.create(config_of(), SHAPE, 1, None)
    with pytest.raises(ValueError, match=r"6×8 pixels do not fit 3 scales.*multiples of 4"):
        small = methods.create(config_of(num_scales=3), (6, 8, 1), LEVELS, None)
        jax.eval_shape(small.init, KEY, {"image": np.zeros((2, 6, 8, 1), np.uint8)})
    with pytest.raises(ValueError, match="labels"):
        method().sample({}, KEY, 1, labels=jnp.zeros(1))
