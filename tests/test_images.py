"""Pictures show every level, and lie in their grid where they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gm_jax import images


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_spread_reaches_both_ends_at_the_nearest_integers(levels):
    values = np.arange(levels, dtype=np.uint8)
    shown = images.spread(values, levels)
    exact = 255.0 * values / (levels - 1)
    assert shown.dtype == np.uint8 and shown[0] == 0 and shown[-1] == 255
    assert np.abs(shown - exact).max() <= 0.5
    np.testing.assert_array_equal(np.rint(shown / 255.0 * (levels - 1)), values)


def test_spread_traces():
    values = jnp.arange(17, dtype=jnp.uint8)
    traced = jax.jit(images.spread, static_argnums=1)(values, 17)
    np.testing.assert_array_equal(traced, images.spread(np.asarray(values), 17))


def test_grid_holds_each_image_at_its_place():
    batch = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
    canvas = images.grid(batch, 3, padding=2)
    assert canvas.shape == (2 * (4 + 2) + 2, 3 * (6 + 2) + 2, 3)
    np.testing.assert_array_equal(canvas[2:6, 2:8], batch[0])
    np.testing.assert_array_equal(canvas[8:12, 10:16], batch[4])
    assert (canvas[8:12, 18:24] == images.LINE).all()  # no sixth image
    inside = sum(int(image.astype(int).sum()) for image in batch)
    lines = canvas.size - batch.size
    assert int(canvas.astype(int).sum()) == inside + lines * images.LINE


def test_enlarged_pixels_are_squares():
    batch = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    canvas = images.grid(batch, 2, padding=0, enlarge=4)
    assert canvas.shape == (32, 64, 1)
    squares = np.kron(batch[1, :, :, 0], np.ones((4, 4), np.uint8))
    np.testing.assert_array_equal(canvas[:, 32:, 0], squares)


def test_few_images_make_one_short_row():
    assert images.grid(np.zeros((2, 4, 4, 1), np.uint8), 8).shape == (6, 11, 1)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_png_gives_the_pixels_back(tmp_path, channels, mode):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    path = tmp_path / "new folder" / "picture.png"
    images.save_png(str(path), image)
    with Image.open(path) as read:
        assert read.mode == mode
        np.testing.assert_array_equal(np.asarray(read).reshape(image.shape), image)


def test_misuse_is_refused_with_the_bad_value(tmp_path):
    picture = np.zeros((4, 4, 1), np.uint8)
    with pytest.raises(ValueError, match="value 17 in images of 17 levels"):
        images.spread(np.array([0, 17], np.uint8), 17)
    with pytest.raises(ValueError, match="levels is 300"):
        images.spread(picture, 300)
    with pytest.raises(ValueError, match=r"\(4, 4, 1\)"):
        images.grid(picture, 2)
    with pytest.raises(ValueError, match="columns=0"):
        images.grid(picture[None], 0)
    with pytest.raises(ValueError, match="float32"):
        images.save_png(tmp_path / "a.png", picture.astype(np.float32))
    with pytest.raises(ValueError, match=r"\(4, 4, 2\)"):
        images.save_png(tmp_path / "a.png", np.zeros((4, 4, 2), np.uint8))


def test_draws_are_named_by_number():
    assert images.numbered("abc") == {"image": "a", "image_2": "b", "image_3": "c"}


def test_a_folder_of_pictures_holds_those_of_the_last_call_alone(tmp_path, monkeypatch):
    def names():
        return sorted(path.name for path in tmp_path.rglob("*.png"))

    batch = np.zeros((20, 2, 2, 1), np.uint8)
    images.save_pngs(tmp_path / "new" / "samples", batch[:8])
    assert names() == [f"{number}.png" for number in range(8)]
    images.save_pngs(tmp_path / "new" / "samples", batch)
    assert names() == [f"{number:02d}.png" for number in range(20)]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(images, "save_png", _killed_after(3, images.save_png))
        images.save_pngs(tmp_path / "new" / "samples", batch[:9])
    assert len(list((tmp_path / "new" / "samples").iterdir())) == 20
    images.save_pngs(tmp_path / "new" / "samples", batch[:9])
    assert names() == [f"{number}.png" for number in range(9)]


def _killed_after(count, function):
    calls = iter(range(count))

    def called(*arguments):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return function(*arguments)

    return called
