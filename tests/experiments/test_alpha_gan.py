"""α-GAN's experiments: what is drawn, what the numbers say, and a tiny run of each program."""

import types

import numpy as np
import pytest

from configs import alpha_gan
from experiments.alpha_gan import ablation, claims, figures, judge, settings, train, verdicts
from experiments.alpha_gan import sweep as program
from gm_jax import methods, sweep
from gm_jax.data import image_spec
from gm_jax.training.run import open_run


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
    low, high, few = list(range(4)), list(range(10, 14)), claims.TOO_FEW

    def judged(test, *values):
        return claims.judged([test(*values)])[0]

    assert judged(claims.greater, high, low) == "agrees"
    assert judged(claims.greater, low, high) == "no"
    assert judged(claims.greater, high[:2], low[:2]) == judged(claims.greater, high, []) == few
    assert judged(claims.greater_in_pairs, np.arange(5) + 1.5, np.arange(5) * 0.9) == "agrees"
    assert judged(claims.greater_in_pairs, [2, 1], [1, 0]) == few
    assert judged(claims.more_than_half, 6, 6) == "agrees"
    assert judged(claims.more_than_half, 0, 6) == "no"
    assert judged(claims.more_than_half, 4, 6) == few


def test_a_claim_of_few_values_is_judged_by_their_order_and_a_share_by_its_interval():
    assert claims.below([1, 2, 3], [4, 5, 6]) == "agrees"
    assert claims.below([4, 5, 6], [1, 2, 3]) == "no"
    assert claims.below([1, 2, 5], [4, 5, 6]) == claims.below([1, 2], [4, 5]) == claims.TOO_FEW
    assert claims.share_is(30, 200, 0.15, 0.25) == "agrees"
    assert claims.share_is(2, 12, 0.15, 0.25) == claims.TOO_FEW
    assert claims.share_is(100, 200, 0.15, 0.25) == "no"


def test_a_claim_of_several_parts_needs_all_of_them():
    few = claims.TOO_FEW
    assert claims.all_of(["agrees", "agrees"]) == "agrees"
    assert claims.all_of(["agrees", few]) == claims.all_of([]) == few
    assert claims.all_of([few, "no"]) == "no"
    assert claims.all_of(["agrees", "no", few]) == "in part"


def test_a_part_is_judged_by_holms_steps():
    """0.01·3, 0.02·2 and 0.04·1 are at most 0.05; but 0.03·2 is not, nor what comes after it."""

    def judged(*chances):
        return claims.judged([claims.Chances(1 - chance, chance) for chance in chances])

    few = claims.TOO_FEW
    assert judged(0.04, 0.01, 0.02) == ["no"] * 3
    assert judged(0.04, 0.01, 0.03) == [few, "no", few]
    assert judged(0.04, 0.98, 0.5) == [few, few, few]
    assert judged(0.04) == ["no"] and judged(0.999, 0.001) == ["agrees", "no"]


def test_equal_parts_are_seldom_called_different():
    """Of claims with ten parts each, at most a twentieth has a part that is called less."""
    random, wrong = np.random.default_rng(0), 0
    for _ in range(200):
        chances = random.uniform(size=10)
        verdicts = claims.judged([claims.Chances(1 - chance, chance) for chance in chances])
        wrong += "no" in verdicts
    assert wrong / 200 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


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


def test_every_claim_is_refuted_by_runs_that_are_made_against_it():
    height = {"wgan_gp": 0, "alpha_gan": 3, "dcgan": 6, "age": 8, "dcgan_once": 9}
    rows = []
    for model, level in height.items():
        for run in range(12):
            score = level + (0.04 if model == "wgan_gp" else 0.01) * run
            row = {"model": model, "name": f"{run}", "point": {"rate": run}, "is_1": score}
            # WGAN-GP is worst by the second score, too, and the others are in the reverse order.
            row |= {"is_2": score if model == "wgan_gp" else 20 - score, "critic": score}
            row["diversity"] = -score
            error = {"age": 0.1, "alpha_gan": 0.3}
            rows.append(row | ({"reconstruction_error": error[model]} if model in error else {}))
    references = {"test images": {"diversity": 0.7}, "test images + 0.1 noise": {"diversity": 0.6}}
    found = {row["claim"]: row["verdict"] for row in verdicts.of_sweep(rows, references)}
    assert len(found) == 10 and set(found.values()) == {"no"}, found


def test_a_claim_that_holds_in_part_names_its_parts():
    rows = [
        {"model": model, "name": f"{run}", "point": {}, "critic": level + 0.01 * run}
        | {"is_1": run, "is_2": run, "diversity": run}
        for model, level in {"wgan_gp": 5, "alpha_gan": 3, "age": 5, "dcgan": 9}.items()
        for run in range(12)
    ]
    references = {"test images": {"diversity": 0.6}, "test images + 0.1 noise": {"diversity": 0.7}}
    found = {row["claim"]: row for row in verdicts.of_sweep(rows, references)}
    found = found["WGAN-GP is best by the critic"]
    assert found["verdict"] == "in part"
    for part in ("alpha_gan by critic: agrees", "age by critic: too few", "dcgan by critic: no"):
        assert part in found["came out"]


def test_more_codes_than_images_are_no_more_draws():
    codes = np.random.default_rng(0).normal(size=(40, 5))
    once, often = (ablation.statistics(np.tile(codes, (n, 1)), 40) for n in (1, 3))
    for name in ("mean", "mean_of_prior", "correlation", "correlation_of_prior"):
        np.testing.assert_allclose(once[name], often[name])
    assert once["mean_of_prior"] == 1 / np.sqrt(40)


def test_samples_of_a_shorter_training_are_not_late(tmp_path):
    """The first 8 steps left 4 to 8; 16 steps add 10 to 16."""
    for step in (4, 6, 8, 10, 12, 14, 16):
        path = tmp_path / train.FOLDER / f"step_{step:08d}.npz"
        path.parent.mkdir(exist_ok=True)
        path.touch()

    def steps(of):
        return [int(file.stem.removeprefix("step_")) for file in judge.late_files(tmp_path, of)]

    assert steps(8) == [4, 6] and steps(16) == [8, 10, 12, 14]
    assert [step for step in range(10) if train.is_late(step, 8)] == [4, 5, 6, 7, 8]


def test_codes_from_the_prior_have_its_statistics():
    codes = np.random.default_rng(0).normal(size=(4_000, 20)).astype(np.float32)
    found = ablation.statistics(codes, len(codes))
    np.testing.assert_allclose(found["mean"], found["mean_of_prior"], rtol=0.4)
    np.testing.assert_allclose(found["correlation"], found["correlation_of_prior"], rtol=0.15)
    np.testing.assert_allclose(found["variance"], 1, rtol=0.03)
    entangled = ablation.statistics(0.5 * codes + 0.5 * codes[:, :1] + 1, len(codes))
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
    late = sorted(path.name for path in (tmp_path / name / "late").iterdir())
    assert late == ["step_00000001.npz", "step_00000002.npz"]
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
    for split in ("train", "validation", "test"):  # but other images are
        field = {f"data.{split}_split": f"{split}[1:24] of colored:digits"}
        run = open_run(sweep.with_fields(chosen[name].member.config, field), tmp_path / split)
        with pytest.raises(TypeError, match="not callable"):
            judge.Judge(run, classifiers, 24, 2).references(tmp_path)


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
