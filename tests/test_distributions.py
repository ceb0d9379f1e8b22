"""Discrete densities sum to one, agree with float64, and their samplers draw from them."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_expit, logsumexp

from gm_jax import distributions
from gm_jax.nn.noise import standard_logistic

logistic_log_prob = jax.jit(distributions.discretized_logistic_log_prob, static_argnums=3)
mixture_log_prob = jax.jit(distributions.discretized_logistic_mixture_log_prob, static_argnums=2)
EXTREME_MEANS = [-30.0, -1.0, -0.999, 0.013, 1.0, 30.0]
EXTREME_LOG_SCALES = [-7.0, -3.0, 0.0, 3.0, 7.0]


def level_positions(levels):
    return 2.0 * np.arange(levels) / (levels - 1) - 1.0


def exact_log_mass(lower, upper):
    """log(σ(upper) − σ(lower)) in float64, taken in the tail where nothing cancels."""
    flipped = lower > 0
    lower, upper = np.where(flipped, -upper, lower), np.where(flipped, -lower, upper)
    with np.errstate(divide="ignore"):
        return np.log(expit(upper) - expit(lower))


def exact_log_prob(x, mean, log_scale, levels):
    half_width, scale = 1.0 / (levels - 1), np.exp(np.float64(log_scale))
    upper = np.where(x > 1 - half_width, np.inf, (x + half_width - mean) / scale)
    lower = np.where(x < -1 + half_width, -np.inf, (x - half_width - mean) / scale)
    return exact_log_mass(lower, upper)


def published_log_prob(x, mean, log_scale):
    """The published PixelCNN++ formula with its fallback, 256 levels, in float64."""
    inverse_scale = np.exp(-log_scale)
    centre = inverse_scale * (x - mean)
    plus, minus = centre + inverse_scale / 255, centre - inverse_scale / 255
    mass = expit(plus) - expit(minus)
    log_density = centre - log_scale + 2 * log_expit(-centre)
    inner = np.where(mass > 1e-5, np.log(np.maximum(mass, 1e-12)), log_density - np.log(127.5))
    return np.where(x < -0.999, log_expit(plus), np.where(x > 0.999, log_expit(-minus), inner))


def published_mixture_log_prob(x, parameters):
    """The published RGB mixture [B, H, W, 3], [B, H, W, 10K] -> [B, H, W], in float64."""
    mixtures = parameters.shape[-1] // 10
    logits = parameters[..., :mixtures]
    blocks = parameters[..., mixtures:].reshape(*x.shape, 3 * mixtures)
    means = blocks[..., :mixtures].copy()
    log_scales = np.maximum(blocks[..., mixtures : 2 * mixtures], -7.0)
    coefficients = np.tanh(blocks[..., 2 * mixtures :])
    x = x[..., None]
    means[..., 1, :] += coefficients[..., 0, :] * x[..., 0, :]
    means[..., 2, :] += coefficients[..., 1, :] * x[..., 0, :]
    means[..., 2, :] += coefficients[..., 2, :] * x[..., 1, :]
    log_joint = logits + published_log_prob(x, means, log_scales).sum(axis=-2)
    return logsumexp(log_joint, axis=-1) - logsumexp(logits, axis=-1)


def every_pixel(levels, channels):
    """All pixels with these levels and channels, as images [levels^channels, 1, 1, channels]."""
    values = np.array(list(itertools.product(range(levels), repeat=channels)), np.uint8)
    return distributions.scale_to_unit(values[:, None, None, :], levels)


def random_parameters(seed, mixtures, channels, spread=1.0):
    count = distributions.num_mixture_parameters(mixtures, channels)
    return np.random.default_rng(seed).normal(0, spread, (1, 1, 1, count)).astype(np.float32)


@pytest.mark.parametrize("levels", [2, 17, 255, 256])
def test_quantize_inverts_scale_to_unit_and_clips(levels):
    values = np.arange(levels, dtype=np.uint8)
    x = jax.jit(distributions.scale_to_unit, static_argnums=1)(values, levels)
    assert x.dtype == jnp.float32 and x[0] == -1.0 and x[-1] == 1.0
    np.testing.assert_array_equal(x, distributions.scale_to_unit(values, levels))
    np.testing.assert_allclose(x, level_positions(levels), atol=1e-6)
    off_grid = x + 0.9 / (levels - 1) * np.where(values % 2, 1, -1)
    np.testing.assert_array_equal(distributions.quantize(off_grid, levels), values)
    assert distributions.quantize(jnp.array([-5.0, 5.0]), levels).tolist() == [0, levels - 1]


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_discretized_logistic_sums_to_one(levels):
    x = distributions.scale_to_unit(np.arange(levels), levels)[:, None, None]
    mean, log_scale = np.array(EXTREME_MEANS)[:, None], np.array(EXTREME_LOG_SCALES)
    log_prob = logistic_log_prob(x, mean, log_scale, levels)
    np.testing.assert_allclose(np.exp(np.float64(log_prob)).sum(0), 1.0, atol=1e-5)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_discretized_logistic_agrees_with_float64(levels):
    x, mean = level_positions(levels)[:, None, None], np.linspace(-1.5, 1.5, 13)[:, None]
    log_scale = np.array([-5.0, -4.0, -2.0, 0.0, 3.0, 7.0])
    ours, exact = (f(x, mean, log_scale, levels) for f in (logistic_log_prob, exact_log_prob))
    np.testing.assert_allclose(ours, exact, rtol=2e-6, atol=2e-5)


def test_discretized_logistic_is_the_published_one_where_its_mass_exceeds_its_fallback():
    x = level_positions(256)[:, None, None]
    mean, log_scale = np.linspace(-1.2, 1.2, 9)[:, None], np.linspace(-7, 5, 13)
    log_prob = logistic_log_prob(x, mean, log_scale)
    published = published_log_prob(x, mean, log_scale)
    above = published > math.log(1.1e-5)
    np.testing.assert_allclose(np.asarray(log_prob)[above], published[above], atol=1e-3)
    # Below, density × width differs from the mass by at most ln[sinh(w/2) / (w/2)], w = width / s.
    half = np.exp(-log_scale) / 255
    bound = np.log(np.sinh(half) / half)
    assert np.all(np.abs(log_prob - published) <= bound + 1e-3)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_discretized_logistic_gradients_are_finite_at_extremes(levels):
    x = distributions.scale_to_unit(np.arange(levels), levels)[:, None, None]
    mean, log_scale = jnp.array(EXTREME_MEANS)[:, None], jnp.array(EXTREME_LOG_SCALES)[None]
    # Each gradient is summed over the levels: a NaN survives a sum.
    mean, log_scale = jnp.broadcast_arrays(mean, log_scale)
    by_mean, by_scale = jax.grad(
        lambda *logistic: logistic_log_prob(x, *logistic, levels).sum(), argnums=(0, 1)
    )(mean, log_scale)
    assert np.isfinite(by_mean).all() and np.isfinite(by_scale).all()


@pytest.mark.parametrize("colours", [2, 16, 256])
def test_thesis_equation_3_17_is_the_scaled_discretized_logistic(colours):
    step = 256 / colours
    y = np.arange(256)[:, None, None]
    mean = np.array([-40.0, 3.0, 100.0, 127.5, 256.0])[:, None]
    scale = np.array([3.0, 20.0, 200.0])
    start = step * np.floor(y / step)
    lower = np.where(start == 0, -np.inf, (start - mean) / scale)
    upper = np.where(start + step == 256, np.inf, (start + step - mean) / scale)
    widening = colours / (colours - 1)
    log_prob = logistic_log_prob(
        distributions.scale_to_unit((y // step).astype(np.uint8), colours),
        widening * (mean / 128 - 1),
        np.log(scale / 128) + np.log(widening),
        colours,
    )
    np.testing.assert_allclose(log_prob, exact_log_mass(lower, upper), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("levels", "channels"), [(256, 1), (17, 1), (6, 2), (5, 3), (3, 4)])
def test_mixture_sums_to_one_over_all_pixels(levels, channels):
    pixels = every_pixel(levels, channels)
    for seed, spread in ((0, 1.0), (1, 4.0)):
        parameters = random_parameters(seed, 3, channels, spread)
        log_prob = mixture_log_prob(pixels, parameters, levels)
        assert log_prob.shape == (levels**channels, 1, 1)
        np.testing.assert_allclose(np.exp(np.float64(log_prob)).sum(), 1.0, atol=1e-5)


def test_rgb_mixture_is_the_published_one():
    rng = np.random.default_rng(0)
    x = level_positions(256)[rng.integers(0, 256, (2, 8, 8, 3))]
    x[0, 0, :4] = [[-1, -1, -1], [1, 1, 1], [-1, 1, -1], [1, -1, 1]]
    parameters = rng.normal(size=(2, 8, 8, 100))
    published = published_mixture_log_prob(x, parameters)
    np.testing.assert_allclose(mixture_log_prob(x, parameters), published, rtol=1e-5, atol=1e-4)


# Runs of K after the logits: [m s c][m s]; [m s c] thrice (published); blocks of 4, 4, 3, 3 runs.
@pytest.mark.parametrize(
    ("channels", "coefficient_runs"), [(2, [2]), (3, [2, 5, 8]), (4, [2, 6, 10, 13, 3, 7])]
)
def test_each_coefficient_carries_one_channel_to_a_later_one(channels, coefficient_runs):
    x = distributions.scale_to_unit(np.array([[[[200, 30, 90, 160][:channels]]]]), 256)
    pairs = [(target, source) for target in range(channels) for source in range(target)]
    for run, (target, source) in zip(coefficient_runs, pairs, strict=True):
        parameters = np.zeros((1, 1, 1, distributions.num_mixture_parameters(1, channels)))
        parameters[..., 1 + run] = 0.7
        means = np.eye(channels)[target] * np.tanh(0.7) * float(x[0, 0, 0, source])
        expected = exact_log_prob(np.float64(x[0, 0, 0]), means, 0.0, 256).sum()
        np.testing.assert_allclose(mixture_log_prob(x, parameters), expected, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_mixture_gradients_are_finite_at_extreme_parameters(channels):
    pixels = every_pixel(4, channels)
    gradient = jax.jit(jax.grad(lambda p: mixture_log_prob(pixels, p, 4).sum()))
    for seed in range(5):
        assert np.isfinite(gradient(random_parameters(seed, 5, channels, spread=30.0))).all()


def test_log_scales_below_minus_seven_count_as_minus_seven():
    floor, below = (
        mixture_log_prob(every_pixel(16, 1), np.array([[[[0.0, 0.1, log_scale]]]]), 16)
        for log_scale in (-7.0, -100.0)
    )
    np.testing.assert_array_equal(floor, below)


def draw_pixels(parameters, channels, levels, count, temperature=1.0):
    gumbel_key, logistic_key = jax.random.split(jax.random.key(0))
    mixtures = parameters.shape[-1] // distributions.num_mixture_parameters(1, channels)
    return distributions.discretized_logistic_mixture_sample(
        jnp.broadcast_to(parameters, (count, 1, 1, parameters.shape[-1])),
        jax.random.gumbel(gumbel_key, (count, 1, 1, mixtures)),
        standard_logistic(logistic_key, (count, 1, 1, channels)),
        levels,
        temperature,
    )


@pytest.mark.parametrize(("levels", "channels"), [(17, 1), (4, 2), (5, 3)])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_mixture_samples_have_the_frequencies_of_their_density(levels, channels, temperature):
    count, mixtures = 100_000, 2
    parameters = random_parameters(3, mixtures, channels)
    x = draw_pixels(parameters, channels, levels, count, temperature=temperature)
    runs = parameters.reshape(-1, mixtures).copy()
    runs[0] /= temperature
    runs[2::3] += np.log(temperature)  # log-scales: with one to three channels, every third run
    colder = runs.reshape(parameters.shape)
    log_prob = mixture_log_prob(every_pixel(levels, channels), colder, levels)
    values = np.asarray(distributions.quantize(x, levels))[:, 0, 0]
    cells = np.ravel_multi_index(values.T, (levels,) * channels)
    observed = np.bincount(cells, minlength=levels**channels)
    # Pearson's statistic, rare cells pooled: mean k, standard deviation √2k.
    expected = count * np.exp(np.float64(log_prob)).ravel()
    rare = expected < 10
    observed, expected = (np.append(n[~rare], n[rare].sum()) for n in (observed, expected))
    statistic = ((observed - expected) ** 2 / np.maximum(expected, 10)).sum()
    assert statistic < len(expected) + 4 * math.sqrt(2 * len(expected))


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_mixture_samples_lie_on_the_grid(levels):
    x = draw_pixels(random_parameters(0, 5, 3, spread=3.0), 3, levels, 200)
    assert x.dtype == jnp.float32
    on_grid = distributions.scale_to_unit(distributions.quantize(x, levels), levels)
    np.testing.assert_array_equal(x, on_grid)


@pytest.mark.parametrize("temperature", [0.0, 1e-4])
def test_a_cold_mixture_gives_the_rounded_means_of_its_likeliest_component(temperature):
    runs = np.full((10, 2), 9.0)  # the first component is unlikely, the second is to be drawn
    c0, c1, c2 = np.arctanh([0.7, 0.5, 0.3])
    runs[:, 1] = [10.0, -0.33, 0.0, c0, 0.4, 0.0, c1, -0.2, 0.0, c2]
    parameters = runs.reshape(1, 1, 1, 20).astype(np.float32)
    x = draw_pixels(parameters, 3, 5, 50, temperature=temperature)
    # Levels are ½ apart: −0.33; 0.4 + 0.7·(−½); −0.2 + 0.5·(−½) + 0.3·0.
    np.testing.assert_array_equal(x.reshape(-1, 3), np.tile([-0.5, 0.0, -0.5], (50, 1)))


def test_discretized_logistic_samples_have_the_frequencies_of_their_density():
    levels, mean, log_scale = 17, 0.6, -1.2
    noise = standard_logistic(jax.random.key(1), (100_000,))
    assert np.abs(noise).max() <= math.log(1e5)
    x = distributions.discretized_logistic_sample(mean, log_scale, noise, levels)
    observed = np.bincount(distributions.quantize(x, levels), minlength=levels) / len(noise)
    exact = np.exp(exact_log_prob(level_positions(levels), mean, log_scale, levels))
    assert 0.5 * np.abs(observed - exact).sum() < 0.006
    cold = distributions.discretized_logistic_sample(mean, log_scale, noise, levels, 0.0)
    np.testing.assert_array_equal(cold, jnp.full_like(cold, 0.625))


def test_gaussian_density_integrates_to_one():
    x = jnp.linspace(-12.0, 12.0, 20_001)
    density = jnp.exp(distributions.gaussian_log_prob(x, 0.3, 0.4))
    np.testing.assert_allclose(jnp.trapezoid(density, x), 1.0, rtol=1e-5)


def test_gaussian_kl_equals_its_monte_carlo_value():
    q, p = (0.4, -0.5), (-0.3, 0.2)
    z = q[0] + math.exp(q[1]) * jax.random.normal(jax.random.key(0), (400_000,))
    log_ratio = distributions.gaussian_log_prob(z, *q) - distributions.gaussian_log_prob(z, *p)
    np.testing.assert_allclose(distributions.gaussian_kl(*q, *p), log_ratio.mean(), atol=5e-3)
    assert distributions.gaussian_kl(*q, *q) == 0.0


def test_uniform_images_of_256_levels_cost_eight_bits_per_dim():
    bits = distributions.bits_per_dim(-32 * 32 * 3 * math.log(256.0), (32, 32, 3))
    assert bits == pytest.approx(8.0)


def test_number_of_mixture_parameters():
    assert [distributions.num_mixture_parameters(10, c) for c in (1, 2, 3, 4)] == [30, 60, 100, 150]


def test_misuse_is_refused_with_the_bad_value():
    x, parameters = np.zeros((1, 2, 2, 3), np.float32), np.zeros((1, 2, 2, 20), np.float32)
    with pytest.raises(ValueError, match=r"25 parameters.*3 channel.*multiple of 10"):
        mixture_log_prob(x, np.zeros((1, 2, 2, 25), np.float32))
    with pytest.raises(ValueError, match="scale_to_unit"):
        mixture_log_prob(x.astype(np.uint8), parameters)
    with pytest.raises(ValueError, match="last axis"):
        mixture_log_prob(x[0], parameters)
    with pytest.raises(ValueError, match="levels is 1"):
        mixture_log_prob(x, parameters, 1)
    with pytest.raises(ValueError, match="gumbel_noise"):
        distributions.discretized_logistic_mixture_sample(parameters, x, x)
    with pytest.raises(ValueError, match="height, width, channels"):
        distributions.bits_per_dim(-1.0, (8, 32, 32, 3))
