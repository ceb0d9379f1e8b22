"""Weight normalisation, and its initialisation on data."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.nn.weight_norm import WeightNormConv, data_dependent_init

X = jax.random.normal(jax.random.key(0), (32, 6, 6, 3)) * 5 + 2


@pytest.mark.parametrize("transpose", [False, True])
def test_initialisation_standardises_the_outputs(transpose):
    layer = WeightNormConv(5, (3, 3), (2, 2), transpose=transpose, init_scale=0.3)
    passed_on, variables = data_dependent_init(layer, jax.random.key(1), X)
    outputs = layer.apply(variables, X)
    np.testing.assert_allclose(outputs.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(outputs.std((0, 1, 2)), 0.3, rtol=1e-4)
    np.testing.assert_allclose(passed_on, outputs, atol=1e-5)


def test_the_gain_is_the_norm_of_the_kernel():
    layer = WeightNormConv(5, (3, 3), exponential_gain=True)
    _, variables = data_dependent_init(layer, jax.random.key(1), X)
    scaled = jax.tree.map(lambda leaf: leaf, variables)
    scaled["params"]["v"] = 7 * scaled["params"]["v"]
    np.testing.assert_allclose(
        layer.apply(scaled, X), layer.apply(variables, X), rtol=1e-4, atol=1e-5
    )
    scaled["params"]["g"] = scaled["params"]["g"] + jnp.log(2.0)
    bias = variables["params"]["b"]
    doubled = 2 * (layer.apply(variables, X) - bias) + bias
    np.testing.assert_allclose(layer.apply(scaled, X), doubled, rtol=1e-3, atol=1e-4)


def test_training_starts_at_a_power_of_the_exact_gain():
    exact, third = (
        WeightNormConv(5, (3, 3), exponential_gain=True, init_exponent=exponent)
        for exponent in (1.0, 1 / 3)
    )
    outputs, variables = data_dependent_init(exact, jax.random.key(1), X)
    outputs_third, variables_third = data_dependent_init(third, jax.random.key(1), X)
    gains = variables["params"]["g"], variables_third["params"]["g"]
    np.testing.assert_allclose(gains[1], gains[0] / 3, rtol=1e-6)
    np.testing.assert_array_equal(outputs, outputs_third)


def test_a_kernel_is_drawn_with_the_standard_deviation_of_its_layer():
    layers = [WeightNormConv(64, (3, 3), kernel_std=std) for std in (0.5, 2.0)]
    _, variables = data_dependent_init(nn.Sequential(layers), jax.random.key(1), X)
    for number, layer in enumerate(layers):
        kernel = variables["params"][f"layers_{number}"]["v"]
        np.testing.assert_allclose(kernel.std(), layer.kernel_std, rtol=0.1)
        np.testing.assert_allclose(kernel.mean(), 0, atol=0.1 * layer.kernel_std)


def test_a_mask_hides_its_inputs():
    mask = np.ones((3, 3, 3, 5), np.float32)
    mask[:, :, 1] = 0
    layer = WeightNormConv(5, (3, 3), mask=mask)
    _, variables = data_dependent_init(layer, jax.random.key(1), X)
    changed = X.at[..., 1].add(3.0)
    np.testing.assert_array_equal(layer.apply(variables, changed), layer.apply(variables, X))
    assert (layer.apply(variables, X.at[..., 0].add(3.0)) != layer.apply(variables, X)).any()


def test_bfloat16_is_for_the_matrix_work_only():
    layer = WeightNormConv(5, (3, 3), dtype=jnp.bfloat16)
    outputs, variables = data_dependent_init(layer, jax.random.key(1), X)
    assert outputs.dtype == layer.apply(variables, X).dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    exact = WeightNormConv(5, (3, 3)).apply(variables, X)
    np.testing.assert_allclose(layer.apply(variables, X), exact, atol=0.1)
    assert (layer.apply(variables, X) != exact).any()


@pytest.mark.parametrize("transpose", [False, True])
def test_a_conditional_layer_is_a_layer_a_class(transpose):
    """It has the gain and bias of the class, and shares the direction."""
    layer = WeightNormConv(5, (3, 3), (2, 2), transpose=transpose, num_classes=4)
    label = jnp.arange(32) % 4
    params = layer.init(jax.random.key(1), X, label)["params"]
    gain, bias = jax.random.normal(jax.random.key(2), (2, 4, 5))
    outputs = layer.apply({"params": {**params, "g": gain, "b": bias}}, X, label)
    for number in range(4):
        plain = WeightNormConv(5, (3, 3), (2, 2), transpose=transpose)
        own = {"v": params["v"], "g": gain[number], "b": bias[number]}
        alone = plain.apply({"params": own}, X[number::4])
        np.testing.assert_allclose(outputs[number::4], alone, rtol=1e-4, atol=1e-4)


def test_at_initialisation_all_classes_are_alike():
    layer, plain = WeightNormConv(5, (3, 3), num_classes=4), WeightNormConv(5, (3, 3))
    label = jnp.arange(32) % 4
    outputs, variables = data_dependent_init(layer, jax.random.key(1), X, label)
    expected, _ = data_dependent_init(plain, jax.random.key(1), X)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    for other in (label, label[::-1]):
        np.testing.assert_allclose(layer.apply(variables, X, other), expected, atol=1e-5)
    assert variables["params"]["g"].shape == variables["params"]["b"].shape == (4, 5)
