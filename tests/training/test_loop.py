"""The loop loses nothing in resumed, failed and finished runs."""

import dataclasses
import json
import shutil

import chex
import jax
import numpy as np
import pytest

from gm_jax import data, optimizers, session, sweep
from gm_jax.evaluation import report
from gm_jax.training import loop
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.run import open_run
from tests import toy

pytestmark = pytest.mark.usefixtures("toy")


def no_validation(run, variables, step, writer):
    return float(step)


def run_of(workdir, steps, **train):
    config = toy.get_config().unlock()
    config.train.update({"steps": steps, "evaluate_every_steps": 100, **train})
    return open_run(config.lock(), workdir)


def final_state(run):
    with Checkpoints(run.workdir, read_only=True) as checkpoints:
        return jax.device_get(checkpoints.restore(run.state_template)[0])


def lines(run):
    return [json.loads(line) for line in (run.workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = run_of(tmp_path_factory.mktemp("whole"), 4)
    assert loop.train(run, no_validation)
    return run


def test_four_steps_are_two_a_restore_and_two_more(whole, tmp_path):
    assert loop.train(run_of(tmp_path, 2), no_validation)
    resumed = run_of(tmp_path, 4)
    assert loop.train(resumed, no_validation)
    chex.assert_trees_all_equal(final_state(resumed), final_state(whole))
    losses = [(line["step"], line["loss"]) for line in lines(resumed)]
    assert losses == [(line["step"], line["loss"]) for line in lines(whole)]
    assert [step for step, _ in losses] == [1, 2, 3, 4]


def test_a_failed_update_stops_the_run_and_is_not_saved(tmp_path):
    assert loop.train(run_of(tmp_path, 2), no_validation)
    good = final_state(run_of(tmp_path, 2))
    broken = run_of(tmp_path, 6)
    (player,) = broken.method.players
    bad = broken.config.optimizer.copy_and_resolve_references()
    bad.learning_rate = float("inf")
    broken.method.players = (dataclasses.replace(player, optimizer=optimizers.create(bad)),)
    with pytest.raises(FloatingPointError, match=r"step 3: player 'model': update_norm not finite"):
        loop.train(broken, no_validation)
    chex.assert_trees_all_equal(final_state(broken), good)
    assert [line["step"] for line in lines(broken)] == [1, 2]


def test_a_checkpoint_of_another_optimizer_raises_and_is_refused_by_the_command(
    whole, tmp_path, capsys
):
    shutil.copytree(whole.workdir / "checkpoints", tmp_path / "checkpoints")
    other = sweep.with_fields(whole.config, {"optimizer.name": "sgd"})
    with pytest.raises(ValueError, match="is of another model or optimizer"):
        sweep.train(other, tmp_path)
    with pytest.raises(SystemExit) as end:
        session.run(other, str(tmp_path), "train")
    assert end.value.code == 2
    assert "is of another model or optimizer" in capsys.readouterr().err


def test_lines_after_the_restored_step_are_dropped(tmp_path):
    run = run_of(tmp_path, 2)
    assert loop.train(run, no_validation)
    with (run.workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "loss": 0.0}\n{"step": 4, "lo')
    assert loop.train(run_of(tmp_path, 3), no_validation)
    assert [line["step"] for line in lines(run)] == [1, 2, 3]
    assert lines(run)[-1]["loss"] > 0


def test_the_best_checkpoint_is_the_one_of_the_best_validation(tmp_path):
    run = run_of(tmp_path, 4, evaluate_every_steps=1)
    scores = {1: 3.0, 2: 1.0, 3: 2.0, 4: 4.0}
    assert loop.train(run, lambda run, variables, step, writer: scores[step])
    assert run.restore("best")[1] == 2
    assert run.restore("latest")[1] == 4


def test_a_run_ends_with_test_scores_and_pictures(tmp_path, capsys):
    config = toy.get_config()
    session.run(config, str(tmp_path), "train")
    result = json.loads((tmp_path / "test.json").read_text())
    nats = np.load(tmp_path / "test.npz")
    assert result["num_images"] == 24 == len(nats["log_likelihood"])
    np.testing.assert_allclose(
        nats["reconstruction"] - nats["kl"], nats["log_likelihood"], atol=1e-3
    )
    np.testing.assert_allclose(result["kl"] + result["reconstruction"], result["bits_per_dim"])
    bits = -nats["log_likelihood"].mean() / (64 * np.log(2))
    np.testing.assert_allclose(result["bits_per_dim"], bits, rtol=1e-6)
    assert f"{result['bits_per_dim']:.4f}" in capsys.readouterr().out
    for folder in ("samples", "reconstructions"):
        assert (tmp_path / folder / "step_00000002.png").stat().st_size > 100
    # Again: nothing is trained, the same is reported.
    before = (tmp_path / "metrics.jsonl").read_bytes()
    session.run(config, str(tmp_path), "train")
    assert f"{result['bits_per_dim']:.4f}" in capsys.readouterr().out
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_step_that_was_saved_but_not_scored_is_scored_on_resuming(tmp_path):
    def killed(*_):
        raise KeyboardInterrupt

    run, scored = run_of(tmp_path, 2), []
    with pytest.raises(KeyboardInterrupt):
        loop.train(run, killed)
    assert loop.train(run, lambda run, variables, step, writer: scored.append(step) or 1.0)
    assert scored == [2] and run.restore("best")[1] == 2


def test_validation_compiles_once(whole):
    variables, _ = whole.restore()
    run = open_run(whole.config, whole.workdir)
    run.method.log_likelihood = chex.assert_max_traces(run.method.log_likelihood, n=1)
    for split in ("validation", "test"):
        report.score_split(run, variables, run.dataset(split))


def test_what_cannot_train_is_refused_before_anything_is_written(tmp_path):
    config = toy.get_config().unlock()
    config.data.batch_size = 72
    with pytest.raises(ValueError, match=r"data.batch_size is 72.*only 64 examples"):
        open_run(config, tmp_path / "run")
    config.data.batch_size, config.train.log_every_steps = 16, 0
    with pytest.raises(ValueError, match=r"train.log_every_steps is 0"):
        open_run(config, tmp_path / "run")
    config.train.log_every_steps, config.data.test_split = 1, "tset"
    with pytest.raises(ValueError, match=r"tset.*test"):
        open_run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_that_no_picture_shows_are_refused_at_the_start(tmp_path):
    images = np.zeros((48, 8, 8, 4), np.uint8)
    np.savez(tmp_path / "four.npz", image=images, split=np.arange(48) // 16)
    config = toy.get_config().unlock()
    config.data.update(source=f"npz:{tmp_path / 'four.npz'}", cache_dir=str(tmp_path / "cache"))
    config.data.update(train_split="train", validation_split="validation", test_split="test")
    with pytest.raises(ValueError, match=r"image has 4 channels, .* give grey \(1\) or RGB"):
        open_run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_kill_during_validation_leaves_no_line_twice(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    run = run_of(tmp_path, 4, evaluate_every_steps=2)
    for _ in range(3):  # each time after the line of validation was written
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(report, "pictured", killed)
            loop.train(run, report.validate)
    assert loop.train(run, report.validate)
    found = [(line["step"], "validation/bits_per_dim" in line) for line in lines(run)]
    assert found == [(1, False), (2, False), (2, True), (3, False), (4, False), (4, True)]


def test_a_folder_of_samples_holds_what_was_printed(tmp_path, capsys):
    config, workdir = toy.get_config().unlock(), tmp_path / "run"
    session.run(config, str(workdir), "train")
    for count in (8, 20, 3):
        config.sample.num_images = count
        session.run(config, str(workdir), "sample")
        assert f"{count} samples in " in capsys.readouterr().out
        (folder,) = [path for path in (workdir / "samples").iterdir() if path.is_dir()]
        assert len(data.load(f"folder:{folder}", "all", cache_dir=str(tmp_path))) == count
        with np.load(folder.with_suffix(".npz")) as drawn:
            assert len(drawn["image"]) == count


def test_scores_do_not_depend_on_the_batch_size(whole):
    config = whole.config.copy_and_resolve_references().unlock()
    config.evaluate.batch_size = 8
    other = open_run(config.lock(), whole.workdir)
    result, same = report.evaluate(whole), report.evaluate(other)
    np.testing.assert_allclose(same["bits_per_dim"], result["bits_per_dim"], rtol=1e-6)


def test_the_first_checkpoint_alone_is_read_back(tmp_path, monkeypatch):
    verified = []
    monkeypatch.setattr(Checkpoints, "verify", lambda self, step, *_: verified.append(step))
    for steps in (4, 6):
        loop.train(run_of(tmp_path, steps, checkpoint_every_steps=2), no_validation)
    assert verified == [0, 2]  # 0: the try of the storage
