"""A model inside another: its run is copied, stays fixed, and must fit."""

import json
import shutil

import chex
import jax
import pytest

import gm_jax
from configs import adaptive_density, agave, gan_likelihood
from experiments import compare
from gm_jax import session
from gm_jax.data import image_spec
from gm_jax.training import recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.frozen import create_method
from gm_jax.training.run import open_trained
from tests.support import LABELLED, SPEC, images

OTHER_SPEC = image_spec((2, 2, 1), 17)


@pytest.fixture(scope="module")
def gan(tmp_path_factory):
    """The work directory of a trained GAN, from the ordinary command."""
    folder = str(tmp_path_factory.mktemp("gan"))
    session.run(adaptive_density.get_config("gan,smoke"), folder, "train")
    return folder


def config_around(folder):
    config = gan_likelihood.get_config("smoke").unlock()
    config.frozen.generator = str(folder)
    return config.lock()


def latest(run):
    with Checkpoints(run.workdir, read_only=True) as checkpoints:
        return jax.device_get(checkpoints.restore(run.state_template)[0])


def test_a_gan_trains_and_draws_without_a_likelihood(gan):
    result = json.loads((workdirs.absolute(gan) / "test.json").read_text())
    assert result["step"] == 2 and "bits_per_dim" not in result
    assert gm_jax.load(gan).sample(3)["image"].shape == (3, 8, 8, 1)


def test_a_run_around_a_gan_needs_it_no_more_once_it_has_begun(gan, tmp_path, capsys):
    generator, folder = tmp_path / "gan", tmp_path / "run"
    shutil.copytree(gan, generator)
    config = config_around(generator)
    session.run(config, str(folder), "train")
    begun = latest(open_trained(folder))
    theirs = jax.device_get(open_trained(generator).restore("best")[0])
    shutil.rmtree(generator)
    longer = config.copy_and_resolve_references().unlock()
    longer.train.steps = 4
    session.run(longer.lock(), str(folder), "train")
    grown = latest(open_trained(folder))
    for state in (begun, grown):
        chex.assert_trees_all_equal(state.params["generator_decoder"], theirs["decoder"]["params"])
    assert grown.params["noise"]["log_std"] != begun.params["noise"]["log_std"]
    kernels = [state.params["encoder"]["WeightNormConv_0"]["v"] for state in (begun, grown)]
    assert (kernels[0] != kernels[1]).any() and "generator_discriminator" not in grown.params
    capsys.readouterr()
    session.run(longer, str(folder), "evaluate", {"num_importance_samples": 3})
    printed = capsys.readouterr().out
    assert printed.count("≤ [") == 2 and "bits/dim (lower bound, one sample)" in printed
    cell = compare.read_run(str(folder), ["bpd"]).cells["bpd"]
    assert cell.startswith("[") and cell.endswith("]")
    assert gm_jax.load(folder).reconstruct(images(2))["image"].shape == (2, 8, 8, 1)


def test_what_generates_nothing_or_other_images_is_refused(tmp_path):
    for config in (agave.get_config("smoke"), adaptive_density.get_config("gan,smoke")):
        workdirs.check_config(tmp_path / config.method, config)
        recorded.record_data(tmp_path / config.method, SPEC)
    for name, spec, message in (
        ("", SPEC, "frozen.generator is empty; give the work directory"),
        (tmp_path / "none", SPEC, f"no run in {tmp_path / 'none'}"),
        (tmp_path / "agave", SPEC, "/agave: Agave does not generate images from a latent vector"),
        (
            tmp_path / "gan",
            OTHER_SPEC,
            r"generator=.*/gan: image is uint8 \[8, 8, 1\], 17 levels in",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            create_method(config_around(name), tmp_path / "run", spec)


def test_a_generator_without_a_checkpoint_is_refused_before_anything_is_written(tmp_path, capsys):
    workdirs.check_config(tmp_path / "gan", adaptive_density.get_config("gan,smoke"))
    recorded.record_data(tmp_path / "gan", LABELLED)
    with pytest.raises(SystemExit) as end:
        session.run(config_around(tmp_path / "gan"), str(tmp_path / "run"), "train")
    assert end.value.code == 2 and "no checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()  # so that the mended command is not another config's
