"""PixelCNN++ alone: an exact likelihood, and samples of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import pixelcnn
from gm_jax import methods
from tests.support import LEVELS, SHAPE, images

KEY = jax.random.key(3)
BATCH = {"image": images(8, seed=2)}


@functools.cache
def method(sampler="fixed_point"):
    config = pixelcnn.get_config("smoke").unlock()
    config.sample.sampler = sampler
    return methods.create(config.lock(), SHAPE, LEVELS, None)


@functools.cache
def state():
    return jax.device_get(jax.jit(method().init)(KEY, BATCH))


def variables():
    return {"pixelcnn": {"params": state().params["pixelcnn"]}}


def test_the_density_sums_to_one():
    """Over all 3^4 images of 2×2 pixels and 3 levels."""
    config = pixelcnn.get_config("smoke").unlock()
    config.model.pixelcnn.num_scales = 1
    tiny = methods.create(config, (2, 2, 1), 3, None)
    every = np.stack(np.meshgrid(*[np.arange(3)] * 4), -1).reshape(-1, 2, 2, 1).astype(np.uint8)
    params = jax.jit(tiny.init)(KEY, {"image": every[:16]}).params
    made = {"pixelcnn": {"params": params["pixelcnn"]}}
    terms = jax.jit(tiny.log_likelihood)(made, {"image": every}, KEY)
    np.testing.assert_allclose(np.exp(terms["log_likelihood"]).sum(), 1, atol=1e-4)


def test_both_samplers_draw_the_same_images_in_any_batch():
    made = variables()

    def draw(sampler, index):
        return jax.jit(lambda: method(sampler).sample(made, KEY, 4, index=index)["image"])()

    first = draw("fixed_point", jnp.arange(4))
    np.testing.assert_array_equal(draw("cached", jnp.arange(2, 6))[:2], first[2:])
    assert first.dtype == jnp.uint8 and (first[0] != first[1]).any() and first.max() < LEVELS


def test_a_step_drops_units_and_lowers_the_loss_of_its_batch():
    before = jax.jit(method().log_likelihood)(variables(), BATCH, KEY)["log_likelihood"].mean()
    step, now = jax.jit(method().train_step), state()
    losses = []
    for _ in range(10):
        now, terms = step(now, BATCH, KEY)
        losses.append(float(terms["loss"]))
    assert losses[-1] < losses[0]
    assert abs(losses[0] + before) > 1e-2  # dropout is on in training alone
    np.testing.assert_allclose(terms["bits_per_dim"], losses[-1] / (64 * np.log(2)), rtol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"'ancestral'.*cached"):
        method("ancestral")
    with pytest.raises(ValueError, match="2 channels"):
        methods.create(pixelcnn.get_config("smoke"), (8, 8, 2), LEVELS, None)
