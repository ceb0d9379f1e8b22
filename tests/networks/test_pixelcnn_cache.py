"""The cached sampler draws the network's pixels exactly, with the arithmetic of one pass."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from gm_jax import distributions
from gm_jax.networks.pixelcnn import ConditionStream, PixelCNN
from gm_jax.networks.pixelcnn_cache import sample_with_cache
from gm_jax.networks.pixelcnn_sampling import pixel_noise
from tests.support import noise_of

INDEX = jnp.arange(2)


def example(channels, num_scales, size, num_blocks=1, features=4):
    """A network with no weight, bias or condition at zero, and noise for two images."""
    # A floor that some of the log-scales fall below.
    network = PixelCNN(num_scales, num_blocks, features, 2, 0.5, 0.1, 0.05, min_log_scale=-2.0)
    stream = ConditionStream(1, 3, 0.1, 0.05, features, num_scales, num_blocks)
    keys = jax.random.split(jax.random.key(channels + num_scales))
    x = jnp.zeros((2, *size, channels))

    def shapes():
        conditions, _ = stream.init_with_output(keys[0], x)
        return network.init(keys[0], x, INDEX, conditions), conditions

    leaves, tree = jax.tree.flatten(jax.eval_shape(shapes))
    draw = np.random.default_rng(channels + num_scales).normal
    leaves = [0.5 * draw(size=leaf.shape).astype(np.float32) for leaf in leaves]
    draw_noise = jax.jit(pixel_noise, static_argnums=(1, 2))
    noise = draw_noise(noise_of(keys[1], 2), (*size, channels), 2)
    return network, *jax.tree.unflatten(tree, leaves), noise


@functools.partial(jax.jit, static_argnums=(0, 4))
def naive(network, variables, conditions, noise, levels, temperature):
    """Every pixel in raster order from a pass over the whole image."""
    _, height, width, _ = noise[1].shape

    def draw(place, x):
        row, column = place // width, place % width
        parameters = network.apply(variables, x, INDEX, conditions)
        drawn = distributions.discretized_logistic_mixture_sample(
            parameters, *noise, levels, temperature, network.min_log_scale
        )
        return x.at[:, row, column].set(drawn[:, row, column])

    return jax.lax.fori_loop(0, height * width, draw, jnp.zeros(noise[1].shape))


@pytest.mark.parametrize(
    ("channels", "num_scales", "size", "conditional", "levels", "temperature"),
    [
        (1, 1, (5, 7), True, 17, 1.0),
        (3, 1, (3, 4), False, 256, 0.7),
        (3, 2, (6, 4), True, 256, 1.0),
        (1, 2, (2, 8), False, 256, 1.0),
        (3, 3, (4, 8), True, 256, 0.7),
    ],
)
def test_the_pixels_are_those_of_naive_sampling(
    channels, num_scales, size, conditional, levels, temperature
):
    network, variables, conditions, noise = example(channels, num_scales, size)
    conditions = conditions if conditional else None
    expected = naive(network, variables, conditions, noise, levels, temperature)
    sample = jax.jit(sample_with_cache, static_argnums=(0, 4, 5))(
        network, variables, conditions, noise, (*size, channels), levels, temperature
    )
    np.testing.assert_array_equal(sample, expected)
    assert len(np.unique(expected)) > 9


def multiplications(jaxpr):
    """Counts the multiplications of the convolutions and products, those of loops every time."""
    total = 0
    for equation in jaxpr.eqns:
        assert equation.primitive.name != "while", "a loop of unknown length"
        if equation.primitive.name in ("conv_general_dilated", "dot_general"):
            kernel = equation.invars[1].aval.shape  # [..., in, out]
            total += equation.outvars[0].aval.size * math.prod(kernel[:-1])
        inner = sum(multiplications(sub) for sub in jaxprs_in_params(equation.params))
        total += inner * equation.params.get("length", 1)
    return total


def test_a_sample_costs_the_multiplications_of_one_pass():
    size, batch = (32, 32), 2
    network, variables, conditions, noise = example(3, 3, size, num_blocks=1, features=8)
    sample = functools.partial(sample_with_cache, network)
    drawn = jax.make_jaxpr(sample, static_argnums=(3, 4))(
        variables, conditions, noise, (*size, 3), 256
    )
    x = jnp.zeros((batch, *size, 3))
    passed = jax.make_jaxpr(network.apply)(variables, x, INDEX, conditions)
    ratio = multiplications(drawn.jaxpr) / multiplications(passed.jaxpr)
    assert 0.9 < ratio < 1.1


@pytest.mark.parametrize(("size", "match"), [((6, 8), "multiples of 4"), ((8, 8), "pixel_noise")])
def test_sizes_that_do_not_fit_are_refused(size, match):
    network, variables, conditions, noise = example(1, 3, (4, 8))
    noise = [jnp.zeros((2, *size, part.shape[-1])) for part in noise]
    with pytest.raises(ValueError, match=match):
        sample_with_cache(network, variables, conditions, noise, (6, 8, 1), 17)
