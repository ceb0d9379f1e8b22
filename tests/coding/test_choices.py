"""What a coder is told are masses of the distributions that are scored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gm_jax import choices, distributions
from gm_jax.networks.decoder_distributions import LIKELIHOODS
from gm_jax.networks.pixel_distributions import Categorical
from tests.support import images

LEVELS = 17


def teller(told):
    """Chooses what is given, and tells its ln p."""

    def choose(masses, given):
        np.testing.assert_allclose(masses.sum(-1), 1, rtol=1e-5)
        told.append(jnp.log(jnp.take_along_axis(masses, given[..., None], -1)))
        return given

    return choose


@pytest.mark.parametrize("name", [n for n in LIKELIHOODS if "gaussian" not in n])
def test_the_masses_of_values_multiply_to_the_likelihood(name):
    levels, channels = 2 if name == "bernoulli" else LEVELS, 3
    pixels, told = LIKELIHOODS[name](levels, -1.0), []
    shape, key = (4, 2, 3), jax.random.key(0)
    outputs = 0.3 * jax.random.normal(key, (*shape, pixels.num_outputs(channels)))
    parameters = pixels.parameters(outputs, None)
    image = images(4, shape=(2, 3, channels), levels=levels)
    chosen = pixels.chosen(parameters, jnp.asarray(image, jnp.int32), teller(told))
    x = distributions.scale_to_unit(image, levels)
    np.testing.assert_array_equal(chosen, x)
    total = jnp.sum(jnp.stack(told), (0, 2, 3, 4))
    np.testing.assert_allclose(total, pixels.log_prob(x, parameters), rtol=1e-3)


def test_the_masses_of_categories_are_their_probabilities():
    logits, told = jax.random.normal(jax.random.key(0), (3, 2, 2, 5)), []
    codes = jnp.arange(12).reshape(3, 2, 2, 1) % 5
    x = Categorical().chosen(logits, codes, teller(told))
    np.testing.assert_array_equal(x, jax.nn.one_hot(codes[..., 0], 5))
    np.testing.assert_allclose(
        jnp.sum(told[0], (1, 2, 3)), Categorical().log_prob(x, logits), rtol=1e-5
    )


def test_latents_on_the_grid_have_the_moments_of_the_prior():
    values = choices.latents_of(jnp.arange(choices.NUM_BINS))
    assert len(np.unique(values)) == choices.NUM_BINS
    np.testing.assert_allclose([values.mean(), values.std()], [0, 1], atol=0.01)
    np.testing.assert_allclose(choices.bin_masses(jnp.zeros(()), jnp.zeros(())).sum(), 1, rtol=1e-6)


def test_the_masses_of_bins_are_those_of_the_posterior():
    """And of means beyond the grid, and of deviations within a bin, they still sum to one."""
    mean, std = np.array([0.3, -2.0, 40.0, 0.0]), np.array([0.5, 0.1, 1.0, 1e-6])
    found = choices.bin_masses(jnp.asarray(mean), jnp.log(jnp.asarray(std)))
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)
    edges = stats.norm.ppf(np.arange(choices.NUM_BINS + 1) / choices.NUM_BINS)
    exact = np.diff(stats.norm.cdf((edges - mean[:2, None]) / std[:2, None]), axis=-1)
    order = np.argsort(choices.latents_of(jnp.arange(choices.NUM_BINS)))
    np.testing.assert_allclose(found[:2, order], exact, atol=1e-6)
