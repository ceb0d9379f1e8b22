"""The command trains, judges and pictures an adaptive density, and it loads in a notebook."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import gm_jax
from configs import adaptive_density
from gm_jax import session
from gm_jax.evaluation.context import Context
from gm_jax.evaluation.request import Request
from gm_jax.training.run import load_split
from tests.support import SHAPE, images

ROOT = Path(__file__).resolve().parents[2]


def command(*flags):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "8",  # the programs of this process, so each is compiled once
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
    }
    done = subprocess.run(
        [sys.executable, "experiments/main.py", *flags],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(work directory, what the command printed)."""
    folder = tmp_path_factory.mktemp("run")
    config = "--config=configs/adaptive_density.py:av_ade,smoke"
    return folder, command(config, f"--workdir={folder}")


@pytest.fixture(scope="module")
def model(trained):
    return gm_jax.load(trained[0])


def test_the_command_trains_scores_and_pictures(trained):
    folder, printed = trained
    result = json.loads((folder / "test.json").read_text())
    parts = sum(result[name] for name in ("reconstruction", "kl", "log_det"))
    np.testing.assert_allclose(result["bits_per_dim"], parts, rtol=1e-5)
    assert (result["num_images"], result["likelihood"]) == (24, "lower bound, one sample")
    assert f"{result['bits_per_dim']:.4f}" in printed
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "generator/loss" in line]
    assert [line["generator/adversarial"] != 0 for line in steps] == [False, True]
    for picture in ("samples", "reconstructions"):
        assert len(list((folder / picture).glob("*step_00000002*.png"))) == 2


def test_samples_of_the_mean_and_with_noise_are_written(trained, model):
    with np.load(trained[0] / "samples" / "best_step_00000002_2_batches.npz") as written:
        drawn = model.sample(8)
        assert drawn.keys() == {"image", "with_noise"}
        for name, array in drawn.items():
            np.testing.assert_array_equal(array, written[name])
    assert (drawn["image"] != drawn["with_noise"]).any()
    cold = model.sample(8, temperature=0.0)
    np.testing.assert_array_equal(cold["image"], cold["with_noise"])


def test_a_run_may_be_asked_for_the_other_samples(trained, model):
    """They are those with noise, and an evaluation does not take them for the first ones."""
    config = adaptive_density.get_config("av_ade,smoke").unlock()
    config.sample.from_mean = False
    session.run(config.lock(), str(trained[0]), "sample")
    with np.load(trained[0] / "samples" / "best_step_00000002_2_batches.npz") as written:
        np.testing.assert_array_equal(written["image"], model.sample(8)["with_noise"])
    request = Request(metrics=("diversity",))
    run = model._run
    identity = Context(run, request).identity("samples")
    assert identity["from_mean"] is True and identity["temperature"] == 1.0


def test_a_loaded_model_scores_as_the_command_did(trained, model):
    test = load_split(model.config.data, "test")
    nats = model.log_likelihood(test.images)
    with np.load(trained[0] / "test.npz") as written:
        np.testing.assert_allclose(nats, written["log_likelihood"], rtol=1e-5)
    tightened = model.bits_per_dim(test.images, num_importance_samples=5)
    assert tightened.mean() < model.bits_per_dim(test.images).mean()


def test_a_loaded_model_encodes_decodes_and_interpolates(model):
    batch = images(3)
    decoded = model.decode(model.encode(batch))
    np.testing.assert_array_equal(decoded["image"], model.reconstruct(batch)["image"])
    way = model.interpolate(*batch[:2], num_steps=3)
    ends = model.decode(model.encode(batch[:2]), index=np.zeros(2))
    for name in ("image", "with_noise"):
        assert way[name].shape == (3, *SHAPE)
        np.testing.assert_array_equal(way[name][[0, -1]], ends[name])
    with pytest.raises(ValueError, match="not conditioned on classes: give labels=None"):
        model.decode(model.encode(batch), labels=[0, 1, 2])


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A class-conditional run, whose gains have moved far enough to matter."""
    folder = tmp_path_factory.mktemp("conditional")
    config = adaptive_density.get_config("vae,smoke").unlock()  # least to compile
    config.model.class_conditional = True
    config.optimizer.learning_rate = 0.05
    config.sample.num_images = 12
    session.run(config.lock(), str(folder), "train")
    return folder, gm_jax.load(folder)


def test_the_command_draws_every_class_in_turn(conditional):
    folder, model = conditional
    labels = np.arange(12) % 10
    with np.load(folder / "samples" / "best_step_00000002.npz") as written:
        for drawn in (model.sample(12, labels=labels), model.sample(12)):
            np.testing.assert_array_equal(written["with_noise"], drawn["with_noise"])
        other = model.sample(12, labels=(labels + 1) % 10)
        assert (written["with_noise"] != other["with_noise"]).any()


def test_a_model_by_class_is_given_the_classes_of_images(conditional):
    folder, model = conditional
    test = load_split(model.config.data, "test")
    nats = model.log_likelihood(test.images, labels=test.labels)
    with np.load(folder / "test.npz") as written:
        np.testing.assert_allclose(nats, written["log_likelihood"], rtol=1e-5)
    batch, labels = test.images[:2], test.labels[:2]
    decoded = model.decode(model.encode(batch, labels), labels=labels)
    reconstructed = model.reconstruct(batch, labels=labels)
    np.testing.assert_array_equal(decoded["image"], reconstructed["image"])
    way = model.interpolate(*batch, num_steps=3, label=4)
    ends = model.decode(model.encode(batch, [4, 4]), index=np.zeros(2), labels=[4, 4])
    np.testing.assert_array_equal(way["image"][[0, -1]], ends["image"])


def test_a_model_by_class_refuses_images_without(conditional):
    _, model = conditional
    for function in (model.log_likelihood, model.encode, model.reconstruct):
        with pytest.raises(ValueError, match="class_conditional is True: give labels"):
            function(images(2))
    with pytest.raises(ValueError, match="class_conditional is True: give labels"):
        model.interpolate(*images(2), num_steps=2)
