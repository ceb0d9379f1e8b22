"""The IAF-VAE: triangular flows and correct divergences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.distributions import gaussian_kl
from gm_jax.networks.hierarchical_vae import HierarchicalVAE
from gm_jax.networks.inverse_autoregressive_flow import InverseAutoregressiveFlow, raster_mask
from gm_jax.nn.weight_norm import WeightNormConv, data_dependent_init, num_parameters
from tests.support import noise_of

KEY = jax.random.key(0)


def make(**overrides):
    settings = {
        "channels": 1,
        "downsampling": 1,
        "num_scales": 2,
        "num_blocks": 1,
        "features": 8,
        "num_latents": 4,
        "kernel_size": 3,
        "stem_kernel_size": 3,
        "stem_stride": 2,
        "flow": True,
        "init_scale": 0.5,
        "flow_layers": 2,
        "flow_scale": 0.1,
        "flow_init_scale": 1.0,
        "residual_scale": 0.1,
        "init_exponent": 1 / 3,
        "kernel_std": 0.05,
        "levels": 17,
        "num_log_scales": 1,
        "init_log_scale": 0.0,
    }
    return HierarchicalVAE(**(settings | overrides))


@functools.cache
def flow():
    conv = functools.partial(WeightNormConv, exponential_gain=True)
    module = InverseAutoregressiveFlow(8, 3, 2, 0.1, 1.0, conv)
    z = jax.random.normal(KEY, (1, 3, 3, 2))
    context = jax.random.normal(jax.random.key(1), (1, 3, 3, 8))
    _, variables = jax.jit(lambda: data_dependent_init(module, KEY, z, context))()
    # Far from the identity, so that the test sees something.
    variables = jax.tree.map(lambda leaf: 2 * leaf, variables)
    return jax.jit(lambda z: module.apply(variables, z, context)), z


def test_log_det_of_the_flow_is_that_of_its_jacobian():
    apply, z = flow()
    jacobian = jax.jacobian(lambda z: apply(z)[0])(z).reshape(z.size, z.size)
    _, log_det = np.linalg.slogdet(np.asarray(jacobian, np.float64))
    np.testing.assert_allclose(-apply(z)[1].sum(), log_det, rtol=1e-4)
    assert abs(log_det) > 0.1


def test_the_flow_is_triangular_in_reverse_raster_order():
    apply, z = flow()
    jacobian = np.asarray(jax.jacobian(lambda z: apply(z)[1])(z).reshape(z.size, z.size))
    position = np.arange(z.size) // 2
    channel = np.arange(z.size) % 2
    # A latent sees positions after its own, and channels before its own at its position.
    allowed = (position[None] > position[:, None]) | (
        (position[None] == position[:, None]) & (channel[None] < channel[:, None])
    )
    assert (jacobian[~allowed] == 0).all()
    assert (jacobian[allowed] != 0).any()


def test_a_mask_that_the_channels_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"6 to 4 channels.*multiple"):
        raster_mask(3, 6, 4, zero_diagonal=True)


@functools.cache
def initialised(flow=False):
    net = make(flow=flow)
    x = jax.random.uniform(KEY, (4, 8, 8, 1), minval=-1)
    _, variables = jax.jit(lambda: data_dependent_init(net, KEY, x, noise_of(KEY, 4)))()
    return net, variables, x


def test_without_flow_the_divergence_of_the_top_layer_is_its_monte_carlo_value():
    net, variables, x = initialised()
    count = 4_000
    image = jnp.broadcast_to(x[:1], (count, 8, 8, 1))
    draw = jax.jit(lambda: net.apply(variables, image, noise_of(KEY, count)))
    estimate = np.asarray(draw().kl[:, 0].sum(-1))

    def closed_form(module):
        evidence = module.encode(x[:1])[-1]
        block = module.blocks[-1]
        h = jnp.broadcast_to(module.top, (1, 2, 2, 8))
        parts = jnp.split(block.down_in(jax.nn.elu(h)), [4, 8, 12, 16, 24], -1)
        posterior = parts[2] + evidence.mean, parts[3] + evidence.log_std
        return gaussian_kl(*posterior, parts[0], parts[1]).sum()

    exact = float(jax.jit(lambda: net.apply(variables, method=closed_form))())
    error = estimate.std() / np.sqrt(count)
    assert abs(estimate.mean() - exact) < 4 * error < 0.2 * exact


def test_with_flow_the_divergence_of_one_latent_is_its_integral():
    """The flow of one latent is affine: z' is Gaussian, whatever the flow calls its density."""
    net = make(flow=True, num_scales=1, num_latents=1, features=4, init_exponent=0.0)
    images = jax.random.uniform(KEY, (4, 2, 2, 1), minval=-1)
    variables = jax.jit(lambda: net.init(KEY, images, noise_of(KEY, 4)))()
    awake = jax.random.normal(jax.random.key(2), (4,))
    variables["params"]["top"] = awake
    for head in ("WeightNormConv_2", "WeightNormConv_3"):
        variables["params"]["blocks_0"]["posterior_flow"][head]["b"] = 4 * awake[:1]
    count = 20_000
    image = jnp.broadcast_to(images[:1], (count, 2, 2, 1))
    draw = jax.jit(net.apply)(variables, image, noise_of(KEY, count))

    def prior(module):
        h = jnp.broadcast_to(module.top, (1, 1, 1, 4))
        return module.blocks[-1].down_in(jax.nn.elu(h))[0, 0, 0, :2]

    mean, log_std = np.asarray(net.apply(variables, method=prior), np.float64)
    z = np.asarray(draw.latents[0], np.float64).ravel()
    grid = np.linspace(z.mean() - 8 * z.std(), z.mean() + 8 * z.std(), 4001)
    log_q = -0.5 * ((grid - z.mean()) / z.std()) ** 2 - np.log(z.std() * np.sqrt(2 * np.pi))
    log_p = -0.5 * ((grid - mean) / np.exp(log_std)) ** 2 - log_std - np.log(2 * np.pi) / 2
    integral = np.trapezoid(np.exp(log_q) * (log_q - log_p), grid)
    kl = np.asarray(draw.kl[:, 0, 0])
    assert abs(kl.mean() - integral) < 0.05 < abs(awake[0]) * 0.4 / 2


