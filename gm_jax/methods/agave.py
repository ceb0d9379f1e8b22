"""Auxiliary guided autoregressive variational autoencoders (Lucas & Verbeek, 2018; thesis ch. 3).

A hierarchical VAE sketches the image: f(z) holds the means of its factored decoder, which is scored
on an auxiliary image y, either the image x or a reduced version of it. A PixelCNN++ conditioned on
f(z) draws x. One encoder serves both decoders, so z cannot be ignored (Eq. 3.13).
"""

from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.losses.auxiliary_image import AuxiliaryImage
from gm_jax.losses.free_bits import free_bits
from gm_jax.methods.conditional_pixelcnn import ConditionalPixelCNN
from gm_jax.methods.hierarchy import Hierarchy
from gm_jax.methods.method import Batch, Choose, Loss, Method, Noise, Player, Variables
from gm_jax.networks.hierarchical_vae import HierarchicalVAE, Reconstruction
from gm_jax.networks.pixelcnn import ConditionStream, PixelCNN
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array
NETWORKS = ("vae", "condition", "pixelcnn")


class Agave(Hierarchy, ConditionalPixelCNN):
    """One player, whose loss is −L(θ, φ; x, y) of Eq. 3.13; z is drawn from one encoder."""

    likelihood = "bound"
    channels = (1, 3)

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        self.auxiliary = AuxiliaryImage.create(model.auxiliary, self.image_shape, self.levels)
        self.vae = HierarchicalVAE(
            channels=self.auxiliary.channels,
            downsampling=self.auxiliary.downsampling,
            levels=self.levels,
            num_log_scales=self.auxiliary.channels,
            dtype=self.dtype,
            **model.vae,
        )
        condition = ConditionStream(
            layer_features=model.pixelcnn.features,
            num_scales=model.pixelcnn.num_scales,
            num_blocks=model.pixelcnn.num_blocks,
            dtype=self.dtype,
            **model.condition,
        )
        self.set_decoder(condition, PixelCNN(dtype=self.dtype, **model.pixelcnn))
        self.players = (Player("model", NETWORKS, optimizers.create(config.optimizer), self.loss),)

    def init_networks(
        self, key: Array, batch: Batch, noise: Noise, pretrained: dict[str, Any] | None = None
    ) -> Variables:
        """Initialises every network on data.

        Networks in `pretrained` ({name: params}; 3.4.1) are kept unchanged. The condition initially
        adds zero to the PixelCNN, so the joint model starts out as its two halves.
        """
        given = {name: {"params": params} for name, params in (pretrained or {}).items()}
        keys, (latent_noise, dropout) = jax.random.split(key, 3), noise.split()
        x = self.scale(batch["image"])
        if "vae" in given:
            sketch = self.encoded(given, x, latent_noise)
        else:
            sketch, given["vae"] = data_dependent_init(self.vae, keys[0], x, latent_noise)
        f_z = self.auxiliary.upsample(sketch.mean)
        conditions, given["condition"] = data_dependent_init(self.condition, keys[1], f_z)
        if "pixelcnn" not in given:
            rngs = {"dropout": dropout.key}
            _, given["pixelcnn"] = data_dependent_init(
                self.pixelcnn, keys[2], x, noise.index, conditions, rngs=rngs, train=True
            )
        return {name: given[name] for name in NETWORKS}

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−L(θ, φ; x, y) of Eq. 3.13, in nats per image."""
        latent_noise, dropout = noise.split()
        x = self.scale(batch["image"])
        sketch = self.encoded(variables, x, latent_noise)
        kl = jnp.sum(sketch.kl, (1, 2))
        autoregressive = self.autoregressive_log_prob(variables, x, sketch.mean, dropout, True)
        floored = free_bits(sketch.kl, self.model.free_bits)
        terms = {
            "autoregressive": -autoregressive,
            "auxiliary": -self._auxiliary_log_prob(batch, sketch),
            "regularization": self.model.kl_weight * floored,
        }
        if self.model.auxiliary_until_step >= 0:
            # The control of figure 3.7 continues with Eq. 3.6: weight 1, no floor, no auxiliary.
            dropped = step >= self.model.auxiliary_until_step
            terms["auxiliary"] = jnp.where(dropped, 0.0, terms["auxiliary"])
            terms["regularization"] = jnp.where(dropped, kl, terms["regularization"])
        return Loss(terms, {"kl": kl, "bits_per_dim": self.bits(autoregressive - kl)})

    def _auxiliary_log_prob(self, batch: Batch, sketch: Reconstruction) -> Array:
        """Σ_j ln p(y_j | z) in nats [B], under logistics around f(z) (Eq. 3.17 with tails)."""
        y = self.auxiliary.of(batch["image"])
        return self.auxiliary.log_prob(y, sketch.mean, sketch.log_scale)

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """One-sample bound on ln p(x) (Eq. 3.6: weight 1, no free bits).

        Returns:
          `log_likelihood` = `autoregressive` − `kl`; and `auxiliary`, ln p(y | z), which is not
          part of the bound.
        """
        x = self.scale(batch["image"])
        sketch = self.encoded(variables, x, noise)
        terms = {
            "autoregressive": self.autoregressive_log_prob(variables, x, sketch.mean, noise, False),
            "kl": jnp.sum(sketch.kl, (1, 2)),
            "auxiliary": self._auxiliary_log_prob(batch, sketch),
        }
        return {"log_likelihood": terms["autoregressive"] - terms["kl"], **terms}

    def code_image(
        self, variables: Variables, latents: Any, image: Array, choose: Choose
    ) -> tuple[list[Array], Array]:
        """Chooses the bins block by block from the top, and then the image pixel by pixel."""
        bins, sketch = self.code_sketch(variables, latents, choose)
        conditions, given = self.conditions(variables, sketch.mean), image.astype(jnp.int32)
        chosen = self.sampler.chosen(variables["pixelcnn"], conditions, given, choose)
        return bins, distributions.quantize(chosen, self.levels)

    def conditions(self, variables: Variables, f_z: Array) -> Any:
        """What the PixelCNN is given of f(z), at the size of x."""
        return super().conditions(variables, self.auxiliary.upsample(f_z))

    def pictures(self, f_z: Array) -> dict[str, Array]:
        """f(z) as a picture."""
        return {"f_z": self.auxiliary.picture(f_z)}
