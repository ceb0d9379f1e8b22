"""The hybrid's loss is λ times that of its flow, plus that of a linear classifier of features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import hybrid
from gm_jax import methods
from tests.support import LABELLED, SPEC, images, noise_of

KEY, NOISE = jax.random.key(0), noise_of(jax.random.key(1), 16)
BATCH = {"image": images(16), "label": np.arange(16, dtype=np.int32) % 10}


@functools.cache
def built(weight):
    config = hybrid.get_config("coupling,smoke").unlock()
    config.model.likelihood_weight = weight
    return methods.create(config.lock(), LABELLED)


@functools.cache
def variables():
    return jax.jit(built(1.0).init_networks)(KEY, BATCH, NOISE)


def loss(weight, variables):
    wanted = built(weight).loss(variables, BATCH, NOISE, 0)
    return sum(jnp.mean(term) for term in wanted.terms.values())


@pytest.mark.parametrize("weight", [0.0, 1 / 64, 1.0])
def test_the_loss_is_minus_the_weighted_log_density_and_the_log_posterior(weight):
    method = built(weight)
    density = jax.jit(method.log_likelihood)(variables(), BATCH, NOISE)["log_likelihood"]
    features = jax.jit(method.encode)(variables(), BATCH, NOISE).reshape(16, -1)
    kernel, bias = (variables()["classifier"]["params"][name] for name in ("kernel", "bias"))
    posterior = jax.nn.log_softmax(features @ kernel + bias)
    of_label = posterior[np.arange(16), BATCH["label"]]
    expected = -weight * density - of_label
    np.testing.assert_allclose(loss(weight, variables()), expected.mean(), rtol=1e-4)
    scores = jax.jit(method.score)(variables(), BATCH, NOISE)
    np.testing.assert_allclose(scores["objective"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(scores["error"], posterior.argmax(1) != BATCH["label"])


def test_the_classification_moves_the_flow_and_the_density_alone_does_not_move_the_classifier():
    slopes = jax.jit(jax.grad(functools.partial(loss, 0.0)))(variables())
    assert any(abs(leaf).max() > 1e-5 for leaf in jax.tree.leaves(slopes["flow"]["params"]))
    both = jax.jit(jax.grad(functools.partial(loss, 1.0)))(variables())
    for ours, theirs in zip(
        *map(jax.tree.leaves, (both["classifier"], slopes["classifier"])), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_images_without_labels_are_refused():
    with pytest.raises(ValueError, match="has no labels, which Hybrid needs"):
        methods.create(hybrid.get_config("residual,smoke"), SPEC)
    with pytest.raises(ValueError, match="no labels: a classifier cannot be judged"):
        built(1.0).score(variables(), {"image": BATCH["image"]}, NOISE)
