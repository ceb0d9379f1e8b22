"""The k-sample bound, on a model whose log p(x) is an integral over one latent."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp

from gm_jax import distributions, methods
from gm_jax import state as train_state
from gm_jax.evaluation import likelihood, report
from gm_jax.evaluation.records import Records, read_results
from gm_jax.methods.method import Method
from gm_jax.nn.noise import Noise
from gm_jax.training.run import open_run
from gm_jax.training.workdir import dumps
from tests import toy
from tests.support import SPEC, images, noise_of

KEY = jax.random.key(3)


class OneLatent(Method):
    """z ~ N(0, 1); a pixel is a discretised logistic around a·z + b; q(z | x) is a little off."""

    likelihood = "bound"

    def init_networks(self, key, batch, noise):
        slope = jnp.linspace(-0.5, 0.5, np.prod(self.image_shape)).reshape(self.image_shape)
        params = {"slope": slope, "offset": 0.3 * slope**2, "log_scale": jnp.array(-0.5)}
        return {"decoder": {"params": params}}

    def log_prob_of_image(self, params, image, z):
        """ln p(x | z) [B] of images [B, H, W, C] and z [B]."""
        x = self.scale(image)
        mean = params["slope"] * z[:, None, None, None] + params["offset"]
        log_prob = distributions.discretized_logistic_log_prob(
            x, mean, params["log_scale"], self.levels
        )
        return jnp.sum(log_prob, (1, 2, 3))

    def log_likelihood(self, variables, batch, noise):
        params = variables["decoder"]["params"]
        x = self.scale(batch["image"])
        evidence = jnp.sum((x - params["offset"]) * params["slope"], (1, 2, 3))
        mean, log_std = 0.4 * evidence + 0.2, jnp.log(0.7)
        z = mean + jnp.exp(log_std) * noise.normal()
        log_ratio = distributions.gaussian_log_prob(z, 0.0, 0.0)
        log_ratio -= distributions.gaussian_log_prob(z, mean, log_std)
        return {"log_likelihood": self.log_prob_of_image(params, batch["image"], z) + log_ratio}

    def exact(self, variables, image):
        """log p(x) [B]: the trapezoid rule over z, whose error is far below a float's."""
        grid = np.linspace(-9, 9, 721)
        joint = jax.lax.map(
            lambda z: (
                self.log_prob_of_image(
                    variables["decoder"]["params"], image, jnp.full(len(image), z)
                )
                + distributions.gaussian_log_prob(z, 0.0, 0.0)
            ),
            jnp.asarray(grid, jnp.float32),
        )
        return np.logaddexp.reduce(np.float64(joint), 0) + np.log(grid[1] - grid[0])


def open_with(workdir, **changes):
    config = toy.get_config().unlock()
    config.method = "one_latent"
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.METHODS, "one_latent", OneLatent)
        return open_run(config.lock(), workdir)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_with(tmp_path_factory.mktemp("one_latent"))


@pytest.fixture(scope="module")
def variables(run):
    return train_state.evaluation_variables(run.initial_state())


def bound(run, variables, num_samples):
    return likelihood.importance_weighted_likelihood(
        run, variables, run.dataset("test"), num_samples
    )


def test_the_bound_rises_to_the_log_likelihood(run, variables):
    truth = run.method.exact(variables, run.dataset("test").images).mean()
    means = [bound(run, variables, k)["log_likelihood"].mean() for k in (1, 10, 100, 3000)]
    assert all(np.diff(means) > 0) and means[0] < truth - 0.2
    assert abs(means[-1] - truth) < 0.01


def test_one_sample_is_the_reported_bound_and_every_k_is_above_its_draws(run, variables):
    one = bound(run, variables, 1)
    elbo = likelihood.evaluate_likelihood(run, variables, run.dataset("test"))
    np.testing.assert_array_equal(one["log_likelihood"], elbo["log_likelihood"])
    np.testing.assert_array_equal(one["one_sample"], elbo["log_likelihood"])
    two = bound(run, variables, 2)
    assert (two["log_likelihood"] >= two["one_sample"]).all()
    assert (two["log_likelihood"] > two["one_sample"] + 1e-3).any()


def test_streamed_sums_are_the_naive_formula_of_the_documented_draws(run, variables):
    """So the draws of k = 150 are the first 150 of 1,000."""
    dataset = run.dataset("test")
    batch = {"image": dataset.images, "index": np.arange(len(dataset), dtype=np.int32)}
    keys = jax.vmap(likelihood.draw_key, (None, 0))(run.keys["evaluate"], np.arange(1000))

    @jax.jit
    def draw(key):
        return run.method.log_likelihood(variables, batch, Noise(key, batch["index"]))

    log_weights = np.float64(jax.lax.map(draw, keys)["log_likelihood"])
    for k in (150, 1000):
        found = bound(run, variables, k)
        naive = np.logaddexp.reduce(log_weights[:k], 0) - np.log(k)
        np.testing.assert_allclose(found["log_likelihood"], naive, rtol=0, atol=1e-4)
        mean = log_weights[:k].mean(0)
        np.testing.assert_allclose(found["one_sample"], mean, rtol=0, atol=1e-4)


