"""The energies of the plane and their fits: normalisers, divergences, pictures, the program."""

import csv
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.flows import energies
from gm_jax.networks.vector_flow import vector_flow

ALONG = np.sqrt(2 * np.pi)  # of a Gaussian with a deviation of 1
# {energy: the deviations of its Gaussians along z₂}: for each z₁ it is a sum of them.
DEVIATIONS = {"U2": (0.4,), "U3": (0.35, 0.35), "U4": (0.4, 0.35)}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_the_normaliser_is_the_product_of_both_directions(name):
    """Along z₁ the density is constant for 8 units, and half a Gaussian of .2 on either side."""
    expected = np.log(ALONG * sum(DEVIATIONS[name]) * (8 + 0.2 * ALONG))
    found = energies.log_normaliser(energies.ENERGIES[name])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_normaliser_of_the_ring_is_that_in_polar_coordinates():
    radii, angles = np.arange(0.005, 8, 0.01), np.arange(0, 2 * np.pi, np.pi / 500)
    r, angle = np.meshgrid(radii, angles)
    density = np.exp(
        -np.asarray(energies.ring_with_two_modes(r * np.cos(angle), r * np.sin(angle)))
    )
    expected = np.log((r * density).sum() * 0.01 * np.pi / 500)
    found = energies.log_normaliser(energies.ring_with_two_modes)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_divergence_of_an_unfitted_flow_is_that_of_a_normal():
    """KL(N(0, I) ‖ p) by a sum over a grid."""
    energy, flow = energies.bump, vector_flow("planar", 2)
    start = jnp.zeros((1, 2))
    params = flow.init(jax.random.key(0), start, energies.EVALUATE, method="forward_and_log_det")
    axis = np.arange(-6, 6, 0.04, np.float32)
    z1, z2 = np.meshgrid(axis, axis)
    log_q = -(np.float64(z1) ** 2 + z2**2) / 2 - np.log(2 * np.pi)
    log_ratio = log_q + np.asarray(energy(z1, z2)) + energies.log_normaliser(energy)
    expected = (np.exp(log_q) * log_ratio).sum() * 0.04**2
    found = energies.kl_divergence(flow, params, energy, jax.random.key(1))
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_beta_rises_to_1_by_half_of_the_training():
    betas = [energies.inverse_temperature(step, 100) for step in (0, 25, 50, 99)]
    np.testing.assert_allclose(betas, [0.01, 0.51, 1, 1], rtol=1e-6)


def test_a_picture_is_darkest_where_the_density_is_highest():
    """At z₁ = 2 to the right and z₂ = 3 up, of a frame of ±4."""
    points = energies.points_of_picture(side=32)
    shown = energies.picture(-np.sum((points - [2.0, 3.0]) ** 2, 1))
    row, column = np.argwhere(shown[..., 0] == shown.min()).mean(0)
    assert abs(row - 3.5) <= 1 and abs(column - 23.5) <= 1 and shown[-1, 0, 0] == 255


def test_the_program_writes_a_table_and_pictures_and_fits_once(tmp_path):
    options = SimpleNamespace(
        energy=["U1", "U4"], flow=["planar"], length=[2], seeds=[0, 1], steps=400, width=8
    )
    options.annealing, options.output = True, str(tmp_path)
    energies.compare(options)
    rows = [*csv.DictReader((tmp_path / "kl.csv").read_text().splitlines())]
    assert [(row["energy"], row["seeds"]) for row in rows] == [("U1", "2"), ("U4", "2")]
    for row, name in zip(rows, ("U1", "U4"), strict=True):
        assert 0 < float(row["lowest"]) < float(row["kl"]) < float(row["highest"])
        assert float(row["highest"]) < float(untrained(name)) - 1
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    energies.compare(options)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")} == files
    assert len(files) == 2 and {"planar.png", "flows.png"} <= {p.name for p in tmp_path.iterdir()}


def untrained(name):
    """KL(N(0, I) ‖ p)."""
    energy, z = energies.ENERGIES[name], jax.random.normal(jax.random.key(0), (100_000, 2))
    log_q = jax.scipy.stats.norm.logpdf(z).sum(1)
    return jnp.mean(log_q + energy(*z.T)) + energies.log_normaliser(energy)
