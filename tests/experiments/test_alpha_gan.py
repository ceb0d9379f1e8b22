"""α-GAN's experiments: what is drawn, what the numbers say, and a tiny run of each program."""

import types

import numpy as np
import pytest

from configs import alpha_gan
from experiments.alpha_gan import ablation, claims, figures, judge, settings, verdicts
from experiments.alpha_gan import sweep as program
from gm_jax import methods, sweep
from gm_jax.data import image_spec


def test_grids_have_the_sizes_of_appendix_h():
    """Rates times weights times, on ColorMNIST, three numbers of latents."""
    sizes = {"alpha_gan": 2 * 4 * 4, "age": 3 * 4, "dcgan": 9, "dcgan_once": 9, "wgan_gp": 9}
    for model, size in sizes.items():
        assert len(settings.points(model, "cifar10")) == size
        every = settings.points(model, "color_mnist")
        assert len(every) == 3 * size == len({tuple(point.items()) for point in every})
        assert settings.draw(model, "color_mnist", None, 0) == every


def test_settings_are_drawn_from_the_grid_by_the_seed_without_repetition():
    drawn = settings.draw("alpha_gan", "colored_digits", 12, 3)
    every = settings.points("alpha_gan", "colored_digits")
    assert len(drawn) == 12 and all(point in every for point in drawn)
    assert len({tuple(point.items()) for point in drawn}) == 12
    assert drawn == settings.draw("alpha_gan", "colored_digits", 12, 3)
    assert drawn != settings.draw("alpha_gan", "colored_digits", 12, 4)
    pair = (settings.draw(model, "colored_digits", 12, 3) for model in ("dcgan", "dcgan_once"))
    assert next(pair) == next(pair)


@pytest.mark.parametrize("model", settings.MODELS)
def test_a_run_has_its_point_in_its_config_and_its_name(model):
    for name, setting in settings.create(model, "colored_digits", 3, 1, None, False).items():
        config = setting.member.config
        assert config.model.num_latents == setting.point["latents"]
        assert config.seed == 1 and name.endswith(f"latents_{setting.point['latents']}-seed_1")
        assert config.train.steps == 8 * config.train.evaluate_every_steps
        rate = setting.point.get("rate", setting.point.get("generator"))
        assert config.optimizer.learning_rate.generator == rate
        assert config.model.generator.layers == settings.NARROW


def test_dcgan_with_one_update_is_dcgan_but_for_that():
    made = {}
    for model in ("dcgan", "dcgan_once"):
        (setting,) = settings.create(model, "smoke", 1, 0, None, False).values()
        made[model] = methods.create(setting.member.config, image_spec((8, 8, 3), 17))
    orders = {model: [player.name for player in method.players] for model, method in made.items()}
    assert orders == {
        "dcgan": ["discriminator", "generator", "generator"],
        "dcgan_once": ["discriminator", "generator"],
    }
    two, one = made.values()
    assert (two.discriminator, two.generator) == (one.discriminator, one.generator)
    assert (two.adversarial_loss, two.lipschitz) == (one.adversarial_loss, one.lipschitz)


def test_quartiles_and_the_best_runs():
    found = claims.quartiles([4, 0, 2, 1, 3])
    assert list(found.values()) == [0, 1, 2, 3, 4]
    assert claims.best([1.0, 3.0, 2.0], count=2) == [1, 2]
    assert claims.best([0.1, 0.9, 0.6], target=0.62) == [2, 1, 0]


def test_runs_ranked_oppositely_are_none_of_equal_half_of_reversed_a_quarter_of_unrelated():
    a = np.arange(12.0)
    assert claims.ranked_oppositely(a, np.exp(a)) == (0, 12)
    assert claims.ranked_oppositely(a, -a) == (6, 12)
    draws = np.random.default_rng(0).normal(size=(2, 20_000))
    hits, count = claims.ranked_oppositely(*draws)
    assert (hits, count) == claims.ranked_oppositely(*draws[::-1])
    np.testing.assert_allclose(hits / count, 0.25, atol=0.01)


