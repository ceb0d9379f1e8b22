"""Float32 products have float32 precision, even if the hardware's default is lower."""

import importlib
import re

import jax
import numpy as np
import pytest

from gm_jax import methods
from gm_jax.nn.noise import keyed
from gm_jax.training.parallel import Parallel
from tests.support import LABELLED, images, random_variables

KEY = jax.random.key(7)
BATCH = {"image": images(8), "index": np.arange(8, dtype=np.int32)}


def method_of(page, dtype="float32"):
    variant = "av_ade,smoke" if page == "adaptive_density" else "smoke"
    config = importlib.import_module(f"configs.{page}").get_config(variant).unlock()
    config.model.matmul_dtype = dtype
    return methods.create(config.lock(), LABELLED)


def shorten(monkeypatch, mantissa):
    """Rounds the inputs of products, as a GPU (10 bits) or a TPU (7) does by default."""

    def patched(product):
        def call(lhs, rhs, *args, precision=None, **options):
            wanted = precision or jax.config.jax_default_matmul_precision
            if wanted not in ("highest", jax.lax.Precision.HIGHEST):
                lhs, rhs = (jax.lax.reduce_precision(x, 8, mantissa) for x in (lhs, rhs))
            return product(lhs, rhs, *args, precision=precision, **options)

        return call

    for name in ("conv_general_dilated", "dot_general", "conv_transpose"):
        monkeypatch.setattr(jax.lax, name, patched(getattr(jax.lax, name)))


def computed(method, precision):
    """Log-likelihoods and samples with variables that are not an initialisation."""
    variables = random_variables(method, BATCH)

    def both(variables, batch, noise):
        drawn = method.draw(variables, noise, None, 1.0)
        return drawn | method.log_likelihood(variables, batch, noise)

    program = Parallel("jit", precision=precision).per_example(keyed(both))
    return program(variables, BATCH, KEY)


@pytest.mark.parametrize(("page", "mantissa"), [("real_nvp", 10), ("pixelcnn", 7)])
def test_short_products_of_the_hardware_change_nothing(monkeypatch, page, mantissa):
    method = method_of(page)
    exact = computed(method, "highest")
    shorten(monkeypatch, mantissa)
    for name, value in computed(method, "highest").items():
        np.testing.assert_array_equal(value, exact[name])
    short = computed(method, "default")["log_likelihood"]  # what would come out otherwise
    assert np.abs(short - exact["log_likelihood"]).max() > 1e-3


@pytest.mark.parametrize("page", ["agave", "adaptive_density", "classifier", "vae_iaf"])
def test_every_product_of_a_step_asks_for_float32(page):
    method = method_of(page)
    batch = {**BATCH, "label": np.zeros(8, np.int32)}
    state = jax.eval_shape(method.init, KEY, batch)
    program = Parallel("jit").train_step(method.train_step).lower(state, batch, KEY).as_text()
    products = re.findall(r"stablehlo\.(?:convolution|dot_general).*", program)
    assert products and all("HIGHEST" in product for product in products)
