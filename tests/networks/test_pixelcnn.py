"""PixelCNN++ is autoregressive in raster order, at every scale."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.networks.pixel_distributions import LogisticMixture
from gm_jax.networks.pixelcnn import ConditionStream, PixelCNN
from gm_jax.networks.pixelcnn_sampling import sample_by_fixed_point
from gm_jax.nn.weight_norm import data_dependent_init, num_parameters
from tests.support import noise_of

LEVELS = 5
CONSTANTS = {"gate_init_scale": 0.1, "kernel_std": 0.05, "min_log_scale": -7.0}


@functools.cache
def network(channels, num_scales, size=(8, 8)):
    """A tiny network whose condition stream is not zero, and an image for it."""
    net = PixelCNN(num_scales, 1, 4, 2, 0.5, **CONSTANTS)
    stream = ConditionStream(3, 3, 0.1, 0.05, 4, num_scales, 1)
    keys = jax.random.split(jax.random.key(0), 6)
    x = jax.random.uniform(keys[0], (2, *size, channels), minval=-1)
    index = jnp.arange(2)

    @jax.jit
    def initialise():
        conditions, stream_variables = data_dependent_init(stream, keys[1], x)
        _, variables = data_dependent_init(
            net, keys[2], x, index, conditions, rngs={"dropout": keys[3]}, train=True
        )
        return stream_variables, variables

    stream_variables, variables = initialise()
    awake = jax.tree.map(
        lambda leaf: leaf + 0.3 * jax.random.normal(keys[4], leaf.shape), stream_variables
    )
    apply = jax.jit(
        lambda image, source: net.apply(variables, image, index, stream.apply(awake, source))
    )
    return apply, x


@pytest.mark.parametrize(("channels", "num_scales"), [(1, 1), (3, 3)])
def test_the_jacobian_is_strictly_triangular(channels, num_scales):
    apply, x = network(channels, num_scales)
    outputs = apply(x, x).shape[-1]
    weights = jax.random.normal(jax.random.key(7), (outputs,))
    jacobian = jax.jit(jax.jacobian(lambda image: (apply(image, x)[0] @ weights).ravel()))(x)
    jacobian = np.asarray(jacobian[:, 0]).reshape(64, 64, channels)
    reached = np.abs(jacobian).max(-1) > 0
    assert not np.triu(reached).any()
    # Every pixel is reached by the one before it in its row and the three nearest above.
    rows, columns = np.unravel_index(np.arange(64), (8, 8))
    for up, left in [(0, 1), (1, 0), (1, 1), (1, -1)]:
        inside = (rows >= up) & (columns >= left) & (columns - left < 8)
        target = np.flatnonzero(inside)
        assert reached[target, target - 8 * up - left].all(), (up, left)


@pytest.mark.parametrize("num_scales", [1, 3])
def test_every_pixel_may_depend_on_the_whole_condition(num_scales):
    apply, x = network(1 if num_scales == 1 else 3, num_scales)
    future = jnp.ones((8, 8, 1)).at[0, 0].set(0)
    assert (apply(x, x + future)[0, 0, 0] != apply(x, x)[0, 0, 0]).any()


def test_a_fresh_condition_stream_adds_nothing():
    x = jnp.ones((2, 8, 8, 1))
    stream = ConditionStream(3, 3, 0.1, 0.05, 4, 2, 1)
    layers, _ = jax.jit(lambda: data_dependent_init(stream, jax.random.key(0), x))()
    assert len(layers) == 2 * 1 + (1 + 2)
    assert all((part == 0).all() and part.shape[-1] == 8 for pair in layers for part in pair)


def test_the_published_network_has_its_number_of_parameters():
    net = PixelCNN(3, 5, 160, 10, 0.5, **CONSTANTS)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    x = jnp.zeros((1, 32, 32, 3))
    shapes = jax.eval_shape(lambda: net.init(keys, x, jnp.arange(1), None, True))
    assert num_parameters(shapes) == 53_659_080
    layers = [path for path, _ in jax.tree.leaves_with_path(shapes) if path[-1].key == "v"]
    assert len(layers) == 189


def test_sizes_that_the_scales_do_not_divide_are_refused():
    net = PixelCNN(3, 1, 4, 2, 0.0, **CONSTANTS)
    with pytest.raises(ValueError, match=r"6×8.*num_scales=3.*multiples of 4"):
        jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, 6, 8, 1)), jnp.arange(1)))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_fixed_point_is_the_ancestral_sample(channels):
    apply, x = network(channels, 1 if channels == 1 else 3)
    pixels = LogisticMixture(LEVELS, 2)
    noise = pixels.noise(noise_of(jax.random.key(5), 2), x.shape[1:])
    draw = functools.partial(pixels.draw, temperature=1.0)
    sample = jax.jit(
        lambda: sample_by_fixed_point(lambda image: apply(image, x), draw, noise, x.shape[1:])
    )()
    draw_all = jax.jit(lambda image: draw(apply(image, x), noise))
    ancestral = np.zeros(x.shape, np.float32)
    for row, column in np.ndindex(8, 8):
        ancestral[:, row, column] = draw_all(ancestral)[:, row, column]
    np.testing.assert_array_equal(sample, ancestral)
    assert len(np.unique(ancestral)) == LEVELS
