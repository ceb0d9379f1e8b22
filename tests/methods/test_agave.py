"""AGAVE: the objective is Eq. 3.13, the report Eq. 3.6, sampling ancestral."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax import methods
from gm_jax.distributions import scale_to_unit
from gm_jax.state import evaluation_variables
from tests.support import LEVELS, SHAPE, images, smoke_config, smoke_method, smoke_state

KEY = jax.random.key(0)
BATCH = {"image": images(16, seed=1)}


@functools.cache
def step():
    return jax.jit(smoke_method().train_step)


@functools.cache
def variables():
    return evaluation_variables(smoke_state())


@functools.cache
def score():
    return jax.jit(smoke_method().log_likelihood)


def test_the_terms_sum_to_the_loss():
    _, terms = step()(smoke_state(), BATCH, KEY)
    parts = ("autoregressive", "auxiliary", "regularization")
    np.testing.assert_allclose(sum(terms[name] for name in parts), terms["loss"], rtol=1e-6)


def test_lambda_weighs_the_divergence():
    variables = {name: {"params": tree} for name, tree in smoke_state().params.items()}

    def terms(kl_weight):
        config = smoke_config(free_bits=0.0, kl_weight=kl_weight)
        method = methods.create(config, SHAPE, LEVELS, None)
        return jax.jit(method._loss, static_argnums=3)(variables, BATCH, KEY, None)[1][0]

    light, heavy = terms(2.0), terms(5.0)
    np.testing.assert_allclose(light["regularization"], 2 * light["kl"], rtol=1e-6)
    np.testing.assert_allclose(heavy["regularization"], 5 * light["kl"], rtol=1e-6)
    np.testing.assert_allclose(heavy["autoregressive"], light["autoregressive"], rtol=1e-6)


def test_every_network_moves_and_the_average_follows():
    before = smoke_state()
    after, _ = step()(before, BATCH, KEY)
    for name in before.params:
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before.params[name],
                             after.params[name])  # fmt: skip
        assert max(jax.tree.leaves(moved)) > 0, name
    expected = jax.tree.map(  # the decay of the first step is 1/10
        lambda old, new: 0.1 * old + 0.9 * new, before.ema_params, after.params
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.ema_params, expected
    )


def test_both_decoders_train_the_encoder():
    """The condition stream starts at zero, so one step later the autoregressive term reaches z."""
    method, (state, _) = smoke_method(), step()(smoke_state(), BATCH, KEY)
    others = {name: {"params": tree} for name, tree in state.params.items()}

    def term(name, vae):
        _, (terms, _) = method._loss({**others, "vae": {"params": vae}}, BATCH, KEY, None)
        return terms[name]

    for name in ("autoregressive", "auxiliary"):
        gradient = jax.jit(jax.grad(functools.partial(term, name)))(state.params["vae"])
        assert np.abs(gradient["stem"]["v"]).max() > 0, name


def test_the_reported_bound_has_weight_one_and_no_auxiliary_term():
    terms = score()(variables(), BATCH, KEY)
    total = terms["autoregressive"] - terms["kl"]
    np.testing.assert_allclose(terms["log_likelihood"], total, rtol=1e-6)
    assert all(term.shape == (16,) for term in terms.values())


def test_an_image_scores_the_same_in_any_batch():
    whole = score()(variables(), {**BATCH, "index": np.arange(16, dtype=np.int32)}, KEY)
    order = np.roll(np.arange(16, dtype=np.int32), 5)
    rolled = score()(variables(), {"image": BATCH["image"][order], "index": order}, KEY)
    for name in whole:
        np.testing.assert_allclose(rolled[name], whole[name][order], rtol=1e-5)


def test_the_conditional_density_sums_to_one():
    """Over all 3^4 images of 2×2 pixels and 3 levels, given one f(z)."""
    config = smoke_config().copy_and_resolve_references().unlock()
    config.model.pixelcnn.num_scales = 1
    method = methods.create(config, (2, 2, 1), 3, None)
    every = np.stack(np.meshgrid(*[np.arange(3)] * 4), -1).reshape(-1, 2, 2, 1).astype(np.uint8)
    state = jax.jit(method.init)(KEY, {"image": every[:16]})
    variables = {name: {"params": params} for name, params in state.params.items()}
    x = scale_to_unit(every, 3)
    f_z = jnp.broadcast_to(jnp.array([[0.3, -1.0], [1.0, 0.1]]).reshape(1, 2, 2, 1), x.shape)
    log_prob = jax.jit(method._autoregressive_log_prob, static_argnums=4)(
        variables, x, f_z, jnp.arange(81), None
    )
    np.testing.assert_allclose(np.exp(log_prob).sum(), 1, atol=1e-4)


def test_a_sample_is_the_same_in_any_batch_and_differs_between_places():
    draw = jax.jit(lambda index: smoke_method().sample(variables(), KEY, 4, index=index))
    first, shifted = draw(jnp.arange(4)), draw(jnp.arange(2, 6))
    for name in ("image", "f_z"):
        assert first[name].shape == (4, *SHAPE) and first[name].dtype == jnp.uint8
        np.testing.assert_array_equal(first[name][2:], shifted[name][:2])
    assert (first["image"][0] != first["image"][1]).any() and first["image"].max() < LEVELS


def test_reconstructions_come_from_the_encoded_latents():
    method = smoke_method()
    reconstruct = jax.jit(method.reconstruct, static_argnums=3)(variables(), BATCH, KEY, 2)
    latent_key, pixel_key = jax.random.split(KEY)
    latents = jax.jit(method.encode)(variables(), BATCH, latent_key)
    for draw, name in enumerate(("image", "image_2")):
        key = jax.random.split(pixel_key, 2)[draw]
        decoded = jax.jit(method.decode)(variables(), latents, key, jnp.arange(16))
        np.testing.assert_array_equal(decoded["f_z"], reconstruct["f_z"])
        np.testing.assert_array_equal(decoded["image"], reconstruct[name])
    assert (reconstruct["image"] != reconstruct["image_2"]).any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"kl_weight = -1.*λ"):
        methods.create(smoke_config(kl_weight=-1.0), SHAPE, LEVELS, None)
    with pytest.raises(ValueError, match="2 channels"):
        methods.create(smoke_config(), (8, 8, 2), LEVELS, None)
    with pytest.raises(ValueError, match="labels"):
        smoke_method().sample({}, KEY, 1, labels=jnp.zeros(1))
