"""The two resizes against the implementations that published numbers were made with."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gm_jax.evaluation.resize import resize, resize_matrix


def _images(seed, *shape):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def _pillow_bicubic(channel):
    return Image.fromarray(channel).resize((299, 299), Image.Resampling.BICUBIC)


# Every 23rd pixel of interpolate_bilinear_2d_like_tensorflow1x of torch-fidelity 0.4.0.
@pytest.mark.parametrize(
    ("name", "images"),
    [("up", _images(2, 2, 32, 20, 3)), ("down", _images(3, 1, 400, 310, 3))],
)
def test_tf1_agrees_with_torch_fidelity(name, images):
    with np.load(Path(__file__).parent / "stored_references.npz") as stored:
        expected = stored[f"resize_tf1_{name}"]
    resized = np.asarray(resize(images, "tf1"))[0, ::23, ::23]
    np.testing.assert_allclose(resized, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(28, 28), (32, 20), (400, 310), (1, 5)])
def test_clean_agrees_with_pillow_on_float_channels(shape):
    image = _images(0, *shape, 3)
    channels = [_pillow_bicubic(image[..., c].astype(np.float32)) for c in range(3)]
    expected = np.clip(np.stack(channels, axis=-1), 0, 255)
    np.testing.assert_allclose(resize(image[None], "clean")[0], expected, atol=1e-3)


@pytest.mark.parametrize("method", ["tf1", "clean"])
def test_nothing_happens_at_the_size_itself(method):
    images = _images(4, 2, 299, 299, 1)
    np.testing.assert_array_equal(resize(jnp.asarray(images), method), images)


@pytest.mark.parametrize("method", ["tf1", "clean"])
@pytest.mark.parametrize("old_size", [1, 28, 299, 512])
def test_constants_stay(method, old_size):
    matrix = resize_matrix(method, old_size, 299)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_the_two_methods_differ_by_grey_levels_on_small_images():
    image = _images(5, 1, 32, 32, 3)
    difference = np.abs(np.asarray(resize(image, "tf1") - resize(image, "clean")))
    assert difference.mean() > 5


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="'bilinear'; choose 'tf1' or 'clean'"):
        resize(np.zeros((1, 8, 8, 1)), "bilinear")
    with pytest.raises(ValueError, match=r"\(8, 8, 1\)"):
        resize(np.zeros((8, 8, 1)), "tf1")
