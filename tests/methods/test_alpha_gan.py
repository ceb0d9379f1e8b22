"""α-GAN: its losses by hand, the optima of its discriminators, and what moves what."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from configs import alpha_gan
from gm_jax import methods
from gm_jax.data import image_spec
from gm_jax.losses.adversarial import cross_entropy, log_ratio
from gm_jax.losses.empirical_kl import empirical_kl
from gm_jax.methods.alpha_gan import discrimination
from tests.support import images, noise_of, random_variables

SPEC = image_spec((8, 8, 3), 17)
BATCH = {"image": images(8, seed=1, shape=(8, 8, 3))}
NOISE = noise_of(jax.random.key(0), 8)
DATA = jnp.array([0.5, 0.25, 0.125, 0.0625, 0.0625])
REMADE = jnp.array([0.1, 0.1, 0.2, 0.2, 0.4])
MADE = jnp.array([0.4, 0.1, 0.1, 0.3, 0.1])
close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)


@functools.cache
def method(model="alpha_gan", **fields):
    config = alpha_gan.get_config(f"{model},smoke").unlock()
    config.model.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return methods.create(config.lock(), SPEC)


@functools.cache
def variables():
    return random_variables(method(), BATCH)


@functools.cache
def terms_of(player, **fields):
    """The terms of a player's loss, and its statistics."""
    loss = getattr(method(**fields), f"{player}_loss")
    return jax.jit(lambda: tuple(loss(variables(), BATCH, NOISE, 0)))()


def logits(network, inputs):
    outputs = getattr(method(), network).apply(variables()[network], inputs)
    return outputs.reshape(len(inputs))


def test_a_step_moves_encoder_and_generator_twice_then_the_discriminators():
    order = [player.name for player in method().players]
    assert order == [*("encoder", "generator") * 2, "discriminator", "code_discriminator"]
    assert [player.name for player in method("alpha_gan_kl").players] == order[:-1]


def test_the_encoders_loss_is_that_of_line_6():
    terms, _, statistics = terms_of("encoder")
    x = method().real(BATCH, NOISE)
    codes, moved = method().encode_in_training(variables(), x)
    again, _ = method().generate_in_training(variables(), codes)
    close(terms["reconstruction"], 10 * np.abs(x - again).mean((1, 2, 3)))
    close(terms["discriminator"], -logits("code_discriminator", codes))
    jax.tree.map(close, statistics, moved)


def test_the_losses_of_images_are_those_of_lines_7_and_8():
    """Reconstructions and samples pass as one batch, images as another."""
    pixels, latents = NOISE.split()
    x = method().real(BATCH, pixels)
    codes, _ = method().encode_in_training(variables(), x)
    z = np.concatenate([codes, latents.normal(8)])
    made, moved = method().generate_in_training(variables(), z)
    terms, _, statistics = terms_of("generator")
    fake = logits("discriminator", made)
    close(terms["reconstruction"], 10 * np.abs(x - made[:8]).mean((1, 2, 3)))
    close(terms["reconstructions"], -fake[:8])
    close(terms["samples"], -fake[8:])
    jax.tree.map(close, statistics, {"generator": moved["generator"]})
    terms, _, statistics = terms_of("discriminator")
    close(terms["real"], 2 * np.logaddexp(0, -logits("discriminator", x)))
    close(terms["reconstructions"], np.logaddexp(0, fake[:8]))
    close(terms["samples"], np.logaddexp(0, fake[8:]))
    assert statistics is None


UNMOVED = {
    "encoder": {"discriminator"},
    "generator": {"code_discriminator"},
    "discriminator": {"code_discriminator"},
    "code_discriminator": {"generator", "discriminator"},
}


@pytest.mark.parametrize("player", UNMOVED)
def test_a_loss_has_no_gradient_in_the_networks_that_it_does_not_see(player):
    """E gets none of D's judgement, G none of C's; the others are not zero."""

    def loss(params):
        given = {name: {**variables()[name], "params": tree} for name, tree in params.items()}
        terms = getattr(method(), f"{player}_loss")(given, BATCH, NOISE, 0).terms
        return sum(term.mean() for term in terms.values())

    params = {name: collections["params"] for name, collections in variables().items()}
    gradients = jax.jit(jax.grad(loss))(params)
    zero = {name for name, tree in gradients.items() if not any(map(np.any, jax.tree.leaves(tree)))}
    assert zero == UNMOVED[player]


