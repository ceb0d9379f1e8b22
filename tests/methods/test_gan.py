"""The GAN: its generator as a function of its latents, and of classes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import adaptive_density as configs
from gm_jax import methods
from gm_jax.dequantization import dequantize, requantize
from tests.support import LABELLED, LEVELS, SHAPE, SPEC, images, noise_of, random_variables

KEY = jax.random.key(0)
BATCH = {"image": images(4, seed=1), "label": np.arange(4, dtype=np.int32)}
NOISE = noise_of(KEY, 4)


def method_of(spec, **model):
    config = configs.get_config("gan,smoke").unlock()
    config.model.update(model)
    return methods.create(config.lock(), spec)


@functools.cache
def method():
    return method_of(SPEC)


def variables_of(method):
    """Variables large enough for latents to matter."""
    return jax.tree.map(lambda leaf: 5 * leaf, random_variables(method, BATCH))


@functools.cache
def variables():
    return variables_of(method())


@functools.cache
def generator():
    """(variables of the decoder alone, latents) -> images."""
    return jax.jit(lambda decoder, latents: method().generate({"decoder": decoder}, latents))


def test_a_sample_is_what_the_generator_makes_of_its_latents():
    draw = jax.jit(lambda t: method().sample(variables(), KEY, 4, None, t)["image"])
    latents = NOISE.normal(method().num_latents)
    x = generator()(variables()["decoder"], latents)
    assert x.shape == (4, *SHAPE) and np.abs(x).max() < 1
    sample = draw(1.0)
    np.testing.assert_array_equal(sample, requantize((x + 1) / 2, LEVELS))
    assert (sample[0] != sample[1]).any()
    np.testing.assert_array_equal(*draw(0.0)[:2])


def test_the_generator_is_differentiable_in_its_latents():
    generate = functools.partial(generator(), variables()["decoder"])
    z, direction = np.random.default_rng(0).normal(size=(2, 4, method().num_latents))
    step = 3e-3
    slope = jax.jit(lambda z: jax.jvp(generate, (z,), (jnp.float32(direction),))[1])(jnp.float32(z))
    ends = [generate(jnp.float32(z + sign * step * direction)) for sign in (1, -1)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), atol=2e-3)
    assert np.abs(slope).max() > 0.1


def test_the_discriminator_tells_dequantised_images_from_samples():
    """Eq. 5 and its other side, without the penalty, by hand."""
    gan = method_of(SPEC, gradient_penalty=0.0)
    pixels, latents, _ = NOISE.split(3)

    @jax.jit
    def losses(variables):
        real = 2 * dequantize(BATCH["image"], LEVELS, pixels) - 1
        fake = gan.generate(variables, latents.normal(gan.num_latents))
        logits = [gan.discriminator.apply(variables["discriminator"], x) for x in (real, fake)]
        terms = gan.discriminator_loss(variables, BATCH, NOISE, 0).terms
        return logits, terms, gan.generator_loss(variables, BATCH, latents, 0).terms

    (real, fake), of_discriminator, of_generator = losses(variables())
    expected = np.logaddexp(0, -real) + np.logaddexp(0, fake)
    np.testing.assert_allclose(of_discriminator["cross_entropy"], expected, rtol=1e-5)
    np.testing.assert_allclose(of_generator["adversarial"], -fake, rtol=1e-5)
    assert of_discriminator.keys() == {"cross_entropy"} and np.ptp(expected) > 1e-3


def test_classes_condition_the_samples():
    conditional = method_of(LABELLED, class_conditional=True)
    made = {"decoder": variables_of(conditional)["decoder"]}
    draw = jax.jit(lambda label: conditional.sample(made, KEY, 4, label)["image"])
    fours, mixed = draw(jnp.full(4, 4)), draw(jnp.array([4, 4, 5, 6]))
    np.testing.assert_array_equal(fours[:2], mixed[:2])
    assert (fours[2:] != mixed[2:]).any((1, 2, 3)).all()
    with pytest.raises(ValueError, match="Gan: class_conditional is True: give labels"):
        conditional.sample(made, KEY, 4)
