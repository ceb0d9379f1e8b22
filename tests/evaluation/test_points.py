"""A run on points: trained, scored in nats, drawn and pictured like any other."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import gm_jax
from configs import common, real_nvp
from gm_jax import methods, optimizers, session
from gm_jax.distributions import gaussian_log_prob
from gm_jax.evaluation import battery
from gm_jax.evaluation.request import Request
from gm_jax.methods.method import Loss, Method, Player
from gm_jax.training.run import open_run, open_trained


class DiagonalGaussian(Method):
    """N(µ, diag σ²) fitted to points by maximum likelihood; its latents are standardised points."""

    needs = ("point",)
    likelihood = "exact"

    def __init__(self, config, data, frozen=None):
        super().__init__(config, data, frozen)
        optimizer = optimizers.create(config.optimizer)
        self.players = (Player("model", ("gaussian",), optimizer, self.loss),)

    def init_networks(self, key, batch, noise):
        mean, std = jnp.mean(batch["point"], 0), jnp.std(batch["point"], 0)
        return {"gaussian": {"params": {"mean": mean, "log_std": jnp.log(std)}}}

    def loss(self, variables, batch, noise, step):
        log_prob = self.log_likelihood(variables, batch, noise)["log_likelihood"]
        return Loss({"negative_log_prob": -log_prob})

    def log_likelihood(self, variables, batch, noise):
        params = variables["gaussian"]["params"]
        log_prob = gaussian_log_prob(batch["point"], params["mean"], params["log_std"])
        return {"log_likelihood": jnp.sum(log_prob, -1)}

    def draw(self, variables, noise, labels, temperature):
        return self.decode(variables, temperature * noise.normal(*self.data["point"].shape), noise)

    def encode(self, variables, batch, noise):
        params = variables["gaussian"]["params"]
        return (batch["point"] - params["mean"]) / jnp.exp(params["log_std"])

    def decode(self, variables, latents, noise, labels=None):
        params = variables["gaussian"]["params"]
        return {"point": params["mean"] + jnp.exp(params["log_std"]) * latents}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The work directory of two steps on the ring, from the ordinary session."""
    config = real_nvp.get_config("smoke").unlock()
    config.method, config.optimizer.learning_rate = "diagonal_gaussian", 1e-6
    config.data.update(common.images("points:ring", "train[:64]", "validation[:24]", "test[:24]"))
    config.evaluate.reconstruction_draws = 2
    folder = tmp_path_factory.mktemp("points") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.METHODS, "diagonal_gaussian", DiagonalGaussian)
        session.run(config.lock(), str(folder), "train")
        yield folder


def test_points_are_scored_in_nats(folder):
    model, test = gm_jax.load(folder), gm_jax.data.load("points:ring", "test[:24]")
    train = gm_jax.data.load("points:ring", "train[:64]").points
    result = json.loads((folder / "test.json").read_text())
    nats = model.log_likelihood(test.points)
    assert result["likelihood"] == "exact" and "bits_per_dim" not in result
    np.testing.assert_allclose(result["nats"], -nats.mean(), rtol=1e-6)
    # The fit is near that of the first 16 points, of the whole ring at least roughly.
    deviation = (test.points - train.mean(0)) / train.std(0)
    expected = -0.5 * np.sum(deviation**2 + np.log(2 * np.pi * train.var(0)), 1)
    np.testing.assert_allclose(nats.mean(), expected.mean(), atol=0.5)


def test_points_are_drawn_and_pictured(folder):
    with np.load(*folder.glob("samples/*.npz")) as arrays:
        assert arrays["point"].shape == (8, 2) and arrays["point"].dtype == np.float32
        np.testing.assert_array_equal(gm_jax.load(folder).sample(8)["point"], arrays["point"])
    pictures = [*folder.glob("samples/*.png"), *folder.glob("reconstructions/*.png")]
    assert len(pictures) == 4  # one of step 2, one of the best checkpoint
    for picture in pictures:
        with Image.open(picture) as opened:
            assert opened.size[1] >= 512
    assert not [*folder.glob("samples/*/*.png")]  # a picture per point would say nothing


def test_points_are_encoded_and_decoded(folder):
    model, points = gm_jax.load(folder), gm_jax.data.load("points:ring", "test[:5]").points
    rebuilt = model.reconstruct(points, num_draws=2)
    for name in ("point", "point_2"):
        np.testing.assert_allclose(rebuilt[name], points, atol=1e-6)
    with pytest.raises(ValueError, match="bits/dim are of images"):
        model.bits_per_dim(points)
    with pytest.raises(ValueError, match=r"shape \(3,\), not \(2,\)"):
        model.interpolate(np.zeros(3), np.zeros(3), 2)


def test_what_judges_images_alone_refuses_points(folder, tmp_path):
    run = open_trained(folder)
    with pytest.raises(ValueError, match=r"--metrics=fid: they judge images, and points:ring has"):
        battery.evaluate(run, Request(metrics=("fid",)))
    config = gm_jax.load(folder).config.copy_and_resolve_references().unlock()
    config.data.flip = True
    with pytest.raises(ValueError, match=r"data.flip mirrors images; points:ring has none"):
        open_run(config.lock(), tmp_path)
