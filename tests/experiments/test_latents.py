"""The experiment on who uses the latents, at smoke size."""

import csv

import numpy as np
import pytest

from experiments.latents import levels, who_uses_them
from gm_jax import methods, sweep
from gm_jax.data import image_spec


def test_codes_that_are_labels_are_read_and_noise_is_not():
    labels = {split: np.arange(200) % 4 for split in ("train", "test")}
    generator = np.random.default_rng(0)
    kept = {split: np.eye(4)[each][:, None] for split, each in labels.items()}
    noise = {split: generator.normal(size=(200, 5)) for split in labels}
    assert who_uses_them.linear_accuracy(kept, labels) == 1
    assert who_uses_them.linear_accuracy(noise, labels) < 0.4


@pytest.mark.parametrize("variant", ["digits", "fashion_mnist", "photos", "cifar10"])
def test_no_two_rows_are_the_same(variant):
    configs = [who_uses_them.config_of(row, variant, 90, 3) for row in who_uses_them.ROWS]
    assert len({config.to_json() for config in configs}) == len(configs)


@pytest.mark.parametrize("variant", ["digits", "fashion_mnist"])
def test_rows_differ_in_what_they_say_alone_and_see_the_same_batches(variant):
    configs = {row: who_uses_them.config_of(row, variant, 90, 3) for row in who_uses_them.ROWS}
    whole = configs["whole"]
    for config in configs.values():
        assert config.data == whole.data and config.train.steps == 90 and config.seed == 3
        assert config.model.ema_decay == 0
    assert whole.model.window == () and configs["window_2x5"].model.window == (2, 5)
    assert configs["warm_up"].model.kl_annealing_steps == 30
    assert configs["soft_free_bits"].model.soft_free_bits == configs["free_bits"].model.free_bits
    assert sum(configs["levels_1x3"].model.map_latents) > 0
    assert configs["agave_4"].model.kl_weight == 4
    spec = image_spec((8, 8, 1) if variant == "digits" else (28, 28, 1), 17)
    for config in configs.values():
        methods.create(config, spec)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a tiny table, and its rows."""
    folder = tmp_path_factory.mktemp("latents")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(who_uses_them, "SAMPLES", 4)
        return folder, who_uses_them.compare(["window_1x3"], "smoke", 2, [0], folder)


def test_a_tiny_table_has_a_row_a_model_and_is_not_made_twice(made, monkeypatch):
    folder, table = made
    assert [line["row"] for line in table] == ["window_1x3", "test images"]
    found, pixels = table
    assert 1 < found["bits_per_dim"] < 8 and found["information_lower"] <= np.log(4)
    # 24 test images; those of two steps have nothing of a digit.
    assert 0 <= found["image_recognised"] < 0.4 < pixels["image_recognised"]
    assert 0 <= found["linear_accuracy"] < pixels["linear_accuracy"]
    assert (folder / "kl.png").exists()
    assert "| window_1x3 | 1 |" in (folder / "table.md").read_text()
    for function in ("judged", "open_run"):
        monkeypatch.delattr(who_uses_them, function)
    monkeypatch.delattr(sweep.session, "train")
    assert who_uses_them.compare(["window_1x3"], "smoke", 2, [0], folder) == table
    with (folder / "table.csv").open() as file:
        assert [line["row"] for line in csv.DictReader(file)] == ["window_1x3", "test images"]


def test_levels_are_drawn_anew_from_none_kept_to_all(made, tmp_path):
    rows = levels.compare(str(made[0] / "window_1x3-seed_0"), 2, 1, str(tmp_path))
    assert [row["levels_kept"] for row in rows] == [0, 1]
    assert all(0 < row["squared_distance"] < 4 for row in rows)
    assert (tmp_path / "levels.png").exists()
