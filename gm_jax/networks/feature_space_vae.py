"""A VAE over the features f_ψ(x) of an invertible network (Lucas et al., 2019, section 4).

p(x) = p_θ(f_ψ(x)) |det ∂f_ψ/∂x|, with p_θ a VAE of Gaussian decoder N(µ_θ(z), σ² I).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import distributions
from gm_jax.dequantization import dequantize, requantize
from gm_jax.networks.real_nvp import RealNVP, initialize
from gm_jax.networks.top_down_vae import Decoder, Decoding, Encoder
from gm_jax.nn import per_example
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array
Tree = Any


class FeatureSpaceVAE:
    """Real-NVP, encoder and decoder, side by side; without the first, features are pixels.

    Every function takes `variables`, {network: {collection: tree}} for `networks`.

    Args:
      model: `model` of `configs/adaptive_density.py`.
      image_shape: (H, W, C).
      levels: of a pixel.
      num_classes: of conditional weight normalisation, or None.
      dtype: of the convolutions.
    """

    def __init__(
        self, model: Any, image_shape: tuple[int, int, int], levels: int,
        num_classes: int | None, dtype: Any,
    ):  # fmt: skip
        self.model, self.image_shape, self.levels = model, tuple(image_shape), levels
        self.dimensions = math.prod(image_shape)
        self.networks = (*(("real_nvp",) if model.invertible else ()), "encoder", "decoder")
        shared = {"num_classes": num_classes, "dtype": dtype, **model.vae}
        if model.invertible:
            self.real_nvp = RealNVP(dtype=dtype, **model.real_nvp)
        self.encoder = Encoder(**shared)
        self.decoder = Decoder(image_shape=self.image_shape, **shared, **model.decoder)

    def init(
        self, key: Array, image: Array, index: Array, label: Array | None
    ) -> tuple[dict[str, Tree], dict[str, Tree]]:
        """Parameters {network: tree} and statistics {network: collections} from images [B, ·]."""
        keys = jax.random.split(key, 5)
        x = dequantize(image, self.levels, keys[0], index)
        params, statistics = {}, {}
        if self.model.invertible:
            flow = initialize(self.real_nvp, keys[1], x)
            params["real_nvp"] = flow["params"]
            statistics["real_nvp"] = {"batch_stats": flow["batch_stats"]}
            features = self.to_features({"real_nvp": flow}, x, train=True)[0]
        else:
            features = self.to_features({}, x, train=True)[0]
        seen = self._seen(features, x)
        evidences, encoder = data_dependent_init(self.encoder, keys[2], seen, label)
        _, decoder = data_dependent_init(self.decoder, keys[3], evidences, keys[4], index, label)
        return params | {"encoder": encoder["params"], "decoder": decoder["params"]}, statistics

    def to_features(
        self, variables: Tree, x: Array, train: bool, axis_name: str | None = None
    ) -> tuple[Array, Array, Tree]:
        """f_ψ(x), log|det ∂f_ψ/∂x| [B] and, where it trains, the new statistics of f_ψ.

        Without f_ψ, x is placed in [−1, 1].
        """
        if not self.model.invertible:
            return 2 * x - 1, jnp.full(x.shape[0], self.dimensions * math.log(2.0)), {}
        (features, log_det), statistics = self.real_nvp.apply(
            variables["real_nvp"], x, train, axis_name,
            method="forward_and_log_det", mutable=["batch_stats"],
        )  # fmt: skip
        return features, log_det, {"real_nvp": dict(statistics)} if train else {}

    def to_image(self, variables: Tree, features: Array) -> Array:
        """f_ψ⁻¹ with running statistics: [B, H, W, C], values in [0, 1]; without f_ψ, the way back.

        Running statistics, since those of a batch are known to the forward pass alone.
        """
        if not self.model.invertible:
            return (features + 1) / 2
        return self.real_nvp.apply(variables["real_nvp"], features, method="inverse_and_log_det")[0]

    def _seen(self, features: Array, x: Array) -> Array:
        if not self.model.invertible or self.model.encoder_input == "features":
            return features
        return 2 * x - 1

    def posterior(
        self, variables: Tree, features: Array, x: Array, key: Array, index: Array,
        label: Array | None,
    ) -> Decoding:  # fmt: skip
        """Latents from q_φ(z | f_ψ(x)) (Algorithm 1) or q_φ(z | x) (Eq. 3), decoded."""
        evidences = self.encoder.apply(variables["encoder"], self._seen(features, x), label)
        return self.decoder.apply(variables["decoder"], evidences, key, index, label)

    def prior(
        self, variables: Tree, key: Array, index: Array, label: Array | None,
        temperature: float = 1.0,
    ) -> Decoding:  # fmt: skip
        """Latents from p_θ(z), decoded."""
        return self.decoder.apply(variables["decoder"], None, key, index, label, None, temperature)

    def given(
        self, variables: Tree, latents: list[Array], index: Array, label: Array | None
    ) -> Decoding:
        """Given latents, decoded."""
        return self.decoder.apply(variables["decoder"], None, None, index, label, latents)

    def noise(self, decoding: Decoding, key: Array, index: Array) -> Array:
        """σ·ε of the decoder's Gaussian, [B, H, W, C]."""
        return jnp.exp(decoding.log_std) * per_example.normal(key, index, self.image_shape)

    def images(
        self, variables: Tree, decoding: Decoding, key: Array, index: Array, temperature: float
    ) -> tuple[Array, Array]:
        """f_ψ⁻¹ of the decoder's mean and of a draw around it, uint8 [B, H, W, C]."""
        noisy = decoding.mean + temperature * self.noise(decoding, key, index)
        of_mean, of_draw = (
            requantize(self.to_image(variables, features), self.levels)
            for features in (decoding.mean, noisy)
        )
        return of_mean, of_draw

    def bound(
        self, variables: Tree, image: Array, key: Array, index: Array, label: Array | None,
        train: bool, axis_name: str | None = None,
    ) -> tuple[dict[str, Array], Tree]:  # fmt: skip
        """One-sample bound on log p of images uint8 [B, H, W, C] (−L_C of Eq. 4), in nats [B].

        Returns:
          `log_likelihood` = `reconstruction` − `kl` + `log_det`: ln p(f_ψ(x) | z), and ln|det| of
          the map from dequantised pixels in [0, levels) to features; and new statistics of f_ψ.
        """
        pixel_key, latent_key = jax.random.split(key)
        x = dequantize(image, self.levels, pixel_key, index)
        features, log_det, statistics = self.to_features(variables, x, train, axis_name)
        decoding = self.posterior(variables, features, x, latent_key, index, label)
        log_prob = distributions.gaussian_log_prob(features, decoding.mean, decoding.log_std)
        parts = {
            "reconstruction": jnp.sum(log_prob, (1, 2, 3)),
            "kl": jnp.sum(decoding.kl, 1),
            "log_det": log_det - self.dimensions * math.log(self.levels),
        }
        total = parts["reconstruction"] - parts["kl"] + parts["log_det"]
        return {"log_likelihood": total, **parts}, statistics
