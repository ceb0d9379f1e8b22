"""What the base class derives and refuses, on the toy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.data import image_spec
from gm_jax.methods.method import Method
from tests.support import LABELLED, SPEC, images, noise_of
from tests.toy import Toy, get_config

KEY = jax.random.key(3)


class Silent(Toy):
    """Offers what the toy does, except for draws and a likelihood."""

    likelihood = None
    draw, log_likelihood = Method.draw, Method.log_likelihood


class Grey(Toy):
    channels = (1,)


class Labelled(Toy):
    needs = ("image", "label")


class Counted(Toy):
    """Has statistics beside its parameters."""

    def init_networks(self, key, batch, noise):
        networks = super().init_networks(key, batch, noise)
        return {**networks, "decoder": {**networks["decoder"], "counts": jnp.zeros(())}}


def test_capabilities_are_what_is_written():
    offered = {"encode", "decode", "reconstruct"}
    assert Toy(get_config(), SPEC).capabilities == offered | {"sample", "log_likelihood"}
    assert Silent(get_config(), SPEC).capabilities == offered
    with pytest.raises(TypeError, match="`likelihood` says what `log_likelihood` is"):
        type("Unsaid", (Toy,), {"likelihood": None})(get_config(), SPEC)


def test_data_without_a_field_or_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="'digits' has no labels, which Labelled needs; it has im"):
        Labelled(get_config(), SPEC)
    with pytest.raises(ValueError, match="images of 3 channels: Grey models images of 1"):
        Grey(get_config(), image_spec((8, 8, 3), 256))


def test_classes_are_those_of_the_labels_and_asked_for():
    method = Toy(get_config(), LABELLED)
    assert method.condition_on_classes(False) is None and not method.class_conditional
    assert method.label({"label": np.zeros(2)}) is None
    assert method.condition_on_classes(True) == method.num_classes == 10
    with pytest.raises(ValueError, match="class_conditional is True: give labels"):
        method.sample({}, KEY, 2)
    with pytest.raises(ValueError, match="the images have no labels"):
        Toy(get_config(), SPEC).condition_on_classes(True)


def test_averaged_parameters_beside_statistics_are_refused():
    with pytest.raises(ValueError, match=r"ema_decay is 0.9: the running statistics of decoder do"):
        jax.eval_shape(Counted(get_config(), SPEC).init, KEY, {"image": images(4)})


def test_reconstructions_are_draws_given_one_encoding():
    method, batch = Toy(get_config(), SPEC), {"image": images(4)}
    variables = method.init_networks(KEY, batch, noise_of(KEY, 4))
    drawn = method.reconstruct(variables, batch, noise_of(KEY, 4), 3)
    assert list(drawn) == ["f_z", "image", "image_2", "image_3"]
    encoding, decoding = noise_of(KEY, 4).split()
    latents = method.encode(variables, batch, encoding)
    for name, noise in zip(("image", "image_2", "image_3"), decoding.split(3), strict=True):
        expected = method.decode(variables, latents, noise)
        np.testing.assert_array_equal(drawn[name], expected["image"])
        np.testing.assert_array_equal(drawn["f_z"], expected["f_z"])


def test_interpolations_are_straight_lines():
    start, end = [np.zeros((1, 2, 3))], [np.full((1, 2, 3), 4.0)]
    (way,) = Toy(get_config(), SPEC).interpolate(start, end, np.array([0.0, 0.25, 1.0]))
    np.testing.assert_array_equal(way[:, 0, 0], [0, 1, 4])
