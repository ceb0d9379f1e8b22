"""The cached sampler draws the network's pixels exactly, with the arithmetic of one pass."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from gm_jax.networks.pixel_distributions import Categorical, LogisticMixture
from gm_jax.networks.pixelcnn import ConditionStream, PixelCNN
from gm_jax.networks.pixelcnn_cache import sample_with_cache
from tests.support import noise_of

INDEX = jnp.arange(2)


def mixture(levels):
    """A mixture with a floor that some of the log-scales fall below."""
    return LogisticMixture(levels, num_mixtures=2, min_log_scale=-2.0)


def example(channels, num_scales, size, pixels, num_blocks=1, features=4):
    """A network with no weight, bias or condition at zero, and noise for two images."""
    num_mixtures = pixels.num_mixtures if isinstance(pixels, LogisticMixture) else 0
    network = PixelCNN(num_scales, num_blocks, features, num_mixtures, 0.5, 0.1, 0.05)
    stream = ConditionStream(1, 3, 0.1, 0.05, features, num_scales, num_blocks)
    keys = jax.random.split(jax.random.key(channels + num_scales))
    x = jnp.zeros((2, *size, channels))

    def shapes():
        conditions, _ = stream.init_with_output(keys[0], x)
        return network.init(keys[0], x, INDEX, conditions), conditions

    leaves, tree = jax.tree.flatten(jax.eval_shape(shapes))
    draw = np.random.default_rng(channels + num_scales).normal
    leaves = [0.5 * draw(size=leaf.shape).astype(np.float32) for leaf in leaves]
    noise = jax.jit(pixels.noise, static_argnums=1)(noise_of(keys[1], 2), (*size, channels))
    return network, *jax.tree.unflatten(tree, leaves), noise


@functools.partial(jax.jit, static_argnums=(0, 3, 5))
def naive(network, variables, conditions, draw, noise, image_shape):
    """Every pixel in raster order from a pass over the whole image."""
    height, width, _ = image_shape

    def draw_pixel(place, x):
        row, column = place // width, place % width
        drawn = draw(network.apply(variables, x, INDEX, conditions), noise)
        return x.at[:, row, column].set(drawn[:, row, column])

    start = jnp.zeros((len(INDEX), *image_shape))
    return jax.lax.fori_loop(0, height * width, draw_pixel, start)


@pytest.mark.parametrize(
    ("channels", "num_scales", "size", "conditional", "pixels", "temperature"),
    [
        (1, 1, (5, 7), True, mixture(17), 1.0),
        (3, 1, (3, 4), False, mixture(256), 0.7),
        (3, 2, (6, 4), True, mixture(256), 1.0),
        (1, 2, (2, 8), False, mixture(256), 1.0),
        (3, 3, (4, 8), True, mixture(256), 0.7),
        (5, 2, (4, 4), False, Categorical(), 1.0),
    ],
)
def test_the_pixels_are_those_of_naive_sampling(
    channels, num_scales, size, conditional, pixels, temperature
):
    network, variables, conditions, noise = example(channels, num_scales, size, pixels)
    conditions = conditions if conditional else None
    draw = functools.partial(pixels.draw, temperature=temperature)
    expected = naive(network, variables, conditions, draw, noise, (*size, channels))
    sample = jax.jit(sample_with_cache, static_argnums=(0, 3, 5))(
        network, variables, conditions, draw, noise, (*size, channels)
    )
    np.testing.assert_array_equal(sample, expected)
    numbers = expected if isinstance(pixels, LogisticMixture) else np.argmax(expected, -1)
    assert len(np.unique(numbers)) > min(9, channels - 1)


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
    pixels = mixture(256)
    network, variables, conditions, noise = example(3, 3, size, pixels, num_blocks=1, features=8)
    draw = functools.partial(pixels.draw, temperature=1.0)

    def sample(variables, conditions, noise):
        return sample_with_cache(network, variables, conditions, draw, noise, (*size, 3))

    drawn = jax.make_jaxpr(sample)(variables, conditions, noise)
    x = jnp.zeros((batch, *size, 3))
    passed = jax.make_jaxpr(network.apply)(variables, x, INDEX, conditions)
    ratio = multiplications(drawn.jaxpr) / multiplications(passed.jaxpr)
    assert 0.9 < ratio < 1.1


@pytest.mark.parametrize(("size", "match"), [((6, 8), "multiples of 4"), ((8, 8), "draw it")])
def test_sizes_that_do_not_fit_are_refused(size, match):
    network, variables, conditions, noise = example(1, 3, (4, 8), mixture(17))
    noise = [jnp.zeros((2, *size, part.shape[-1])) for part in noise]
    with pytest.raises(ValueError, match=match):
        sample_with_cache(network, variables, conditions, mixture(17).draw, noise, (6, 8, 1))
