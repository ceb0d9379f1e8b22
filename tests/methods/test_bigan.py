"""BiGAN and ALI: the game's value on tables, the losses by hand, and what moves what."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import bigan
from gm_jax import methods
from gm_jax.data.fields import Field
from gm_jax.losses.adversarial import cross_entropy
from gm_jax.methods.player import in_order
from tests.support import SPEC, images, noise_of, random_variables, zeros_like

BATCH = {"image": images(8, seed=1), "index": np.arange(8, dtype=np.int32)}
POINTS = {"point": np.ones((8, 2), np.float32), "index": np.arange(8, dtype=np.int32)}
NOISE = noise_of(jax.random.key(0), 8)
NETWORKS = ("encoder", "generator", "discriminator")
close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


@functools.cache
def method(variant="bigan,smoke", **fields):
    config = bigan.get_config(variant).unlock()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    spec = {"point": Field((2,), "float32")} if "grid" in variant else SPEC
    return methods.create(config.lock(), spec)


@functools.cache
def variables(variant="bigan,smoke"):
    return random_variables(method(variant), POINTS if "grid" in variant else BATCH)


def value(encoded, made):
    """V of tables of p_E(x, z) and p_G(x, z), where the discriminator's logits are optimal."""

    def loss(logits):
        real, fake = cross_entropy(logits, -jnp.inf), cross_entropy(jnp.inf, logits)
        return jnp.sum(encoded * real + made * fake)

    best = jnp.log(encoded) - jnp.log(made)  # D* = p_E / (p_E + p_G)
    np.testing.assert_allclose(jax.grad(loss)(best), 0, atol=1e-6)
    return -loss(best)


def test_the_games_value_is_the_divergence_of_the_joint_distributions():
    """V = 2·JSD(p_E ‖ p_G) − ln 4 at D* = p_E/(p_E + p_G), on tables of 5 x and 4 z."""
    encoded, made = np.random.default_rng(0).dirichlet(np.ones(20), 2).reshape(2, 5, 4)
    middle = (encoded + made) / 2
    twice = np.sum(encoded * np.log(encoded / middle) + made * np.log(made / middle))
    np.testing.assert_allclose(value(encoded, made), twice - np.log(4), rtol=1e-5)


def test_the_value_is_least_where_the_generator_inverts_the_encoder():
    """−ln 4 if x and z match by a permutation; more if one pair of codes is swapped."""
    share, places = np.array([0.4, 0.3, 0.2, 0.1]), np.array([2, 0, 3, 1])

    def joint(places):
        table = np.full((4, 4), 1e-7)
        table[np.arange(4), places] = share
        return table

    np.testing.assert_allclose(value(joint(places), joint(places)), -np.log(4), atol=1e-5)
    assert value(joint(places), joint(places[[0, 1, 3, 2]])) > -np.log(4) + 0.1


def test_no_player_has_a_way_to_go_where_the_discriminator_cannot_tell():
    """With D = ½ everywhere all losses are ln 2 a pair, and E and G have no gradient."""
    given = variables() | {"discriminator": zeros_like(variables()["discriminator"])}
    for network, pairs in (("encoder", 1), ("generator", 1), ("discriminator", 2)):
        terms, gradient = jax.jit(functools.partial(gradients, network))(given)
        close(terms["adversarial"], pairs * np.log(2))
        if network != "discriminator":
            assert not any(map(np.any, jax.tree.leaves(gradient[network])))


def gradients(player, given):
    """The terms of a player's loss, and its gradient in the parameters of every network."""

    def loss(params):
        whole = {name: {**given[name], "params": params[name]} for name in given}
        terms = getattr(method(), f"{player}_loss")(whole, BATCH, NOISE, 0).terms
        return jnp.mean(terms["adversarial"]), terms

    params = {name: collections["params"] for name, collections in given.items()}
    found, terms = jax.grad(loss, has_aux=True)(params)
    return terms, found


UNMOVED = {"encoder": {"generator"}, "generator": {"encoder"}, "discriminator": set()}


@pytest.mark.parametrize("player", UNMOVED)
def test_the_term_of_the_encoder_has_no_gradient_in_the_generator_nor_the_reverse(player):
    _, found = jax.jit(functools.partial(gradients, player))(variables())
    zero = {name for name, tree in found.items() if not any(map(np.any, jax.tree.leaves(tree)))}
    assert zero == UNMOVED[player]


def test_all_three_move_at_once():
    (together,) = method().players
    assert {player.name for player in together} == {*NETWORKS}
    assert [player.networks for player in in_order(method().players)] == [
        (player.name,) for player in together
    ]


