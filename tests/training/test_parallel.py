"""One update, whatever the devices: AGAVE under SGD, with dropout, free bits and latent noise."""

import functools
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from gm_jax.distributions import scale_to_unit
from gm_jax.training.parallel import Parallel
from tests.support import LEVELS, images, smoke_config, smoke_method, smoke_state

ROOT = Path(__file__).resolve().parents[2]
KEY = jax.random.key(7)
BATCHES = [images(16, seed=seed) for seed in range(3)]


@functools.cache
def trained(mode, num_devices):
    """Parameters after three steps, and the terms of the last."""
    parallel = Parallel(mode, jax.devices()[:num_devices])
    step = parallel.train_step(chex.assert_max_traces(smoke_method().train_step, n=1))
    state = jax.device_put(smoke_state(), parallel.replicated)
    for batch in BATCHES:
        state, terms = step(state, parallel.put_training_batch({"image": batch}), KEY)
    chex.clear_trace_counter()
    return jax.device_get(state), jax.device_get(terms)


@pytest.mark.parametrize(("mode", "devices"), [("pmap", 2), ("pmap", 8), ("shard_map", 8)])
def test_all_devices_give_the_update_of_one(mode, devices):
    alone, terms = trained("jit", 1)
    together, same_terms = trained(mode, devices)
    chex.assert_trees_all_close(together.params, alone.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(together.ema_params, alone.ema_params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(same_terms, terms, rtol=1e-4)


def test_three_steps_move_the_parameters_visibly():
    """Else the equality above would say nothing."""
    after, _ = trained("jit", 1)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.params, smoke_state().params)
    assert all(max(jax.tree.leaves(tree)) > 1e-3 for tree in moved.values())
    assert smoke_config().model.pixelcnn.dropout_rate > 0


def test_the_floor_of_the_free_bits_lies_between_the_divergences():
    x = scale_to_unit(BATCHES[0], LEVELS)
    variables = {"params": smoke_state().params["vae"]}
    kl = smoke_method().vae.apply(variables, x, KEY, np.arange(16)).kl.mean(0)
    floor = smoke_config().model.free_bits
    assert (kl > floor).any() and (kl < floor).any()


def test_a_step_has_one_all_reduce_a_player_and_one_a_statistic():
    """AGAVE: gradients with terms; the batch mean of the divergences, for the free bits."""
    parallel = Parallel("shard_map")
    batch = parallel.put_training_batch({"image": BATCHES[0]})
    state = jax.device_put(smoke_state(), parallel.replicated)
    step = parallel.train_step(smoke_method().train_step)
    program = step.lower(state, batch, KEY).compile().as_text()
    assert len(re.findall(r" all-reduce(?:-start)?\(", program)) == 2


def test_per_example_functions_return_the_whole_batch():
    parallel = Parallel("shard_map")
    batch = {"index": np.arange(16, dtype=np.int32)}
    result = parallel.per_example(lambda variables, batch, key: variables * batch["index"])(
        np.float32(2), batch, KEY
    )
    np.testing.assert_array_equal(result, 2 * np.arange(16))


PAGE_FAULTS = """
import resource
import jax, jax.numpy as jnp
from gm_jax.training.parallel import keep_buffers

if {keep}:
    keep_buffers()
square = jax.jit(lambda x: jnp.sum(jnp.sin(x @ x.T)))  # by way of 256 MiB
x = jnp.ones((8192, 2))
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        square(x).block_until_ready()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
def test_programs_reuse_the_memory_of_their_buffers():
    def page_faults(keep):
        command = [sys.executable, "-c", PAGE_FAULTS.format(keep=keep)]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        return int(subprocess.check_output(command, env=environment, cwd=ROOT, timeout=120))

    assert page_faults(True) < page_faults(False) / 5


def test_what_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match=r"'ddp'.*jit, pmap, shard_map"):
        Parallel("ddp")
    with pytest.raises(ValueError, match=r"data.batch_size = 12.*8 devices.*multiple of 8"):
        Parallel("shard_map").check_batch_size("data.batch_size", 12)