def test_verdicts_need_enough_runs():
    low, high = list(range(4)), list(range(10, 14))
    assert claims.greater(high, low) == "agrees" and claims.greater(low, high) == "no"
    assert claims.greater(high[:2], low[:2]) == claims.TOO_FEW
    assert claims.greater_in_pairs(np.arange(5) + 1.5, np.arange(5) * 0.9) == "agrees"
    assert claims.greater_in_pairs([2, 1], [1, 0]) == claims.TOO_FEW
    assert claims.below([1, 2, 3], [4, 5, 6]) == "agrees"
    assert claims.below([1, 2, 5], [4, 5, 6]) == claims.below([1, 2], [4, 5]) == claims.TOO_FEW
    assert claims.more_than_half(6, 6) == "agrees" and claims.more_than_half(4, 6) == claims.TOO_FEW
    assert claims.share_is(30, 200, 0.15, 0.25) == "agrees"
    assert claims.share_is(2, 12, 0.15, 0.25) == claims.TOO_FEW
    assert claims.share_is(100, 200, 0.15, 0.25) == "no"


def test_a_claim_of_several_parts_needs_all_of_them():
    few = claims.TOO_FEW
    assert claims.all_of(["agrees", "agrees"]) == "agrees"
    assert claims.all_of(["agrees", few]) == claims.all_of([]) == few
    assert claims.all_of([few, "no"]) == "no"


def test_every_claim_agrees_with_runs_that_are_made_for_it():
    """12 runs a model, of which a tenth is ranked oppositely: 15 % of 60 might also be 25 %."""
    height = {"wgan_gp": 9, "alpha_gan": 6, "dcgan": 3, "age": 1, "dcgan_once": 0}
    rows = []
    for model, level in height.items():
        for run in range(12):
            wide = 0.04 if model == "alpha_gan" else 0.01
            score = level + 0.01 * run
            # By the second score, six runs of AGE change places with as many of α-GAN.
            other = score + 5 * (run > 5) * ((model == "age") - (model == "alpha_gan"))
            row = {"model": model, "name": f"{run}", "point": {"rate": run}, "is_1": score}
            row |= {"is_2": other, "critic": level - wide * run, "diversity": level - run}
            error = {"age": 0.3, "alpha_gan": 0.1}
            rows.append(row | ({"reconstruction_error": error[model]} if model in error else {}))
    references = {"test images": {"diversity": 0.6}, "test images + 0.1 noise": {"diversity": 0.7}}
    found = {row["claim"]: row["verdict"] for row in verdicts.of_sweep(rows, references)}
    assert len(found) == 10 and set(found.values()) == {"agrees"}, found


def test_codes_from_the_prior_have_its_statistics():
    codes = np.random.default_rng(0).normal(size=(4_000, 20)).astype(np.float32)
    found = ablation.statistics(codes)
    np.testing.assert_allclose(found["mean"], found["mean_of_prior"], rtol=0.4)
    np.testing.assert_allclose(found["correlation"], found["correlation_of_prior"], rtol=0.15)
    np.testing.assert_allclose(found["variance"], 1, rtol=0.03)
    entangled = ablation.statistics(0.5 * codes + 0.5 * codes[:, :1] + 1)
    assert entangled["correlation"] > 0.4 and entangled["mean"] > 0.9


def test_enlarged_images_repeat_their_pixels_and_noise_makes_them_diverse():
    images = np.random.default_rng(0).integers(100, 120, (30, 8, 8, 3)).astype(np.uint8)
    larger = judge.enlarged(images)
    assert larger.shape == (30, 16, 16, 3)
    np.testing.assert_array_equal(larger[:, 1::2, ::2], images)
    smooth = np.repeat(images[:, :1, :1], 8, 1).repeat(8, 2)
    noisy = judge.with_noise(smooth, 0.1)
    np.testing.assert_allclose(np.std(noisy - smooth.astype(float)), 12.75, rtol=0.03)
    assert judge.diversity(noisy) > judge.diversity(smooth) + 0.1


