"""Adaptive density estimation's discriminators: a logit per image, conditioned by projection."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from gm_jax.networks import discriminators

X = jax.random.uniform(jax.random.key(0), (6, 8, 4, 3), minval=-1)
LABEL = jnp.array([0, 1, 2, 3, 3, 0])


def network(kind, num_classes=None):
    config = ConfigDict({"kind": kind, "widths": (2, 3, 5), "slope": 0.2})
    return discriminators.create(config, num_classes, jnp.float32)


def variables_of(kind):
    return jax.jit(network(kind, 4).init)(jax.random.key(1), X, LABEL)


@pytest.mark.parametrize("kind", ["convolutional", "residual"])
def test_the_projection_adds_the_product_of_features_and_the_labels_row(kind):
    params = dict(variables_of(kind)["params"])
    rows = params.pop("Embed_0")["embedding"]
    plain = jax.jit(lambda params: network(kind).apply({"params": params}, X))
    size = rows.shape[1]

    def feature(unit):  # a dense unit that picks one of the features
        return plain(params | {"Dense_0": {"kernel": unit[:, None], "bias": jnp.zeros(1)}})

    features = jax.vmap(feature, out_axes=1)(jnp.eye(size))
    expected = plain(params) + jnp.sum(rows[LABEL] * features, 1)
    logits = jax.jit(network(kind, 4).apply)(variables_of(kind), X, LABEL)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert size == {"convolutional": 2 * 1 * 5, "residual": 5}[kind]
    assert np.abs(logits - plain(params)).min() > 1e-4


@pytest.mark.parametrize("kind", ["convolutional", "residual"])
def test_the_logit_of_an_image_does_not_depend_on_the_others(kind):
    logits = jax.jit(lambda x: network(kind, 4).apply(variables_of(kind), x, LABEL))
    changed = X.at[1:].set(-X[1:])
    np.testing.assert_allclose(logits(changed)[0], logits(X)[0], rtol=1e-6)
    assert np.abs(logits(changed)[1:] - logits(X)[1:]).min() > 1e-4
    assert logits(X).shape == (6,) and logits(X).dtype == jnp.float32


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"'dense'; choose among convolutional, residual"):
        network("dense")


class Before(nn.Module):
    """The convolutional discriminator before it became a setting of SNGAN's."""

    @nn.compact
    def __call__(self, x, label):
        for width in (2, 3):
            x = nn.leaky_relu(nn.Conv(width, (3, 3))(x), 0.2)
            x = nn.leaky_relu(nn.Conv(width, (4, 4), (2, 2))(x), 0.2)
        x = nn.leaky_relu(nn.Conv(5, (3, 3))(x), 0.2).reshape(x.shape[0], -1)
        return nn.Dense(1)(x)[:, 0] + jnp.sum(nn.Embed(4, x.shape[-1])(label) * x, axis=-1)


def test_the_convolutional_one_has_the_parameters_and_draws_of_trained_runs():
    before = jax.jit(Before().init)(jax.random.key(1), X, LABEL)
    chex.assert_trees_all_equal(variables_of("convolutional"), before)
    logits = jax.jit(network("convolutional", 4).apply)(before, X, LABEL)
    np.testing.assert_allclose(logits, Before().apply(before, X, LABEL), rtol=1e-5)
