"""Dense encoders and generators, critics of pairs, and what a config's `kind` takes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import bigan as page
from gm_jax.networks import bigan
from gm_jax.nn.activations import maxout
from gm_jax.nn.weight_norm import num_parameters

KEY = jax.random.key(0)
X, Z = jax.random.normal(KEY, (6, 8, 8, 1)), jax.random.normal(jax.random.key(1), (6, 3))
JUDGE = {
    "code_widths": (4,),
    "joint_widths": (5, 5),
    "pieces": 2,
    "slope": 0.2,
    "input_dropout_rate": 0.25,
    "dropout_rate": 0.5,
}
CRITICS = {
    "dense": bigan.DensePairCritic(**JUDGE, widths=(4,)),
    "convolutional": bigan.ConvolutionalPairCritic(**JUDGE, kernel_size=3, layers=((4, 2),)),
}


def shapes(network, *inputs):
    return jax.eval_shape(functools.partial(network.init, KEY), *inputs)["params"]


def test_a_maxout_unit_is_the_largest_of_its_pieces():
    x = jnp.array([[1.0, 3.0, -2.0, -5.0, 0.0, 4.0]])
    np.testing.assert_array_equal(maxout(x, 2), [[3, -2, 4]])
    np.testing.assert_array_equal(maxout(x, 3), [[3, 4]])


@pytest.mark.parametrize("kind", CRITICS)
def test_an_examples_dropout_is_its_own_and_absent_without_its_number(kind):
    critic, index = CRITICS[kind], np.arange(6, dtype=np.int32)
    variables = critic.init(KEY, X, Z)
    judge = functools.partial(critic.apply, variables, rngs={"dropout": KEY})
    dropped = judge(X, Z, index)
    np.testing.assert_allclose(judge(X[3:5], Z[3:5], index[3:5]), dropped[3:5], rtol=1e-4)
    assert np.abs(dropped - judge(X, Z)).min() > 1e-6
    np.testing.assert_array_equal(critic.apply(variables, X, Z), judge(X, Z))


def test_without_widths_the_critic_of_points_sees_the_pair_itself():
    """One layer of maxout units on (x, z) and a linear one: 2·(5·7 + 7) + 8 parameters."""
    fields = JUDGE | {"code_widths": (), "joint_widths": (7,)}
    critic = bigan.DensePairCritic(**fields, widths=())
    params = shapes(critic, jnp.zeros((6, 2)), Z)
    assert num_parameters(params) == 2 * (5 * 7 + 7) + 8


def test_the_networks_of_bigan_on_mnist_are_perceptrons_of_1024():
    """The critic adds a linear function of the code to its second layer."""
    model = page.get_config("bigan,mnist").model
    x, z = jnp.zeros((2, 28, 28, 1)), jnp.zeros((2, 50))
    critic = bigan.create_critic(model.discriminator, "float32")
    expected = 785 * 1024 + (1024 + 50 + 1) * 1024 + 1025
    assert num_parameters(shapes(critic, x, z)) == expected
    generator = bigan.create_generator(model.generator, (28, 28, 1), "float32")
    assert num_parameters(shapes(generator, z)) == 51 * 1024 + 1025 * 1024 + 1025 * 784
    images = jax.eval_shape(lambda: generator.init_with_output(KEY, z)[0])
    assert images.shape == x.shape


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "recurrent"}, "kind is 'recurrent'; choose among dense, convolutional"),
        ({"kind": "dense", "widths": (8,)}, "takes batch_norm, slope, widths, but .* has widths"),
        ({"kind": "convolutional", "layers": ((8, 2),), "widths": ()}, "takes first_batch_norm"),
    ],
)
def test_fields_of_another_kind_are_refused(fields, expected):
    with pytest.raises(ValueError, match=expected):
        bigan.create_encoder(ConfigDict(fields), 3, "float32")
