"""What the adversarial losses estimate, where the optimal discriminator is known."""

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.losses.adversarial import (
    discriminator_cross_entropy,
    generator_log_ratio,
    penalized_discriminator_terms,
)

DATA = jnp.array([0.5, 0.25, 0.125, 0.0625, 0.0625])
MODEL = jnp.array([0.1, 0.1, 0.2, 0.2, 0.4])


@jax.jit
def expected_cross_entropy(logits):
    """Over a discrete space, a logit a point: x of the data and x̃ of the model."""
    real, fake = jnp.meshgrid(logits, logits, indexing="ij")
    return jnp.sum(DATA[:, None] * MODEL * discriminator_cross_entropy(real, fake))


def test_the_cross_entropy_is_least_at_the_logit_of_the_density_ratio():
    optimal = jnp.log(DATA / MODEL)
    np.testing.assert_allclose(jax.grad(expected_cross_entropy)(optimal), 0, atol=1e-6)
    assert np.linalg.eigvalsh(jax.jit(jax.hessian(expected_cross_entropy))(optimal)).min() > 0
    middle = (DATA + MODEL) / 2  # there the loss is 2 ln 2 − 2 JSD (Goodfellow et al., 2014)
    divergence = sum(jnp.sum(p * jnp.log(p / middle)) for p in (DATA, MODEL)) / 2
    expected = 2 * np.log(2) - 2 * divergence
    np.testing.assert_allclose(expected_cross_entropy(optimal), expected, rtol=1e-6)


def test_the_optimal_discriminator_makes_the_log_ratio_a_divergence():
    """KL(model ‖ data) of two Gaussians, by quadrature."""
    x = np.linspace(-12, 12, 40_001)

    def log_density(mean, std):
        return -0.5 * ((x - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))

    model, data = log_density(0.5, 0.8), log_density(-0.2, 1.3)
    losses = generator_log_ratio(data - model)
    expected = np.log(1.3 / 0.8) + (0.8**2 + 0.7**2) / (2 * 1.3**2) - 0.5
    np.testing.assert_allclose(np.sum(np.exp(model) * losses) * (x[1] - x[0]), expected, rtol=1e-6)


def test_large_logits_lose_nothing():
    logits = jnp.array([-200.0, 200.0])
    np.testing.assert_array_equal(discriminator_cross_entropy(logits, -logits), [400, 0])
    gradient = jax.grad(lambda x: discriminator_cross_entropy(x, -x).sum())(logits)
    np.testing.assert_array_equal(gradient, [-2, 0])


def test_the_penalty_is_weighed_and_left_out_at_weight_zero():
    real, fake = jnp.ones((3, 2, 2, 1)), jnp.zeros((3, 2, 2, 1))

    def terms(weight):
        critic = lambda x: 3 * x[:, 0, 0, 0]  # noqa: E731
        return penalized_discriminator_terms(critic, real, fake, jnp.full(3, 0.5), weight)

    np.testing.assert_allclose(terms(100.0)["gradient_penalty"], 400, rtol=1e-5)
    expected = np.log1p(np.exp(-3)) + np.log(2)
    np.testing.assert_allclose(terms(100.0)["cross_entropy"], expected, rtol=1e-6)
    assert terms(0.0).keys() == {"cross_entropy"}
