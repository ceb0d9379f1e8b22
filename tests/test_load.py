"""A loaded model gives what its run gave."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import gm_jax
from configs import classifier
from gm_jax import data, session
from gm_jax.evaluation.likelihood import importance_weighted_likelihood
from gm_jax.images import spread
from gm_jax.training import recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.run import load_split, open_run
from tests import toy as toy_page
from tests.support import LABELLED, LEVELS, SHAPE, images

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model(toy_workdir):
    return gm_jax.load(toy_workdir)


def test_the_config_is_the_one_that_trained(model):
    assert model.config == toy_page.get_config() and model.config.is_locked
    assert (model.step, model.image_shape, model.levels) == (2, SHAPE, LEVELS)
    config = classifier.get_config("smoke")  # tuples of tuples
    saved = json.loads(workdirs.to_json(config))
    assert workdirs.with_tuples(saved) == config.to_dict()


def test_samples_are_those_of_the_sample_mode(toy_workdir, model):
    with np.load(toy_workdir / "samples" / "best_step_00000002.npz") as written:
        drawn = model.sample(8)
        assert written["levels"] == LEVELS and written.keys() == {*drawn, "levels"}
        for name, array in drawn.items():
            np.testing.assert_array_equal(array, written[name])
    again = data.load(f"npz:{toy_workdir / 'samples' / 'best_step_00000002.npz'}", "train")
    np.testing.assert_array_equal(again.images, drawn["image"])


def test_scores_are_those_of_the_evaluation(toy_workdir, model):
    test = load_split(model.config.data, "test")
    written = np.load(toy_workdir / "test.npz")["log_likelihood"]
    nats = model.log_likelihood(test.images)
    np.testing.assert_allclose(nats, written, rtol=1e-6)
    assert nats.dtype == np.float64
    result = json.loads((toy_workdir / "test.json").read_text())
    np.testing.assert_allclose(model.bits_per_dim(test.images).mean(), result["bits_per_dim"])
    run = open_run(model.config, toy_workdir)
    tight = importance_weighted_likelihood(run, run.restore("best")[0], test, 3)
    few = model.log_likelihood(test.images, num_importance_samples=3)
    np.testing.assert_allclose(few, tight["log_likelihood"], rtol=1e-6)


def test_the_command_tightens_its_bound_when_asked(toy_workdir, model, capsys):
    session.run(model.config, str(toy_workdir), "evaluate", {"num_importance_samples": 3})
    result = json.loads((toy_workdir / "test.json").read_text())
    nats = np.load(toy_workdir / "test.npz")["importance_weighted"]
    test = load_split(model.config.data, "test")
    bits = model.bits_per_dim(test.images, num_importance_samples=3)
    np.testing.assert_allclose(result["importance_weighted"], bits.mean(), rtol=1e-6)
    np.testing.assert_allclose(-nats / (64 * np.log(2)), bits, rtol=1e-6)
    error = bits.std(ddof=1) / np.sqrt(24)
    np.testing.assert_allclose(result["importance_weighted_standard_error"], error, rtol=1e-4)
    assert result["bits_per_dim"] > result["importance_weighted"]
    assert f"3 samples        ≤ {bits.mean():.4f} ± {error:.4f}" in capsys.readouterr().out


def test_the_command_samples_at_a_temperature_beside_the_others(toy_workdir, model, capsys):
    session.run(model.config, str(toy_workdir), "sample", temperature=0.5)
    path = toy_workdir / "samples" / "best_step_00000002_temperature_0.5.npz"
    assert str(path) in capsys.readouterr().out and path.with_suffix(".png").exists()
    with np.load(path) as written:
        np.testing.assert_array_equal(written["f_z"], model.sample(8, temperature=0.5)["f_z"])
        assert (written["f_z"] != model.sample(8)["f_z"]).any()
    assert len(list((toy_workdir / "samples" / path.stem).iterdir())) == 8


def test_any_number_of_images_gives_the_same_images(toy_workdir, model):
    small = gm_jax.load(toy_workdir, "latest", batch_size=3)  # rounded up to the eight devices
    many = small.sample(17)
    assert many["image"].shape == (17, *SHAPE) and many["image"].dtype == np.uint8
    np.testing.assert_array_equal(model.sample(17)["f_z"], many["f_z"])
    np.testing.assert_array_equal(model.sample(1)["image"], many["image"][:1])
    batch = images(17)
    whole = small.log_likelihood(batch)
    np.testing.assert_allclose(model.log_likelihood(batch), whole, rtol=1e-5)
    np.testing.assert_allclose(model.log_likelihood(batch[:1]), whole[:1], rtol=1e-5)
    assert small.config == model.config


def test_the_seed_decides(model):
    first, same, other = (model.sample(8, seed=seed)["image"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    latents = [model.encode(images(3), seed=seed) for seed in (0, 0, 1)]
    jax.tree.map(np.testing.assert_array_equal, latents[0], latents[1])
    assert all(np.abs(a - b).max() > 0 for a, b in zip(latents[0], latents[2], strict=True))


def test_latents_are_those_behind_the_reconstructions(model):
    batch = images(11)
    reconstructed = model.reconstruct(batch, num_draws=2)
    assert reconstructed.keys() == {"f_z", "image", "image_2"}
    decoded = model.decode(model.encode(batch))
    np.testing.assert_array_equal(decoded["f_z"], reconstructed["f_z"])
    assert decoded["image"].shape == batch.shape


def test_interpolation_starts_and_ends_at_its_images(model):
    pair = images(2)
    way = model.interpolate(*pair, num_steps=5)
    ends = model.decode(model.encode(pair), index=np.zeros(2))
    for name in ("f_z", "image"):
        assert way[name].shape == (5, *SHAPE)
        np.testing.assert_array_equal(way[name][[0, -1]], ends[name])
    halves = model.encode(pair)
    middle = model.decode([(z[:1] + z[1:]) / 2 for z in halves])
    np.testing.assert_array_equal(way["f_z"][2], middle["f_z"][0])


def test_what_is_saved_is_what_was_drawn(model, tmp_path):
    drawn = model.sample(5)
    for name in ("all.npz", "grid.png", "moving.gif", "folder"):
        model.save(tmp_path / "new" / name, drawn)
    again = data.load(f"npz:{tmp_path / 'new' / 'all.npz'}", "train")
    np.testing.assert_array_equal(again.images, drawn["image"])
    one_by_one = data.load(f"folder:{tmp_path / 'new' / 'folder'}", "all")
    np.testing.assert_array_equal(one_by_one.images, spread(drawn["image"], LEVELS))
    with Image.open(tmp_path / "new" / "grid.png") as grid:
        np.testing.assert_array_equal(np.asarray(grid), np.asarray(model.show(drawn)))
    with Image.open(tmp_path / "new" / "moving.gif") as moving:
        assert moving.n_frames == 5
        first = np.asarray(moving.convert("L"))[:: 128 // SHAPE[0], :: 128 // SHAPE[1]]
    np.testing.assert_array_equal(first, spread(drawn["image"], LEVELS)[0, ..., 0])


def test_the_command_pictures_ways_between_test_images(toy_workdir, model, capsys):
    session.run(model.config, str(toy_workdir), "interpolate")
    path = toy_workdir / "interpolations" / "best_step_00000002.png"
    assert str(path) in capsys.readouterr().out
    with Image.open(path) as grid, Image.open(path.with_suffix(".gif")) as moving:
        assert grid.width > 9 * SHAPE[1] and moving.n_frames == 9


def test_a_methods_own_interpolation_is_used(model, monkeypatch):
    def to_the_start(start, end, weights):
        return [np.repeat(z, len(weights), 0) for z in start]

    monkeypatch.setattr(model._run.method, "interpolate", to_the_start, raising=False)
    way = model.interpolate(*images(2), num_steps=3)
    np.testing.assert_array_equal(way["image"][0], way["image"][2])


def test_no_images_are_needed_but_for_runs_that_recorded_nothing(toy_workdir, model, monkeypatch):
    assert recorded.read_data(toy_workdir) == LABELLED
    opened, load = [], data.load
    monkeypatch.setattr(data, "load", lambda *args, **kw: opened.append(args) or load(*args, **kw))
    expected = model.sample(1)["image"]
    np.testing.assert_array_equal(gm_jax.load(toy_workdir).sample(1)["image"], expected)
    assert opened == []
    (toy_workdir / "data.json").rename(toy_workdir / "kept.json")
    np.testing.assert_array_equal(gm_jax.load(toy_workdir).sample(1)["image"], expected)
    (toy_workdir / "kept.json").rename(toy_workdir / "data.json")
    assert opened == [("digits", "train[:64]")]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (images(2) / 16, r"images are float64; give uint8 in 0..16"),
        (images(2)[0], r"shape \(8, 8, 1\); give \[N ≥ 1, 8, 8, 1\]"),
        (images(2)[:, :7], r"shape \(2, 7, 8, 1\); give"),
        (images(2)[:0], r"shape \(0, 8, 8, 1\); give"),
        (images(2) + np.uint8(1), r"the value 17; those of 17 levels are in 0..16"),
    ],
)
def test_what_are_no_images_of_the_model_is_refused(model, bad, expected):
    for function in (model.log_likelihood, model.encode, model.reconstruct):
        with pytest.raises(ValueError, match=expected):
            function(bad)


def test_numbers_and_labels_that_mean_nothing_are_refused(toy_workdir, model, tmp_path):
    for call, expected in (
        (lambda: model.sample(0), "0 samples asked for; give 1 or more"),
        (lambda: model.sample(2, temperature=-0.5), "temperature is -0.5; give 0 or more"),
        (lambda: model.sample(2, seed=2**32), "seed is 4294967296; give a whole number from 0"),
        (lambda: model.encode(images(1), seed=-1), "seed is -1; give a whole number from 0"),
        (lambda: model.reconstruct(images(1), seed=-1), "seed is -1; give a whole number from 0"),
        (lambda: model.sample(2, labels=[1]), r"shape \(1,\); give integers \[2\]"),
        (lambda: model.sample(1, labels=[10]), r"lie in 10..10, but there are 10 classes"),
        (lambda: model.sample(1, labels=[3]), "Toy: class_conditional is False: give none"),
        (lambda: model.log_likelihood(images(1), 0), "num_importance_samples is 0"),
        (lambda: model.reconstruct(images(1), num_draws=0), "num_draws is 0; give 1"),
        (lambda: model.decode([np.zeros((2, 1)), np.zeros((1, 1))]), r"latents begin with \[\(1,"),
        (lambda: model.interpolate(*images(2), num_steps=1), "num_steps is 1; give 2"),
        (lambda: model.interpolate(images(2), images(2), 3), r"shape \(2, 8, 8, 1\), not"),
        (lambda: gm_jax.load(toy_workdir, batch_size=0), "batch_size is 0; give 1"),
        (lambda: gm_jax.load(toy_workdir, "worst"), "'worst': choose 'latest' or 'best'"),
        (lambda: gm_jax.load(tmp_path), "no run in"),
    ):
        with pytest.raises(ValueError, match=expected):
            call()


def test_a_method_that_lacks_a_function_is_named(tmp_path):
    config = classifier.get_config("smoke").unlock()
    config.train.update({"steps": 1, "evaluate_every_steps": 1})
    session.run(config.lock(), str(tmp_path), "train")
    model = gm_jax.load(tmp_path)
    for function in (model.log_likelihood, model.encode, model.reconstruct):
        with pytest.raises(ValueError, match=r"the method 'classifier' has no .*; it offers none"):
            function(images(1))
    with pytest.raises(ValueError, match="has no encode and no decode"):
        model.interpolate(*images(2), num_steps=3)


def test_importing_the_package_takes_no_jax_along_and_the_name_is_function_and_file():
    script = (
        "import sys, gm_jax; assert 'jax' not in sys.modules\n"
        "from gm_jax.load import TrainedModel, load\n"
        "import gm_jax.load as file\n"
        "assert callable(gm_jax.load) and file.TrainedModel is TrainedModel\n"
        "try: gm_jax.load('nowhere')\n"
        "except ValueError as error: assert 'no run in' in str(error)\n"
        "else: raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
