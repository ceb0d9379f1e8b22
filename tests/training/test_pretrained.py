"""AGAVE starts exactly as its halves' runs, and no longer needs them once it has started."""

import shutil
import types

import chex
import flax.linen as nn
import jax
import numpy as np
import pytest

from configs import agave, pixelcnn, vae_iaf
from gm_jax import session
from gm_jax.data import image_spec
from gm_jax.training import recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.pretrained import fit_params
from gm_jax.training.run import open_run
from tests.support import images, noise_of

NOISE = noise_of(jax.random.key(11), 8)
BATCH = {"image": images(8, seed=5), "index": NOISE.index}


def begin(config, workdir):
    """Leaves the files of a run of two steps, with other values: nothing is compiled."""
    run = open_run(config, workdir)
    workdirs.check_config(workdir, config)
    recorded.record_data(workdir, run.train_data.fields)
    generator = np.random.default_rng(0)

    def draw(leaf):
        return (0.1 * generator.normal(size=leaf.shape)).astype(leaf.dtype)

    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(2, jax.tree.map(draw, run.state_template))
    return workdir


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Work directories of two halves."""
    return {
        name: str(begin(module.get_config("smoke"), tmp_path_factory.mktemp(name)))
        for name, module in (("vae", vae_iaf), ("pixelcnn", pixelcnn))
    }


def config_from(folders, **model):
    config = agave.get_config("smoke").unlock()
    config.pretrained.update(folders)
    config.model.update(model)
    return config.lock()


def test_the_joint_model_begins_as_its_halves(halves, tmp_path):
    run = open_run(config_from(halves), tmp_path)
    state = run.initial_state()
    chex.assert_trees_all_equal(state.ema_params, state.params)
    joint = {name: {"params": params} for name, params in jax.device_get(state.params).items()}
    terms = jax.jit(run.method.log_likelihood)(joint, BATCH, NOISE)
    scores = {}
    for name, module in (("vae", vae_iaf), ("pixelcnn", pixelcnn)):
        half = open_run(module.get_config("smoke"), halves[name])
        variables, step = half.restore("best")
        assert step == 2
        variables = jax.device_get(variables)
        scores[name] = jax.jit(half.method.log_likelihood)(variables, BATCH, NOISE)
    expected = scores["pixelcnn"]["log_likelihood"]
    np.testing.assert_allclose(terms["autoregressive"], expected, rtol=1e-6)
    np.testing.assert_allclose(terms["kl"], scores["vae"]["kl"], rtol=1e-5)
    np.testing.assert_allclose(terms["auxiliary"], scores["vae"]["reconstruction"], rtol=1e-6)


def test_a_run_that_has_begun_needs_its_halves_no_more(halves, tmp_path, monkeypatch):
    folders = {name: str(tmp_path / name) for name in halves}
    for name, folder in folders.items():
        shutil.copytree(halves[name], folder)
    joint = begin(config_from(folders), tmp_path / "joint")
    for folder in folders.values():
        shutil.rmtree(folder)
    longer, opened = config_from(folders).unlock(), []
    longer.train.steps = 3
    monkeypatch.setattr(session.loop, "train", lambda run, _: opened.append(run))
    session.run(longer.lock(), str(joint), "train")
    assert opened[0].restore("latest")[1] == 2


def refusal(capsys, config, workdir):
    with pytest.raises(SystemExit) as end:
        session.run(config, str(workdir), "train")
    assert end.value.code == 2
    assert not workdir.exists()  # so that the mended command is not another config's
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"vae": {"num_latents": 2}}, "vae.num_latents is 4 in that run, 2 in this one"),
        ({"vae": {"residual_scale": 0.2}}, "vae.residual_scale is 0.1 in that run, 0.2"),
        ({"auxiliary": {"downsampling": 2}}, "vae.downsampling is 1 in that run, 2 in this one"),
        ({"pixelcnn": {"features": 4}}, "pixelcnn.features is 8 in that run, 4 in this one"),
    ],
)
def test_another_network_is_refused_before_anything_is_written(
    halves, tmp_path, capsys, model, message
):
    assert message in refusal(capsys, config_from(halves, **model), tmp_path / "joint")


def test_other_images_are_refused(halves, tmp_path, capsys):
    config = config_from(halves).unlock()
    config.data.resize = 16
    error = refusal(capsys, config.lock(), tmp_path / "joint")
    assert "image is uint8 [8, 8, 1], 17 levels in that run, uint8 [16, 16, 1], 17" in error
    assert f"pretrained.pixelcnn={halves['pixelcnn']}" in error


def test_a_folder_without_such_a_run_is_refused(halves, tmp_path, capsys):
    empty = refusal(capsys, config_from({"vae": str(tmp_path)}), tmp_path / "joint")
    assert f"no run in {tmp_path}" in empty
    swapped = {"vae": halves["pixelcnn"]}
    error = refusal(capsys, config_from(swapped), tmp_path / "joint")
    assert "that run's networks are pixelcnn, without 'vae'" in error


class ByClass(nn.Module):
    """A network that is told classes, or (None) is not."""

    num_classes: int | None
    free_fields = ()


def test_a_network_by_class_is_taken_from_a_run_of_the_same_classes_alone():
    def method(classes, num_classes):
        spec = image_spec((2, 2, 1), 17, classes)
        return types.SimpleNamespace(modules={"net": ByClass(num_classes)}, data=spec)

    def fit(ours, theirs, num_classes=2):
        params = {"net": np.ones(2)}, {"net": {"params": np.zeros(2)}}
        methods = (method(classes, num_classes) for classes in (ours, theirs))
        return fit_params("pretrained.net=x", "net", *zip(methods, params, strict=True))

    np.testing.assert_array_equal(fit("ab", "ab"), np.zeros(2))
    np.testing.assert_array_equal(fit("ab", "ba", num_classes=None), np.zeros(2))
    with pytest.raises(ValueError, match=r"label is .*\(b, a\) in that run, .*\(a, b\) in this"):
        fit("ab", "ba")
