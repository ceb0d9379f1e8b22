"""What the adversarial losses estimate when the optimal discriminator is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.losses import adversarial
from gm_jax.losses.adversarial import LOSSES

DATA = jnp.array([0.5, 0.25, 0.125, 0.0625, 0.0625])
MODEL = jnp.array([0.1, 0.1, 0.2, 0.2, 0.4])
MIDDLE = (DATA + MODEL) / 2
OPTIMAL = {  # the logit of a point, where the discriminator's loss is least
    "cross_entropy": jnp.log(DATA / MODEL),
    "least_squares": DATA / (DATA + MODEL),
}


def kl(p, q):
    return float(jnp.sum(p * jnp.log(p / q)))


def of_discriminator(name, logits):
    """The mean over a discrete space with a logit per point: x from the data, x̃ from the model."""
    real, fake = jnp.meshgrid(logits, logits, indexing="ij")
    return jnp.sum(DATA[:, None] * MODEL * LOSSES[name].discriminator(real, fake))


@pytest.mark.parametrize("name", ["minimax", "least_squares"])
def test_the_discriminators_loss_is_least_at_its_known_optimum(name):
    def loss(logits):
        return of_discriminator(name, logits)

    optimal = OPTIMAL[LOSSES[name].term]
    np.testing.assert_allclose(jax.grad(loss)(optimal), 0, atol=1e-6)
    assert np.linalg.eigvalsh(jax.jit(jax.hessian(loss))(optimal)).min() > 0


def test_the_least_cross_entropy_is_two_ln_2_less_two_jensen_shannon_divergences():
    """Goodfellow et al. (2014), section 4.1; two laws that are one give 2 ln 2."""
    divergence = (kl(DATA, MIDDLE) + kl(MODEL, MIDDLE)) / 2
    least = of_discriminator("minimax", OPTIMAL["cross_entropy"])
    np.testing.assert_allclose(least, 2 * np.log(2) - 2 * divergence, rtol=1e-6)
    np.testing.assert_allclose(of_discriminator("minimax", jnp.zeros(5)), 2 * np.log(2), rtol=1e-6)


def test_the_least_hinge_is_two_shared_masses():
    """D = ±1 where the data or the model is denser: 2 Σ min(p, q) = 2 (1 − total variation)."""
    least = of_discriminator("hinge", jnp.sign(DATA - MODEL))
    np.testing.assert_allclose(least, 2 * jnp.sum(jnp.minimum(DATA, MODEL)), rtol=1e-6)
    others = jax.random.normal(jax.random.key(0), (100, 5)) * 2
    assert jax.vmap(lambda logits: of_discriminator("hinge", logits))(others).min() > least


@pytest.mark.parametrize("shift", [0.3, -2.0])
def test_a_1_lipschitz_critic_reaches_the_wasserstein_distance_of_a_shift(shift):
    x = jnp.linspace(-1, 1, 7)
    critic = lambda x: -np.sign(shift) * x  # noqa: E731
    distance = -LOSSES["wasserstein"].discriminator(critic(x), critic(x + shift))
    np.testing.assert_allclose(distance, abs(shift), rtol=1e-5)


def test_generators_go_down_known_divergences_of_the_optimal_discriminator():
    """Minimax: KL(model ‖ middle); −logit: KL(model ‖ data); −ln D: the one less the other."""
    expected = {
        "minimax": kl(MODEL, MIDDLE) - np.log(2),
        "log_ratio": kl(MODEL, DATA),
        "non_saturating": kl(MODEL, DATA) - kl(MODEL, MIDDLE) + np.log(2),
    }
    for name, value in expected.items():
        mean = jnp.sum(MODEL * LOSSES[name].generator(OPTIMAL["cross_entropy"]))
        np.testing.assert_allclose(mean, value, rtol=1e-5)
    # ½ E[(D − 1)²] of the least-squares discriminator, over the model
    mean = jnp.sum(MODEL * LOSSES["least_squares"].generator(OPTIMAL["least_squares"]))
    np.testing.assert_allclose(mean, jnp.sum(MODEL * (MODEL / (2 * MIDDLE)) ** 2) / 2, rtol=1e-5)


def test_generators_pull_as_hard_as_their_papers_say_where_a_sample_is_found_out():
    """At logit −30: nothing is left of minimax, −ln D and −logit pull at 1, squares at 1 − D."""
    slopes = {name: float(jax.grad(loss.generator)(-30.0)) for name, loss in LOSSES.items()}
    expected = dict.fromkeys(LOSSES, -1.0) | {"minimax": 0.0, "least_squares": -31.0}
    for name, slope in slopes.items():
        np.testing.assert_allclose(slope, expected[name], atol=1e-6)


def test_large_logits_lose_nothing():
    logits = jnp.array([-200.0, 200.0])
    np.testing.assert_array_equal(adversarial.cross_entropy(logits, -logits), [400, 0])
    gradient = jax.grad(lambda x: adversarial.cross_entropy(x, -x).sum())(logits)
    np.testing.assert_array_equal(gradient, [-2, 0])


def test_the_penalty_is_weighed_and_left_out_at_weight_zero():
    real, fake = jnp.ones((3, 2, 2, 1)), jnp.zeros((3, 2, 2, 1))

    def terms(weight):
        critic = lambda x: 3 * x[:, 0, 0, 0]  # noqa: E731
        half = jnp.full(3, 0.5)
        return adversarial.discriminator_terms(
            LOSSES["log_ratio"], critic, real, fake, half, weight
        )

    np.testing.assert_allclose(terms(100.0)["gradient_penalty"], 400, rtol=1e-5)
    expected = np.log1p(np.exp(-3)) + np.log(2)
    np.testing.assert_allclose(terms(100.0)["cross_entropy"], expected, rtol=1e-6)
    assert terms(0.0).keys() == {"cross_entropy"}


def test_an_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'wgan'; choose among minimax, .*hinge, least_squares"):
        adversarial.create("wgan")
