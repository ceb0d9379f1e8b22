"""Toy densities: samples follow the density, which integrates to one."""

import numpy as np
import pytest
from scipy import stats

from gm_jax import data
from gm_jax.data.points import MIXTURES, SETS, SPLIT_SIZES, Lines, Mixture

# The first points of the validation split of blobs.
FROZEN = [[-2.1705494, -1.6793673], [-0.6516571, 2.2461812]]


@pytest.mark.parametrize("name", SETS)
def test_splits_have_their_sizes_their_fields_and_points_of_their_own(name):
    splits = {split: data.load(f"points:{name}", split) for split in SPLIT_SIZES}
    assert {split: len(dataset) for split, dataset in splits.items()} == SPLIT_SIZES
    test = splits["test"]
    assert (test.points.dtype, test.points.shape[1:]) == (np.float32, (2,))
    assert set(test.labels) == set(range(test.num_classes))
    rows = [set(map(bytes, dataset.points)) for dataset in splits.values()]
    assert len(set.union(*rows)) > 0.999 * sum(SPLIT_SIZES.values())  # a few meet in float32
    assert (test.log_density is None) == (name == "spirals")


@pytest.mark.parametrize(
    "density", [Mixture(np.array([[0.5, -1.0], [-1.0, 0.0]]), 0.3), Lines(1.0, 2.0, 0.2)]
)
def test_densities_integrate_to_one(density):
    ticks = np.linspace(-4, 4, 401)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    mass = np.exp(density.log_density(grid)).sum() * (ticks[1] - ticks[0]) ** 2
    assert mass == pytest.approx(1, abs=1e-6)


def test_the_density_of_a_mixture_is_that_of_scipy():
    dataset = data.load("points:grid_ali", "test[:50]")
    modes, std = MIXTURES["grid_ali"]
    densities = [stats.multivariate_normal(mode, std**2).pdf(dataset.points) for mode in modes]
    expected = np.log(np.mean(densities, axis=0))
    np.testing.assert_allclose(dataset.log_density(dataset.points), expected, rtol=1e-10)


@pytest.mark.parametrize("name", [*MIXTURES, "lines"])
def test_the_mean_log_density_of_samples_is_minus_the_entropy(name):
    dataset = data.load(f"points:{name}", "train")
    mean = dataset.log_density(dataset.points).mean()
    std, num_parts = SETS[name].std, dataset.num_classes
    if name == "lines":  # edges are blurred over a few hundredths of the length
        entropy = np.log(2 * SETS[name].length) + 0.5 * np.log(2 * np.pi * np.e * std**2)
        assert mean == pytest.approx(-entropy, abs=0.02)
    else:
        entropy = np.log(num_parts) + np.log(2 * np.pi * np.e * std**2)
        assert mean == pytest.approx(-entropy, abs=4 / np.sqrt(len(dataset)))


@pytest.mark.parametrize("name", MIXTURES)
def test_each_mode_has_its_mean_its_std_and_its_share(name):
    dataset, (modes, std) = data.load(f"points:{name}", "train"), MIXTURES[name]
    shares = np.bincount(dataset.labels) / len(dataset)
    assert abs(shares - 1 / len(modes)).max() < 5 * np.sqrt(1 / len(modes) / len(dataset))
    offsets = (dataset.points - modes[dataset.labels]) / std
    means = [offsets[dataset.labels == label].mean(0) for label in range(len(modes))]
    assert np.abs(means).max() < 5 * np.sqrt(len(modes) / len(dataset))
    assert offsets.std() == pytest.approx(1, abs=0.01)


def test_ring_and_grids_are_the_published_ones():
    angles = np.arange(8) * np.pi / 4
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(MIXTURES["ring"].modes, ring, atol=1e-12)
    for name, unit in (("grid", 0.5), ("grid_ali", 2.0)):
        wanted = {(unit * i, unit * j) for i in range(-2, 3) for j in range(-2, 3)}
        assert set(map(tuple, MIXTURES[name].modes)) == wanted
    assert [MIXTURES[name].std for name in ("ring", "grid", "grid_ali")] == [0.01, 0.01, 0.05]


