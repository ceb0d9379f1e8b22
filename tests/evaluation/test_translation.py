"""Translations of a trained run: the command, the loaded model, the scores and the pictures."""

import dataclasses
import json
import types

import numpy as np
import pytest
from PIL import Image

import gm_jax
from configs import classifier, cycle_gan
from gm_jax import data, session
from gm_jax.data.fields import Field, label_field
from gm_jax.data.pair import pair_of
from gm_jax.evaluation import drawing
from gm_jax.evaluation.translation import _judge_classes, judge_translations, picture
from gm_jax.training.run import open_run

CONFIG = cycle_gan.get_config("smoke")
STEP = "best_step_00000002"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    session.run(CONFIG, str(folder), "train")
    return folder


@pytest.fixture(scope="module")
def model(workdir):
    return gm_jax.load(workdir)


@pytest.fixture(scope="module")
def run(workdir):
    return open_run(CONFIG, workdir)


def test_the_scores_are_means_over_the_images_of_each_domain(workdir):
    scores = json.loads((workdir / "test.json").read_text())
    with np.load(workdir / "test.npz") as stored:
        errors = {name: stored[name] for name in ("cycle_error_a", "cycle_error_b")}
    assert [len(error) for error in errors.values()] == [24, 20]
    for name, error in errors.items():
        assert scores[name] == pytest.approx(error.mean()) and 0 < error.min() < error.max() <= 2
    for direction in ("a_to_b", "b_to_a"):
        assert 0.5 < scores[f"told_apart_{direction}"] <= 1  # after two steps
        best = scores[f"correct_if_renamed_{direction}"]
        assert 0 <= scores[f"correct_{direction}"] <= best <= 1
    assert 0.3 < scores["judge_a"] <= 1  # 64 digits judge 24, of ten classes


def test_errors_are_those_of_the_loaded_model_in_any_batches(workdir, model, run):
    test = run.dataset("test")
    for domain, direction in (("a", "a_to_b"), ("b", "b_to_a")):
        images = test.domain(domain).images
        found = model.translate(images[:7], direction)
        with np.load(workdir / "test.npz") as stored:
            expected = stored[f"cycle_error_{domain}"][:7]
        np.testing.assert_allclose(found["cycle_error"], expected, rtol=1e-4)
        assert found["image"].shape == found["cycle"].shape == images[:7].shape
        levels = {"a": 17, "b": 2}
        assert found["image"].max() < levels["b" if domain == "a" else "a"]
        assert found["cycle"].max() < levels[domain]


@pytest.mark.parametrize(
    ("direction", "domain", "levels"), [("a_to_b", "a", 2), ("b_to_a", "b", 17)]
)
def test_the_command_writes_what_the_loaded_model_translates(
    tmp_path, workdir, model, run, direction, domain, levels
):
    session.run(CONFIG, str(workdir), "translate", output=str(tmp_path), direction=direction)
    path = tmp_path / "translations" / f"{STEP}_{direction}.npz"
    images = run.dataset("test").domain(domain).images
    again = data.load(f"npz:{path}", "train", cache_dir=str(tmp_path / "cache"))
    np.testing.assert_array_equal(again.images, model.translate(images, direction)["image"])
    assert again.levels == levels and again.labels is not None
    assert len([*path.with_suffix("").glob("*.png")]) == len(images)
    with Image.open(path.with_suffix(".png")) as drawn:
        assert drawn.height > 3 * 8


def test_images_of_ones_own_are_translated_as_a_whole(tmp_path, workdir, model, run):
    images = run.dataset("test").images[:5]
    np.savez(tmp_path / "mine.npz", image=images, levels=17)
    source = f"npz:{tmp_path / 'mine.npz'}"
    session.run(CONFIG, str(workdir), "translate", output=str(tmp_path), source=source)
    with np.load(tmp_path / "translations" / f"{STEP}_a_to_b.npz") as stored:
        np.testing.assert_array_equal(stored["image"], model.translate(images)["image"])
        assert "label" not in stored


