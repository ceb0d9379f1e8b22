"""The adversarial auto-encoder: its three losses by hand, and codes that come to fit the prior."""

import functools

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from configs import adversarial_autoencoder
from gm_jax import methods
from tests.support import SPEC, images, noise_of, random_variables

BATCH = {"image": images(8, seed=1), "index": np.arange(8, dtype=np.int32)}
NOISE = noise_of(jax.random.key(0), 8)
close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


def create(variant, **fields):
    config = adversarial_autoencoder.get_config(f"{variant},smoke").unlock()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return methods.create(config.lock(), SPEC)


@functools.cache
def method():
    return create("gaussian")


@functools.cache
def variables():
    return random_variables(method(), BATCH)


def test_a_step_rebuilds_then_judges_codes_then_moves_them():
    players = [(player.name, player.networks) for player in method().players]
    assert players == [
        ("reconstruction", ("encoder", "generator")),
        ("code_discriminator", ("code_discriminator",)),
        ("regularization", ("encoder",)),
    ]


def test_the_losses_are_those_of_the_three_phases():
    model, given = method(), variables()
    x = model.real(BATCH, NOISE)
    codes, _ = model.encode_in_training(given, x)
    again, _ = model.generate_in_training(given, codes)
    found = model.reconstruction_loss(given, BATCH, NOISE, 0).terms["squared_error"]
    close(found, np.square(x - again).mean((1, 2, 3)) / 2)
    found = model.regularization_loss(given, BATCH, NOISE, 0).terms["adversarial"]
    close(found, np.logaddexp(0, -model.judged_code(given, codes)))
    pixels, latents = NOISE.split()
    codes, _ = model.encode_in_training(given, model.real(BATCH, pixels))
    made, prior = (model.judged_code(given, z) for z in (codes, 5 * latents.normal(8)))
    found = model.code_discriminator_loss(given, BATCH, NOISE, 0).terms["cross_entropy"]
    close(found, np.logaddexp(0, -prior) + np.logaddexp(0, made))


UNMOVED = {
    "reconstruction": {"code_discriminator"},
    "code_discriminator": {"generator"},
    "regularization": {"generator"},
}


@pytest.mark.parametrize("player", UNMOVED)
def test_a_loss_has_no_gradient_in_the_networks_that_it_does_not_see(player):
    """No pixel reaches the judge of codes, and no judgement of codes the generator."""

    def loss(params):
        given = {name: {"params": tree} for name, tree in params.items()}
        terms = getattr(method(), f"{player}_loss")(given, BATCH, NOISE, 0).terms
        return sum(term.mean() for term in terms.values())

    params = {name: collections["params"] for name, collections in variables().items()}
    gradients = jax.jit(jax.grad(loss))(params)
    zero = {name for name, tree in gradients.items() if not any(map(np.any, jax.tree.leaves(tree)))}
    assert zero == UNMOVED[player]


def squared_mmd(a, b):
    """‖E k(a, ·) − E k(b, ·)‖² of the kernel exp(−‖a − b‖²/2), 0 if a and b are of one law."""

    def kernel(a, b):
        return np.exp(-np.square(a[:, None] - b).sum(-1) / 2).mean()

    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)


@pytest.mark.parametrize("prior", ["gaussian", "mixture", "swiss_roll"])
def test_codes_of_digits_come_to_fit_the_prior(prior):
    """Their maximum mean discrepancy falls to less than a third, in 500 small steps."""
    digits = load_digits().images.astype(np.uint8)[..., None]
    wide = {f"model__{name}__widths": (64, 64) for name in ("encoder", "code_discriminator")}
    fields = {"model__num_latents": 2, "model__prior__scale": 2.0, **wide}
    rates = dict.fromkeys(adversarial_autoencoder.PLAYERS, 1e-3)
    fields |= {f"optimizer__learning_rate__{name}": rate for name, rate in rates.items()}
    model = create(prior, **fields)
    latents = np.asarray(model.sample_latents({}, noise_of(jax.random.key(2), 512)))
    everything = {"image": digits[:512], "index": np.arange(512, dtype=np.int32)}

    def discrepancy(state):
        given = {name: {"params": tree} for name, tree in state.params.items()}
        codes = model.encode(given, everything, noise_of(jax.random.key(3), 512))
        return squared_mmd(np.asarray(codes), latents)

    state = model.init(jax.random.key(0), everything)
    before, step = discrepancy(state), jax.jit(model.train_step)
    draws = np.random.default_rng(0).integers(0, len(digits), (500, 128))
    for rows in draws:
        state, _ = step(state, {"image": digits[rows]}, jax.random.key(1))
    assert discrepancy(state) < before / 3


def test_samples_are_of_the_prior():
    decoded = method().decode(variables(), 5 * NOISE.normal(8), NOISE)["image"]
    drawn = method().sample(variables(), jax.random.key(0), 8)["image"]
    np.testing.assert_array_equal(drawn, decoded)


@pytest.mark.parametrize(
    ("variant", "fields", "expected"),
    [
        ("mixture", {"model__num_latents": 3}, "num_latents is 3, and the prior .* give 4"),
        ("gaussian", {"model__prior__name": "laplace"}, "choose among normal, uniform, mixture"),
        ("gaussian", {"model__reconstruction__reduction": "max"}, "choose among sum, mean"),
        ("gaussian", {"model__encoder__kind": "deep"}, "choose among dense, convolutional"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(variant, fields, expected):
    with pytest.raises(ValueError, match=expected):
        create(variant, **fields)
