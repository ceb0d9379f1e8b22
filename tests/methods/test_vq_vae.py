"""VQ-VAE: the gradient that passes the codes, and its code in two parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import vq_vae
from gm_jax import load, methods, session
from gm_jax.data import image_spec
from gm_jax.evaluation.battery import evaluate
from gm_jax.evaluation.records import read_results
from gm_jax.evaluation.request import Request
from gm_jax.nn import codebook
from gm_jax.training.run import open_run
from tests.support import LEVELS, images, noise_of

KEY = jax.random.key(3)
BATCH = {"image": images(4, seed=2), "index": np.arange(4, dtype=np.int32)}
NOISE = noise_of(KEY, 4)


@functools.cache
def method(num_codes=4, sides=(8, 8)):
    config = vq_vae.get_config("smoke").unlock()
    config.model.codebook.num_codes = num_codes
    return methods.create(config.lock(), image_spec((*sides, 1), LEVELS))


@functools.cache
def variables(chosen):
    return jax.jit(chosen.init_networks)(KEY, BATCH, NOISE)


def test_the_encoder_gets_the_gradient_of_its_codes_and_the_commitment():
    """By the bias of its last layer, which all outputs share: Σ dL/dz_q + 2β(z_e − z_q)."""
    chosen = method()
    given, beta = variables(chosen), chosen.model.commitment_weight

    def loss(bias):
        encoder = given["encoder"]
        last = {**encoder["params"]["Conv_2"], "bias": bias}
        moved = {**encoder, "params": {**encoder["params"], "Conv_2": last}}
        terms = chosen.loss({**given, "encoder": moved}, BATCH, NOISE, 0).terms
        return sum(jnp.sum(term) for term in terms.values())

    outputs = chosen.encoder.apply(
        {"params": given["encoder"]["params"]}, chosen.scale(BATCH["image"])
    )
    vectors = chosen.embedded(given, chosen.encode(given, BATCH, NOISE))
    of_vectors = jax.grad(lambda v: -jnp.sum(chosen.log_prob_given(given, BATCH, v, NOISE)))(
        vectors
    )
    expected = jnp.sum(of_vectors + 2 * beta * (outputs - vectors), (0, 1, 2))
    bias = given["encoder"]["params"]["Conv_2"]["bias"]
    np.testing.assert_allclose(jax.grad(loss)(bias), expected, rtol=1e-4, atol=1e-4)


def test_one_code_has_perplexity_one_and_costs_nothing():
    chosen = method(num_codes=1)
    curves = chosen.loss(variables(chosen), BATCH, NOISE, 0).curves
    assert curves["perplexity"] == pytest.approx(1.0)
    scores = chosen.log_likelihood(variables(chosen), BATCH, NOISE)
    np.testing.assert_array_equal(scores["log_likelihood"], scores["reconstruction"])


def test_the_code_in_two_parts_is_one_term_of_the_sum_over_codes():
    """On 2×2 images, which have a single code: the bound lies below ln p(x) by enumeration."""
    chosen = method(sides=(2, 2))
    batch = {"image": images(4, shape=(2, 2, 1)), "index": np.arange(4, dtype=np.int32)}
    given = jax.jit(chosen.init_networks)(KEY, batch, NOISE)
    each = [
        chosen.conditional_log_prob(given, batch, jnp.full((4, 1, 1), code), NOISE)
        for code in range(4)
    ]
    exact = jax.nn.logsumexp(jnp.stack(each), 0) - np.log(4)
    bound = chosen.log_likelihood(given, batch, NOISE)["log_likelihood"]
    assert (bound < exact).all()
    codes = np.asarray(chosen.encode(given, batch, NOISE)).ravel()
    own = np.stack(each)[codes, np.arange(4)] - np.log(4)
    np.testing.assert_allclose(bound, own, rtol=1e-5)


def test_the_codebook_starts_at_outputs_and_follows_them():
    chosen = method()
    given = variables(chosen)
    book = given["encoder"][codebook.COLLECTION]
    assert book["vectors"].shape == (4, 3)
    loss = chosen.loss(given, BATCH, NOISE, 0)
    after = loss.statistics["encoder"][codebook.COLLECTION]
    assert np.isfinite(after["vectors"]).all()
    assert (np.asarray(after["vectors"]) != np.asarray(book["vectors"])).any()


def test_latents_that_are_no_codes_are_refused():
    chosen = method()
    chosen.check_latents(np.zeros((2, 4, 4), np.int32))
    for latents in (np.zeros((2, 4, 4)), np.zeros((2, 3), int), np.full((2, 4, 4), 4)):
        with pytest.raises(ValueError, match=r"give integers .* from 0 to 3"):
            chosen.check_latents(latents)


def test_the_way_between_codes_starts_and_ends_at_them():
    start, end = np.zeros((1, 4, 4), int), np.ones((1, 4, 4), int)
    way = method().interpolate(start, end, np.linspace(0, 1, 5))
    assert way.sum((1, 2)).tolist() == [0, 4, 8, 12, 16]


def test_images_that_the_halvings_do_not_divide_are_refused():
    chosen = method(sides=(7, 7))
    batch = {"image": images(4, shape=(7, 7, 1)), "index": np.arange(4, dtype=np.int32)}
    with pytest.raises(ValueError, match=r"7×7 pixels.*multiples of 2"):
        jax.eval_shape(lambda: chosen.init_networks(KEY, batch, NOISE))


def test_perplexity_is_that_of_the_codes_of_all_test_images(tmp_path):
    config = vq_vae.get_config("smoke").unlock()
    config.train.steps = 1
    session.run(config, str(tmp_path), "train")
    run = open_run(config, str(tmp_path))
    assert evaluate(run, Request(("perplexity",))) == {}
    (result,) = read_results(run.workdir)
    codes = load.load(tmp_path).encode(run.dataset("test").images)
    share = np.unique(codes, return_counts=True)[1] / codes.size
    assert result["values"]["perplexity"] == pytest.approx(np.exp(-np.sum(share * np.log(share))))
    assert (result["values"]["num_used"], result["values"]["num_codes"]) == (len(share), 4)
