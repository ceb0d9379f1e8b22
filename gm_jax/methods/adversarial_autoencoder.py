"""Adversarial auto-encoder (AAE; Makhzani et al., 2015).

An auto-encoder whose codes, all images' together, shall follow a prior that can be any distribution
from which one can draw: a discriminator of codes says where they do not. It stands where the
variational auto-encoder has a divergence of each image's posterior, in closed form.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import code_priors
from gm_jax.data.fields import DataSpec
from gm_jax.losses.adversarial import non_saturating
from gm_jax.losses.reconstruction import half_squared
from gm_jax.methods.auto_encoding_gan import AutoEncodingGan
from gm_jax.methods.method import Batch, Loss, Method, Noise, Variables
from gm_jax.networks import bigan
from gm_jax.networks.mlp import Mlp

Array = jax.Array


class AdversarialAutoencoder(AutoEncodingGan):
    """A reconstruction, then the two updates of the regularisation (section 2), on one batch.

    Codes are functions of the images, the first of the three kinds of posterior in the paper
    (2.1). Both the reconstruction and the regularisation move the encoder, each by an optimizer of
    its own.
    """

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        self.prior = code_priors.create(model.prior, self.num_latents)
        self.distance = half_squared(model.reconstruction.reduction)
        self.encoder = bigan.create_encoder(model.encoder, self.num_latents, self.dtype)
        # Without batch norm: it judges a code by itself.
        widths = tuple(model.code_discriminator.widths)
        self.code_discriminator = Mlp(widths, None, nn.relu, dtype=self.dtype)
        both = ("encoder", "generator")
        self.players = (
            self.player("reconstruction", self.reconstruction_loss, networks=both),
            self.player("code_discriminator", self.code_discriminator_loss),
            self.player("regularization", self.regularization_loss, networks=("encoder",)),
        )

    def create_generator(self) -> nn.Module:
        """The network of `generate`."""
        return bigan.create_generator(self.model.generator, self.image_shape, self.dtype)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises every network."""
        key, own = jax.random.split(key)
        z = jnp.zeros((1, self.num_latents))
        return {
            **super().init_networks(key, batch, noise),
            "code_discriminator": self.code_discriminator.init(own, z),
        }

    def reconstruction_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """½‖x − G(E(x))‖²."""
        x = self.real(batch, noise)
        codes, of_encoder = self.encode_in_training(variables, x)
        again, of_generator = self.generate_in_training(variables, codes)
        statistics = {**of_encoder, **of_generator}
        return Loss({"squared_error": self.distance(x, again)}, statistics=statistics)

    def regularization_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """−ln C(E(x)): the encoder wants its codes taken for latents of the prior."""
        codes, statistics = self.encode_in_training(variables, self.real(batch, noise))
        logits = self.judged_code(variables, codes)
        return Loss({"adversarial": non_saturating(logits)}, statistics=statistics)

    def sample_latents(self, variables: Variables, noise: Noise, temperature: float = 1.0) -> Array:
        """Draws latents from the prior, times the temperature, float32 [B, Z]."""
        return temperature * self.prior(noise)
