"""Moments of batch norms, estimated anew: which they are, and that every reader has the same."""

import dataclasses
import json
import shutil

import chex
import flax.linen as nn
import jax
import numpy as np
import pytest

from configs import classifier
from gm_jax import sweep
from gm_jax.evaluation import report
from gm_jax.nn.batch_norm import COLLECTION
from gm_jax.training import recalibration, recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.parallel import Parallel
from gm_jax.training.run import open_run, open_trained
from tests import toy

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
    (folder / "test.npz").unlink()
    assert score(BATCHES) == first and not (folder / "test.npz").exists()  # it is only printed
    assert "step 1, batch norms of 3 training batches" in capsys.readouterr().out


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
    run = open_run(toy.get_config(), tmp_path)
    save(run, 1, 1.0)
    assert recalibration.batches_of(run) is None
    report.finish(run)
    assert "recalibration_batches" not in json.loads((tmp_path / "test.json").read_text())
    assert not (tmp_path / "statistics").exists()
