"""The table of hybrids: its weights, its rows, and a run of two steps."""

import csv
import types

import pytest

from experiments.flows import hybrid


def test_the_weights_are_of_nats():
    configs = hybrid.configs_of("digits", "coupling", hybrid.WEIGHTS, 7, [3])
    weights = {name: config.model.likelihood_weight for (name, _), config in configs.items()}
    assert weights == {"0": 0.0, "1/D": 1 / 64, "1": 1.0}
    assert {(config.seed, config.train.steps) for config in configs.values()} == {(3, 7)}


def test_a_row_is_the_mean_of_its_runs():
    shared = {"standard_error": 0.03, "likelihood": "estimate"}
    scores = [{"error": 0.1, "bits_per_dim": 2.0}, {"error": 0.3, "bits_per_dim": 3.0}]
    row = hybrid.row_of("residual", "1", [shared | score for score in scores])
    assert (row["accuracy"], row["bits_per_dim"]) == (pytest.approx(0.8), 2.5)
    assert row["image_error"] == pytest.approx(0.03 / 2**0.5)


def test_the_table_is_of_trained_runs(tmp_path):
    options = types.SimpleNamespace(
        data="smoke",
        flow=["coupling"],
        weight=["0", "1/D"],
        steps=2,
        seeds=[0],
        output=str(tmp_path),
    )
    hybrid.compare(options)
    with (tmp_path / "table.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["weight"] for row in written] == ["0", "1/D"]
    for row in written:
        assert 0 <= float(row["accuracy"]) <= 1 and float(row["bits_per_dim"]) > 0
        assert row["likelihood"] == "lower bound, one sample"
