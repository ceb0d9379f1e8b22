"""Closeness to training images: none for a model that generalises, all for one that copies."""

import numpy as np
import pytest

from gm_jax import data
from gm_jax.evaluation import memorisation, training_neighbours
from gm_jax.evaluation.memorisation import Band, closeness, columns_of, picture_of_neighbours
from gm_jax.evaluation.nearest_neighbours import nearest


def test_probabilities_and_medians_by_hand():
    """In 3 × 4 pairs 1 is nearer than 2, 2, 4; 2 ties with two and is nearer than 4; 9 never."""
    found = closeness([1, 2, 9], [4, 2, 1, 2])
    assert found.nearer == pytest.approx((3 + 1 / 2 + 1 + 2 / 2) / 12)
    assert (found.distance, found.held_out_distance) == (2, 2)
    assert found.much_nearer == pytest.approx(1 / 3)


def test_sets_of_one_distribution_are_equally_near():
    train, held_out, samples = np.random.default_rng(0).normal(size=(3, 1_000, 3))
    found = closeness(nearest(samples, train).distances, nearest(held_out, train).distances)
    assert abs(found.nearer - 1 / 2) < 4 * np.sqrt(1 / 6 / 1_000)
    assert found.much_nearer < 0.03


def test_copies_are_at_distance_zero_and_a_few_of_them_are_found():
    train, held_out, samples = np.random.default_rng(1).normal(size=(3, 500, 3)) + 1e3
    samples[:25] = train[100:125]
    found = nearest(samples, train)
    np.testing.assert_array_equal(found.rows[:25], np.arange(100, 125))
    assert not found.distances[:25].any() and found.distances[25:].all()
    few = closeness(found.distances, nearest(held_out, train).distances)
    assert abs(few.nearer - 1 / 2) < 0.1 and few.much_nearer >= 0.05
    all_of_them = closeness(np.zeros(9), nearest(held_out, train).distances)
    assert all_of_them[:3] == (1, 1, 0)


def test_training_images_are_no_yardstick():
    with pytest.raises(ValueError, match="most of the reference images are training images"):
        closeness([1, 2], [0, 0, 3])
    with pytest.raises(ValueError, match="0 samples and 3 held-out"):
        closeness([], [1, 2, 3])


def test_chunks_of_training_images_give_the_nearest_of_all(monkeypatch):
    """Distances are root mean squares over 0..255, whatever the levels of the data."""
    pixels = np.random.default_rng(2).integers(0, 2, (60, 4, 4, 1)).astype(np.uint8)
    train = data.Dataset.of_images(pixels[:50], None, 2, None, "mine", "train")
    monkeypatch.setattr(training_neighbours, "_CHUNK_ROWS", 7)
    found = training_neighbours.nearest_images(255 * pixels[45:], train)
    different = (pixels[45:, None] != pixels[:50]).sum((2, 3, 4))
    np.testing.assert_array_equal(found.rows, different.argmin(1))
    np.testing.assert_allclose(found.distances, 255 * np.sqrt(different.min(1) / 16))


def test_the_picture_shows_every_image_and_its_neighbour_once():
    """Each is of one red of its own; lines and texts are grey."""
    reds = np.arange(100, 106, dtype=np.uint8)
    images = np.zeros((6, 20, 20, 3), np.uint8)
    images[..., 0] = reds[:, None, None]
    found = {"in pixels": (images[3:], np.array([0.5, 12, 1e4]))}
    picture = picture_of_neighbours({"samples": Band(images[:3], found)})
    side = 20 * (1024 // (columns_of(20) * 20))
    for red in reds:
        assert (picture == (red, 0, 0)).all(2).sum() == side**2
    assert picture.shape == (2 * (side + 2) + 3 * memorisation._LINE, picture.shape[1], 3)
