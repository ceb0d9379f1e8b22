"""PixelVAE and the lossy VAE: their bound, their priors, their levels of latents."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import pixel_vae
from gm_jax import methods
from gm_jax.data import image_spec
from gm_jax.distributions import gaussian_kl, scale_to_unit
from gm_jax.flows.transform import Context
from gm_jax.losses import soft_free_bits
from gm_jax.networks.vae import Posterior
from tests.support import SPEC, images, noise_of, random_variables

KEY = jax.random.key(3)
BATCH = {"image": images(4, seed=2), "index": np.arange(4, dtype=np.int32)}
NOISE = noise_of(KEY, 4)
TWO_LEVELS = ("map_latents", (2,))


@functools.cache
def method(*fields, spec=None):
    """The smoke variant with some fields of the model changed."""
    config = pixel_vae.get_config("smoke").unlock()
    config.model.update_from_flattened_dict(dict(fields))
    return methods.create(config.lock(), image_spec(*spec) if spec else SPEC)


@functools.cache
def variables(chosen):
    return random_variables(chosen, BATCH)


@pytest.mark.parametrize("window", [(), (1, 3)])
def test_the_density_given_latents_sums_to_one(window):
    """Over all 3^4 images of 2×2 pixels and 3 levels."""
    tiny = (("window", window), ("vae.widths", (4,)), ("map_latents", ()))
    chosen = method(*tiny, spec=((2, 2, 1), 3))
    every = np.stack(np.meshgrid(*[np.arange(3)] * 4), -1).reshape(-1, 2, 2, 1).astype(np.uint8)
    made = random_variables(chosen, {"image": every})
    log_prob = jax.jit(chosen.autoregressive_log_prob, static_argnums=4)
    x, noise = scale_to_unit(every, 3), noise_of(KEY, 81)
    f_z = np.broadcast_to(np.random.default_rng(0).normal(size=(1, 2, 2, 4)), (81, 2, 2, 4))
    logs, others = (log_prob(made, x, f, noise, False) for f in (f_z, -f_z))
    np.testing.assert_allclose(np.exp(logs).sum(), 1, atol=1e-4)
    assert np.abs(logs - others).max() > 1e-3  # f(z) is seen


def test_the_kl_of_draws_is_that_in_closed_form():
    chosen = method(("prior.length", 0))
    made, x = variables(chosen), chosen.scale(BATCH["image"])
    keys = jax.random.split(KEY, 2_000)

    @jax.jit
    def run():
        mean, log_std, _ = chosen.encoder.apply({"params": made["encoder"]["params"]}, x)[0]
        drawn = jax.vmap(lambda key: chosen.encoded(made, x, NOISE.replace(key=key)).kl[:, 0])(keys)
        return drawn, jnp.sum(gaussian_kl(mean, log_std, 0.0, 0.0), (1, 2, 3))

    drawn, exact = run()
    error = drawn.std(0) / np.sqrt(len(keys))
    assert (np.abs(drawn.mean(0) - exact) < 5 * error).all()


def test_an_autoregressive_prior_is_an_inverse_autoregressive_posterior():
    """Chen et al., section 3.2: the same bound, for each draw; its samples follow it."""
    chosen, plain = method(), method(("prior.length", 0))
    made, x = variables(chosen), chosen.scale(BATCH["image"])

    def flow(z):
        arguments = (made["prior"], z[:, 0, 0], Context(False))
        return chosen.prior.apply(*arguments, method="forward_and_log_det")

    @jax.jit
    def run():
        mean, log_std, _ = chosen.encoder.apply({"params": made["encoder"]["params"]}, x)[0]
        sketch = chosen.encoded(made, x, NOISE)
        z = sketch.latents[0]
        of_flow = Posterior(mean[:, 0, 0], log_std[:, 0, 0], z[:, 0, 0], *flow(z)).sampled_kl()
        drawn, start = (each.sketch(made, NOISE, None).latents[0] for each in (chosen, plain))
        return sketch.kl[:, 0], of_flow, drawn, flow(drawn)[0], start[:, 0, 0]

    kl, of_flow, drawn, back, start = run()
    np.testing.assert_allclose(kl, of_flow, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(back, start, atol=1e-4)
    assert np.abs(drawn[:, 0, 0] - start).max() > 1e-2


def test_the_terms_are_warmed_up_weighted_and_floored():
    chosen = method(TWO_LEVELS)
    weights = jnp.array([0.5, 0.25])
    given = {**variables(chosen)}
    given["encoder"] = {**given["encoder"], soft_free_bits.COLLECTION: {"weight": weights}}
    loss = jax.jit(lambda step: chosen.loss(given, BATCH, NOISE, step)._asdict())
    for step, share in ((0, 0.5), (3, 1.0)):  # from kl_start on, in 3 steps
        found = loss(step)
        layers = np.stack([found["curves"][f"kl_{layer}"] for layer in range(2)], -1)
        expected = share * (layers @ weights)
        np.testing.assert_allclose(found["terms"]["regularization"], expected, rtol=1e-5)
        np.testing.assert_allclose(found["curves"]["kl"], layers.sum(-1), rtol=1e-5)
    after = found["statistics"]["encoder"][soft_free_bits.COLLECTION]["weight"]
    towards = np.where(layers.mean(0) > 0.5 * 1.05, 1.01, 1 / 1.01)
    np.testing.assert_allclose(after, weights * towards, rtol=1e-5)


def test_free_bits_are_a_floor_without_gradient():
    chosen = method(("free_bits", 1e4), ("soft_free_bits", 0.0), ("kl_annealing_steps", 0))
    made = variables(chosen)

    def regularization(encoder):
        loss = chosen.loss({**made, "encoder": encoder}, BATCH, NOISE, 0)
        return jnp.mean(loss.terms["regularization"])

    value, gradient = jax.jit(jax.value_and_grad(regularization))(made["encoder"])
    assert value == 1e4 and all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


def test_what_is_kept_stays_and_what_lies_below_is_drawn_anew():
    chosen = method(TWO_LEVELS)
    made, other = variables(chosen), NOISE.replace(key=jax.random.key(9))

    @jax.jit
    def run():
        top, below = chosen.encode(made, BATCH, NOISE)
        draws = [chosen.sketch(made, noise, [top, None]) for noise in (NOISE, other)]
        everything = chosen.sketch(made, other, [None, None]), chosen.sketch(made, other, None)
        return top, below, draws, everything

    top, below, draws, (listed, plain) = run()
    assert top.shape == (4, 1, 1, 3) and below.shape == (4, 8, 8, 2)
    for draw in draws:
        np.testing.assert_array_equal(draw.latents[0], top)
    assert np.abs(draws[0].latents[1] - draws[1].latents[1]).max() > 1e-2
    np.testing.assert_array_equal(listed.mean, plain.mean)
    with pytest.raises(ValueError, match="level is 3; give 0 to 2"):
        jax.eval_shape(lambda: chosen.resample(made, BATCH, NOISE, 3))


def test_given_latents_are_kept_below_a_vector_that_is_drawn():
    chosen = method(TWO_LEVELS)
    below = chosen.encode(variables(chosen), BATCH, NOISE)[1]
    sketch = chosen.sketch(variables(chosen), NOISE, [None, below])
    np.testing.assert_array_equal(sketch.latents[1], below)