def test_a_covariance_of_0_is_white_and_its_ends_are_red_and_blue():
    picture = figures.matrix(np.array([[2.0, 0.0], [0.0, -1.0]]), 1.0, side=2)
    assert picture[0, 0].argmax() == 0 and picture[1, 1].argmax() == 2
    assert (picture[0, 1] == 255).all() and picture.shape == (2, 2, 3)


def test_a_tiny_sweep_is_trained_and_judged_once(tmp_path, capsys, monkeypatch):
    _, trained = program.of_classifiers("smoke")
    sweep.train(trained["classifier_2"].config, tmp_path / "classifier")
    options = types.SimpleNamespace(
        data="smoke", classifier=[str(tmp_path / "classifier")] * 2, jobs=1, num_samples=24
    )
    options.critic_steps = 2
    chosen = settings.create("dcgan", "smoke", 1, 0, 2, False)
    classifiers, failed = program.train(chosen, options, tmp_path)
    assert not failed and "1 of them to train" in capsys.readouterr().err
    rows, references = program.judge_all(chosen, classifiers, options, tmp_path)
    (name,) = chosen
    assert [path.name for path in (tmp_path / name / "late").iterdir()] == ["step_00000001.npz"]
    program.tabulate(rows, references, tmp_path)
    program.draw(rows, references, tmp_path)
    assert "| too few runs to say |" in (tmp_path / "sweep.md").read_text()
    assert len(list(tmp_path.glob("*.png"))) == 9 and len(list(tmp_path.glob("*.csv"))) == 3
    assert rows[0]["is_1"] == rows[0]["is_2"] and len(judge.curves(tmp_path / name)["test"]) == 2
    monkeypatch.setattr(judge, "open_run", None)  # what is judged is not judged again
    monkeypatch.setattr(judge, "independent_wasserstein_critic", None)
    assert program.judge_all(chosen, classifiers, options, tmp_path) == (rows, references)
    assert program.train(chosen, options, tmp_path)[1] == []
    assert "0 of them to train" in capsys.readouterr().err


def test_a_tiny_ablation_has_a_row_a_run_and_its_pictures(tmp_path):
    members = ablation.create("smoke", [0], 2, False)
    del members["alpha_gan-seed_0"]  # less to compile
    for name, (_, member) in members.items():
        sweep.train(member.config, tmp_path / name)
    kl, age = ablation.measure(members, tmp_path, num_codes=100)
    assert (kl["model"], kl["codes"], age["model"]) == ("alpha_gan_kl", 100, "age")
    assert "correlation" not in age and 0 < age["training_error"] < 2
    names = {path.stem for path in tmp_path.glob("*.png")}
    assert names == {"means", "covariances", "samples", "reconstructions"}
    found = verdicts.of_ablation([kl, age])
    assert {row["verdict"] for row in found} == {claims.TOO_FEW}


def test_data_without_its_own_classifiers_wants_two(capsys):
    assert set(program.CLASSIFIERS) <= alpha_gan.DATA.keys()
    for data, given in (("cifar10", []), ("colored_digits", ["runs/one"])):
        with pytest.raises(SystemExit) as end:
            program.check_classifiers(data, given)
        assert end.value.code == 2 and "give two classifiers" in capsys.readouterr().err


def test_a_missing_classifier_is_refused_before_anything_is_trained(tmp_path, capsys):
    options = types.SimpleNamespace(classifier=[str(tmp_path)] * 2, num_samples=24)
    chosen = settings.create("dcgan", "smoke", 1, 0, 2, False)
    with pytest.raises(SystemExit) as end:
        program.train(chosen, options, tmp_path / "sweep")
    assert end.value.code == 2 and "no classifier in" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()
