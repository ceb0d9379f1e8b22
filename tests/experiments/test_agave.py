"""The experiments of AGAVE's chapter write the right tables. One tiny run serves most of them."""

import csv
import math
import shutil

import jax
import numpy as np
import pytest

import gm_jax
from configs import agave
from experiments import program
from experiments.agave import auxiliary, drop_auxiliary, kl_weight, pictures
from gm_jax import methods, session, sweep
from gm_jax.data import image_spec
from gm_jax.evaluation.latent_information import draw_images, draw_latents, pairwise_log_probs
from gm_jax.training.run import open_trained
from tests.support import images, noise_of

# The run in which the auxiliary loss will be dropped is the one that the others share.
CONFIG = sweep.with_fields(
    agave.get_config("smoke"),
    {
        "model.auxiliary_until_step": 2,
        "model.ema_decay": drop_auxiliary.EMA_DECAY,
    },
)

RUN = "kl_weight_2-seed_0"


def read(path):
    with path.open(encoding="utf-8") as file:
        return [
            {name: float(v) if v[0].isdigit() or v[0] == "-" else v for name, v in row.items()}
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the experiment on λ, with the one λ of the config."""
    folder = tmp_path_factory.mktemp("lambda")
    kl_weight.compare(CONFIG, [CONFIG.model.kl_weight], str(folder))
    return folder


@pytest.fixture(scope="module")
def dropped(folder, tmp_path_factory):
    dropped = tmp_path_factory.mktemp("drop")
    shutil.copytree(folder / RUN, dropped / "before")
    drop_auxiliary.compare(CONFIG, 2, 4, str(dropped))
    return dropped


def no_training(monkeypatch):
    def train(*_):
        raise AssertionError("a run was trained")

    monkeypatch.setattr(session, "train", train)


def test_both_bounds_are_the_kl_and_a_reconstruction(folder):
    (row,) = read(folder / "bits_per_dim.csv")
    assert (row["kl_weight"], row["step"], row["num_images"]) == (2, 2, 24)
    for model, decoder in (("agave", "pixelcnn"), ("vae", "vae")):
        total = row[f"{decoder}_reconstruction"] + row["kl"]
        np.testing.assert_allclose(row[f"{model}_bits_per_dim"], total, atol=3e-6)
    assert all((folder / f"{name}.png").exists() for name in ("samples", "reconstructions"))


def test_a_finished_run_is_not_trained_again(folder, monkeypatch):
    no_training(monkeypatch)
    written = (folder / "bits_per_dim.csv").read_bytes()
    kl_weight.compare(CONFIG, [2], str(folder))
    assert (folder / "bits_per_dim.csv").read_bytes() == written
    more = sweep.with_fields(CONFIG, {"train.steps": 3})
    assert not sweep.is_finished(more, folder / RUN)


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(folder, monkeypatch, capsys):
    no_training(monkeypatch)
    fewer = sweep.with_fields(CONFIG, {"train.steps": 1})
    other = sweep.with_fields(CONFIG, {"model.free_bits": 0.5})
    for config, weights, message in (
        (CONFIG, [3, -1], "model.kl_weight is -1.0; give a finite number from 0 on"),
        (CONFIG, [math.nan], "model.kl_weight is nan"),
        (CONFIG, [], "give at least one setting"),
        (fewer, [3, 2], "is trained for 2 steps, more than the 1 asked for: ask for 2"),
        (other, [2], "holds a run of another config: model.free_bits"),
        (CONFIG, [2, 2], "two runs would lie in the folder kl_weight_2-seed_0"),
    ):
        with pytest.raises(SystemExit) as end:
            kl_weight.compare(config, weights, str(folder))
        assert end.value.code == 2 and message in capsys.readouterr().err


def test_auxiliary_images_are_those_of_the_thesis():
    grey, colour = auxiliary.settings(17, 1), auxiliary.settings(256, 3)
    sizes = ["half", "quarter"]
    assert list(grey) == ["levels_2", "levels_4", "levels_8", "levels_17", *sizes]
    assert list(colour) == ["levels_32", "levels_64", "levels_128", "levels_256", *sizes, "grey_16"]
    for channels, levels, table in ((1, 17, grey), (3, 256, colour)):
        for name, setting in table.items():
            config = sweep.with_fields(CONFIG, {"model.auxiliary": setting})
            y = methods.create(config, image_spec((8, 8, channels), levels)).auxiliary
            side = {"half": 4, "quarter": 2}.get(name, 8)
            assert y.of(images(1, shape=(8, 8, channels))).shape[1:3] == (side, side)
            assert y.levels == int(name.partition("_")[2] or levels)
            assert y.channels == (1 if name == "grey_16" else channels)


def test_settings_are_chosen_by_name(capsys):
    table = auxiliary.settings(17, 1)
    assert list(auxiliary.chosen(table, ["half", "levels_17"])) == ["half", "levels_17"]
    assert auxiliary.chosen(table, []) == table
    with pytest.raises(SystemExit):
        auxiliary.chosen(table, ["grey_16"])
    assert "--setting=grey_16: choose among levels_2" in capsys.readouterr().err


def test_the_table_of_auxiliary_images_holds_the_runs(folder, tmp_path, monkeypatch):
    shutil.copytree(folder / RUN, tmp_path / "levels_17")
    no_training(monkeypatch)
    whole = {"levels_17": auxiliary.settings(17, 1)["levels_17"]}
    auxiliary.compare(CONFIG, whole, str(tmp_path))
    (row,) = read(tmp_path / "bits_per_dim.csv")
    assert (row["auxiliary_image"], row["levels"], row["side"]) == ("levels_17", 17, 8)
    np.testing.assert_allclose(row["bits_per_dim"], row["autoregressive"] + row["kl"], atol=3e-6)
    (other,) = read(folder / "bits_per_dim.csv")
    assert row["bits_per_dim"] == other["agave_bits_per_dim"]


def test_draws_lie_nearest_to_their_own_mean(folder, tmp_path):
    workdir = str(folder / RUN)
    pictures.picture_draws(workdir, str(tmp_path), num_sketches=3, num_draws=2)
    pictures.picture_interpolations(workdir, str(tmp_path), num_pairs=1, num_steps=3)
    rows = read(tmp_path / "draws.csv")
    assert len(rows) == 3 and (tmp_path / "interpolations.png").exists()
    assert all(0 < row["to_own_mean"] <= row["to_own_f_z"] <= 1 for row in rows)
    draws = np.array([[[3, 3]], [[5, 5]]], np.uint8).reshape(1, 2, 2, 1, 1)
    first, _ = pictures.distances(draws, np.array(draws[0]), levels=5)
    assert (first["to_own_f_z"], first["to_other_f_z"], first["to_own_mean"]) == (0, 0.5, 0)


def test_a_classifier_names_what_the_sketches_show(folder, tmp_path):
    workdir, classifier = str(folder / RUN), tmp_path / "classifier"
    scores = sweep.train(program.load_config("classifier", "smoke", None), classifier)
    rows = pictures.recognise(workdir, str(classifier), str(tmp_path))
    assert [row["images"] for row in rows] == ["test images", "f(z)", "draws"]
    # Both runs have the same test images, so the first row is the classifier's own score.
    assert rows[0]["recognised"] == pytest.approx(1 - scores["error"])
    assert all(0 <= row["recognised"] <= 1 for row in rows)


def test_more_pairs_than_test_images_are_refused(folder, tmp_path):
    with pytest.raises(SystemExit, match="--num_pairs=13: there are 24 test images"):
        pictures.picture_interpolations(folder / RUN, str(tmp_path), 13, 2)


def test_the_auxiliary_loss_is_dropped_at_its_step(dropped):
    curve = read(dropped / "kl.csv")
    assert [row["step"] for row in curve] == [1, 2, 3, 4]
    assert [row["auxiliary"] > 0 for row in curve] == [True, True, False, False]
    for row in curve:
        bits = (row["autoregressive"] + row["kl"]) / (64 * math.log(2))
        np.testing.assert_allclose(row["bits_per_dim"], bits, rtol=1e-5)


def test_dependence_is_measured_before_and_after(dropped):
    before, after = read(dropped / "dependence.csv")
    assert (before["when"], before["step"], after["when"], after["step"]) == (
        "before",
        2,
        "after",
        4,
    )
    for row in (before, after):
        np.testing.assert_allclose(
            row["bits_per_dim"], row["autoregressive"] + row["kl"], atol=3e-6
        )
        np.testing.assert_allclose(row["kl_nats"], row["kl"] * 64 * math.log(2), atol=5e-5)
        assert row["information_lower_nats"] <= math.log(4)
        assert row["information_upper_nats"] <= row["shuffled_f_z_nats"] + 1e-6
    model = gm_jax.load(dropped / "before", "latest")
    assert model.step == 2 and (dropped / "samples.png").exists()


def test_every_image_is_scored_under_every_row_of_latents(folder):
    run = open_trained(folder / RUN)
    variables, _ = run.restore("best")
    condition = variables["condition"]["params"]  # awake, so that the latents are seen
    variables["condition"] = {"params": {n: _awake(leaf) for n, leaf in condition.items()}}
    latents = draw_latents(run, variables, 3)
    drawn = draw_images(run, variables, latents)["image"]
    matrix = pairwise_log_probs(run, variables, drawn, latents)
    log_prob = jax.jit(run.method.conditional_log_prob)
    for j in range(3):
        alone = [np.repeat(z[j : j + 1], 3, axis=0) for z in latents]
        column = log_prob(variables, {"image": drawn}, alone, noise_of(jax.random.key(0), 3))
        np.testing.assert_allclose(matrix[:, j], column, rtol=1e-4)
    assert np.ptp(matrix, axis=1).min() > 1e-3
    np.testing.assert_array_equal(draw_latents(run, variables, 2)[0], latents[0][:2])


def _awake(tree):
    return {n: _awake(leaf) for n, leaf in tree.items()} if isinstance(tree, dict) else tree + 0.1