def test_the_discriminator_sees_no_reconstruction_error():
    def error(params):
        given = variables() | {"discriminator": {"params": params}}
        return method().generator_loss(given, BATCH, NOISE, 0).terms["reconstruction"].sum()

    gradient = jax.jit(jax.grad(error))(variables()["discriminator"]["params"])
    assert not any(map(np.any, jax.tree.leaves(gradient)))


@pytest.mark.parametrize(("weight", "even", "ratio"), [(2, 1 / 2, 0), (1, 1 / 3, np.log(2))])
def test_the_optimal_discriminator_of_equations_14_and_15(weight, even, ratio):
    """w·p*/(w·p* + p_x̂ + p_G); where all three agree, R_D is 0 only for Eq. 14."""

    def loss(logits, data, remade, made):
        terms = discrimination(logits, logits, logits, weight)
        shares = {"real": data, "reconstructions": remade, "samples": made}
        return sum(jnp.sum(shares[name] * term) for name, term in terms.items())

    best = weight * DATA / (weight * DATA + REMADE + MADE)
    gradient = jax.grad(loss)(jnp.log(best / (1 - best)), DATA, REMADE, MADE)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    logit = jnp.full(5, np.log(even / (1 - even)))
    np.testing.assert_allclose(jax.grad(loss)(logit, DATA, DATA, DATA), 0, atol=1e-6)
    np.testing.assert_allclose(log_ratio(logit), ratio, atol=1e-6)


def test_the_codes_loss_is_their_divergence_where_the_code_discriminator_is_optimal():
    """E_q[R_C] = KL(q ‖ p) (Eq. 6): .8181 for N(1, ½²), as by the empirical KL."""
    ticks = np.linspace(-9, 9, 18_001)
    q, p = stats.norm(1, 0.5), stats.norm()
    best = jnp.array(p.logpdf(ticks) - q.logpdf(ticks))

    def loss(logits):
        prior, codes = cross_entropy(logits, -jnp.inf), cross_entropy(jnp.inf, logits)
        return jnp.sum(p.pdf(ticks) * prior + q.pdf(ticks) * codes)

    np.testing.assert_allclose(jax.grad(loss)(best), 0, atol=1e-6)
    expected = np.sum(q.pdf(ticks) * log_ratio(best)) * 1e-3
    np.testing.assert_allclose(expected, 0.8181, atol=1e-4)
    codes = q.ppf((np.arange(100_000) + 0.5) / 100_000)[:, None]
    np.testing.assert_allclose(empirical_kl(codes), expected, atol=1e-4)


def test_the_ablation_takes_the_empirical_divergence_of_the_codes():
    fields = {"code_match": "empirical_kl"}
    codes, _ = method().encode_in_training(variables(), method().real(BATCH, NOISE))
    terms, _, _ = terms_of("encoder", **fields)
    np.testing.assert_allclose(terms["empirical_kl"], empirical_kl(codes), rtol=1e-4)


def test_weights_and_reduction_are_those_of_the_page():
    """Each player has its own λ; a sum over 8×8×3 values is 192 times their mean."""
    fields = {"encoder_weight": 1.0, "generator_weight": 5.0, "reduction": "sum"}
    fields = {f"reconstruction__{name}": value for name, value in fields.items()}
    for player, factor in (("encoder", 192 / 10), ("generator", 5 * 192 / 10)):
        found = terms_of(player, **fields)[0]["reconstruction"]
        expected = factor * terms_of(player)[0]["reconstruction"]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"code_match": "kl"}, "code_match is 'kl'; choose among discriminator, empirical_kl"),
        ({"reconstruction__reduction": "l2"}, "reduction is 'l2'; choose among sum, mean"),
        ({"generator__layers": ((8, 2), (8, 3))}, "multiples of 6; set data.resize to 6 or 12"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(fields, expected):
    with pytest.raises(ValueError, match=expected):
        jax.eval_shape(method(**fields).init, jax.random.key(0), BATCH)


def test_labels_and_latents_of_other_lengths_are_refused():
    labels = np.zeros(2, np.int32)
    with pytest.raises(ValueError, match="class_conditional is False: give none"):
        method().sample(variables(), jax.random.key(0), 2, labels)
    with pytest.raises(ValueError, match=r"shape \[2, 9\]; give \[N, 8\]"):
        method().check_latents(np.zeros((2, 9)))
