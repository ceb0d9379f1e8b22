"""GAN-train and GAN-test on four kinds of images that any classifier can tell apart."""

import numpy as np
import pytest

from gm_jax.evaluation import gan_train_test, train_test_classifier
from tests.support import optimized

UPDATE = optimized(train_test_classifier._update, static_argnums=(0, 1, 2), donate_argnums=3)


@pytest.fixture(autouse=True)
def optimized_updates(monkeypatch):
    monkeypatch.setattr(train_test_classifier, "_update", UPDATE)


def _striped(seed, classes, count=240):
    """Noise with stripes of one of four periods, and the class; uint8 [count, 8, 8, 1]."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, count)
    rows, columns = np.mgrid[:8, :8]
    patterns = np.stack([rows % 2, columns % 2, (rows + columns) % 2, 0 * rows])
    images = 60 + 120 * patterns[labels] + rng.integers(0, 40, (count, 8, 8))
    return images.astype(np.uint8)[..., None], labels


def _accuracies(samples, **options):
    real = _striped(1, range(4)), _striped(2, range(4))
    options = {"num_steps": 30, "batch_size": 16, **options}
    return gan_train_test(*samples, *real[0], *real[1], num_classes=4, **options)


def test_a_dropped_class_lowers_gan_train_and_not_gan_test():
    result = _accuracies(_striped(3, range(3)))
    assert result.gan_train == pytest.approx(0.75, abs=0.08)
    assert result.gan_test > 0.95


def test_wrong_labels_lower_both():
    images, labels = _striped(3, range(4))
    result = _accuracies((images, (labels + 1) % 4))
    assert result.gan_train < 0.05 and result.gan_test < 0.05
    assert result.real > 0.95


def test_the_seed_decides_everything():
    samples = _striped(3, range(4))
    results = [_accuracies(samples, num_steps=2, seed=seed) for seed in (5, 5)]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("samples", "labels", "message"),
    [
        (np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0, int), r"samples are uint8 \[n >= 1"),
        (np.zeros((4, 8, 8, 1)), np.zeros(4, int), "got float64"),
        (np.zeros((4, 7, 8, 1), np.uint8), np.zeros(4, int), "at least 8 pixels"),
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, int), r"samples \(8, 8, 3\)"),
        (np.zeros((4, 8, 8, 1), np.uint8), np.zeros(3, int), r"whole numbers \[4\]"),
        (np.zeros((4, 8, 8, 1), np.uint8), np.full(4, 4), r"0\.\.3, got 4\.\.4"),
    ],
)
def test_bad_input_is_refused(samples, labels, message):
    with pytest.raises(ValueError, match=message):
        _accuracies((samples, labels))
