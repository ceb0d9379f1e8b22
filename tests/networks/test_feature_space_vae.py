"""The VAE over features: what its features are, and what its encoder sees."""

import jax
import numpy as np

from configs import adaptive_density as configs
from gm_jax.networks.feature_space_vae import FeatureSpaceVAE
from tests.support import SHAPE, noise_of, randomized, zeros_like

KEY = jax.random.key(0)
X = np.random.default_rng(0).random((4, *SHAPE), np.float32)
NOISE = noise_of(KEY, 4)


def vae_of(variant, **model):
    config = configs.get_config(variant).unlock()
    config.model.update(model)
    return FeatureSpaceVAE(config.lock().model, SHAPE, None, "float32")


def test_without_the_invertible_network_the_features_are_the_pixels():
    vae = vae_of("vae,smoke")
    features, log_det, statistics = vae.to_features({}, X, train=True)
    np.testing.assert_allclose(features, 2 * X - 1, atol=1e-6)
    np.testing.assert_allclose(log_det, 64 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(vae.to_image({}, features), X, atol=1e-6)
    assert statistics == {} and vae.networks == ("encoder", "decoder")


def test_the_encoder_sees_the_features_or_else_the_image():
    for seen in ("features", "image"):
        vae = vae_of("v_ade,smoke", encoder_input=seen)
        variables = randomized(zeros_like(jax.eval_shape(vae.init, KEY, X, NOISE, None)))
        latents = jax.jit(
            lambda variables, y, vae=vae: vae.posterior(variables, y, X, NOISE, None).latents
        )
        pairs = zip(latents(variables, X), latents(variables, X + 1), strict=True)
        differ = any((first != other).any() for first, other in pairs)
        assert differ == (seen == "features")
