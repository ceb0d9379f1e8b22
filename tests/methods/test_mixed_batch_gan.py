"""Mixed-batch GANs: which β an update uses, what is mixed, points, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import mixed_batch_gan as page
from gm_jax import methods
from gm_jax.data.fields import Field
from gm_jax.losses import mixed_batch
from gm_jax.losses.mixed_batch import bernoulli_kl
from gm_jax.state import evaluation_variables
from tests.support import SPEC, images, noise_of, random_variables

BATCH = {"image": images(16, seed=1), "index": np.arange(16, dtype=np.int32)}
NOISE = noise_of(jax.random.key(0), 16)
POINTS = {"point": Field((2,), "float32")}


def method_of(variant, spec=SPEC, **model):
    config = page.get_config(variant).unlock()
    config.model.update(model)
    return methods.create(config.lock(), spec)


@functools.cache
def method(model="bgan", **settings):
    return method_of(f"{model},smoke", **settings)


@functools.cache
def variables(model="bgan"):
    return random_variables(method(model), BATCH)


@functools.cache
def mixing_of(gamma=0.5):
    """update -> β, compiled once."""
    gan = method(gamma=gamma)
    return jax.jit(lambda update: gan.mixing(update, BATCH["index"]))


def test_updates_come_in_complementary_pairs():
    even, odd = (np.stack([mixing_of()(2 * i + odd) for i in range(6)]) for odd in (0, 1))
    np.testing.assert_array_equal(odd, ~even)
    assert len(np.unique(even.mean(1))) > 3


def test_pure_batches_are_all_data_or_all_samples():
    shares = {float(mixing_of(0.0)(update).mean()) for update in range(12)}
    assert shares == {0.0, 1.0}


@pytest.mark.parametrize("critic_steps", [2, 3])
def test_a_steps_updates_are_numbered_through_the_run(critic_steps):
    """With three updates a step the last one's complement is the next step's first."""
    gan, given = method_of("bgan,smoke", critic_steps=critic_steps), variables()
    *critics, _ = gan.players
    assert [critic.batch for critic in critics] == [*range(critic_steps)]
    step = jax.jit(lambda s: [c.loss(given, BATCH, NOISE, s).curves["ratio"] for c in critics])
    expected = [mixing_of()(update).mean() for update in range(2 * critic_steps)]
    np.testing.assert_allclose([*step(0), *step(1)], expected, rtol=1e-6)


@pytest.mark.parametrize("model", ["bgan", "m_bgan"])
def test_both_losses_are_those_of_equations_4_4_and_4_5(model):
    gan, given, over_batch = (
        method(model),
        variables(),
        jnp.mean if model == "bgan" else (lambda o: o),
    )
    of_both = (gan.players[1].loss, gan.players[-1].loss)
    critic, generator = jax.jit(lambda: [loss(given, BATCH, NOISE, 3)[:2] for loss in of_both])()
    logits = jax.jit(lambda beta, noise: gan.judge_mixed(given, BATCH, noise, beta)[0])
    beta = mixing_of()(7)
    expected = bernoulli_kl(beta.mean(), over_batch(logits(beta, NOISE)))
    np.testing.assert_allclose(critic[0]["mixed_batch"], expected, rtol=1e-4, atol=1e-6)
    mixing, rest = NOISE.split()
    drawn = logits(mixed_batch.draw_mixing(mixing, 0.5), rest)
    expected = -jnp.log(jax.nn.sigmoid(over_batch(drawn)))
    np.testing.assert_allclose(generator[0]["adversarial"], expected, rtol=1e-4)


def test_data_and_samples_take_the_places_that_beta_gives_them():
    """With pointwise layers a logit is that of the data's image or of the sample at its place."""
    gan, given = method(symmetric=False), random_variables(method(symmetric=False), BATCH)
    beta = np.arange(16) % 3 == 0
    found = jax.jit(lambda: gan.judge_mixed(given, BATCH, NOISE, beta)[0])()
    pixels, latents = NOISE.split()
    critic = lambda x: gan.discriminator.apply(given["discriminator"], x)  # noqa: E731
    fake, _ = gan.generate_in_training(given, latents.normal(gan.num_latents), None)
    expected = np.where(beta, critic(gan.real(BATCH, pixels)), critic(fake))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["m_bgan", "mixup", "minibatch_discrimination", "wgp"])
def test_points_are_a_kind_of_data(model):
    gan = method_of(f"{model},ring", POINTS)
    batch = {"point": np.zeros((4, 2), np.float32)}
    state = jax.eval_shape(gan.init, NOISE.key, batch)
    after, _ = jax.eval_shape(gan.train_step, state, (batch,) * 5, NOISE.key)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    drawn = jax.eval_shape(
        lambda state: gan.sample(evaluation_variables(state), NOISE.key, 3), state
    )
    assert drawn["point"].shape == (3, 2) and drawn["point"].dtype == np.float32


def test_mixup_predicts_the_weights_of_its_averages():
    """Weight 0 is the GAN's cross-entropy; to always say ½ costs ln 2 whatever the weights."""
    gan, given = method_of("mixup,smoke", mixup=0.0), random_variables(method("mixup"), BATCH)
    terms = jax.jit(lambda: gan.discriminator_loss(given, BATCH, NOISE, 0).terms)()
    critic, real, fake, _ = gan.judged(given, BATCH, NOISE.split()[1])
    np.testing.assert_allclose(terms["data"], jax.nn.softplus(-critic(real)), rtol=1e-3)
    np.testing.assert_allclose(terms["samples"], jax.nn.softplus(critic(fake)), rtol=1e-3)
    blind = jax.tree.map(np.zeros_like, given)
    terms = method("mixup").discriminator_loss(blind, BATCH, NOISE, 0).terms
    np.testing.assert_allclose(np.stack([*terms.values()]), np.log(2), rtol=1e-6)


@pytest.mark.parametrize(
    ("variant", "fields", "expected"),
    [
        ("bgan", {"gamma": 0.6}, "from 0 to 0.5"),
        ("bgan", {"gamma": -0.1}, "from 0 to 0.5"),
        ("bgan", {"reduction": "mean"}, "one of bgan, m_bgan"),
        ("mixup", {"lipschitz": "penalty"}, "mixup controls the slope"),
        ("mixup", {"adversarial_loss": "hinge"}, "has no soft labels"),
        ("m_bgan", {"lipschitz": "penalty"}, "choose none, clipping or spectral_norm"),
        ("standard_deviation", {"lipschitz": "penalty"}, "batch_features is 'standard_deviation'"),
        ("mixup", {"mixup": 1.5}, "from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(variant, fields, expected):
    with pytest.raises(ValueError, match=expected):
        method_of(f"{variant},smoke", **fields)


@pytest.mark.parametrize("variant", ["m_bgan,smoke_ring", "sn,smoke"])
def test_networks_of_points_take_no_images_and_the_other_way_round(variant):
    for_points = "ring" in variant
    with pytest.raises(ValueError, match=f"are for {'points' if for_points else 'images'}: choose"):
        method_of(variant, SPEC if for_points else POINTS)


def test_batches_of_one_example_are_refused():
    config = page.get_config("bgan,smoke").unlock()
    config.data.batch_size = 1
    with pytest.raises(ValueError, match="has 2 examples or more"):
        methods.create(config, SPEC)
