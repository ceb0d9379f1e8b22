"""Mixed batches: the law of β, the loss and its optimal discriminator, against enumeration."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln

from gm_jax.losses import mixed_batch
from gm_jax.losses.mixed_batch import batch_prior, bernoulli_kl, optimal_discriminator
from gm_jax.nn.noise import Noise
from tests.support import noise_of

PRIORS = [("uniform",), ("gamma", 0.3), ("gamma", 0.0), ("beta", 2.0, 0.7)]


def log_binomial(size):
    k = np.arange(size + 1)
    return gammaln(size + 1) - gammaln(k + 1) - gammaln(size - k + 1)


def enumerated(ratios, log_prior):
    """E[#β/B | y] by the sum over all 2^B vectors β."""
    size = len(ratios)
    weight = {}
    for beta in itertools.product((0, 1), repeat=size):
        weight[beta] = math.exp(log_prior[sum(beta)]) * math.prod(np.power(ratios, beta))
    total = sum(weight.values())
    return sum(sum(beta) / size * value for beta, value in weight.items()) / total


@pytest.mark.parametrize("size", [1, 2, 5, 10])
@pytest.mark.parametrize("prior", PRIORS)
def test_the_optimum_is_the_posterior_mean_by_enumeration(prior, size):
    ratios = np.exp(np.random.default_rng(size).normal(size=size))
    log_prior = batch_prior(size, *prior)
    found = optimal_discriminator(np.log(ratios), log_prior)
    np.testing.assert_allclose(found, enumerated(ratios, log_prior), rtol=1e-12)


def test_the_optimum_has_its_closed_forms():
    a, b = 3.0, 0.2
    np.testing.assert_allclose(optimal_discriminator([np.log(a)], batch_prior(1, "uniform")), 0.75)
    pair = (a + b + 4 * a * b) / (4 + 2 * (a + b) + 4 * a * b)
    found = optimal_discriminator(np.log([a, b]), batch_prior(2, "uniform"))
    np.testing.assert_allclose(found, pair, rtol=1e-12)
    three = np.log([4, 0.5, 1])
    for prior, expected in [
        (("uniform",), 73 / 126),
        (("gamma", 0.3), 101 / 168),
        (("gamma", 0), 2 / 3),
    ]:
        found = optimal_discriminator(three, batch_prior(3, *prior))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_certain_examples_and_large_batches_stay_finite():
    """Swapping data and samples turns D into 1 − D; zero densities settle their examples."""
    log_ratios = 30 * np.random.default_rng(0).normal(size=(2, 1024))
    log_prior = batch_prior(1024, "gamma", 0.01)
    found = optimal_discriminator(log_ratios, log_prior)
    assert np.isfinite(log_prior).all() and ((found > 0) & (found < 1)).all()
    np.testing.assert_allclose(optimal_discriminator(-log_ratios, log_prior), 1 - found, rtol=1e-9)
    settled = optimal_discriminator([np.inf, -np.inf, np.inf, 0], batch_prior(4, "uniform"))
    np.testing.assert_allclose(settled, (2 * 2 + 3 * 3) / (2 + 3) / 4, rtol=1e-12)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("size", [1, 7, 1024])
def test_a_prior_sums_to_one_over_all_vectors(prior, size):
    total = np.logaddexp.reduce(log_binomial(size) + batch_prior(size, *prior))
    np.testing.assert_allclose(total, 0, atol=1e-9)


def test_priors_that_are_one_law_agree():
    uniform = batch_prior(64, "uniform")
    np.testing.assert_allclose(batch_prior(64, "gamma", 0.5), uniform, rtol=1e-9)
    np.testing.assert_allclose(batch_prior(64, "beta", 1, 1), uniform, rtol=1e-12)
    np.testing.assert_allclose(log_binomial(64) + uniform, -np.log(65), rtol=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.2, 0.5])
def test_a_drawn_mixing_follows_the_prior(gamma):
    size, draws = 3, 20_000
    keys = jax.random.split(jax.random.key(0), draws)
    draw = jax.jit(
        jax.vmap(lambda key: mixed_batch.draw_mixing(Noise(key, jnp.arange(size)), gamma))
    )
    counts = np.bincount(np.asarray(draw(keys)).sum(1), minlength=size + 1) / draws
    law = np.exp(log_binomial(size) + batch_prior(size, "gamma", gamma))
    np.testing.assert_allclose(counts, law, atol=4 * np.sqrt(0.25 / draws))


def test_the_share_of_a_batch_lies_in_the_two_intervals():
    noise = noise_of(jax.random.key(1), 20_000)
    shares = [mixed_batch.draw_mixing(noise.layer(i), 0.3).mean() for i in range(20)]
    assert all(min(share, 1 - share) < 0.32 for share in shares)
    assert np.ptp(shares) > 0.5 and len(np.unique(np.round(shares, 2))) > 8


