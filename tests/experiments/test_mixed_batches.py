"""The programs of mixed batches: their closed forms, and that a training is done once."""

import math
import types

import jax
import numpy as np
from scipy.special import logsumexp

from experiments import point_gans, program
from experiments.mixed_batches import images, overhead, points
from experiments.mixed_batches import optimal_discriminator as optimum
from gm_jax import sweep
from gm_jax.data.points import MIXTURES


def test_the_log_ratios_are_those_of_the_two_densities():
    y = np.random.default_rng(0).normal(size=(5, 3, 2))
    squares = ((y[..., None, :] - optimum.BLOBS.modes) ** 2).sum(-1) / (2 * optimum.BLOBS.std**2)
    data, samples = (logsumexp(-squares, -1, b=share) for share in optimum.SHARES.values())
    np.testing.assert_allclose(optimum.log_ratios(y), data - samples, rtol=1e-9, atol=1e-12)


def test_drawn_batches_have_the_shares_of_their_sides():
    y, beta = optimum.draw_batches(jax.random.key(0), 500, 16, False)
    nearest = ((np.asarray(y)[..., None, :] - optimum.BLOBS.modes) ** 2).sum(-1).argmin(-1)
    for side, name in ((True, "data"), (False, "samples")):
        shares = np.bincount(nearest[np.asarray(beta) == side], minlength=3)
        np.testing.assert_allclose(shares / shares.sum(), optimum.SHARES[name], atol=0.04)


def test_always_half_costs_ln_2_on_pure_batches_and_less_with_gamma():
    costs = [
        points.always_half(points.config_of(f"bgan:gamma={g}", "ring", 0, 4)) for g in (0, 0.5)
    ]
    np.testing.assert_allclose(costs[0], math.log(2), rtol=1e-9)
    assert math.log(2) - 0.5 < costs[1] < 0.21


def test_the_overhead_is_in_times_of_the_gan_and_of_the_pointwise(tmp_path, monkeypatch):
    models = {row: model for row, model in overhead.MODELS.items() if row != "bgan"}
    monkeypatch.setattr(overhead, "MODELS", models)
    monkeypatch.setattr(overhead, "STEPS", 2)
    gan, pointwise = overhead.ratios("smoke", 3, tmp_path)
    for row, suffix in ((gan, ""), (pointwise, "_to_pointwise")):
        names = (f"time{suffix}", f"time{suffix}_least", f"time{suffix}_most")
        assert [row[name] for name in (*names, f"operations{suffix}")] == [1, 1, 1, 1]
    assert pointwise["time_least"] <= pointwise["time"] <= pointwise["time_most"]
    np.testing.assert_allclose(gan["time_to_pointwise_most"], 1 / pointwise["time_least"])


def test_samples_that_are_not_finite_are_not_good():
    modes = MIXTURES["ring"]
    samples = np.concatenate([modes.modes, np.full((8, 2), np.nan)])
    assert point_gans.covered(samples, modes) == (8, 0.5, 0.0)
    assert point_gans.covered(samples[8:], modes) == (0, 0.0, math.log(8))


def test_a_training_is_kept_for_its_config_alone(tmp_path, capsys):
    options = types.SimpleNamespace(output=str(tmp_path), width=4, steps=2)
    first = points.trained("gan", "ring", 0, options)
    assert first["samples"].shape == (1, points.SAMPLES, 2) and first["losses"].shape == (2, 2)
    assert "is written" in capsys.readouterr().out
    again = points.trained("gan", "ring", 0, options)
    np.testing.assert_array_equal(again["samples"], first["samples"])
    assert capsys.readouterr().out == ""
    (path,) = tmp_path.glob("*.npz")
    np.savez(path, **(first | {"config": "another"}))
    points.trained("gan", "ring", 0, options)
    assert "is written" in capsys.readouterr().out


def test_images_are_judged_at_every_step_and_once(tmp_path, capsys):
    classifier, workdir = tmp_path / "classifier", tmp_path / "run"
    sweep.train(program.load_config("classifier", "smoke", None), classifier)
    options = types.SimpleNamespace(
        variant="smoke",
        set=["optimizer.learning_rate=0.001"],
        steps=[2, 1],
        num_samples=24,
        features=f"classifier:{classifier}",
    )
    config = images.config_of("gan", 3, options)
    assert (config.optimizer.learning_rate, config.seed) == (0.001, 3)
    first = images.judged(config, workdir, options)
    assert list(first) == [1, 2]
    assert all({*scores} == {"IS-C", "FD-C", "F_8", "F_1/8"} for scores in first.values())
    assert first[1] != first[2]
    capsys.readouterr()
    assert images.judged(config, workdir, options) == first
    assert capsys.readouterr() == ("", "")
