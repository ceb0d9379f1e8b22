"""A step whose batches are seen in parts makes the update of the whole batch, in less memory."""

import functools

import chex
import jax
import numpy as np
import pytest

from configs import alpha_gan, mixed_batch_gan, vae, vae_iaf
from gm_jax import methods
from gm_jax.data import fields
from gm_jax.training.parallel import Parallel
from gm_jax.training.run import open_run
from tests.support import SPEC, images

KEY = jax.random.key(3)
POINTS = {"point": fields.Field((2,), "float32")}


def points(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)


def config_of(page, variant, parts):
    config = page.get_config(variant).unlock()
    config.train.accumulate_steps = parts
    return config.lock()


@functools.cache
def stepped(page, variant, parts, devices=1):
    """The state after a step on 16 images of each batch, and its terms."""
    spec, examples = (SPEC, images) if page is not mixed_batch_gan else (POINTS, points)
    (field,) = spec
    method = methods.create(config_of(page, variant, parts), spec)
    state = jax.jit(method.init)(KEY, {field: examples(8)})
    parallel = Parallel("shard_map", jax.devices()[:devices])
    batches = tuple(
        parallel.put({field: examples(16, seed)}) for seed in range(method.batches_per_step)
    )
    batch = batches if len(batches) > 1 else batches[0]
    given = jax.device_put(jax.device_get(state), parallel.replicated)
    return jax.device_get(parallel.train_step(method.train_step)(given, batch, KEY))


@pytest.mark.parametrize(
    ("page", "variant", "devices"),
    [(vae, "gaussian,smoke", 4), (mixed_batch_gan, "sn,smoke_ring", 1)],
)
def test_parts_of_a_batch_give_the_update_of_the_whole(page, variant, devices):
    """Spectral norms, which depend on parameters alone, move as they do with the whole."""
    (whole, terms), (parts, same_terms) = (
        stepped(page, variant, count, devices) for count in (1, 2)
    )
    chex.assert_trees_all_close(same_terms, terms, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(parts.statistics, whole.statistics, rtol=1e-5)
    moments = [jax.tree.leaves(state.opt_state) for state in (parts, whole)]
    for ours, theirs in zip(*moments, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("page", "variant"),
    [
        (mixed_batch_gan, "m_bgan,smoke"),  # a symmetric discriminator
        (alpha_gan, "age,smoke"),  # moments of a batch of codes
        (alpha_gan, "dcgan,smoke"),  # batch norms
        (vae_iaf, "smoke"),  # free bits
    ],
)
def test_losses_that_are_no_mean_over_examples_are_refused(page, variant, tmp_path):
    with pytest.raises(ValueError, match="accumulate_steps is above 1, and a loss needs the whole"):
        open_run(config_of(page, variant, 2), tmp_path).check_start()


def test_parts_that_are_not_equally_large_are_refused(tmp_path):
    with pytest.raises(ValueError, match="accumulate_steps is 3, which does not divide a device's"):
        open_run(config_of(vae, "gaussian,smoke", 3), tmp_path).check_start()


def test_parts_need_less_memory():
    config = vae.get_config("gaussian,smoke").unlock()

    def bytes_of(parts):
        config.train.accumulate_steps = parts
        method = methods.create(config, SPEC)
        batch = fields.blanks(SPEC, 1024)
        state = jax.eval_shape(method.init, KEY, batch)
        compiled = jax.jit(method.train_step).lower(state, batch, KEY).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert bytes_of(4) < 0.5 * bytes_of(1)
