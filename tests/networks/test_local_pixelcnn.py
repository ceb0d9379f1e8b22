"""What a PixelCNN with a window sees, and one without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.networks.local_pixelcnn import LocalPixelCNN
from gm_jax.networks.pixel_distributions import LogisticMixture
from gm_jax.networks.pixelcnn import PixelCNN
from gm_jax.networks.pixelcnn_sampling import Sampler
from tests.support import randomized, zeros_like

SIZES = {"num_scales": 1, "num_blocks": 1, "features": 4, "num_mixtures": 2, "dropout_rate": 0.0}
SIZES |= {"gate_init_scale": 0.1, "kernel_std": 0.05}
X, INDEX = jax.random.uniform(jax.random.key(0), (1, 7, 7, 1), minval=-1), jnp.arange(1)


def seen(network, row, column):
    """Where the parameters of a pixel depend on the image, bool [7, 7]."""
    start = jax.eval_shape(lambda: network.init(jax.random.key(0), X, INDEX))
    variables = randomized(zeros_like(start))
    weights = jax.random.normal(jax.random.key(1), (network.apply(variables, X, INDEX).shape[-1],))

    def output(x):
        return network.apply(variables, x, INDEX)[0, row, column] @ weights

    return np.asarray(jax.jit(jax.grad(output))(X))[0, ..., 0] != 0


@pytest.mark.parametrize("window", [(2, 3), (1, 4), (0, 2), (3, 1)])
def test_a_pixel_sees_its_window_and_nothing_else(window):
    rows, columns = window
    expected = np.zeros((7, 7), bool)
    left = columns // 2
    expected[4 - rows : 4, 3 - left : 3 - left + columns] = True
    expected[4, 3 - left : 3] = True
    np.testing.assert_array_equal(seen(LocalPixelCNN(window=window, **SIZES), 4, 3), expected)


def test_without_a_window_a_pixel_sees_all_before_it():
    past = np.arange(49).reshape(7, 7) < 4 * 7 + 3
    found = seen(PixelCNN(**(SIZES | {"num_blocks": 2})), 4, 3)
    np.testing.assert_array_equal(found, past)


@pytest.mark.parametrize("window", [(0, 1), (0, 0), (2, 0)])
def test_a_window_without_a_pixel_is_refused(window):
    network = LocalPixelCNN(window=window, **SIZES)
    with pytest.raises(ValueError, match=r"model.window is .* at least a row above"):
        jax.eval_shape(lambda: network.init(jax.random.key(0), X, INDEX))


def test_a_window_and_several_scales_or_a_cache_are_refused():
    network = LocalPixelCNN(window=(1, 3), **(SIZES | {"num_scales": 2}))
    with pytest.raises(ValueError, match="num_scales 2"):
        jax.eval_shape(lambda: network.init(jax.random.key(0), X, INDEX))
    with pytest.raises(ValueError, match="set it to fixed_point"):
        Sampler("cached", network, (7, 7, 1), LogisticMixture(5, 2))
