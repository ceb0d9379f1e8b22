"""Moments of batch norms, estimated anew: which they are, and that every reader has the same."""

import dataclasses
import json
import shutil

import chex
import flax.linen as nn
import jax
import numpy as np
import pytest

from configs import classifier, common, gan_likelihood, sngan
from gm_jax import methods, optimizers, sweep
from gm_jax.data import load
from gm_jax.evaluation import report
from gm_jax.evaluation.pictures import draw_samples
from gm_jax.methods.method import Loss, Method, Player
from gm_jax.networks.sngan import ResidualGenerator
from gm_jax.nn.batch_norm import COLLECTION, BatchStatistics
from gm_jax.training import recalibration, recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.frozen import recipes
from gm_jax.training.parallel import Parallel
from gm_jax.training.run import open_run, open_trained
from tests import toy
from tests.support import noise_of

BATCHES, NET = 3, "classifier"


def config_of(batches=BATCHES):
    config = classifier.get_config("smoke").unlock()
    config.evaluate.recalibration_batches = batches
    config.train.steps = 1
    config.model.crop_size, config.data.flip = 0, True  # nothing is random but the batches
    return config.lock()


def save(run, step, scale):
    """A scored checkpoint whose running averages are not the moments of its parameters."""
    state = run.initial_state()
    params = jax.tree.map(lambda leaf: scale * leaf, state.params)
    with Checkpoints(run.workdir) as checkpoints:
        checkpoints.save(step, state.replace(params=params), validation=1.0)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """The work directory of a run that nobody has scored yet."""
    run = open_run(config_of(), tmp_path_factory.mktemp("untouched"))
    workdirs.check_config(run.workdir, run.config)
    recorded.record_data(run.workdir, run.train_data.fields, run.datasets)
    save(run, 1, 2.0)
    return run.workdir


@pytest.fixture
def folder(untouched, tmp_path):
    return shutil.copytree(untouched, tmp_path / "run")


def plain(folder):
    """The variables as the checkpoint has them."""
    return jax.device_get(open_run(config_of(0), folder).restore()[0])


def restored(folder, batches=BATCHES, **options):
    return jax.device_get(open_run(config_of(batches), folder, **options).restore()[0])


def written(folder):
    return [path.name for path in folder.glob("statistics/*")]


