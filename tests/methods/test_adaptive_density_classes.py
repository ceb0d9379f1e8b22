"""Class-conditional adaptive density estimation: every network gets the label, or refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import adaptive_density as configs
from gm_jax import methods
from tests.support import LABELLED, SHAPE, SPEC, images, noise_of, random_variables

KEY = jax.random.key(7)
NOISE = noise_of(KEY, 4)
LABELS, OTHERS = np.arange(4, dtype=np.int32), 9 - np.arange(4, dtype=np.int32)  # of 10 classes
BATCH = {"image": images(4), "label": LABELS}


def config_of():
    """Encoder, decoder and discriminator; f_ψ knows no classes."""
    config = configs.get_config("av_gde,smoke").unlock()
    config.model.class_conditional = True
    return config.lock()


@functools.cache
def method():
    return methods.create(config_of(), LABELLED)


@functools.cache
def variables():
    return random_variables(method(), BATCH)


@functools.cache
def decode():
    return jax.jit(method().decode)


def test_the_gradients_are_of_the_classes_in_the_batch_alone():
    def total(loss, variables):
        return sum(jnp.mean(term) for term in loss(variables, BATCH, NOISE, 1).terms.values())

    losses = (method().generator_loss, method().discriminator_loss)
    of_generator, of_discriminator = jax.jit(
        lambda variables: [jax.grad(functools.partial(total, loss))(variables) for loss in losses]
    )(variables())
    rows = [
        gradient["discriminator"]["params"]["Embed_0"]["embedding"]
        for gradient in (of_generator, of_discriminator)
    ]
    rows += [
        of_generator[network]["params"]["WeightNormConv_0"][name]
        for network in ("encoder", "decoder")
        for name in ("g", "b")
    ]
    for row in rows:
        steepest = np.abs(row).max(1)
        assert (steepest[:4] > 0).all() and (steepest[4:] == 0).all() and len(steepest) == 10


def test_an_images_sample_is_of_its_own_class():
    draw = jax.jit(lambda labels: method().sample(variables(), KEY, 4, labels)["image"])
    first, again = draw(LABELS), draw(np.where(LABELS < 2, LABELS, 9))
    np.testing.assert_array_equal(again[:2], first[:2])
    assert (again[2:] != first[2:]).any((1, 2, 3)).all()


def test_scores_are_given_the_class():
    score = jax.jit(method().log_likelihood)
    first, other = (
        score(variables(), {**BATCH, "label": label}, NOISE) for label in (LABELS, OTHERS)
    )
    for name in ("log_likelihood", "reconstruction", "kl"):
        assert (first[name] != other[name]).all()


def test_reconstructions_are_given_the_class():
    encoding, decoding = NOISE.split()
    latents = jax.jit(method().encode)(variables(), BATCH, encoding)
    noise = decoding.replace(key=jax.random.split(decoding.key, 1)[0])
    decoded = decode()(variables(), latents, noise, LABELS)["image"]
    reconstructed = jax.jit(method().reconstruct)(variables(), BATCH, NOISE)["image"]
    np.testing.assert_array_equal(decoded, reconstructed)
    assert (decode()(variables(), latents, noise, OTHERS)["image"] != decoded).any()


def test_missing_labels_are_refused():
    with pytest.raises(ValueError, match=r"class_conditional is True.*images have no labels"):
        methods.create(config_of(), SPEC)
    for call in (
        lambda: method().sample({}, KEY, 4),
        lambda: method().decode({}, [], NOISE),
        lambda: method().log_likelihood({}, {"image": images(4)}, NOISE),
        lambda: jax.eval_shape(method().init, KEY, {"image": jnp.zeros((4, *SHAPE))}),
    ):
        with pytest.raises(ValueError, match="class_conditional is True: give labels"):
            call()