def test_what_cannot_be_translated_is_refused(tmp_path, model, run, capsys):
    with pytest.raises(ValueError, match=r"--input=digits: image is .* 17 levels, and that of dom"):
        drawing.translate(run, "b_to_a", "digits")
    with pytest.raises(ValueError, match="direction is 'b'; give a_to_b or b_to_a"):
        model.translate(run.dataset("test").images, "b")
    with pytest.raises(ValueError, match=r"hold the value 16; those of 2 levels are in 0..1"):
        model.translate(run.dataset("test").images, "b_to_a")
    with pytest.raises(ValueError, match="it offers translate"):
        model.sample(1)
    with pytest.raises(SystemExit):
        session.run(CONFIG, str(tmp_path), "sample", direction="a_to_b")
    assert "--direction: only --mode=translate can take it" in capsys.readouterr().err
    other = open_run(classifier.get_config("smoke"), tmp_path)
    with pytest.raises(ValueError, match="--mode=translate: the method 'classifier' cannot transl"):
        drawing.translate(other)


def test_classes_are_not_judged_where_labels_only_name_the_domain(run):
    variables, _ = run.restore("best")
    test = run.dataset("test")
    arrays = {**test.arrays, "label": np.zeros_like(test.arrays["label"])}
    named = data.Dataset(arrays, test.fields, "named", "test")
    assert judge_translations(run, variables, named)[1].keys() == {
        "cycle_error_a",
        "cycle_error_b",
        *("told_apart_a_to_b", "told_apart_b_to_a"),
        *("correct_b_to_a", "correct_if_renamed_b_to_a", "judge_a"),
    }


def test_translations_are_judged_by_examples_of_all_classes_however_they_are_sorted():
    """2,500 points of each class, one class after the other; b's own points keep their class."""
    labels = np.repeat([0, 1], 2_500).astype(np.int32)
    points = labels[:, None] * 4 + np.random.default_rng(0).normal(size=(5_000, 2))
    fields = {"point": Field((2,), "float32"), "label": label_field(2)}
    domain = data.Dataset(
        {"point": points.astype(np.float32), "label": labels}, fields, "sorted", "train"
    )
    both = pair_of(domain, domain, "both", "train")
    run = types.SimpleNamespace(train_data=both)
    scores = _judge_classes(run, both, domain.points, "a_to_b")
    assert scores["judge_b"] == scores["correct_a_to_b"] > 0.95


def test_classes_of_the_domains_are_matched_by_name(run):
    """A domain that numbers its classes in another order has the same scores."""
    variables, _ = run.restore("best")
    names = tuple(map(str, range(10)))

    def scores(order):
        def named(dataset):
            theirs = np.argsort(order).astype(np.int32)[dataset.arrays["label_b"]]
            arrays = {**dataset.arrays, "label_b": theirs}
            labels = {
                "label": label_field(names),
                "label_b": label_field([names[i] for i in order]),
            }
            return data.Dataset(arrays, {**dataset.fields, **labels}, "named", dataset.split)

        datasets = {split: named(dataset) for split, dataset in run.datasets.items()}
        other = dataclasses.replace(run, datasets=datasets)
        return judge_translations(other, variables, datasets["test"])[1]

    found = scores(list(range(10)))
    assert found == scores([3, 1, 4, 0, 5, 9, 2, 6, 8, 7]) and "correct_a_to_b" in found


def test_a_picture_shows_grey_beside_colour_and_levels_spread():
    grey, colour = Field((2, 2, 1), "uint8", 2), Field((2, 2, 3), "uint8", 256)
    white = np.ones((3, 2, 2, 1), np.uint8)
    red = np.zeros((4, 2, 2, 3), np.uint8)
    red[..., 0] = 200
    drawn = picture([(grey, white), (colour, red)])
    colours = {tuple(pixel) for pixel in drawn.reshape(-1, 3)}
    assert colours == {(255, 255, 255), (200, 0, 0), (128, 128, 128)}
