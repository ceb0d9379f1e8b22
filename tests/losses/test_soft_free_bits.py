"""Soft free bits hold a divergence near its target, and never weigh it by more than 1."""

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.losses import soft_free_bits

TARGET, RATE = 3.0, 0.02


def weights_after(*kls):
    weights = soft_free_bits.start(2)
    for kl in kls:
        weights = soft_free_bits.follow(weights, jnp.asarray(kl), TARGET, RATE)
    return weights["weight"]


def test_each_layers_weight_falls_below_the_target_and_rises_above_it_up_to_one():
    low, high = [[1.0, 9.0]] * 2, [[9.0, 1.0]] * 2
    np.testing.assert_allclose(weights_after(low), [1 / (1 + RATE), 1], rtol=1e-6)
    np.testing.assert_allclose(weights_after(low, high), [1, 1 / (1 + RATE)], rtol=1e-6)
    mean = [[0.0, 0.0], [8.0, 6.2]]  # 4 and 3.1: the mean counts, with a tolerance of 5 %
    np.testing.assert_allclose(weights_after(low, mean), [1, 1 / (1 + RATE)], rtol=1e-6)


def test_a_weight_that_fell_for_long_comes_back_soon():
    weights = {"weight": jnp.full(2, soft_free_bits.LEAST)}
    low, high = jnp.zeros((4, 2)), jnp.full((4, 2), 2 * TARGET)
    least = soft_free_bits.follow(weights, low, TARGET, RATE)["weight"]
    np.testing.assert_allclose(least, soft_free_bits.LEAST, rtol=1e-6)
    for _ in range(int(np.ceil(np.log(1 / soft_free_bits.LEAST) / np.log1p(RATE)))):
        weights = soft_free_bits.follow(weights, high, TARGET, RATE)
    np.testing.assert_array_equal(weights["weight"], 1)


def test_a_divergence_that_would_vanish_settles_near_its_target():
    """A bound a·ln k − γk has its maximum at k = a/γ; with γ = 1 that is a third of the target."""
    a = TARGET / 3

    def step(carry, _):
        log_kl, weights = carry
        kl = jnp.exp(log_kl)
        log_kl = log_kl + 0.05 * (a - weights["weight"] * kl)  # the gradient by ln k
        return (log_kl, soft_free_bits.follow(weights, kl[None], TARGET, RATE)), kl

    start = (jnp.zeros(1), soft_free_bits.start(1))
    (_, weights), kls = jax.jit(lambda: jax.lax.scan(step, start, None, 2_000))()
    np.testing.assert_allclose(np.mean(kls[-500:]), TARGET, rtol=0.1)
    assert 0.2 < weights["weight"][0] < 0.6  # around 1/3
