"""AGAVE: the objective is Eq. 3.13, the report Eq. 3.6, sampling ancestral."""

import functools

import chex
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
        return jax.jit(method._loss, static_argnums=3)(variables, BATCH, KEY, None, 0)[1][0]

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
        _, (terms, _) = method._loss({**others, "vae": {"params": vae}}, BATCH, KEY, None, 0)
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


@pytest.mark.parametrize("downsampling", [1, 2])
def test_the_conditional_density_sums_to_one(downsampling):
    """Over all 3^4 images of 2×2 pixels and 3 levels, given one f(z), of any size."""
    config = smoke_config().copy_and_resolve_references().unlock()
    config.model.pixelcnn.num_scales, config.model.auxiliary.downsampling = 1, downsampling
    method = methods.create(config, (2, 2, 1), 3, None)
    every = np.stack(np.meshgrid(*[np.arange(3)] * 4), -1).reshape(-1, 2, 2, 1).astype(np.uint8)
    state = jax.jit(method.init)(KEY, {"image": every[:16]})
    variables = {name: {"params": params} for name, params in state.params.items()}
    x = scale_to_unit(every, 3)
    f_z = jnp.array([[0.3, -1.0], [1.0, 0.1]])[None, ::downsampling, ::downsampling, None]
    f_z = jnp.broadcast_to(f_z, (81, *f_z.shape[1:]))
    condition = variables["condition"]["params"]  # awake, so that f(z) is seen
    variables["condition"] = {"params": jax.tree.map(lambda leaf: leaf + 0.1, condition)}
    log_prob = jax.jit(method._autoregressive_log_prob, static_argnums=4)(
        variables, x, f_z, jnp.arange(81), None
    )
    np.testing.assert_allclose(np.exp(log_prob).sum(), 1, atol=1e-4)


def test_latents_of_either_origin_are_decoded_and_scored_like_the_bound_and_the_samples():
    method, batch = smoke_method(), {"image": images(4)}

    @jax.jit
    def run(variables):
        latents = method.encode(variables, batch, KEY)
        given = method.conditional_log_prob(variables, batch, latents)
        bound = method.log_likelihood(variables, batch, KEY)["autoregressive"]
        latent_key, pixel_key = jax.random.split(KEY)
        latents = method.sample_latents(variables, latent_key, jnp.arange(4))
        decoded = method.decode(variables, latents, pixel_key, jnp.arange(4))
        return given, bound, decoded, method.sample(variables, KEY, 4)

    given, bound, decoded, sampled = run(variables())
    np.testing.assert_allclose(given, bound, rtol=1e-5)
    for name in ("f_z", "image"):
        np.testing.assert_array_equal(decoded[name], sampled[name])


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


AUXILIARIES = (
    {"downsampling": 1, "grayscale": False, "levels": 5},
    {"downsampling": 2, "grayscale": False, "levels": 0},
    {"downsampling": 4, "grayscale": True, "levels": 16},
)


@pytest.mark.parametrize("auxiliary", AUXILIARIES, ids=str)
def test_an_auxiliary_image_changes_the_auxiliary_term_alone(auxiliary):
    """Its sketch has its size and channels; the bound is of x, whatever y is."""
    shape = (8, 8, 3)
    method = methods.create(smoke_config(auxiliary=auxiliary), shape, LEVELS, None)
    batch = {"image": images(4, shape=shape)}

    @jax.jit
    def run():
        state = method.init(KEY, batch)
        variables = {name: {"params": params} for name, params in state.params.items()}
        latents = method.encode(variables, batch, KEY)
        f_z = method._sketch(variables, None, jnp.arange(4), latents).mean
        drawn = method.decode(variables, latents, KEY, jnp.arange(4))
        return method.log_likelihood(variables, batch, KEY), f_z, drawn, state.params["vae"]

    terms, f_z, drawn, vae = run()
    side, channels = 8 // auxiliary["downsampling"], 1 if auxiliary["grayscale"] else 3
    assert f_z.shape == (4, side, side, channels) and vae["log_scale"].shape == (channels,)
    y = method.auxiliary.of(batch["image"])
    expected = method.auxiliary.log_prob(y, f_z, vae["log_scale"])
    np.testing.assert_allclose(terms["auxiliary"], expected, rtol=1e-4)
    total = terms["autoregressive"] - terms["kl"]
    np.testing.assert_allclose(terms["log_likelihood"], total, rtol=1e-6)
    for name in ("image", "f_z"):
        assert drawn[name].shape == (4, *shape) and drawn[name].max() < LEVELS


@functools.cache
def dropping():
    """The step of the smoke method that drops the auxiliary term at step 1, compiled once."""
    method = methods.create(smoke_config(auxiliary_until_step=1), SHAPE, LEVELS, None)
    return jax.jit(chex.assert_max_traces(method.train_step, n=1))


def test_until_it_is_dropped_the_auxiliary_term_is_there():
    expected, terms = step()(smoke_state(), BATCH, KEY)
    actual, same_terms = dropping()(smoke_state(), BATCH, KEY)
    chex.assert_trees_all_close(actual.params, expected.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(same_terms, terms, rtol=1e-4)
    assert terms["auxiliary"] > 1


def test_without_the_auxiliary_term_the_objective_is_the_reported_bound():
    """Figure 3.7's control: Eq. 3.6 with weight 1 and no floor, and the log-scale of y rests."""
    state = smoke_state().replace(step=jnp.ones((), jnp.int32))
    after, terms = dropping()(state, BATCH, KEY)
    assert terms["auxiliary"] == 0
    np.testing.assert_allclose(terms["regularization"], terms["kl"], rtol=1e-6)
    np.testing.assert_allclose(terms["autoregressive"] + terms["kl"], terms["loss"], rtol=1e-6)
    before = state.params["vae"]["log_scale"]
    np.testing.assert_array_equal(after.params["vae"]["log_scale"], before)
    assert (after.params["vae"]["stem"]["v"] != state.params["vae"]["stem"]["v"]).any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"kl_weight = -1.*λ"):
        methods.create(smoke_config(kl_weight=-1.0), SHAPE, LEVELS, None)
    with pytest.raises(ValueError, match="2 channels"):
        methods.create(smoke_config(), (8, 8, 2), LEVELS, None)
    with pytest.raises(ValueError, match=r"auxiliary_until_step = -2"):
        methods.create(smoke_config(auxiliary_until_step=-2), SHAPE, LEVELS, None)
    with pytest.raises(ValueError, match=r"auxiliary.levels = 18: give 2 to 17"):
        coarse = {**AUXILIARIES[0], "levels": 18}
        methods.create(smoke_config(auxiliary=coarse), SHAPE, LEVELS, None)
    with pytest.raises(ValueError, match="labels"):
        smoke_method().sample({}, KEY, 1, labels=jnp.zeros(1))
