"""Pictures of points: each point at its pixel, what lies outside counted, nonsense refused."""

import numpy as np
import pytest

from gm_jax.evaluation.scatter import COLOURS, count_outside, limits_of, scatter, scatter_row

UNIT = (0.0, 1.0, 0.0, 1.0)
WHITE = (255, 255, 255)


@pytest.mark.parametrize(
    ("point", "row", "column"),
    [((0.05, 0.95), 0, 0), ((0.25, 0.95), 0, 2), ((0.05, 0.15), 8, 0), ((1.0, 0.0), 9, 9)],
)
def test_a_point_lands_at_its_pixel_with_y_upwards(point, row, column):
    picture = scatter([point], limits=UNIT, size=10, radius=0)
    assert (picture.shape, picture.dtype) == ((10, 10, 3), np.uint8)
    coloured = np.argwhere((picture != WHITE).any(-1))
    np.testing.assert_array_equal(coloured, [[row, column]])


def test_a_radius_makes_squares_that_the_edges_cut():
    picture = scatter([[0.55, 0.55], [0.0, 1.0]], limits=UNIT, size=10, radius=1)
    coloured = (picture != WHITE).any(-1)
    assert coloured[3:6, 4:7].all() and coloured[:2, :2].all()
    assert coloured.sum() == 9 + 4


def test_later_sets_lie_on_top_in_their_own_colours():
    data = np.array([[0.15, 0.5], [0.55, 0.5]])
    picture = scatter(data, data[1:], limits=UNIT, size=10, radius=0)
    assert tuple(picture[5, 1]) == COLOURS[0] and tuple(picture[5, 5]) == COLOURS[1]


def test_points_outside_are_counted_and_not_drawn():
    points = np.array([[0.5, 0.5], [2.0, 0.5], [0.5, -0.1], [np.nan, 0.5], [0.5, np.inf]])
    assert count_outside(points, UNIT) == 4
    alone = scatter(points[:1], limits=UNIT)
    np.testing.assert_array_equal(scatter(points, limits=UNIT), alone)


def test_limits_are_a_square_about_the_first_set_alone():
    data = np.array([[0.0, 1.0], [4.0, 3.0]])
    assert limits_of(data, margin=0.25) == (-1.0, 5.0, -1.0, 5.0)
    astray = np.array([[100.0, 100.0]])
    np.testing.assert_array_equal(scatter(data, astray), scatter(data))
    assert limits_of(data[:1], margin=0.0) == (-0.5, 0.5, 0.5, 1.5)


def test_a_row_shows_each_set_alone_in_the_same_limits():
    left, right = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.53, 0.47]])
    row = scatter_row(left, right, size=20, radius=0)
    assert row.shape == (22, 43, 3)
    np.testing.assert_array_equal(row[1:21, 1:21], scatter(left, size=20, radius=0))
    panel = row[1:21, 22:42]
    np.testing.assert_array_equal(np.argwhere((panel != WHITE).any(-1)), [[10, 10]])


@pytest.mark.parametrize(
    ("sets", "options", "message"),
    [
        ([], {}, "0 sets"),
        ([np.zeros((0, 2))], {}, r"\(0, 2\).*N ≥ 1"),
        ([np.zeros((3, 3))], {}, r"\(3, 3\)"),
        ([np.full((2, 2), np.nan)], {}, "no point is finite"),
        ([np.zeros((3, 2))], {"limits": (1.0, 1.0, 0.0, 1.0)}, "left < right"),
        ([np.zeros((3, 2))], {"size": 0}, "size=0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(sets, options, message):
    with pytest.raises(ValueError, match=message):
        scatter(*sets, **options)
