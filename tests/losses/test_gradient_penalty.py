"""The gradient penalty, where the gradient is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.losses.gradient_penalty import gradient_penalty

SHAPE = (5, 4, 6, 3)
REAL, FAKE, WEIGHT = jax.random.normal(jax.random.key(0), (3, *SHAPE))
FRACTION = jnp.linspace(0, 1, 5)


@pytest.mark.parametrize("length", [0.1, 1.0, 7.0])
def test_the_penalty_of_a_linear_critic_is_the_same_for_any_images(length):
    """The norm is over all pixels and channels, whatever each axis holds."""
    weight = length * WEIGHT[0] / jnp.linalg.norm(WEIGHT[0])
    penalty = gradient_penalty(lambda x: jnp.sum(weight * x, (1, 2, 3)), REAL, FAKE, FRACTION)
    np.testing.assert_allclose(penalty, (length - 1) ** 2, rtol=1e-4, atol=1e-10)


def test_it_is_taken_between_the_images():
    """½‖x‖² has the gradient x: at fraction 1 of the real image, at 0 of the sample."""
    penalty = gradient_penalty(lambda x: jnp.sum(x**2, (1, 2, 3)) / 2, REAL, FAKE, FRACTION)
    fraction = FRACTION[:, None, None, None]
    norm = jnp.linalg.norm((fraction * REAL + (1 - fraction) * FAKE).reshape(5, -1), axis=1)
    np.testing.assert_allclose(penalty, (norm - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(norm[-1], jnp.linalg.norm(REAL[-1].ravel()), rtol=1e-6)


def test_a_gradient_of_zero_has_a_finite_derivative():
    def mean_penalty(slope):
        critic = lambda x: slope * jnp.sum(x, (1, 2, 3))  # noqa: E731
        return jnp.mean(gradient_penalty(critic, REAL, FAKE, FRACTION))

    value, derivative = jax.value_and_grad(mean_penalty)(0.0)
    np.testing.assert_allclose(value, 1, atol=1e-5)
    assert np.isfinite(derivative)
    np.testing.assert_allclose(mean_penalty(1 / np.sqrt(72)), 0, atol=1e-10)


def test_the_penalty_of_a_tree_is_that_of_the_concatenated_vector():
    """Images and codes that a critic judges together lie between pairs at one fraction."""
    real, fake = (
        {"image": x, "code": y}
        for x, y in zip((REAL, FAKE), jax.random.normal(jax.random.key(1), (2, 5, 7)), strict=True)
    )

    def flat(tree):
        return jnp.concatenate([leaf.reshape(5, -1) for leaf in jax.tree.leaves(tree)], axis=1)

    def critic(vector):
        return jnp.sum(jnp.sin(vector) * jnp.arange(vector.shape[1]) / 100, axis=1)

    expected = gradient_penalty(critic, flat(real), flat(fake), FRACTION)
    found = gradient_penalty(lambda tree: critic(flat(tree)), real, fake, FRACTION)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.ptp(expected) > 0.01
