"""The top-down VAE: its divergences are right, and encoder and decoder fit at every depth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from gm_jax.distributions import gaussian_log_prob
from gm_jax.networks.hierarchical_vae import Evidence
from gm_jax.networks.top_down_vae import Decoder, Encoder, LatentLayer, draw
from gm_jax.nn.weight_norm import data_dependent_init
from tests.support import jacobian_log_det, noise_of

SHAPE, KEY = (8, 4, 2), jax.random.key(0)
NOISE = noise_of(KEY, 6)
X = jax.random.normal(jax.random.key(1), (6, *SHAPE))


def networks(shape=SHAPE, widths=(4, 6, 8), flow=False, residual_scale=0.0, num_latents=2):
    shared = {
        "widths": widths,
        "top_latents": 3,
        "num_latents": num_latents,
        "flow": flow,
        "residual_scale": residual_scale,
        "head_init_scale": 0.5,
        "num_classes": None,
    }
    decoder = Decoder(shape, flow_layers=2, flow_scale=0.5, init_log_std=-1.0, **shared)
    return Encoder(**shared), decoder


def initialize(encoder, decoder, x):
    evidences, encoder_variables = data_dependent_init(encoder, KEY, x)
    decoding, variables = data_dependent_init(decoder, KEY, evidences, noise_of(KEY, len(x)))
    return evidences, encoder_variables, decoding, variables


@functools.cache
def built():
    """(evidences of X, the decoder compiled, its variables)."""
    encoder, decoder = networks()
    evidences, _, _, variables = jax.jit(lambda: initialize(encoder, decoder, X))()
    return evidences, jax.jit(decoder.apply), variables


def closed_form(mean, log_std, prior_mean, prior_log_std):
    ratio = np.exp(2 * (log_std - prior_log_std))
    distance = (mean - prior_mean) ** 2 * np.exp(-2 * prior_log_std)
    return 0.5 * (ratio + distance - 1) - (log_std - prior_log_std)


def test_the_one_sample_divergence_averages_to_the_closed_form():
    mean, log_std, prior_mean, prior_log_std = 0.5 * jax.random.normal(KEY, (4, 3, 2, 5))
    noise = jax.random.normal(jax.random.key(2), (40_000, 3, 2, 5))
    z, kl = draw(noise, (prior_mean, prior_log_std), (mean, log_std), None)
    expected = closed_form(mean, log_std, prior_mean, prior_log_std).sum()
    assert abs(kl.mean() - expected) < 4 * kl.std() / 200
    np.testing.assert_allclose(z.std(0), np.exp(log_std), rtol=0.03)


def test_at_the_top_the_prior_is_standard_normal():
    evidences, decode, variables = built()
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], (2048, *leaf.shape[1:])), evidences)
    kl = decode(variables, many, noise_of(KEY, 2048)).kl[:, 0]
    expected = closed_form(evidences[0].mean[0], evidences[0].log_std[0], 0, 0).sum()
    assert abs(kl.mean() - expected) < 4 * kl.std() / np.sqrt(2048)


@pytest.mark.parametrize("flow", [False, True])
def test_the_divergence_of_a_layer_is_that_of_its_map_of_the_noise(flow):
    """log q(z) = log N(ε) − log|det ∂z/∂ε|, with the determinant of the autodiff Jacobian."""
    layer = LatentLayer(2, flow, 2, 0.5, 0.5, None, jnp.float32)
    h, noise = jax.random.normal(KEY, (1, 2, 4, 4)), jax.random.normal(KEY, (3, 1, 2, 4, 2))
    evidence = Evidence(0.3 * noise[1], 0.3 * noise[2], 0.3 * h[..., : 4 * flow])
    arguments = (h, noise[0], evidence, None, None)
    _, variables = jax.jit(lambda: data_dependent_init(layer, KEY, *arguments))()
    apply = jax.jit(lambda noise, evidence: layer.apply(variables, h, noise, evidence, None, None))
    _, z, kl = apply(noise[0], evidence)
    log_det = jacobian_log_det(lambda noise: apply(noise, evidence)[1], noise[0])
    mean = apply(jnp.zeros_like(z), None)[1]  # of the prior
    log_std = jnp.log(apply(jnp.ones_like(z), None)[1] - mean)
    log_q = gaussian_log_prob(noise[0], 0.0, 0.0).sum() - log_det
    expected = log_q - gaussian_log_prob(z, mean, log_std).sum()
    np.testing.assert_allclose(kl, [expected], rtol=1e-4, atol=1e-4)


def test_temperature_zero_gives_the_means_of_the_priors():
    """Without what the top says, latents below it are an affine function of the temperature."""
    _, decode, variables = built()
    params = dict(variables["params"])
    top = params["WeightNormConv_0"]
    params["WeightNormConv_0"] = {**top, "g": jnp.zeros_like(top["g"])}
    drawn = [
        decode({"params": params}, None, NOISE, None, None, temperature).latents
        for temperature in (0.0, 0.5, 1.0)
    ]
    for level in (0, 1):
        np.testing.assert_allclose(
            drawn[1][level], (drawn[0][level] + drawn[2][level]) / 2, atol=1e-5
        )
    np.testing.assert_array_equal(drawn[0][0], 0)
    cold, other = (
        decode(variables, None, noise_of(jax.random.key(seed), 6), None, None, 0.0).mean
        for seed in (0, 9)
    )
    np.testing.assert_array_equal(cold, other)
    assert np.abs(drawn[2][1] - drawn[0][1]).max() > 0.1


def test_the_latents_returned_decode_to_the_same_mean():
    evidences, decode, variables = built()
    for given in (evidences, None):
        drawn = decode(variables, given, NOISE)
        again = decode(variables, None, None, None, drawn.latents)
        np.testing.assert_array_equal(again.mean, drawn.mean)
        np.testing.assert_array_equal(again.kl, 0)
    assert (drawn.kl == 0).all()


def test_without_evidence_the_same_parameters_serve():
    """Those of the posteriors apart, which have names of their own."""
    encoder, decoder = networks(flow=True, residual_scale=0.1)
    _, _, _, variables = jax.eval_shape(lambda: initialize(encoder, decoder, X))
    alone = jax.eval_shape(lambda: decoder.init(KEY, None, NOISE))
    flat, expected = (
        {path: leaf.shape for path, leaf in traverse_util.flatten_dict(tree).items()}
        for tree in (variables, alone)
    )
    extra = {path for path in flat if {"posterior", "flow_step"} & set(path)}
    assert {path: flat[path] for path in flat if path not in extra} == expected
    assert {path[1] for path in extra} == {"LatentLayer_0", "LatentLayer_1"}


@pytest.mark.parametrize("options", [{}, {"flow": True, "residual_scale": 0.1}], ids=str)
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_encoder_mirrors_the_decoder_at_any_depth(depth, options):
    shape = (16, 8, 3)
    encoder, decoder = networks(shape, (4, 6, 8, 10)[:depth], **options)
    x = jnp.zeros((5, *shape))
    evidences, _, decoding, _ = jax.eval_shape(lambda: initialize(encoder, decoder, x))
    maps = [(5, 16 >> level, 8 >> level, 2) for level in range(depth - 1)]
    expected = [(5, 1, 1, 3), *reversed(maps)]
    assert [evidence.mean.shape for evidence in evidences] == expected
    assert [z.shape for z in decoding.latents] == expected
    assert decoding.mean.shape == x.shape and decoding.kl.shape == (5, depth)


def test_without_latents_below_the_top_it_is_the_generator_of_a_gan():
    encoder, decoder = networks(num_latents=0)
    evidences, _, decoding, _ = jax.eval_shape(lambda: initialize(encoder, decoder, X))
    assert len(evidences) == len(decoding.latents) == 1 and decoding.kl.shape == (6, 1)


def test_sizes_that_do_not_halve_are_refused():
    _, decoder = networks((8, 6, 1))
    with pytest.raises(ValueError, match=r"8×6 pixels do not fit 3 widths.*multiples of 4"):
        jax.eval_shape(lambda: decoder.init(KEY, None, NOISE))