def test_the_divergence_is_zero_where_posterior_and_prior_agree():
    net, variables, x = initialised()
    silent = jax.tree.map(jnp.zeros_like, variables)
    kl = jax.jit(net.apply)(silent, x, noise_of(KEY, 4)).kl
    np.testing.assert_allclose(kl, 0, atol=1e-5)


def test_given_latents_decode_to_the_same_image():
    net, variables, x = initialised(flow=True)

    def decode(latents):
        return net.apply(variables, None, (8, 8), None, latents, method="decode")

    seen = jax.jit(net.apply)(variables, x, noise_of(KEY, 4))
    again = jax.jit(decode)(seen.latents)
    np.testing.assert_allclose(again.mean, seen.mean, atol=1e-6)
    assert [latents.shape for latents in seen.latents] == [(4, 2, 2, 4), (4, 4, 4, 4)]


def test_temperature_zero_draws_one_image():
    net, variables, _ = initialised()

    @jax.jit
    def draw(temperature):
        noise = noise_of(KEY, 3)
        return net.apply(variables, None, (8, 8), noise, None, temperature, method="decode").mean

    cold, warm = draw(0.0), draw(1.0)
    np.testing.assert_array_equal(cold[0], cold[1])
    assert (warm[0] != warm[1]).any()


def test_the_published_network_has_its_number_of_parameters():
    net = make(
        channels=3,
        num_scales=1,
        num_blocks=20,
        features=160,
        num_latents=32,
        stem_kernel_size=5,
        levels=256,
    )
    x = jnp.zeros((1, 32, 32, 3))
    shapes = jax.eval_shape(lambda: net.init(KEY, x, noise_of(KEY, 1)))
    assert num_parameters(shapes) == 41_557_927


@pytest.mark.parametrize("downsampling", [2, 4])
def test_the_decoder_may_be_smaller_than_the_encoder(downsampling):
    """Of the same parameters, and every pixel still sees the image."""
    net = make(downsampling=downsampling, channels=3)
    x = jax.random.uniform(KEY, (2, 8, 8, 1), minval=-1)
    _, variables = jax.jit(lambda: data_dependent_init(net, KEY, x, noise_of(KEY, 2)))()
    mean = jax.jit(lambda x: net.apply(variables, x, noise_of(KEY, 2)).mean)
    side = 8 // downsampling
    assert mean(x).shape == (2, side, side, 3)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(mean(x)[0] ** 2)))(x)
    assert (gradient[0] != 0).all() and (gradient[1] == 0).all()


def test_a_decoder_that_the_stem_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"4 times smaller.*stride 3"):
        net = make(downsampling=4, stem_stride=3)
        jax.eval_shape(lambda: net.init(KEY, jnp.zeros((1, 12, 12, 1)), noise_of(KEY, 1)))


def test_sizes_that_the_scales_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"6×8.*multiples of 4.*num_scales"):
        jax.eval_shape(lambda: make().init(KEY, jnp.zeros((1, 6, 8, 1)), noise_of(KEY, 1)))
