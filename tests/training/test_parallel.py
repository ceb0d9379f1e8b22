"""Functions on devices: what they exchange and what they return."""

import importlib

import jax
import numpy as np
import pytest

from gm_jax import methods
from gm_jax.training.parallel import Parallel
from tests.support import LABELLED, images

KEY = jax.random.key(7)


@pytest.mark.parametrize(
    ("page", "count"),
    [
        ("agave:smoke", 1 + 1),  # free bits
        ("adaptive_density:gan,smoke", 2),  # players
        # A batch norm's moments take one and their gradient another, but for those of the image.
        ("classifier:smoke", 1 + 2 * 2),
        ("real_nvp:smoke", 1 + 15 * 2 - 1),
        # The generator's three batch norms stand in all updates, their gradients in its own.
        ("sngan:smoke", 3 + 3 * 3 + 3),
        # Forward: two batch norms, four layers' means, the mean logit, and the discriminator's
        # #β/B; backward: those of them that the player's parameters move.
        ("mixed_batch_gan:bgan,smoke", 2 * (8 + 4 + 1) + (7 + 7 + 1)),
        ("mixed_batch_gan:minibatch_discrimination,smoke", 2 * (2 + 1) + (2 + 2 + 1)),
    ],
)
def test_a_step_has_one_all_reduce_a_player_and_one_a_statistic(page, count):
    name, variant = page.split(":")
    config = importlib.import_module(f"configs.{name}").get_config(variant)
    method = methods.create(config, LABELLED)
    batch = {"image": images(16), "label": np.zeros(16, np.int32)}
    state, batches = jax.eval_shape(method.init, KEY, batch), (batch,) * method.batches_per_step
    program = Parallel("shard_map").train_step(method.train_step).lower(state, batches, KEY)
    assert program.as_text().count("stablehlo.all_reduce") == count


def test_per_example_functions_return_the_whole_batch():
    parallel = Parallel("shard_map")
    batch = {"index": np.arange(16, dtype=np.int32)}
    result = parallel.per_example(lambda variables, batch, key: variables * batch["index"])(
        np.float32(2), batch, KEY
    )
    np.testing.assert_array_equal(result, 2 * np.arange(16))


def test_what_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match=r"'ddp'.*jit, pmap, shard_map"):
        Parallel("ddp")
    with pytest.raises(ValueError, match=r"data.batch_size = 12.*8 devices.*multiple of 8"):
        Parallel("shard_map").check_batch_size("data.batch_size", 12)
