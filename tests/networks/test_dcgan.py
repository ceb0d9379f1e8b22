"""The DCGAN's networks: published sizes and draws, positions of batch norm, what they refuse."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import alpha_gan
from gm_jax.networks import dcgan
from gm_jax.nn.weight_norm import num_parameters
from tests.support import randomized, zeros_like

KEY = jax.random.key(0)
LAYERS = ((4, 2), (6, 1), (8, 2))
DISCRIMINATOR = {"kernel_size": 5, "layers": LAYERS, "dropout_rate": 0.0}


def kernels(area, *channels):
    return area * sum(inputs * outputs for inputs, outputs in itertools.pairwise(channels))


@pytest.mark.parametrize(("data", "side"), [("cifar10", 32), ("celeba", 64)])
def test_the_networks_are_those_of_the_wasserstein_gans_code(data, side):
    """4×4 kernels down to 4×4, no biases, and batch norm on all but the first and last layers."""
    model = alpha_gan.get_config(f"alpha_gan,{data}").model
    widths = (64, 128, 256, 512)[: side.bit_length() - 3]
    x, z = jnp.zeros((2, side, side, 3)), jnp.zeros((2, 100))
    init = lambda x: dcgan.Discriminator(**model.discriminator).init(KEY, x)  # noqa: E731
    found = num_parameters(jax.eval_shape(init, x)["params"])
    assert found == kernels(16, 3, *widths, 1) + 2 * sum(widths[1:])
    make = lambda z: dcgan.Generator(x.shape[1:], **model.generator).init_with_output(KEY, z)  # noqa: E731
    images, variables = jax.eval_shape(make, z)
    assert images.shape == x.shape
    assert num_parameters(variables["params"]) == kernels(16, 3, *widths, 100) + 2 * sum(widths)


@pytest.mark.parametrize(("side", "top"), [(28, 7), (8, 2)])
def test_color_mnists_generator_is_that_of_table_4(side, top):
    model = alpha_gan.get_config("alpha_gan,color_mnist").model
    network = dcgan.Generator((side, side, 3), **model.generator)
    make = lambda z: network.init_with_output(KEY, z)  # noqa: E731
    images, variables = jax.eval_shape(make, jnp.zeros((2, 75)))
    assert variables["params"]["Dense_0"]["kernel"].shape == (75, top * top * 64)  # 3136 at 28×28
    assert images.shape == (2, side, side, 3)
    deconvs = [variables["params"][f"ConvTranspose_{i}"]["kernel"].shape for i in range(3)]
    assert deconvs == [(5, 5, 64, 64), (5, 5, 64, 32), (5, 5, 32, 3)]


def test_color_mnists_discriminator_is_that_of_table_3():
    model = alpha_gan.get_config("alpha_gan,color_mnist").model
    network = dcgan.Discriminator(**model.discriminator)
    shapes = jax.eval_shape(lambda x: network.init(KEY, x), jnp.zeros((2, 28, 28, 3)))["params"]
    found = [shapes[f"Conv_{i}"]["kernel"].shape[2:] for i in range(5)]
    assert found == [(3, 8), (8, 16), (16, 32), (32, 64), (64, 64)]
    assert shapes["Dense_0"]["kernel"].shape == (4 * 4 * 64, 1)  # the strides leave 14, 7, 4


def test_the_encoder_is_the_generator_transposed():
    """With the same kernels and batch norm; its last layer has biases as well."""
    z, shape = jnp.zeros((2, 5)), (8, 8, 3)
    generator = dcgan.Generator(shape, 5, LAYERS)
    encoder = dcgan.Encoder(5, 5, LAYERS, 0.0, True)
    ours = jax.eval_shape(lambda x: encoder.init(KEY, x), jnp.zeros((2, *shape)))["params"]
    theirs = jax.eval_shape(lambda z: generator.init(KEY, z), z)["params"]
    assert num_parameters(ours) == num_parameters(theirs) + 5
    for layer in range(3):
        there = theirs[f"ConvTranspose_{2 - layer}"]["kernel"].shape
        height, width, inputs, outputs = ours[f"Conv_{layer}"]["kernel"].shape
        assert there == (height, width, outputs, inputs)


def test_kernels_and_scales_are_drawn_as_published():
    network = dcgan.Discriminator(4, ((64, 2), (128, 2)), True, 0.0)
    params = network.init(KEY, jnp.zeros((1, 32, 32, 3)))["params"]
    for name, layer in params.items():
        leaf, mean = (layer["scale"], 1) if "scale" in layer else (layer["kernel"], 0)
        np.testing.assert_allclose(leaf.mean(), mean, atol=0.01, err_msg=name)
        np.testing.assert_allclose(leaf.std(), 0.02, rtol=0.2, err_msg=name)


def test_without_batch_norm_a_logit_depends_on_its_image_alone():
    x = jax.random.normal(KEY, (4, 8, 8, 1))
    for batch_norm in (False, True):
        network = dcgan.Discriminator(**DISCRIMINATOR, batch_norm=batch_norm)
        variables = network.init(KEY, x)
        assert variables.keys() == {"params"}  # it keeps no running statistics
        logits = [network.apply(variables, x.at[1:].multiply(factor))[0] for factor in (1, 2)]
        assert (np.abs(logits[1] - logits[0]) > 1e-6) == batch_norm


def test_an_encoder_is_judged_by_its_running_averages():
    """In evaluation a code does not depend on the other images."""
    x = jax.random.normal(KEY, (4, 8, 8, 1))
    encoder = dcgan.Encoder(5, 5, LAYERS, 0.2, False)
    variables = randomized(zeros_like(jax.eval_shape(lambda: encoder.init(KEY, x, True))))
    alone, together = encoder.apply(variables, x[:1]), encoder.apply(variables, x)
    np.testing.assert_allclose(alone[0], together[0], rtol=1e-4, atol=1e-5)
    trained, _ = encoder.apply(variables, x, True, mutable=["batch_stats"])
    assert np.abs(trained - together).max() > 0.01


def test_dropout_is_an_examples_own_and_scales_what_it_keeps():
    x = jnp.ones((64, 8, 8, 1))
    network = dcgan.Discriminator(5, LAYERS, False, 0.5)
    variables = network.init(KEY, x)
    index = np.arange(64, dtype=np.int32)
    dropped = network.apply(variables, x, index, rngs={"dropout": KEY})
    again = network.apply(variables, x[7:9], index[7:9], rngs={"dropout": KEY})
    np.testing.assert_allclose(dropped[7:9], again, rtol=1e-5)
    whole, error = network.apply(variables, x)[0], dropped.std() / 8
    assert dropped.std() > 0 and abs(dropped.mean() - whole) < 4 * error


@pytest.mark.parametrize(
    ("shape", "way_out"),
    [((28, 30, 1), "data.resize to 28 or 32"), ((3, 3, 1), "data.resize to 4$")],
)
def test_images_that_the_generator_does_not_reach_are_refused(shape, way_out):
    refused = f"{shape[0]}×{shape[1]} pixels.*multiples of 4.*{way_out}"
    with pytest.raises(ValueError, match=refused):
        dcgan.top_sides(shape, LAYERS)
