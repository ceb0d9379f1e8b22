"""The primer's figures rest on closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from experiments.primer import (
    euclidean_distance,
    factored_decoder,
    gradient_estimators,
    linear_autoencoder,
    mixture_of_gaussians,
    parzen_windows,
    probabilistic_pca,
    receptive_fields,
    two_divergences,
    warp,
    where_the_rest_goes,
)


@functools.cache
def correlated(count=400, size=6):
    """Points with two directions of large variance."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(2, size))
    noise = 0.3 * generator.normal(size=(count, size))
    return np.float32(generator.normal(size=(count, 2)) @ mixing + noise + 1)


def test_probabilistic_pca_has_the_marginal_likelihood_of_its_covariance():
    x, (mean, weights, log_std) = correlated(), probabilistic_pca.closed_form(correlated(), 2)
    covariance = weights @ weights.T + np.exp(2 * log_std) * np.eye(6)
    expected = multivariate_normal(mean, covariance).logpdf(x)
    ours = probabilistic_pca.log_likelihood(x, mean, weights, log_std)
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


def test_probabilistic_pca_in_closed_form_is_where_training_ends():
    mean, weights, log_std = probabilistic_pca.closed_form(correlated(), 2)

    def nats(weights, log_std):
        return jnp.mean(probabilistic_pca.log_likelihood(correlated(), mean, weights, log_std))

    gradients = jax.grad(nats, (0, 1))(jnp.float32(weights), log_std)
    assert max(np.abs(leaf).max() for leaf in gradients) < 1e-4
    trained = probabilistic_pca.trained(correlated(), 2, steps=1_000)
    assert trained[-1][1] == pytest.approx(float(nats(weights, log_std)), abs=1e-3)


def test_no_step_of_expectation_maximisation_lowers_the_likelihood():
    mixture, nats = mixture_of_gaussians.fit(np.float64(correlated()[:, :2]), 3, steps=30)
    assert (np.diff(nats) > -1e-6).all() and nats[-1] > nats[0] + 0.1
    assert mixture.shares.sum() == pytest.approx(1)
    drawn = mixture.sample(20_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(0), correlated()[:, :2].mean(0), atol=0.05)


def test_a_linear_auto_encoder_finds_the_subspace_of_pca():
    centred = correlated() - correlated().mean(0)
    decoder = linear_autoencoder.trained(centred, 2, steps=1_000)[-1][1]
    assert linear_autoencoder.angle(decoder, linear_autoencoder.principal(centred, 2)) < 1


def test_the_least_forward_divergence_has_the_moments_and_the_least_backward_one_a_mode():
    p = two_divergences.two_modes(0.6)
    mean, std = two_divergences.fitted(p, forward=True)
    variance = 0.5**2 + (0.6 + 0.4) * 4 - 0.4**2  # within the modes and between them
    assert (mean, std) == pytest.approx((-0.4, np.sqrt(variance)), abs=1e-3)
    mode = two_divergences.fitted(p, forward=False)
    assert mode == pytest.approx((-2, 0.5), abs=0.01)
    q = two_divergences.normal(*mode)
    assert two_divergences.divergence(q, p) == pytest.approx(-np.log(0.6), abs=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_noise_costs_no_more_than_the_logarithm_of_what_is_left(share):
    good = np.array([-3.0, 0.0, 50.0])
    cost = good - where_the_rest_goes.nats_with_noise(good, -100.0, share)
    np.testing.assert_allclose(cost, -np.log1p(-share), atol=1e-6)
    assert (good - where_the_rest_goes.nats_with_noise(good, 0.0, share) <= cost + 1e-9).all()


def test_all_estimators_have_the_gradient_for_a_mean():
    """E‖z‖²/2 has the gradient µ; the variance of a reparametrised draw is 1."""
    mean, draws = np.array([0.5, -1.0, 0.0]), 40_000
    for drawn in gradient_estimators.estimates(mean, draws).values():
        error = drawn.std(0) / np.sqrt(draws)
        assert (np.abs(drawn.mean(0) - mean) < 4 * error).all()
    variances = [x.var() for x in gradient_estimators.estimates(0 * mean, draws).values()]
    assert variances[0] == pytest.approx(1, abs=0.03)
    assert variances[0] < variances[2] < variances[1]


def test_the_nearest_of_another_class_has_another_class():
    generator = np.random.default_rng(0)
    images, others = (generator.integers(0, 17, (n, 4, 4, 1)).astype(np.uint8) for n in (5, 9))
    labels, theirs = np.arange(5) % 2, np.arange(9) % 2
    near = euclidean_distance.nearest_of_another_class(images, labels, others, theirs)
    for image, label, found in zip(images, labels, near, strict=True):
        apart = [
            np.linalg.norm(np.float64(image) - other) if their != label else np.inf
            for other, their in zip(others, theirs, strict=True)
        ]
        assert found == np.argmin(apart)


def test_a_parzen_window_is_a_mixture_around_samples():
    test, samples = np.float64(correlated()[:7]), np.float64(correlated()[7:20])
    density = sum(multivariate_normal(s, 0.25 * np.eye(6)).pdf(test) for s in samples) / 13
    assert parzen_windows.parzen(test, samples, 0.5) == pytest.approx(np.log(density).mean())


def test_features_are_independent_and_a_factored_decoder_of_pixels_pays():
    points = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(factored_decoder.inverse(factored_decoder.features(points)), points)
    assert factored_decoder.divergences(factored_decoder.LOG_P) == pytest.approx((0, 0), abs=1e-9)
    # The factored q of least KL(p ‖ q) has the marginals' moments: E x₂ = ½, Var x₂ = ½ + .2².
    parameters = np.array([0, 0.5, 0, 0.5 * np.log(0.5 + 0.2**2)])
    covers, samples = factored_decoder.divergences(factored_decoder.log_factored(parameters))
    assert covers == pytest.approx(0.5 * np.log(0.5 + 0.2**2) - np.log(0.2), abs=1e-3)
    assert samples > 5


def test_a_pixel_sees_those_before_it_and_the_more_the_more_blocks():
    fields = [receptive_fields.field(blocks, 1) for blocks in (0, 1)]
    place = receptive_fields.ROW * receptive_fields.SIDE + receptive_fields.COLUMN
    for field in fields:
        assert field.any() and not field.ravel()[place:].any()
    assert (fields[1] >= fields[0]).all() and fields[1].sum() > fields[0].sum()


def test_lines_of_the_grid_are_straight():
    points = warp.lines(count=3, points=5, end=1.0).reshape(2, 3, 5, 2)
    assert (np.ptp(points[0, ..., 0], axis=1) == 0).all()
    assert (np.ptp(points[1, ..., 1], axis=1) == 0).all()