@pytest.mark.parametrize("variant", ["bigan,smoke", "ali,smoke"])
def test_the_losses_are_those_of_pairs_and_of_flipped_labels(variant):
    """With the dropout of each pair; the encoder's target is "made", the generator's "encoded"."""
    model, given = method(variant), variables(variant)
    encoding, making, *dropouts = NOISE.split(4)
    x, codes, _ = model.encoded(given, BATCH, encoding)
    samples, z, _ = model.made(given, making)
    real = model.judged(given, x, codes, dropouts[0])
    fake = model.judged(given, samples, z, dropouts[1])
    terms = model.discriminator_loss(given, BATCH, NOISE, 0).terms
    close(terms["adversarial"], np.logaddexp(0, -real) + np.logaddexp(0, fake))
    pairs, dropout = NOISE.split()
    x, codes, moved = model.encoded(given, BATCH, pairs)
    found = model.encoder_loss(given, BATCH, NOISE, 0)
    close(found.terms["adversarial"], np.logaddexp(0, model.judged(given, x, codes, dropout)))
    jax.tree.map(close, found.statistics, moved)
    samples, z, moved = model.made(given, pairs)
    found = model.generator_loss(given, BATCH, NOISE, 0)
    close(found.terms["adversarial"], np.logaddexp(0, -model.judged(given, samples, z, dropout)))
    jax.tree.map(close, found.statistics, moved)


def test_weights_decay_towards_zero():
    """The gradient of ½w‖θ‖² is w·θ, of the player's own network alone."""
    given, weight = variables(), method().model.weight_decay

    def decay(params):
        whole = given | {"encoder": given["encoder"] | {"params": params}}
        return method().encoder_loss(whole, BATCH, NOISE, 0).terms["weight_decay"]

    params = given["encoder"]["params"]
    jax.tree.map(close, jax.grad(decay)(params), jax.tree.map(lambda p: weight * p, params))
    assert "weight_decay" not in method("ali,smoke").regularised("encoder", given, 0.0).terms


def test_the_critic_judges_each_pair_by_itself_and_sees_both_parts():
    x, z = NOISE.split()[0].normal(8, 8, 1), NOISE.split()[1].normal(4)
    judge = functools.partial(method().discriminator.apply, variables()["discriminator"])
    np.testing.assert_allclose(judge(x, z)[:2], judge(x[:2], z[:2]), rtol=1e-4)
    for other in (judge(x[::-1], z), judge(x, z[::-1])):
        assert np.abs(other - judge(x, z)).max() > 1e-3


def test_ali_draws_codes_and_samples_around_what_the_networks_say():
    """A draw minus its mean, over its deviation, is the noise itself."""
    model, given = method("ali,smoke_grid"), variables("ali,smoke_grid")
    outputs = model.encoder.apply(given["encoder"], POINTS["point"])
    mean, log_std = np.split(outputs, 2, -1)
    codes = model.encode(given, POINTS, NOISE)
    close((codes - mean) / np.exp(log_std), NOISE.split()[1].normal(2), rtol=1e-3)
    outputs = model.generator.apply(given["generator"], codes)
    mean, log_std = np.split(outputs, 2, -1)
    close(model.generate(given, codes), mean)
    drawn = model.decode(given, codes, NOISE)["point"]
    close((drawn - mean) / np.exp(log_std - 3), NOISE.normal(2), rtol=1e-2, atol=1e-3)


def test_bigan_is_deterministic_and_draws_uniform_latents():
    z = method().sample_latents({}, noise_of(jax.random.key(1), 4096))
    assert -1 <= z.min() < -0.99 and 0.99 < z.max() < 1
    np.testing.assert_allclose(z.std(), 3**-0.5, rtol=0.02)
    decoded = [method().decode(variables(), z[:4], noise_of(jax.random.key(i), 4)) for i in (0, 1)]
    np.testing.assert_array_equal(*(each["image"] for each in decoded))


@pytest.mark.parametrize(
    ("variant", "fields", "expected"),
    [
        ("bigan,smoke", {"model__prior__name": "cauchy"}, "'cauchy'; choose among normal, uniform"),
        ("bigan,smoke", {"model__encoder__kind": "dense"}, "takes batch_norm, slope, widths"),
        ("bigan,smoke", {"model__generator__kind": "mlp"}, "choose among dense, convolutional"),
        ("ali,smoke_grid", {"model__encoder__kind": "convolutional"}, "has points, but .*images"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(variant, fields, expected):
    with pytest.raises(ValueError, match=expected):
        method(variant, **fields)


def test_labels_and_latents_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="class_conditional is False: give none"):
        method().sample(variables(), jax.random.key(0), 2, np.zeros(2, np.int32))
    with pytest.raises(ValueError, match=r"shape \[2, 9\]; give \[N, 4\]"):
        method().check_latents(np.zeros((2, 9)))
