"""A VAE over the features f_ψ(x) of an invertible network (Lucas et al., 2019, section 4)."""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax.flows.transform import Context
from gm_jax.networks.real_nvp import initialize, real_nvp
from gm_jax.networks.top_down_vae import Decoder, Decoding, Encoder
from gm_jax.nn.noise import Noise
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array
Tree = Any


class FeatureSpaceVAE:
    """Real-NVP, encoder and decoder; without Real-NVP the features are the pixels.

    Every method takes `variables`, {network: {collection: tree}} for `networks`; images x are
    dequantised, float32 [B, H, W, C] in [0, 1].

    Args:
      model: the section `model` of `configs/adaptive_density.py`.
      image_shape: (H, W, C).
      num_classes: number of classes of conditional weight normalisation, or None.
      dtype: dtype of the convolutions.
    """

    def __init__(
        self, model: Any, image_shape: tuple[int, int, int], num_classes: int | None, dtype: Any
    ):
        self.model, self.image_shape = model, image_shape
        self.networks = (*(("real_nvp",) if model.invertible else ()), "encoder", "decoder")
        shared = {"num_classes": num_classes, "dtype": dtype, **model.vae}
        if model.invertible:
            self.real_nvp = real_nvp(image_shape, dtype=dtype, **model.real_nvp)
        self.encoder = Encoder(**shared)
        self.decoder = Decoder(image_shape=self.image_shape, **shared, **model.decoder)

    def init(self, key: Array, x: Array, noise: Noise, label: Array | None) -> dict[str, Tree]:
        """Initialises the variables of every network on images."""
        keys = jax.random.split(key, 3)
        variables = {}
        if self.model.invertible:
            variables["real_nvp"] = initialize(self.real_nvp, keys[0], x, Context(True))
        features = self.to_features(variables, x, train=True)[0]
        seen = self._seen(features, x)
        evidences, variables["encoder"] = data_dependent_init(self.encoder, keys[1], seen, label)
        _, variables["decoder"] = data_dependent_init(
            self.decoder, keys[2], evidences, noise, label
        )
        return variables

    def to_features(self, variables: Tree, x: Array, train: bool) -> tuple[Array, Array, Tree]:
        """f_ψ(x), log|det ∂f_ψ/∂x| [B] and, in training, the new statistics of f_ψ.

        Without f_ψ, x is scaled to [−1, 1].
        """
        if not self.model.invertible:
            return 2 * x - 1, jnp.full(x.shape[0], x[0].size * math.log(2.0)), {}
        (features, log_det), statistics = self.real_nvp.apply(
            variables["real_nvp"],
            x,
            Context(train),
            method="forward_and_log_det",
            mutable=["batch_stats"],
        )
        return features, log_det, {"real_nvp": dict(statistics)} if train else {}

    def to_image(self, variables: Tree, features: Array) -> Array:
        """f_ψ⁻¹ with running statistics, to [B, H, W, C] in [0, 1]; without f_ψ, scales back.

        Only the forward pass knows a batch's own statistics.
        """
        if not self.model.invertible:
            return (features + 1) / 2
        x, _ = self.real_nvp.apply(
            variables["real_nvp"], features, Context(train=False), method="inverse_and_log_det"
        )
        return cast(Array, x)

    def _seen(self, features: Array, x: Array) -> Array:
        """What the encoder sees: f_ψ(x) (Algorithm 1) or x (Eq. 3)."""
        if not self.model.invertible or self.model.encoder_input == "features":
            return features
        return 2 * x - 1

    def posterior(
        self, variables: Tree, features: Array, x: Array, noise: Noise, label: Array | None
    ) -> Decoding:
        """Draws latents from q_φ(z | f_ψ(x)) (Algorithm 1) or q_φ(z | x) (Eq. 3); decodes them."""
        evidences = self.encoder.apply(variables["encoder"], self._seen(features, x), label)
        return self._decoded(variables, evidences, noise, label)

    def prior(
        self, variables: Tree, noise: Noise, label: Array | None, temperature: float = 1.0
    ) -> Decoding:
        """Draws latents from p_θ(z) and decodes them."""
        return self._decoded(variables, None, noise, label, None, temperature)

    def given(self, variables: Tree, latents: list[Array], label: Array | None) -> Decoding:
        """Decodes the given latents."""
        return self._decoded(variables, None, None, label, latents)

    def _decoded(self, variables: Tree, *arguments: Any) -> Decoding:
        return cast(Decoding, self.decoder.apply(variables["decoder"], *arguments))
