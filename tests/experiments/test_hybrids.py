"""The programs of hybrids: their scores on cases that are known, and a tiny run of each."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import bigan, cycle_gan
from experiments import program
from experiments.alpha_gan import claims, table_1
from experiments.hybrids import codes, modes, translations
from experiments.mixed_batches import points
from gm_jax import data, methods, sweep
from gm_jax.data.fields import Field, image_spec
from gm_jax.data.points import MIXTURES
from gm_jax.methods.player import in_order
from gm_jax.training.run import open_run
from tests.support import noise_of, random_variables

POINTS = {"point": Field((2,), "float32")}
COLOUR = image_spec((8, 8, 3), 17)


def test_random_pairs_are_as_far_apart_as_what_says_nothing():
    """0 if all is kept; 1 if one answer serves all; more if the answers belong to others."""
    x = np.random.default_rng(0).integers(0, 17, (400, 4, 4, 1)).astype(np.uint8)
    assert codes.ratio_to_random_pairs(x, x) == 0
    np.testing.assert_allclose(codes.ratio_to_random_pairs(x, np.full_like(x, 8)), 1)
    np.testing.assert_allclose(codes.ratio_to_random_pairs(x, x[::-1]), 1, atol=0.03)
    half = (x + x.mean(0)) / 2
    assert 0 < codes.ratio_to_random_pairs(x, half) < 0.9


def test_the_gan_without_codes_is_blind_to_them_and_moves_the_same_networks():
    config = bigan.get_config("bigan,smoke_grid")
    batch = {"point": np.ones((8, 2), np.float32), "index": np.arange(8, dtype=np.int32)}
    noise, found = noise_of(jax.random.key(0), 8), {}
    for create in (modes.WithoutCodes, methods.create):
        model = create(config, POINTS)
        given = random_variables(model, batch)
        z = noise.normal(2)
        logits = [model.judged(given, batch["point"], codes, noise) for codes in (z, z + 1)]
        found[create] = np.abs(logits[0] - logits[1]).max()
        assert [each.name for each in in_order(model.players)] == [
            "discriminator",
            "encoder",
            "generator",
        ]
    assert found[modes.WithoutCodes] == 0 < found[methods.create]


def test_batch_norms_of_points_have_the_moments_of_batches_in_samples():
    """Steps at rate 0 move the running averages alone, of which the samples know nothing."""
    config = bigan.get_config("bigan,smoke_grid").unlock()
    config.optimizer.learning_rate = 1e-12
    modes_of_grid = np.float32(MIXTURES["grid_ali"].modes)
    found = points.gan(config.lock(), "grid_ali").train(0, modes_of_grid, (10, 12))
    np.testing.assert_allclose(found["samples"][0], found["samples"][1], atol=1e-5)


def test_a_tiny_training_of_points_is_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(modes.PAGES, "gan", "bigan")
    options = types.SimpleNamespace(width=4, steps=2, output=str(tmp_path))
    first = modes.trained("gan", 0, options)
    assert first["samples"].shape == (1, points.SAMPLES, 2) and not first["diverged"]
    monkeypatch.setattr(points, "gan", None)
    np.testing.assert_array_equal(modes.trained("gan", 0, options)["samples"], first["samples"])
    rows = [{"model": "a", "counts": [9, 8, 9, 10]}, {"model": "b", "counts": [1, 2, 1, 3]}]
    assert modes.verdict(rows, "a", "b") == "agrees" and modes.verdict(rows, "b", "a") == "no"
    assert modes.verdict([row | {"counts": [3, 4]} for row in rows], "a", "b") == claims.TOO_FEW


def test_a_cloud_has_the_moments_of_the_data_and_hits_most_modes_with_few_samples():
    cloud, mixture = modes.cloud(0), MIXTURES[modes.DATA]
    data_points = mixture.draw(np.random.RandomState(0), np.arange(25).repeat(400))
    np.testing.assert_allclose(np.cov(cloud.T), np.cov(data_points.T), atol=0.6)
    found = modes.scores_of([cloud, data_points])
    assert found["modes_least"] > 8 and found["modes_most"] == 25
    assert found["good_share_least"] < 0.05 and found["good_share_most"] > 0.98


def test_features_are_what_the_last_layer_of_the_encoder_sees(tmp_path):
    config = bigan.get_config("bigan,smoke")
    run = open_run(config, tmp_path)
    variables = codes.untrained(run)
    test = run.dataset("test")
    found = codes.features_of(run, variables, test)
    last = variables["encoder"]["params"]["Dense_0"]
    expected = found["features"] @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(found["codes"], expected, rtol=1e-4, atol=1e-5)
    scores = codes.judged(run, variables)
    assert scores["features"] == scores["untrained"]
    assert scores["code_ratio"] == pytest.approx(1, abs=0.5) and 0 < scores["pixels"] <= 1


def test_turned_digits_are_the_digits_turned_with_their_labels(tmp_path):
    translations.write_turned(tmp_path / translations.TURNED, "digits")
    for split in ("train", "test"):
        turned = data.load(f"npz:{tmp_path / translations.TURNED}", split, cache_dir=str(tmp_path))
        digits = data.load("digits", split)
        np.testing.assert_array_equal(np.rot90(turned.images, -1, (1, 2)), digits.images)
        np.testing.assert_array_equal(turned.labels, digits.labels)
        assert (turned.levels, turned.classes) == (digits.levels, digits.classes)


def test_no_example_is_in_both_domains_and_the_decay_ends_with_the_training(tmp_path):
    translations.write_turned(tmp_path / translations.TURNED, "digits")
    for task in translations.TASKS:
        config = translations.config_of(task, 1, 100, tmp_path)
        decay = config.optimizer.linear_decay_start, config.optimizer.linear_decay_steps
        assert (config.train.steps, config.seed, *decay) == (100, 1, 50, 100)
        assert (config.model.identity_weight == 0) == task.endswith("free")
    run = open_run(translations.config_of("shapes", 0, 100, tmp_path), tmp_path / "run")
    a, b = (run.train_data.domain(domain).images for domain in "ab")
    back = {image.tobytes() for image in np.rot90(b, -1, (1, 2))}
    assert sum(image.tobytes() in back for image in a) == 0 and len(a) + len(b) > 1_400


def test_a_translations_score_is_a_mean_of_both_directions(tmp_path):
    sweep.train(cycle_gan.get_config("smoke_blobs"), tmp_path)
    scores = json.loads((tmp_path / "test.json").read_text())
    found = translations.both_directions(scores)
    assert found.keys() == {*translations.SCORES}
    np.testing.assert_allclose(
        found["correct"], (scores["correct_a_to_b"] + scores["correct_b_to_a"]) / 2
    )
    assert found["judge"] > 0.9  # blobs lie apart


OPTIONS = types.SimpleNamespace(source="colored:digits", steps=2, paper=False, classifier="")


@pytest.mark.parametrize("model", table_1.MODELS)
def test_the_table_says_which_networks_estimate_ratios_and_what_is_observed(model):
    """Discriminators estimate ratios, and terms of reconstruction observe."""
    has = dict(zip(table_1.HEADS, table_1.MODELS[model].has, strict=True))
    config = table_1.config_of(model, 0, OPTIONS)
    made = methods.create(config, COLOUR)
    assert (has["likelihood ratio"] != "-") == ("discriminator" in made.modules)
    of_codes = "code_discriminator" in made.modules or has["prior ratio"] == "of pairs"
    assert (has["prior ratio"] != "-") == of_codes
    batch = {"image": jnp.zeros((4, 8, 8, 3), jnp.uint8), "index": jnp.arange(4)}
    variables = jax.eval_shape(made.init, jax.random.key(0), batch)
    given = {
        name: {"params": tree, **variables.statistics.get(name, {})}
        for name, tree in variables.params.items()
    }
    noise, names = noise_of(jax.random.key(0), 4), set()
    for player in in_order(made.players):
        names |= jax.eval_shape(lambda v, p=player: p.loss(v, batch, noise, 0), given).terms.keys()
    cells = {"observer": {"reconstruction": "yes", "squared_error": "yes", "features": "features"}}
    cells["KL"] = {"regularization": "analytic", "kl": "analytic"}
    cells["KL"] |= {"divergence_of_images": "approximate"}
    for head, of_terms in cells.items():
        assert {has[head]} == ({of_terms[name] for name in names & of_terms.keys()} or {"-"})


def test_a_tiny_table_has_a_row_a_model(tmp_path, monkeypatch):
    """With what its model can be judged by; what is trained and judged is not done again."""
    trained = tmp_path / "classifier"
    sweep.train(program.load_config("classifier", "smoke", None), trained)
    monkeypatch.setattr(table_1, "METRICS", ("is", "fid"))
    monkeypatch.setattr(table_1, "SAMPLES", 24)
    config = bigan.get_config("bigan,smoke")
    sweep.train(config, tmp_path / "bigan-seed_0")
    features = f"classifier:{trained}"
    scores = table_1.scores_of(config, tmp_path / "bigan-seed_0", features)
    assert scores.keys() == {"is_c", "fd_c", "diversity", "l1", "l2 to random pairs"}
    tested = json.loads((tmp_path / "bigan-seed_0" / "test.json").read_text())
    np.testing.assert_allclose(scores["l1"], tested["reconstruction_error"], atol=0.1)
    rows = [{"model": "bigan", **program.mean_and_range("is_c", [1.0, 2.0])}]
    table_1.tabulate(rows, tmp_path)
    assert "| bigan | 1.5 (1 to 2) |" in (tmp_path / "table_1.md").read_text()