def test_turned_blobs_are_blobs_turned_by_30_degrees():
    cosine, sine = np.sqrt(3) / 2, 1 / 2
    turn = np.array([[cosine, sine], [-sine, cosine]])  # of rows
    turned = MIXTURES["blobs_turned"].modes
    np.testing.assert_allclose(turned, MIXTURES["blobs"].modes @ turn, atol=1e-12)
    distances = np.linalg.norm(turned[:, None] - MIXTURES["blobs"].modes, axis=-1)
    assert (distances.argmin(1) == np.arange(3)).all()


def test_lines_are_straight_and_their_density_has_finite_tails():
    dataset = data.load("points:lines", "test")
    for label, x in enumerate((-0.5, 0.5)):
        line = dataset.points[dataset.labels == label]
        assert line[:, 0].mean() == pytest.approx(x, abs=0.002)
        assert abs(line[:, 1]).max() < 1.1 and line[:, 1].std() == pytest.approx(3**-0.5, abs=0.02)
    far = np.array([[0.0, 5.0], [0.0, -5.0], [30.0, 0.0]])
    log_density = dataset.log_density(far)
    assert np.isfinite(log_density).all() and log_density[0] == log_density[1] < -1e4


def test_arms_of_the_spirals_are_each_others_half_turn():
    dataset = data.load("points:spirals", "train")
    first, second = (dataset.points[dataset.labels == label] for label in (0, 1))
    assert np.linalg.norm(dataset.points, axis=1).max() < 2.3
    edges = np.linspace(-2.2, 2.2, 23)
    shares = [np.histogramdd(arm, (edges, edges))[0] / len(arm) for arm in (first, -second)]
    assert np.abs(shares[0] - shares[1]).sum() < 0.15
    other = np.histogramdd(second, (edges, edges))[0] / len(second)
    assert np.abs(shares[0] - other).sum() > 1


def test_slices_and_sums_are_those_of_the_whole_splits():
    whole, test = (data.load("points:ring", split) for split in ("train", "test"))
    part = data.load("points:ring", "train[-5:]+test[:3]")
    np.testing.assert_array_equal(part.points[:5], whole.points[-5:])
    np.testing.assert_array_equal(part.points[5:], test.points[:3])
    np.testing.assert_array_equal(part.labels[5:], test.labels[:3])


def test_points_are_frozen_for_ever():
    points = data.load("points:blobs", "validation[:2]").points
    np.testing.assert_allclose(points, FROZEN, rtol=1e-6)


def test_batches_of_points_have_every_point_once_an_epoch():
    dataset = data.load("points:ring", "test[:10]")
    batches = data.training_batches(dataset, batch_size=5, seed=0)
    epoch = [next(batches) for _ in range(2)]
    batches.close()
    assert set(epoch[0]) == {"point", "label"}
    drawn = np.concatenate([batch["point"] for batch in epoch])
    np.testing.assert_array_equal(np.sort(drawn, 0), np.sort(dataset.points, 0))
    last = [*data.evaluation_batches(dataset, batch_size=4)][-1]
    np.testing.assert_array_equal(last["mask"], [True, True, False, False])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("points:rign", {}, r"'rign'.*ring.*grid_ali.*spirals"),
        ("points", {}, r"'points'.*points:SET"),
        ("points:ring", {"resize": 8}, r"no.*images.*data\.resize=0"),
        ("points:ring", {"crop": "center"}, r"'center'.*data\.crop='none'"),
    ],
)
def test_points_that_cannot_be_had_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        data.load(name, "train", **options)


def test_an_unknown_split_names_the_set_and_its_splits():
    with pytest.raises(ValueError, match=r"points:ring.*'valid'.*test, train, validation"):
        data.load("points:ring", "valid")
    assert data.split_names("points:ring") == ["train", "validation", "test"]
