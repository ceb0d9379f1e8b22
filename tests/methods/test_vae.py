"""The VAE: its bound, its KL in closed form, and posteriors with and without a flow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import vae
from gm_jax import methods
from gm_jax.data import image_spec
from gm_jax.distributions import gaussian_log_prob
from gm_jax.evaluation.likelihood import stream_importance_weights
from gm_jax.networks.decoder_distributions import LIKELIHOODS
from tests.support import LEVELS, SPEC, images, noise_of, random_variables

KEY = jax.random.key(3)
BATCH = {"image": images(4, seed=2), "index": np.arange(4, dtype=np.int32)}
NOISE = noise_of(KEY, 4)
BINARY = {"image": images(4, seed=2, levels=2)}


@functools.cache
def method(posterior="gaussian", spec_levels=LEVELS, **model):
    config = vae.get_config(f"{posterior},smoke").unlock()
    config.model.update_from_flattened_dict(model)
    return methods.create(config.lock(), image_spec((8, 8, 1), spec_levels))


@functools.cache
def in_the_plane(posterior):
    """With two latents, over which an integral is a sum over a grid, and dense networks."""
    config = vae.get_config(f"{posterior},smoke").unlock()
    config.model.num_latents = 2
    config.model.network = {"kind": "dense", "widths": (8,)}
    return methods.create(config.lock(), SPEC)


@functools.cache
def variables(chosen):
    return random_variables(chosen, BATCH)


def started(chosen):
    """Variables before training: flows are the identity."""
    return jax.jit(chosen.init_networks)(KEY, BATCH, NOISE)


@functools.cache
def score(chosen):
    return jax.jit(chosen.log_likelihood)


def of_many_draws(function, count):
    """A function of a noise at many draws, [count, ...]."""
    keys = jax.random.split(jax.random.key(8), count)
    return jax.jit(jax.vmap(lambda key: function(NOISE.replace(key=key))))(keys)


def test_the_kl_in_closed_form_is_the_mean_of_draws():
    """Within four standard errors; the regularization of a Gaussian posterior is the former."""
    chosen = method()
    wanted = jax.jit(chosen.loss)(variables(chosen), BATCH, NOISE, 3)
    draws = of_many_draws(
        lambda noise: chosen.log_likelihood(variables(chosen), BATCH, noise)["kl"], 4000
    )
    error = draws.std(0) / np.sqrt(4000)
    assert (abs(wanted.terms["regularization"] - draws.mean(0)) < 4 * error).all()
    assert (error < 0.05 * draws.mean(0)).all() and (wanted.terms["regularization"] > 0.5).all()


@pytest.mark.parametrize("posterior", ["planar", "radial", "iaf"])
def test_a_flow_of_length_0_is_the_gaussian_posterior(posterior):
    gaussian, none = method(), method(posterior, **{"flow.length": 0})
    given = variables(gaussian)
    for ours, theirs in zip(
        jax.jit(none.loss)(given, BATCH, NOISE, 3)[:2],
        jax.jit(gaussian.loss)(given, BATCH, NOISE, 3)[:2],
        strict=True,
    ):
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize("posterior", ["planar", "radial", "iaf"])
def test_before_training_a_flow_leaves_the_gaussian_bound(posterior):
    flow = method(posterior)
    given = started(flow)
    body = {name: tree for name, tree in given["encoder"]["params"].items() if name != "flow"}
    plain = {**given, "encoder": {"params": body}}
    ours, theirs = score(flow)(given, BATCH, NOISE), score(method())(plain, BATCH, NOISE)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-4)
    moved = score(flow)(variables(flow), BATCH, NOISE)
    assert abs(moved["log_likelihood"] - ours["log_likelihood"]).min() > 0.1


@pytest.mark.parametrize("posterior", ["gaussian", "planar", "iaf"])
def test_many_draws_find_the_likelihood_and_one_bounds_it(posterior):
    """ln p(x) = ln ∫ p(x, z) dz by a sum over the plane; the KL in closed form would not do."""
    chosen = in_the_plane(posterior)
    given, width = jax.tree.map(lambda leaf: 0.6 * leaf, variables(chosen)), 0.1
    steps = np.arange(-6, 6, width, np.float32)
    plane = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    prior = gaussian_log_prob(plane, 0.0, 0.0).sum(1)

    def joint(latents):
        z = jnp.broadcast_to(latents, (4, 2))
        return chosen.conditional_log_prob(given, BATCH, z, NOISE)

    joints = jax.jit(jax.vmap(joint))(plane) + prior[:, None]
    exact = jax.nn.logsumexp(joints, 0) + 2 * np.log(width)
    weights = functools.partial(stream_importance_weights, chosen.log_likelihood)
    sums = jax.jit(weights)(given, BATCH, (KEY, jnp.int32(20_000)))
    np.testing.assert_allclose(sums["largest"] + sums["log_mean"], exact, atol=0.1)
    assert (sums["anchor"] + sums["mean_above_anchor"] < exact).all()


def test_annealing_weighs_the_kl_alone_and_leaves_the_reported_bound():
    """From kl_start = .5 at step 0 to 1 at step 3."""
    chosen = method("planar")
    loss = jax.jit(chosen.loss)
    steps = [loss(variables(chosen), BATCH, NOISE, step) for step in (0, 1, 3, 9)]
    ratios = [wanted.terms["regularization"] / wanted.curves["kl"] for wanted in steps]
    expected = np.array([[1 / 2], [2 / 3], [1], [1]])
    np.testing.assert_allclose(ratios, np.broadcast_to(expected, (4, 4)), rtol=1e-5)
    bound = score(chosen)(variables(chosen), BATCH, NOISE)
    for wanted in steps:
        bits = -bound["log_likelihood"].mean() / (64 * np.log(2))
        np.testing.assert_allclose(wanted.curves["bits_per_dim"], bits, rtol=1e-5)
        np.testing.assert_allclose(wanted.terms["reconstruction"], -bound["reconstruction"], 1e-5)
    whole = method("planar", kl_annealing_steps=0)
    assert whole.kl_weight(0) == 1.0


def test_a_bernoulli_decoder_gives_the_two_levels_all_probability():
    """σ(logit) of a white pixel; and draws have these frequencies."""
    chosen = method(spec_levels=2, likelihood="bernoulli")
    given, z = variables(chosen), NOISE.normal(4)
    logits, _ = chosen.decoder.apply(given["decoder"], z)
    both = [
        chosen.conditional_log_prob(given, {"image": np.full((4, 8, 8, 1), v, np.uint8)}, z, NOISE)
        for v in (0, 1)
    ]
    expected = [jax.nn.log_sigmoid(sign * logits).sum((1, 2, 3)) for sign in (-1, 1)]
    np.testing.assert_allclose(both, expected, rtol=1e-5)
    drawn = of_many_draws(lambda noise: chosen.decode(given, z, noise)["image"], 2000)
    np.testing.assert_allclose(drawn.mean(0), jax.nn.sigmoid(logits), atol=0.06)
    means = chosen.generate(given, z)
    np.testing.assert_allclose((means + 1) / 2, jax.nn.sigmoid(logits), atol=1e-5)


def test_reconstructions_come_from_the_latents_at_the_end_of_the_flow():
    chosen = method("planar")
    drawn = jax.jit(chosen.reconstruct)(variables(chosen), BATCH, NOISE)
    latent_noise, pixel_noise = NOISE.split()
    z = jax.jit(chosen.encode)(variables(chosen), BATCH, latent_noise)
    decoded = jax.jit(chosen.decode)(variables(chosen), z, pixel_noise.split(1)[0])
    for name in decoded:
        np.testing.assert_array_equal(decoded[name], drawn[name])
    plain = {"encoder": {"params": dict(variables(chosen)["encoder"]["params"])}}
    del plain["encoder"]["params"]["flow"]
    before = jax.jit(method().encode)(plain, BATCH, latent_noise)
    assert (abs(z - before) > 1e-3).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"likelihood": "bernoulli"}, r"17 levels: give data.source=binary:digits, or model.lik"),
        ({"likelihood": "poisson"}, "choose among bernoulli, discretized_logistic"),
        ({"estimator": "wake_sleep"}, "choose among reparametrisation, score_function"),
        ({"estimator": "score_function", "flow.length": 1}, r"set model.flow.length=0"),
        ({"flow.kind": "iaf", "flow.length": 1}, "give the widths of its hidden layers"),
        ({"network.kind": "dense"}, "'dense', without widths; configs/vae.py has variants"),
        ({"network.kind": "linear"}, "choose among dense, convolutional"),
        ({"network.layers": ((4, 3),)}, r"8×8 pixels: the strides .* multiples of 3"),
    ],
)
def test_what_does_not_fit_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        method(**model)


@pytest.mark.parametrize("name", [name for name in LIKELIHOODS if name != "bernoulli"])
def test_every_likelihood_bounds_draws_and_differentiates(name):
    chosen = method(likelihood=name)
    given = started(chosen)

    @jax.jit
    def whole(given):
        scores = chosen.log_likelihood(given, BATCH, NOISE)
        terms = chosen.loss(given, BATCH, NOISE, 0).terms
        return scores, terms, chosen.draw(given, NOISE, None, 1.0)

    scores, terms, drawn = whole(given)
    np.testing.assert_array_less(scores["log_likelihood"], 0)
    np.testing.assert_allclose(terms["reconstruction"], -scores["reconstruction"], rtol=1e-5)
    assert drawn["image"].max() < LEVELS and len(np.unique(drawn["image"])) > 2
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(whole(v)[1]["reconstruction"])))(given)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert np.abs(gradient["encoder"]["params"]["Dense_0"]["bias"]).max() > 0


def test_both_estimators_have_the_gradient_of_the_bound_in_the_mean():
    """By the bias of µ, over draws: the difference of the means lies within four deviations."""
    draws = {}
    for estimator in ("reparametrisation", "score_function"):
        chosen = method(estimator=estimator)
        given = started(chosen)

        def gradient(key, chosen=chosen, given=given):
            def loss(bias):
                params = given["encoder"]["params"]
                last = {**params["Dense_0"], "bias": bias}
                moved = {**given, "encoder": {"params": {**params, "Dense_0": last}}}
                terms = chosen.loss(moved, BATCH, NOISE.replace(key=key), 0).terms
                return sum(jnp.sum(term) for term in terms.values())

            return jax.grad(loss)(given["encoder"]["params"]["Dense_0"]["bias"])

        keys = jax.random.split(jax.random.key(4), 4_000)
        draws[estimator] = np.asarray(jax.jit(jax.vmap(gradient))(keys), np.float64)
    means = {name: each.mean(0) for name, each in draws.items()}
    errors = {name: each.std(0) / np.sqrt(len(each)) for name, each in draws.items()}
    apart = means["reparametrisation"] - means["score_function"]
    assert (np.abs(apart) < 4 * np.hypot(*errors.values())).all()
    assert (errors["score_function"] > errors["reparametrisation"]).all()
    assert (np.abs(means["reparametrisation"]) > 8 * errors["score_function"]).any()


def test_an_average_is_kept_where_the_config_asks_for_one():
    for decay in (0.0, 0.9):
        chosen = method(ema_decay=decay)
        state = jax.eval_shape(chosen.init, jax.random.key(0), {"image": images(4)})
        expected = state.params if decay else {}
        assert jax.tree.structure(state.ema_params) == jax.tree.structure(expected)