def test_batch_size_and_devices_change_nothing(run, variables, tmp_path):
    other = open_with(tmp_path, train__parallel="jit", evaluate__batch_size=7)
    for name, term in bound(other, jax.device_get(variables), 20).items():
        np.testing.assert_allclose(term, bound(run, variables, 20)[name], rtol=1e-5)


def test_memory_does_not_grow_with_k():
    method, noise = OneLatent(toy.get_config(), SPEC), noise_of(KEY, 16)
    batch = {"image": images(16), "index": noise.index}
    variables = train_state.evaluation_variables(method.init(KEY, batch))

    def bytes_of(function):
        return jax.jit(function).lower(variables).compile().memory_analysis().temp_size_in_bytes

    def streamed(k, variables):
        draws = (KEY, jnp.int32(k))
        return likelihood.stream_importance_weights(method.log_likelihood, variables, batch, draws)

    def together(k, variables):
        keys = jax.vmap(likelihood.draw_key, (None, 0))(KEY, jnp.arange(k))
        one = jax.vmap(lambda key: method.log_likelihood(variables, batch, noise.replace(key=key)))
        return logsumexp(one(keys)["log_likelihood"], 0)

    few, many = (bytes_of(functools.partial(streamed, k)) for k in (10, 1000))
    assert few == many < bytes_of(functools.partial(together, 1000)) / 10


def test_weights_far_apart_and_weights_of_zero_are_summed():
    log_weights = jnp.array([[-9000.0, -jnp.inf, -3.0], [-8000.0, -5000.0, -3.0]])

    def log_likelihood(variables, batch, noise):
        drawn = jnp.argmax(keys == noise.key)
        return {"log_likelihood": log_weights[variables["order"][drawn]]}

    keys = jax.vmap(likelihood.draw_key, (None, 0))(KEY, jnp.arange(2))
    for order in ([0, 1], [1, 0]):
        sums = likelihood.stream_importance_weights(
            log_likelihood, {"order": jnp.array(order)}, {"index": np.arange(3)}, (KEY, np.int32(2))
        )
        total = sums["largest"] + sums["log_mean"]
        np.testing.assert_allclose(total, [-8000 - np.log(2), -5000 - np.log(2), -3], rtol=1e-6)
        one_sample = sums["anchor"] + sums["mean_above_anchor"]
        np.testing.assert_allclose(one_sample, [-8500, -np.inf, -3], rtol=1e-6)


def test_what_costs_infinity_says_so_and_is_null_in_json(tmp_path):
    terms = {"log_likelihood": np.array([-1.0, -np.inf]), "one_sample": np.array([-2.0, -np.inf])}
    scores = likelihood.summarize(terms, SPEC)
    assert scores == dict.fromkeys(("bits_per_dim", "standard_error", "one_sample"), np.inf)
    result = Records(tmp_path).add({"metric": "iwae", "identity": {}, "values": scores})
    assert set(result["values"].values()) == {None} and read_results(tmp_path) == [result]
    assert json.loads(dumps({"a": [np.inf, 1.0], "b": (np.nan,)})) == {
        "a": [None, 1],
        "b": [None],
    }


def test_numbers_of_samples_that_mean_nothing_are_refused(run, variables):
    with pytest.raises(ValueError, match=r"num_importance_samples is 0: .* 1 or more draws"):
        bound(run, variables, 0)

    class Exact(OneLatent):
        likelihood = "exact"

    class Without(OneLatent):
        likelihood, log_likelihood = None, Method.log_likelihood

    exact, without = (method(toy.get_config(), SPEC) for method in (Exact, Without))
    with pytest.raises(ValueError, match="exact: there is no bound to tighten"):
        likelihood.check_num_samples(exact, 2)
    likelihood.check_num_samples(exact, 1)
    exact.likelihood = "estimate"
    with pytest.raises(ValueError, match="an estimate in the logarithm"):
        likelihood.check_num_samples(exact, 2)
    with pytest.raises(ValueError, match="no likelihood"):
        likelihood.check_num_samples(without, 2)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("exact", "exact"),
        ("estimate", "estimate"),
        ("bound", "lower bound, 5 samples"),
        ("bracketed", "[lower bound, 5 samples]"),
    ],
)
def test_a_likelihood_is_called_what_it_is(kind, expected):
    method = OneLatent(toy.get_config(), SPEC)
    method.likelihood = kind
    assert likelihood.kind_of_likelihood(method, 5) == expected


def test_a_likelihood_that_is_not_finite_is_described_as_it_was_stored():
    result = {"source": "digits", "split": "test", "num_images": 3, "step": 7}
    result |= {"likelihood": "exact", "bits_per_dim": np.inf, "standard_error": np.nan}
    stored = json.loads(dumps(result))
    assert "inf" in report.describe(result) and "nan" in report.describe(stored)
    assert "bits/dim (exact)" in report.describe(stored)
