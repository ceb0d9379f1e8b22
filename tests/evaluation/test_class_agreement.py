"""Agreement of classes, as they are and renamed."""

import numpy as np
import pytest

from gm_jax.evaluation.class_agreement import class_agreement

LABELS = np.random.default_rng(0).integers(0, 4, 200)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 2, 3, 0), (1, 0, 3, 2)])
def test_a_permutation_of_classes_is_right_only_once_renamed(order):
    found = class_agreement(np.array(order)[LABELS], LABELS, 4)
    same = np.array(order) == np.arange(4)
    assert found.correct == same[LABELS].mean()
    assert found.correct_if_renamed == 1


def test_what_sends_all_classes_to_one_has_the_share_of_one_class():
    labels = np.arange(200) % 4
    found = class_agreement(np.full(200, 2), labels, 4)
    assert found == (1 / 4, 1 / 4)


def test_renaming_never_does_worse_and_half_a_class_counts_half():
    labels = np.repeat([0, 1], 10)
    found = np.where(np.arange(20) % 2, labels, 1 - labels)
    found[0] = labels[0]
    assert class_agreement(found, labels, 2) == (11 / 20, 11 / 20)
    assert class_agreement(1 - found, labels, 2) == (9 / 20, 11 / 20)
