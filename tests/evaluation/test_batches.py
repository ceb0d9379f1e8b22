"""Functions of every example of a data set."""

import numpy as np
import pytest

from gm_jax.data import Dataset
from gm_jax.data.pair import pair_of
from gm_jax.evaluation.batches import over_images
from tests.support import images


def domain(count, seed):
    return Dataset.of_images(images(count, seed), None, 17, None, "images", "all")


@pytest.mark.parametrize("lengths", [(3, 5), (5, 3), (9, 2)])
def test_every_image_of_the_first_domain_of_a_pair_counts_once(lengths):
    first, second = (domain(count, seed) for seed, count in enumerate(lengths))
    pair = pair_of(first, second, "pair", "all")
    found = over_images(pair, lambda batch: batch["image"], 4, "test")
    np.testing.assert_array_equal(found, first.images)
