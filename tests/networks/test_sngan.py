"""SNGAN's networks: sizes that follow from images, no idle parameter, a bounded slope."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from gm_jax.networks import sngan
from gm_jax.nn import layers
from gm_jax.nn.spectral_norm import iterate

KEY = jax.random.key(0)
Z = jax.random.normal(KEY, (4, 5))
KINDS = pytest.mark.parametrize("kind", ["convolutional", "residual"])


def generator(kind, side, widths, num_classes=None):
    config = ConfigDict(
        {"kind": kind, "widths": widths, "batch_norm_decay": 0.9, "batch_norm_epsilon": 1e-5}
    )
    shared = {"num_classes": num_classes, "dtype": jnp.float32}
    return sngan.create_generator(config, (side, side, 3), **shared)


def discriminator(kind, built_of=layers.PLAIN):
    options = {
        "convolutional": {"widths": (2, 3), "slope": 0.1, "double_when_strided": True},
        "residual": {"widths": (3, 4), "num_down": 1},
    }
    config = ConfigDict({"kind": kind, **options[kind]})
    shared = {"num_classes": None, "layers": built_of, "dtype": jnp.float32}
    return sngan.create_discriminator(config, **shared)


@KINDS
@pytest.mark.parametrize(("side", "widths"), [(8, (2, 3, 4)), (32, (2, 3, 4)), (48, (2, 3, 4, 5))])
def test_the_generator_fits_the_images(kind, side, widths):
    network = generator(kind, side, widths)
    images, variables = jax.eval_shape(lambda z: network.init_with_output(KEY, z, None, True), Z)
    assert images.shape == (4, side, side, 3)
    base = side // 2 ** (len(widths) - 1)
    assert variables["params"]["Dense_0"]["kernel"].shape == (5, base * base * widths[-1])


@KINDS
@pytest.mark.parametrize("side", [2, 4])
def test_no_parameter_of_the_generator_is_undone_by_batch_norm(kind, side):
    """From 1×1 and from 2×2; under Adam an idle parameter would drift by the rounding noise."""
    network = generator(kind, side, (3, 4))
    variables = network.init(KEY, Z, None, True)

    def loss(params):
        given = {**variables, "params": params}
        images, _ = network.apply(given, Z, None, True, mutable=["batch_stats"])
        return jnp.sum(images * jnp.cos(jnp.arange(images.size)).reshape(images.shape))

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(gradients)) > 1e-3
    assert ("bias" in variables["params"]["Dense_0"]) == (side == 4)


@KINDS
def test_the_logit_of_an_image_does_not_depend_on_the_others(kind):
    x = jax.random.uniform(KEY, (4, 8, 8, 3), minval=-1)
    network = discriminator(kind, layers.spectral_norm("reshaped"))
    variables = jax.jit(network.init)(KEY, x)
    logits = jax.jit(functools.partial(network.apply, variables))
    np.testing.assert_allclose(logits(x.at[1:].set(0))[0], logits(x)[0], rtol=1e-5, atol=1e-6)
    assert logits(x).shape == (4,) and np.ptp(logits(x)) > 1e-4


def test_by_the_operators_norm_a_chain_of_layers_is_1_lipschitz():
    """The leaky ReLU is, too; so the whole convolutional discriminator is."""
    x = jax.random.uniform(KEY, (4, 8, 8, 3), minval=-1)
    network = discriminator("convolutional", layers.spectral_norm("operator"))
    variables = jax.jit(network.init)(KEY, x)
    forward = jax.jit(lambda variables: iterate(network, variables, x)[0])
    for _ in range(60):
        variables = forward(variables)
    slopes = jax.grad(lambda x: network.apply(variables, x).sum())(x).reshape(4, -1)
    assert 1e-3 < jnp.linalg.norm(slopes, axis=1).max() < 1 + 1e-3


def test_the_sum_over_places_makes_the_residual_logit_grow_with_the_image():
    """Without a bias in the last layer, and far from the borders: four times the image."""
    network = discriminator("residual")
    small, large = jnp.ones((1, 64, 64, 3)), jnp.ones((1, 128, 128, 3))
    variables = network.init(KEY, small)
    ratio = network.apply(variables, large) / network.apply(variables, small)
    np.testing.assert_allclose(ratio, 4, rtol=0.1)


@pytest.mark.parametrize("create", [sngan.create_generator, sngan.create_discriminator])
def test_an_unknown_kind_is_refused(create):
    with pytest.raises(ValueError, match=r"'dense'; choose among convolutional, residual"):
        create(ConfigDict({"kind": "dense"}), image_shape=(8, 8, 1))
