"""The DCGAN's networks: depth from the image size, published draws, positions of batch norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.networks import dcgan
from gm_jax.nn.weight_norm import num_parameters

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("side", "widths"), [(8, (64,)), (32, (64, 128, 256)), (64, (64, 128, 256, 512))]
)
def test_the_layers_halve_the_image_to_4_by_4(side, widths):
    """And have no biases: 4×4 kernels between the channels, and batch norm but on the first."""
    shape = (side, side, 3)
    assert dcgan.widths(shape) == widths
    x = jnp.zeros((2, *shape))
    variables = jax.eval_shape(lambda x: dcgan.Discriminator().init(KEY, x, True), x)
    pairs = zip((3, *widths), (*widths, 1), strict=True)
    kernels = 16 * sum(inputs * outputs for inputs, outputs in pairs)
    assert num_parameters(variables["params"]) == kernels + 2 * sum(widths[1:])
    make = lambda z: dcgan.Generator(shape).init_with_output(KEY, z, True)  # noqa: E731
    images, variables = jax.eval_shape(make, jnp.zeros((2, 100)))
    pairs = zip((3, *widths), (*widths, 100), strict=True)
    kernels = 16 * sum(inputs * outputs for inputs, outputs in pairs)
    assert images.shape == x.shape
    assert num_parameters(variables["params"]) == kernels + 2 * sum(widths)


def test_kernels_and_scales_are_drawn_as_published():
    params = dcgan.Discriminator().init(KEY, jnp.zeros((1, 32, 32, 3)), True)["params"]
    for name, layer in params.items():
        leaf, mean = (layer["scale"], 1) if "scale" in layer else (layer["kernel"], 0)
        np.testing.assert_allclose(leaf.mean(), mean, atol=0.01, err_msg=name)
        np.testing.assert_allclose(leaf.std(), 0.02, rtol=0.2, err_msg=name)


def test_without_batch_norm_a_logit_depends_on_its_image_alone():
    x = jax.random.normal(KEY, (4, 16, 16, 1))
    for batch_norm in (False, True):
        network = dcgan.Discriminator(4, batch_norm)
        variables = network.init(KEY, x, True)

        def logits(x, network=network, variables=variables):
            return network.apply(variables, x, True, mutable=["batch_stats"])[0]

        moved = np.abs(logits(x.at[1:].multiply(2))[0] - logits(x)[0])
        assert (moved > 1e-6) == batch_norm


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 16, 3), (4, 4, 1)])
def test_images_that_do_not_halve_to_4_by_4_are_refused(shape):
    with pytest.raises(ValueError, match=r"do not halve to 4×4; set data.resize"):
        dcgan.widths(shape)
