"""The programs that compare flows: their runs, their tables, and what judges samples."""

import csv

import numpy as np

from experiments import program
from experiments.flows import dequantisation, flow_gan
from gm_jax import data


def test_the_error_of_a_mean_is_that_of_the_seeds():
    found = program.mean_and_error("x", [1.0, 2.0, 6.0])
    np.testing.assert_allclose([found["x"], found["x_error"]], [3, np.sqrt(7 / 3)])
    assert np.isnan(program.mean_and_error("x", [1.0])["x_error"])


def test_runs_with_and_without_learned_noise_differ_in_that_alone():
    configs = dequantisation.configs_of(["nice"], [0, 5], "smoke", 7)
    assert len(configs) == 4
    for seed in (0, 5):
        one, other = (
            configs[f"nice+{kind}-seed_{seed}"].to_dict() for kind in ("uniform", "variational")
        )
        assert (one["seed"], one["train"]["steps"]) == (seed, 7)
        kinds = [config["model"].pop("dequantisation")["kind"] for config in (one, other)]
        assert kinds == ["uniform", "variational"] and one.pop("variant") != other.pop("variant")
        assert one == other


def test_the_gain_is_taken_in_pairs():
    """Seeds differ by whole bits, and the gain hardly."""
    bits = {"uniform": (2.0, 3.0, 4.0), "variational": (1.9, 2.8, 3.7)}
    scores = {
        f"glow+{kind}-seed_{seed}": {"bits_per_dim": value}
        for kind, values in bits.items()
        for seed, value in enumerate(values)
    }
    (row,) = dequantisation.gains(["glow"], [0, 1, 2], scores)
    np.testing.assert_allclose([row["gain"], row["gain_error"]], [0.2, 0.1 / np.sqrt(3)])
    np.testing.assert_allclose([row["uniform"], row["uniform_error"]], [3, 1 / np.sqrt(3)])


def test_samples_are_judged_by_how_near_their_pixels_are_and_by_what_they_miss():
    digits = data.load("digits", "train")
    zeros = digits.images[digits.labels == 0]
    noise = np.random.default_rng(0).integers(0, 17, digits.images.shape).astype(np.uint8)
    one_class, random = (flow_gan.judge(each, digits.images, 17) for each in (zeros, noise))
    assert one_class["distance"] < random["distance"]
    assert one_class["precision"] > one_class["recall"] + 0.2
    assert one_class["recall"] > random["recall"] + 0.05  # one class of ten
    assert random["precision"] < 0.1


def test_costs_and_gains_are_over_likelihood_alone(tmp_path):
    runs = {"likelihood": [(2.0, 5.0), (3.0, 7.0)], "hybrid": [(2.5, 4.0), (3.7, 5.0)]}
    judged = {
        mode: [{"bits_per_dim": bits, "distance": distance} for bits, distance in pairs]
        for mode, pairs in runs.items()
    }
    alone, hybrid = flow_gan.rows_of(["likelihood", "hybrid"], judged)
    assert alone["cost"] == alone["gain"] == alone["cost_error"] == 0
    np.testing.assert_allclose([hybrid["cost"], hybrid["cost_error"]], [0.6, 0.1])
    np.testing.assert_allclose([hybrid["gain"], hybrid["gain_error"]], [1.5, 0.5])
    program.write_csv(tmp_path / "modes.csv", [alone, hybrid])
    rows = [*csv.DictReader((tmp_path / "modes.csv").read_text().splitlines())]
    assert rows[1]["cost"] == "0.600000"
