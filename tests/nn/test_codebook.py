"""The codebook: k-means, running means, dead codes, and that devices share it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from gm_jax import devices
from gm_jax.nn import codebook

KEY = jax.random.key(0)
OUTPUTS = jax.random.normal(KEY, (8, 2, 2, 3))
follow = jax.jit(codebook.follow, static_argnames=("decay", "reset_share"))


def book(vectors):
    vectors = jnp.asarray(vectors, jnp.float32)
    return {"vectors": vectors, "usage": jnp.ones(len(vectors))}


@functools.cache
def started(num_codes=4):
    return codebook.start(OUTPUTS, num_codes, KEY)


def test_an_output_becomes_the_nearest_vector():
    distances = np.linalg.norm(
        np.asarray(OUTPUTS)[..., None, :] - np.asarray(started()["vectors"]), axis=-1
    )
    np.testing.assert_array_equal(codebook.nearest(started(), OUTPUTS), distances.argmin(-1))


def test_without_a_past_an_update_is_a_step_of_k_means():
    codes = np.asarray(codebook.nearest(started(), OUTPUTS))
    after = follow(started(), OUTPUTS, codes, decay=0.0, reset_share=0.0, key=KEY)
    for code in range(4):
        mean = np.asarray(OUTPUTS)[codes == code].mean(0)
        np.testing.assert_allclose(after["vectors"][code], mean, rtol=1e-5, atol=1e-6)
        assert after["usage"][code] == (codes == code).sum()


def test_a_vector_is_the_mean_of_all_outputs_that_became_it_discounted():
    """Over three updates by single outputs, by hand; its own start counts as one."""
    before, decay, outputs = book([[0.0]]), 0.9, [1.0, 2.0, 5.0]
    after = before
    for output in outputs:
        after = follow(after, jnp.full((1, 1), output), jnp.zeros(1, jnp.int32), decay, 0.0, KEY)
    weights = 0.1 * 0.9 ** np.arange(2, -1, -1)
    mean = (weights @ outputs) / (weights.sum() + 0.9**3)
    np.testing.assert_allclose(after["vectors"], [[mean]], rtol=1e-6)


def test_a_vector_that_no_output_became_stays():
    before = book([[0.0], [100.0]])
    codes = codebook.nearest(before, OUTPUTS[..., :1])
    after = before
    for _ in range(30):
        after = follow(after, OUTPUTS[..., :1], codes, 0.5, 0.0, KEY)
    assert after["vectors"][1] == 100.0 and after["usage"][1] < 1e-8


def test_a_code_that_is_hardly_used_starts_anew_at_an_output():
    before = book([[0.0], [100.0]])
    codes = codebook.nearest(before, OUTPUTS[..., :1])
    after = follow(before, OUTPUTS[..., :1], codes, 0.5, 0.1, KEY)
    assert after["vectors"][1] in np.asarray(OUTPUTS[..., :1])
    assert after["usage"][1] == (after["usage"][0] + 0.5) / 2  # the mean before
    kept = follow(before, OUTPUTS[..., :1], codes, 0.5, 0.01, KEY)
    assert kept["vectors"][1] == 100.0


@pytest.mark.parametrize(("usage", "expected"), [([5.0], 1), ([2.0] * 6, 6), ([1.0, 0, 0], 1)])
def test_perplexity_counts_codes_that_are_equally_used(usage, expected):
    assert codebook.perplexity(jnp.array(usage)) == pytest.approx(expected, rel=1e-6)


def test_eight_devices_have_the_codebook_of_one():
    codes = codebook.nearest(started(), OUTPUTS)
    update = functools.partial(codebook.follow, decay=0.5, reset_share=0.5)
    alone = jax.jit(lambda outputs, codes: update(started(), outputs, codes, key=KEY))
    mesh, split = Mesh(jax.devices(), devices.AXIS), PartitionSpec(devices.AXIS)
    shared = jax.jit(
        jax.shard_map(
            lambda outputs, codes: update(started(), outputs, codes, key=KEY),
            mesh=mesh,
            in_specs=(split, split),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
    )
    ours, theirs = shared(OUTPUTS, codes), alone(OUTPUTS, codes)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6)
