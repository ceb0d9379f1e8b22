"""Images come back bit by bit, in files as large as their likelihood says."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import agave, code_prior, pixelcnn, real_nvp, sngan, vae, vae_iaf, vq_vae
from gm_jax import choices, methods
from gm_jax.coding import codec as codec_file
from gm_jax.coding.codec import Codec
from gm_jax.data import image_spec
from gm_jax.methods.method import Method
from tests import toy
from tests.support import images, noise_of, random_variables

GREY, COLOUR, BINARY = ((4, 4, 1), 17), ((4, 4, 3), 256), ((2, 2, 1), 2)


def pixelcnn_config():
    config = pixelcnn.get_config("smoke").unlock()
    config.model.pixelcnn.update({"num_scales": 1, "features": 4})
    return config.lock()


def vae_config(likelihood):
    config = vae.get_config("gaussian,smoke").unlock()
    config.model.likelihood = likelihood
    return config.lock()


def without_flow(page):
    config = page.get_config("smoke").unlock()
    config.model.vae.flow = False
    if page is agave:
        config.model.pixelcnn.update({"num_scales": 1, "features": 4})
    return config.lock()


@functools.cache
def model(name):
    """(method, random variables, a shape of images and its levels)."""
    shape, levels = {"pixelcnn": COLOUR, "vae": GREY, "logistic_mixture": COLOUR}.get(name, GREY)
    spec, frozen = image_spec(shape, levels), None
    if name == "code_prior":
        frozen = {"quantiser": methods.create(vq_vae.get_config("smoke"), spec)}
    config = {
        "pixelcnn": pixelcnn_config,
        "vae": lambda: vae_config("discretized_logistic"),
        "logistic_mixture": lambda: vae_config("logistic_mixture"),
        "vq_vae": lambda: vq_vae.get_config("smoke"),
        "code_prior": lambda: code_prior.get_config("smoke"),
        "vae_iaf": lambda: without_flow(vae_iaf),
        "agave": lambda: without_flow(agave),
    }[name]()
    method = methods.create(config, spec, frozen)
    return method, random_variables(method, {"image": images(4, 0, shape, levels)})


@functools.cache
def codec(name):
    return Codec(*model(name))


def drawn(name, count):
    """Images that the model draws, so that its likelihood is that of its own images."""
    method, variables = model(name)
    draw = jax.jit(lambda given, noise: method.draw(given, noise, None, 1.0)["image"])
    return np.asarray(draw(variables, noise_of(jax.random.key(5), count)))


def nats(name, batch, seed=0):
    method, variables = model(name)
    batch = {"image": batch, "index": np.arange(len(batch), dtype=np.int32)}
    noise = noise_of(jax.random.key(seed), len(batch["image"]))
    return -np.asarray(jax.jit(method.log_likelihood)(variables, batch, noise)["log_likelihood"])


ALL = ("pixelcnn", "vae", "logistic_mixture", "vq_vae", "code_prior", "vae_iaf", "agave")


@pytest.mark.parametrize("name", ALL)
def test_images_come_back_bit_by_bit(name):
    """Random ones, constant ones, a single one, and batches that do not divide."""
    method, _ = model(name)
    shape, levels = method.image_shape, method.levels
    constant = [np.full((2, *shape), v, np.uint8) for v in (0, levels - 1)]
    for batch in (images(5, 1, shape, levels), *constant, images(1, 2, shape, levels)):
        content = codec(name).compress(batch, 2)
        np.testing.assert_array_equal(codec(name).decompress(content), batch)


@pytest.mark.parametrize("name", ["pixelcnn", "code_prior", "vq_vae"])
def test_a_file_is_as_large_as_the_likelihood(name):
    """Within 1 % and 64 bytes, of which the header takes 51; exact, or a code in two parts."""
    batch = drawn(name, 64)
    size, said = len(codec(name).compress(batch, 64)), nats(name, batch).sum() / np.log(256)
    assert abs(size - 51 - said) <= 0.01 * said + 13


@pytest.mark.parametrize("name", ["vae", "vae_iaf"])
def test_images_by_bits_back_take_what_the_bound_says(name):
    """Within 2 %; the bound is that of 16 draws, since one's noise would be larger.

    What ten images take is taken off: the header, and the bits that the first latents come from.
    """
    batch = drawn(name, 210)
    said = np.mean([nats(name, batch[10:], seed).sum() for seed in range(16)]) / np.log(256)
    few, many = (len(codec(name).compress(part, 2)) for part in (batch[:10], batch))
    more = nats(name, batch[:10]).sum() / np.log(256)
    assert abs(many - few - said) <= 0.02 * said + 8
    assert 0 < few - more <= 64 + 2 * codec(name)._at(2).num_latents  # two bytes a latent


class Exact(Method):
    """Eight equally likely classes of binary images, and their exact posterior."""

    likelihood = "exact"

    def __init__(self):
        super().__init__(toy.get_config(), image_spec(*BINARY))

    def joint(self, variables, image):
        """ln p(x, z), [B, 8]."""
        logits = variables["classes"]["params"]
        signs = 2.0 * image.reshape(-1, 1, 4) - 1
        return jnp.sum(jax.nn.log_sigmoid(signs * logits), -1) - jnp.log(8.0)

    def log_likelihood(self, variables, batch, noise):
        return {"log_likelihood": jax.nn.logsumexp(self.joint(variables, batch["image"]), -1)}

    def code_latents(self, variables, image, latents, choose):
        return choose(jax.nn.softmax(self.joint(variables, image)), latents)

    def code_image(self, variables, latents, image, choose):
        z = choose(choices.uniform_masses((len(image),), 8), latents)
        on = jax.nn.sigmoid(variables["classes"]["params"])[z]
        given = image.reshape(-1, 4).astype(jnp.int32)
        x = choose(jnp.stack([1 - on, on], -1), given)
        return z, x.reshape(image.shape).astype(jnp.uint8)


def test_net_bits_are_those_of_the_exact_posterior():
    """Every image adds −log₂ p(x), whatever z was drawn."""
    classes = 2 * np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    method, variables = Exact(), {"classes": {"params": classes}}
    every = np.array([*itertools.product((0, 1), repeat=4)], np.uint8).reshape(-1, 2, 2, 1)
    bits = -np.asarray(method.log_likelihood(variables, {"image": every}, None)["log_likelihood"])
    assert np.exp(-bits).sum() == pytest.approx(1, rel=1e-5)
    exact = Codec(method, variables)
    for image, said in zip(every[:3], bits[:3] / np.log(2), strict=True):
        few, many = (len(exact.compress(np.stack([image] * n), 1)) for n in (20, 520))
        assert 8 * (many - few) == pytest.approx(500 * said, abs=64)
    content = exact.compress(every, 1)
    np.testing.assert_array_equal(exact.decompress(content), every)


def test_another_model_is_refused_by_name():
    method, variables = model("vae")
    content = codec("vae").compress(images(3, 0, *GREY), 2)
    others = jax.tree.map(lambda leaf: leaf + 1e-3, variables)
    other = Codec(method, others)
    with pytest.raises(ValueError, match="written with other parameters: decode it by the model"):
        other.decompress(content)
    assert not other._programs  # it is refused before anything is compiled
    with pytest.raises(ValueError, match=r"shape \(4, 4, 1\) and 17 levels, and the model those"):
        codec("logistic_mixture").decompress(content)


@pytest.mark.parametrize("name", ["pixelcnn", "vae"])
def test_numbers_that_differ_in_the_last_place_are_refused(name, monkeypatch):
    """A machine that says it is the same, and rounds otherwise, decodes no wrong pixel."""
    method, variables = model(name)
    content = codec(name).compress(images(20, 0, method.image_shape, method.levels), 2)
    monkeypatch.setattr(codec_file, "known_fingerprint", lambda method, variables: {})
    nudged = jax.tree.map(lambda leaf: np.nextafter(leaf, np.float32(9)), variables)
    other = Codec(method, nudged)
    monkeypatch.setattr(other._at(2), "fingerprint", codec(name)._at(2).fingerprint)
    with pytest.raises(ValueError, match="that were decoded are not those that were encoded"):
        other.decompress(content)


def test_a_coder_that_meets_no_masses_is_refused_in_one_line(capfd):
    method, variables = model("vae")
    broken = Codec(method, jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), variables))
    with pytest.raises(ValueError, match="the entropy coder refuses the model's masses"):
        broken.compress(images(2, 0, *GREY), 2)
    assert "Traceback" not in capfd.readouterr().err


def test_a_method_that_cannot_be_coded_says_why():
    whys = {
        "density": vae_config("gaussian"),
        "planar flow of its posterior": vae.get_config("planar,smoke"),
        "set model.vae.flow=False": agave.get_config("smoke"),
        r"its likelihood \((exact|bound)\) is not written as masses": real_nvp.get_config("smoke"),
        "it has no likelihood": sngan.get_config("smoke"),
    }
    for why, config in whys.items():
        method = methods.create(config, image_spec((8, 8, 1), 17))
        with pytest.raises(ValueError, match=f"a {config.method} cannot compress images: .*{why}"):
            Codec(method, {})
