"""The prior of codes is a distribution, and belongs to a quantiser."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import code_prior, vae, vq_vae
from gm_jax import methods
from gm_jax.data import image_spec
from tests.support import images, noise_of

KEY, NUM_CODES = jax.random.key(0), 4
SPEC = image_spec((2, 4, 1), 17)  # two codes an image
BATCH = {"image": images(4, shape=(2, 4, 1)), "index": np.arange(4, dtype=np.int32)}
ALL = np.array([*itertools.product(range(NUM_CODES), repeat=2)]).reshape(-1, 1, 2)


@functools.cache
def prior():
    quantiser = methods.create(vq_vae.get_config("smoke"), SPEC)
    return methods.create(code_prior.get_config("smoke"), SPEC, {"quantiser": quantiser})


@functools.cache
def variables():
    """With a head that is far from its start, so that codes are not equally likely."""
    given = jax.jit(prior().init_networks)(KEY, BATCH, noise_of(KEY, 4))
    return jax.tree.map(lambda leaf: leaf + 0.5 * jax.random.normal(KEY, leaf.shape), given)


@functools.cache
def log_prob_of_all():
    noise = noise_of(KEY, len(ALL))
    score = jax.jit(prior().log_prob, static_argnums=3)
    return score(variables(), ALL, noise, False)


def test_the_probabilities_of_all_codes_sum_to_one():
    assert jnp.sum(jnp.exp(log_prob_of_all())) == pytest.approx(1.0, rel=1e-5)
    assert jnp.ptp(log_prob_of_all()) > 1  # they differ


def test_codes_are_drawn_with_their_probabilities():
    """4,000 draws of 16 pairs of codes: every share within four standard errors."""
    count = 4_000
    drawn = jax.jit(prior().sample_latents)(variables(), noise_of(KEY, count))
    drawn = np.asarray(drawn).reshape(count, 2)
    share = np.bincount(drawn @ [NUM_CODES, 1], minlength=len(ALL)) / count
    expected = np.exp(log_prob_of_all())
    assert (np.abs(share - expected) <= 4 * np.sqrt(expected / count) + 1e-3).all()


def test_a_run_that_gives_no_codes_is_refused():
    config = code_prior.get_config("smoke")
    with pytest.raises(ValueError, match=r"frozen.quantiser is empty"):
        methods.create(config, SPEC)
    other = methods.create(vae.get_config("gaussian,smoke"), image_spec((8, 8, 1), 17))
    with pytest.raises(ValueError, match=r"Vae gives no codes; give a run of configs/vq_vae.py"):
        methods.create(config, SPEC, {"quantiser": other})
