"""The likelihood around a generator: a bound on a known one, and a run that stands alone."""

import functools
import json
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gm_jax
from configs import adaptive_density, agave, gan_likelihood
from experiments import compare
from gm_jax import methods, session
from gm_jax import state as train_state
from gm_jax.data import image_spec
from gm_jax.evaluation.likelihood import stream_importance_weights
from gm_jax.methods.method import Method
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.frozen import create_method
from gm_jax.training.run import open_trained
from tests.support import LABELLED, SPEC, images, noise_of

KEY = jax.random.key(0)
FLAT, LINEAR_LEVELS, STD = (2, 2, 1), 256, 0.2
FLAT_SPEC = image_spec(FLAT, LINEAR_LEVELS)
MATRIX = 0.4 * np.array([[1.0, 0.5, 0.0, -0.5], [0.0, 1.0, 0.5, 0.5]], np.float32)


class Linear(Method):
    """G(z) = Aᵀz: the images around it are Gaussian."""

    num_latents, generator_networks = 2, ("linear",)

    def __init__(self, class_conditional=False):
        self.class_conditional = class_conditional

    def init_networks(self, key, batch, noise):
        return {"linear": {"params": {"matrix": jnp.asarray(MATRIX)}}}

    def generate(self, variables, latents, labels=None):
        return (latents @ variables["linear"]["params"]["matrix"]).reshape(-1, *FLAT)


@functools.cache
def linear():
    config = gan_likelihood.get_config("smoke").unlock()
    config.optimizer.learning_rate, config.model.encoder.widths = 0.01, (8,)
    return methods.create(config.lock(), FLAT_SPEC, {"generator": Linear()})


@functools.cache
def images_of_linear(count):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, 2)) @ MATRIX + STD * generator.normal(size=(count, 4))
    levels = np.clip(np.floor((x + 1) / 2 * LINEAR_LEVELS), 0, LINEAR_LEVELS - 1)
    return levels.astype(np.uint8).reshape(-1, *FLAT)


@functools.cache
def linear_state():
    """Around the linear generator: before and after 1,500 steps, and the terms of each."""
    batch = {"image": images_of_linear(256)}
    start = jax.jit(linear().init)(KEY, batch)

    @jax.jit
    def train(state):
        step = lambda state, _: linear().train_step(state, batch, KEY)  # noqa: E731
        return jax.lax.scan(step, state, None, 1_500)

    after, terms = train(start)
    return jax.device_get((start, after, terms))


def test_many_draws_find_the_likelihood_and_one_draw_lies_below_it():
    _, state, _ = linear_state()
    batch = {"image": images_of_linear(8), "index": np.arange(8)}
    x = (batch["image"].reshape(8, 4) + 0.5) * 2 / LINEAR_LEVELS - 1  # the noise is level-wide
    variance = np.exp(2 * float(state.params["noise"]["log_std"]))
    covariance = MATRIX.T @ MATRIX + variance * np.eye(4)
    distance = np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x)
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    truth = -0.5 * (distance + log_det) + 4 * np.log(2 / LINEAR_LEVELS)
    score = jax.jit(functools.partial(stream_importance_weights, linear().log_likelihood))
    sums = score(train_state.evaluation_variables(state), batch, (KEY, jnp.int32(20_000)))
    np.testing.assert_allclose(sums["largest"] + sums["log_mean"], truth, atol=0.02)
    assert (sums["first"] + sums["mean_above_first"] < truth).all()


def test_the_noise_of_the_images_is_found_around_a_generator_that_stays():
    _, after, terms = linear_state()
    np.testing.assert_allclose(after.params["noise"]["log_std"], np.log(STD), atol=0.1)
    assert np.mean(terms["loss"][-50:]) < terms["loss"][0] - 1
    np.testing.assert_array_equal(after.params["generator_linear"]["matrix"], MATRIX)
    assert set(after.opt_state) == {"inference"}


def test_the_bits_are_those_of_the_loss_and_a_level_has_its_volume():
    _, _, terms = linear_state()
    bits = terms["loss"] / (4 * np.log(2))
    np.testing.assert_allclose(terms["bits_per_dim"], bits, rtol=1e-5)
    np.testing.assert_allclose(terms["log_det"], 4 * np.log(128), rtol=1e-6)


def test_noise_and_reconstructions_are_those_of_the_latents():
    variables = train_state.evaluation_variables(linear_state()[1])
    batch, noise = {"image": images_of_linear(256)}, noise_of(KEY, 256)
    drawn = jax.jit(linear().reconstruct, static_argnums=3)(variables, batch, noise, 2)
    latents = jax.jit(linear().encode)(variables, batch, noise.split()[0])
    decoded = jax.jit(linear().decode)(variables, latents, noise)
    np.testing.assert_array_equal(drawn["image"], decoded["image"])
    assert (drawn["image"] != drawn["image_2"]).any()
    error = (decoded["with_noise"].astype(float) - decoded["image"]) * 2 / LINEAR_LEVELS
    std = np.exp(variables["noise"]["params"]["log_std"])
    np.testing.assert_allclose(error.std(), std, rtol=0.15)  # the ends clip some
    np.testing.assert_allclose(error.mean(), 0, atol=0.02)


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
        workdirs.record_data(tmp_path / config.method, SPEC)
    for name, spec, message in (
        ("", SPEC, "frozen.generator is empty; give the work directory"),
        (tmp_path / "none", SPEC, f"no run in {tmp_path / 'none'}"),
        (tmp_path / "agave", SPEC, "/agave: Agave does not generate images from a latent vector"),
        (
            tmp_path / "gan",
            FLAT_SPEC,
            r"generator=.*/gan: image is uint8 \[8, 8, 1\], 17 levels in",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            create_method(config_around(name), tmp_path / "run", spec)


def test_a_generator_without_a_checkpoint_is_refused_before_anything_is_written(tmp_path, capsys):
    workdirs.check_config(tmp_path / "gan", adaptive_density.get_config("gan,smoke"))
    workdirs.record_data(tmp_path / "gan", LABELLED)
    with pytest.raises(SystemExit) as end:
        session.run(config_around(tmp_path / "gan"), str(tmp_path / "run"), "train")
    assert end.value.code == 2 and "no checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()  # so that the mended command is not another config's


def test_a_generator_with_classes_asks_for_labels():
    frozen = {"generator": Linear(class_conditional=True)}
    with pytest.raises(ValueError, match="class_conditional is True, but the images have no label"):
        methods.create(gan_likelihood.get_config("smoke"), FLAT_SPEC, frozen)
    labelled = image_spec(FLAT, LINEAR_LEVELS, 10)
    assert methods.create(gan_likelihood.get_config("smoke"), labelled, frozen).num_classes == 10