def test_they_are_the_mean_of_all_examples_and_the_mean_of_the_batches_variances(folder):
    run, variables = open_run(config_of(), folder), plain(folder)
    batches = run.training_batches()
    images = np.concatenate([next(batches)["image"] for _ in range(BATCHES)])
    batches.close()
    layer = nn.Conv(8, (3, 3), 2, use_bias=False)
    x = layer.apply({"params": variables[NET]["params"]["Conv_0"]}, run.method.scale(images))
    h = np.asarray(x, np.float64).reshape(BATCHES, -1, 8)
    found = recalibration.estimate(run, variables, 1, BATCHES)[NET]["BatchNorm_0"]
    np.testing.assert_allclose(found["mean"], h.mean((0, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["var"], h.var(1).mean(0), rtol=1e-5)


def test_only_moments_move_and_a_second_time_nothing_does(folder):
    before, run = plain(folder), open_run(config_of(), folder)
    once, _ = run.restore()
    moments = {NET: once[NET][COLLECTION]}
    twice = recalibration.estimate(run, once, 1, BATCHES)
    chex.assert_trees_all_equal(jax.device_get(moments), twice)
    chex.assert_trees_all_equal(jax.device_get(once[NET]["params"]), before[NET]["params"])
    olds = jax.tree.leaves(before[NET][COLLECTION])
    assert all((new != old).all() for new, old in zip(jax.tree.leaves(twice), olds, strict=True))


def test_eight_devices_estimate_what_one_does(folder):
    run = open_run(config_of(), folder)
    alone = dataclasses.replace(run, parallel=Parallel("shard_map", jax.devices()[:1]))
    ours, theirs = (
        recalibration.estimate(each, plain(folder), 1, BATCHES) for each in (run, alone)
    )
    chex.assert_trees_all_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_all_that_reads_the_checkpoint_has_the_moments_that_were_written_first(folder, capsys):
    """A model that is loaded before, without its images, has the running averages, and says so."""
    chex.assert_trees_all_equal(jax.device_get(open_trained(folder).restore()[0]), plain(folder))
    assert "have the running averages of training" in capsys.readouterr().err
    first = restored(folder)
    assert written(folder) == ["step_00000001_3_batches.npz"]
    assert "the moments of 3 training batches" in capsys.readouterr().err
    for variables in (restored(folder), jax.device_get(open_trained(folder).restore()[0])):
        chex.assert_trees_all_equal(variables, first)
    assert not capsys.readouterr().err


def test_the_end_of_a_training_scores_by_them_and_again_if_their_number_changes(folder, capsys):
    def score(batches):
        report.finish(open_run(config_of(batches), folder))
        result = json.loads((folder / "test.json").read_text())
        assert result["recalibration_batches"] == batches
        return result["cross_entropy"]

    first, running, later = (score(batches) for batches in (BATCHES, 0, BATCHES))
    assert first == later != running
    assert sweep.is_finished(config_of(), folder) and not sweep.is_finished(config_of(0), folder)
    path = folder / "test.json"
    older = {**json.loads(path.read_text())}
    del older["recalibration_batches"]  # by running averages, in versions that had no others
    path.write_text(json.dumps(older))
    assert sweep.is_finished(config_of(0), folder) and not sweep.is_finished(config_of(), folder)
    assert score(BATCHES) == first and sweep.is_finished(config_of(), folder)
    (folder / "test.npz").unlink()
    assert score(BATCHES) == first and not (folder / "test.npz").exists()  # it is only printed
    assert "step 1, batch norms of 3 training batches" in capsys.readouterr().out


def test_a_model_without_its_images_has_the_moments_by_which_it_was_scored(folder, capsys):
    for batches in (2, 0):
        report.evaluate(open_run(config_of(batches), folder))
        capsys.readouterr()
        found, _ = open_trained(folder).restore()  # its config says 3
        chex.assert_trees_all_equal(jax.device_get(found), restored(folder, batches))
        assert not capsys.readouterr().err
    (folder / "test.json").write_text('{"step": 1}')  # as of a version without moments
    chex.assert_trees_all_equal(jax.device_get(open_trained(folder).restore()[0]), plain(folder))
    (folder / "test.json").write_text('{"step": 1, "recalibration_batches": 5}')
    chex.assert_trees_all_equal(jax.device_get(open_trained(folder).restore()[0]), plain(folder))
    assert "as no moments of 5 training batches are written" in capsys.readouterr().err


def test_those_of_another_checkpoint_of_the_same_step_are_not_taken(folder):
    ours = restored(folder)
    shutil.rmtree(folder / "checkpoints")
    save(open_run(config_of(), folder), 1, 3.0)
    other = restored(folder)
    assert len(written(folder)) == 1  # the old ones are replaced
    shutil.rmtree(folder / "statistics")
    chex.assert_trees_all_equal(restored(folder), other)
    first, second = (each[NET][COLLECTION]["BatchNorm_0"]["mean"] for each in (ours, other))
    np.testing.assert_allclose(second, first * 3 / 2, rtol=1e-4, atol=1e-5)  # as the kernels are


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_a_damaged_file_is_written_anew_or_refused_where_there_are_no_images(kept, folder, capsys):
    whole, (path,) = restored(folder), folder.glob("statistics/*")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"_batches.npz is damaged and .* --mode=evaluate writes"):
        open_trained(folder).restore()
    chex.assert_trees_all_equal(restored(folder), whole)
    assert "is damaged: the moments of batch norms are estimated anew" in capsys.readouterr().err
    chex.assert_trees_all_equal(jax.device_get(open_trained(folder).restore()[0]), whole)


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(folder, tmp_path, capsys):
    whole = restored(folder, output=tmp_path / "elsewhere")
    assert not written(folder) and len(written(tmp_path / "elsewhere")) == 1
    (folder / "statistics").touch()
    run = open_run(config_of(), folder)
    for _ in range(2):
        chex.assert_trees_all_equal(jax.device_get(run.restore()[0]), whole)
    assert capsys.readouterr().err.count("these moments are not kept") == 1


@pytest.mark.usefixtures("toy")
def test_a_method_without_batch_norms_has_nothing_to_estimate(tmp_path):
    config = toy.get_config().unlock()
    config.evaluate.recalibration_batches, config.train.steps = BATCHES, 1  # left from a variant
    run = open_run(config.lock(), tmp_path)
    save(run, 1, 1.0)
    workdirs.check_config(tmp_path, run.config)
    assert recalibration.batches_of(run) is None
    report.finish(run)
    assert json.loads((tmp_path / "test.json").read_text())["recalibration_batches"] is None
    assert sweep.is_finished(run.config, tmp_path) and not (tmp_path / "statistics").exists()


class Whitened(Method):
    """Points in units of their batch's moments, or of the first batch's if it is not `trained`."""

    needs = ("point",)

    def __init__(self, config, data, frozen=None):
        super().__init__(config, data, frozen)
        self.norm = BatchStatistics(0.9)
        optimizer = optimizers.create(config.optimizer)
        self.players = (Player("model", ("norm",), optimizer, self.loss),)

    def init_networks(self, key, batch, noise):
        statistics = self.norm.init(key, batch["point"], True)
        return {"norm": {"params": {"scale": np.ones(2, np.float32)}, **statistics}}

    def loss(self, variables, batch, noise, step):
        if not self.model.trained:
            return Loss({"squares": self.score(variables, batch, noise)["squares"]})
        (_, variance), moved = self.norm.apply(
            variables["norm"], batch["point"], True, mutable=[COLLECTION]
        )
        scale = variables["norm"]["params"]["scale"]
        return Loss({"squares": (scale * batch["point"]) ** 2 / variance}, None, {"norm": moved})

    def score(self, variables, batch, noise):
        mean, variance = self.norm.apply(variables["norm"], batch["point"], False)
        return {"squares": ((batch["point"] - mean) ** 2 / variance).sum(-1)}

    def draw(self, variables, noise, labels, temperature):
        mean, variance = self.norm.apply(variables["norm"], None, False)
        return {"point": mean + temperature * variance**0.5 * noise.normal(2)}


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens a run of `Whitened` on the ring, whose running averages are those of 16 points."""
    monkeypatch.setitem(methods.METHODS, "whitened", Whitened)

    def of(batches, trained=True, **sample):
        config = toy.get_config().unlock()
        config.data.update(common.images("points:ring", "train[:64]", "test[:24]", "test[:24]"))
        config.evaluate.recalibration_batches, config.method = batches, "whitened"
        config.model = {"trained": trained, "ema_decay": 0.0, "matmul_dtype": "float32"}
        config.sample.update(sample)
        return open_run(config.lock(), tmp_path)

    save(of(0), 1, 1.0)
    return of


def test_those_of_points_are_estimated_too(opened):
    """Four batches of 16 are all of the 64 points, once each."""
    found = jax.device_get(opened(4).restore()[0])["norm"][COLLECTION]
    points = load("points:ring", "train[:64]").points.astype(np.float64)
    np.testing.assert_allclose(found["mean"], points.mean(0), rtol=1e-5, atol=1e-6)
    assert (found["variance"] < points.var(0)).all()  # by what the batches' means vary
    assert (found["variance"] > 0.8 * points.var(0)).all()


def test_a_network_that_no_loss_normalises_keeps_its_own_and_is_looked_at_once(opened, capsys):
    before = jax.device_get(opened(0).restore()[0])
    run = opened(BATCHES, trained=False)
    (run.workdir / "statistics").touch()  # nothing can be written there
    for _ in range(2):
        chex.assert_trees_all_equal(jax.device_get(run.restore()[0]), before)
    assert capsys.readouterr().err.count("these moments are not kept") == 1


def test_pictures_by_other_moments_have_other_names(opened):
    drawn = {}
    for batches, temperature, name in (
        (3, 1.0, "best_step_00000001_3_batches"),
        (3, 0.5, "best_step_00000001_3_batches_temperature_0.5"),
        (0, 1.0, "best_step_00000001"),
    ):
        run = opened(batches, temperature=temperature)
        report.finish(run)
        drawn[name] = draw_samples(run, run.restore()[0], 8, temperature)["point"]
    assert {path.stem for path in run.workdir.glob("samples/*.npz")} == drawn.keys()
    for name, points in drawn.items():
        with np.load(run.workdir / "samples" / f"{name}.npz") as written:
            np.testing.assert_array_equal(written["point"], points)
    assert (drawn["best_step_00000001"] != drawn["best_step_00000001_3_batches"]).all()


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    """The run of an SNGAN, untrained."""
    run = open_run(sngan.get_config("smoke"), tmp_path_factory.mktemp("generator"))
    workdirs.check_config(run.workdir, run.config)
    recorded.record_data(run.workdir, run.train_data.fields)
    save(run, 2, 1.0)
    return run


def test_a_step_of_several_batches_and_players_normalises_by_each_ones_noise(generator):
    """The third player normalises, and the discriminators that move before it do not."""
    variables, each = jax.device_get(generator.checkpoint("best")[0]), []
    for number in range(2):
        key = jax.random.fold_in(generator.keys["train"], number)
        latents = noise_of(jax.random.split(key, 3)[2], 16).normal(2, 8).reshape(-1, 8)
        dense = variables["generator"]["params"]["Dense_0"]
        h = np.float64(latents) @ dense["kernel"] + dense["bias"]
        each.append((h.reshape(-1, 8).mean(0), h.reshape(-1, 8).var(0)))  # 8 channels
    found = recalibration.estimate(generator, variables, 2, 2)
    assert found.keys() == {"generator"}
    first = found["generator"]["BatchNorm_0"]["BatchStatistics_0"]
    mean, variance = np.mean(each, 0)
    np.testing.assert_allclose(first["mean"], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first["variance"], variance, rtol=1e-4)


def test_a_run_begun_around_others_moments_is_not_gone_on_with(generator, tmp_path, capsys):
    folder, config = tmp_path / "generator", gan_likelihood.get_config("smoke").unlock()
    shutil.copytree(generator.workdir, folder)
    config.frozen.generator = str(folder)

    def begin():
        run = open_run(config, tmp_path / "around")
        which = run.check_start()
        recorded.record_frozen(run.workdir, recipes(config, run.workdir), which)
        return which

    (tmp_path / "around").mkdir()
    assert begin() == begin() == {"generator": {"step": 2, "recalibration_batches": 0}}
    assert f"{folder}: the batch norms of step 2 have the running" in capsys.readouterr().err
    open_run(generator.config, folder).restore()  # keeps moments
    with pytest.raises(ValueError, match=r"'recalibration_batches': 0} when .*: 2} now; give"):
        begin()


def test_what_a_run_begins_from_is_parameters_alone(generator, tmp_path, monkeypatch, capsys):
    """Moments of the other run are not asked for, damaged or not."""
    monkeypatch.setattr(ResidualGenerator, "free_fields", (), raising=False)  # it may be taken
    folder = shutil.copytree(generator.workdir, tmp_path / "other")
    config = sngan.get_config("smoke").unlock()
    config.pretrained = {"generator": str(folder)}
    for damaged in (False, True):
        if damaged:
            (folder / "statistics").mkdir()
            (folder / "statistics" / "step_00000002_2_batches.npz").write_bytes(b"damaged")
        taken = open_run(config.lock(), tmp_path / "run").pretrained["generator"]
        expected = generator.checkpoint("best")[0]["generator"]["params"]
        chex.assert_trees_all_equal(jax.device_get(taken), jax.device_get(expected))
    assert "running averages" not in capsys.readouterr().err