def test_the_divergence_is_exact_and_has_finite_gradients_at_its_ends():
    for ratio, logit, expected in [
        (0.0, -80.0, 0.0),
        (1.0, 80.0, 0.0),
        (1.0, -80.0, 80.0),
        (0.0, 80.0, 80.0),
        (0.25, 0.0, 0.25 * math.log(0.5) + 0.75 * math.log(1.5)),
    ]:
        value, slope = jax.value_and_grad(bernoulli_kl, argnums=1)(ratio, logit)
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-30)
        np.testing.assert_allclose(slope, jax.nn.sigmoid(logit) - ratio, rtol=1e-6, atol=1e-30)


def test_a_batch_of_one_is_the_gans():
    """Eq. 4.4 with B = 1 is half of −ln D(x) − ln(1 − D(x̃)), Eq. 4.5 is −ln D."""
    logits = jnp.array([-1.3, 0.4])
    for reduce in mixed_batch.REDUCTIONS.values():
        real, fake = reduce(logits[:1], 1.0), reduce(logits[1:], 0.0)
        np.testing.assert_allclose(real, -jnp.log(jax.nn.sigmoid(logits[0])), rtol=1e-6)
        np.testing.assert_allclose(fake, -jnp.log1p(-jax.nn.sigmoid(logits[1])), rtol=1e-6)


def test_the_mean_logits_loss_is_at_most_the_mean_loss():
    """Jensen; they agree where all logits do."""
    logits = jax.random.normal(jax.random.key(0), (50, 6))
    bgan = jax.vmap(lambda o: mixed_batch.bgan(o, 0.3))
    m_bgan = jax.vmap(lambda o: mixed_batch.m_bgan(o, 0.3).mean())
    assert (bgan(logits) < m_bgan(logits)).all()
    same = jnp.broadcast_to(logits[:, :1], logits.shape)
    np.testing.assert_allclose(bgan(same), m_bgan(same), rtol=1e-5, atol=1e-7)


def of_half(size, log_prior):
    """The mean loss of D = ½ under a law of β."""
    share = np.exp(log_binomial(size) + log_prior)
    return share @ np.asarray(bernoulli_kl(jnp.arange(size + 1) / size, 0.0))


@pytest.mark.parametrize(
    ("size", "least"), [(1, math.log(2)), (2, 0.4621), (8, 0.2604), (64, 0.2011)]
)
def test_equal_laws_leave_the_loss_its_floor(size, least):
    log_prior = batch_prior(size, "uniform")
    np.testing.assert_allclose(optimal_discriminator(np.zeros(size), log_prior), 0.5)
    np.testing.assert_allclose(of_half(size, log_prior), least, atol=5e-5)
    assert of_half(size, log_prior) > math.log(2) - 0.5


def test_a_fixed_half_starves_the_discriminator():
    """With p* = ½ the answer ½ loses little more than 1/(2B) (section 4.3.1)."""
    loss = of_half(64, np.full(65, -64 * math.log(2)))
    np.testing.assert_allclose(loss, 0.00787, atol=1e-5)
    assert 1 / 128 < loss < 1.02 / 128


def test_the_generator_goes_down_the_divergence_to_unbalanced_batches():
    """−E ln D* = ln 2 + KL(balanced ‖ unbalanced) (4.3.2), by the sum over all batches."""
    data, model = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    log_prior, size = batch_prior(3, "uniform"), 3
    batches = np.array(list(itertools.product(range(3), repeat=size)))
    balanced, unbalanced = np.zeros(len(batches)), np.zeros(len(batches))
    for beta in itertools.product((0, 1), repeat=size):
        law = np.where(beta, data[batches], model[batches]).prod(1) * np.exp(log_prior[sum(beta)])
        balanced += law
        unbalanced += 2 * law * sum(beta) / size
    optimum = optimal_discriminator(np.log(data / model)[batches], log_prior)
    np.testing.assert_allclose(optimum, unbalanced / balanced / 2, rtol=1e-12)
    divergence = balanced @ np.log(balanced / unbalanced)
    np.testing.assert_allclose(-(balanced @ np.log(optimum)), math.log(2) + divergence, rtol=1e-12)
    np.testing.assert_allclose([balanced.sum(), unbalanced.sum()], 1, rtol=1e-12)


def test_a_mixed_batch_takes_each_example_from_its_side():
    real, fake = np.arange(12.0).reshape(4, 3), -np.arange(12.0).reshape(4, 3)
    beta = np.array([True, False, False, True])
    mixed = mixed_batch.mix(beta, {"x": real}, {"x": fake})["x"]
    np.testing.assert_array_equal(mixed, real * np.where(beta, 1, -1)[:, None])
    assert mixed_batch.realised_ratio(jnp.asarray(beta)) == 0.5


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ((0, "uniform"), "give 1 or more"),
        ((4, "normal"), "choose among uniform, gamma, beta"),
        ((4, "gamma"), "takes 1 parameters"),
        ((4, "gamma", 0.6), "from 0 to 0.5"),
        ((4, "beta", 1.0, 0.0), "positive"),
    ],
)
def test_impossible_priors_are_refused(prior, expected):
    with pytest.raises(ValueError, match=expected):
        batch_prior(*prior)


def test_a_prior_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\[B\] or \[N, B\]"):
        optimal_discriminator(np.zeros(4), batch_prior(3, "uniform"))
