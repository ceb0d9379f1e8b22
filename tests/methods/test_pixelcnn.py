"""PixelCNN++ alone: an exact likelihood, and the loss that is minus it."""

import jax
import numpy as np
import pytest

from configs import pixelcnn
from gm_jax import methods
from gm_jax.data import image_spec
from tests.support import LEVELS, SPEC, images, noise_of, random_variables

KEY = jax.random.key(3)
BATCH = {"image": images(8, seed=2)}


def config_of(sampler="fixed_point", **network):
    config = pixelcnn.get_config("smoke").unlock()
    config.sample.sampler = sampler
    config.model.pixelcnn.update(network)
    return config.lock()


def test_the_density_sums_to_one():
    """Over all 3^4 images of 2×2 pixels and 3 levels."""
    tiny = methods.create(config_of(num_scales=1), image_spec((2, 2, 1), 3))
    every = np.stack(np.meshgrid(*[np.arange(3)] * 4), -1).reshape(-1, 2, 2, 1).astype(np.uint8)
    batch = {"image": every}
    terms = jax.jit(tiny.log_likelihood)(random_variables(tiny, batch), batch, noise_of(KEY, 81))
    np.testing.assert_allclose(np.exp(terms["log_likelihood"]).sum(), 1, atol=1e-4)
    assert np.ptp(terms["log_likelihood"]) > 1


@pytest.mark.parametrize("dropout_rate", [0.0, 0.5])
def test_the_loss_is_minus_the_likelihood_but_for_dropout(dropout_rate):
    """Units are dropped only in training."""
    method = methods.create(config_of(dropout_rate=dropout_rate), SPEC)
    made = random_variables(method, BATCH)

    @jax.jit
    def both(variables, noise):
        loss = method.loss(variables, BATCH, noise, 0)
        return loss, method.log_likelihood(variables, BATCH, noise)["log_likelihood"]

    loss, log_likelihood = both(made, noise_of(KEY, 8))
    surprise = loss.terms["negative_log_prob"]
    assert np.allclose(surprise, -log_likelihood, rtol=1e-4) == (dropout_rate == 0)
    np.testing.assert_allclose(
        loss.curves["bits_per_dim"], surprise.mean() / (64 * np.log(2)), rtol=1e-5
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"'ancestral'.*cached"):
        methods.create(config_of("ancestral"), SPEC)
    with pytest.raises(ValueError, match="2 channels: PixelCNNPlusPlus models images of 1 or 3"):
        methods.create(config_of(), image_spec((8, 8, 2), LEVELS))
