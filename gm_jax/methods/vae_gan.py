"""VAE-GAN, a variational auto-encoder whose errors a discriminator measures (Larsen et al., 2016).

In place of pixels, a layer Dis_l of the discriminator is modelled, with a Gaussian of variance 1
around what it gives for the reconstruction (Eq. 7). Each of three networks has its own part of KL +
L_feature + L_GAN (Algorithm 1): the encoder no part of L_GAN, the discriminator none of L_feature.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax.data.fields import DataSpec
from gm_jax.distributions import gaussian_kl
from gm_jax.losses import adversarial
from gm_jax.losses.reconstruction import half_squared
from gm_jax.methods.alpha_gan import discrimination
from gm_jax.methods.auto_encoding_gan import AutoEncodingGan, reparametrised
from gm_jax.methods.method import Batch, Loss, Method, Noise, Variables
from gm_jax.networks import dcgan

Array = jax.Array


class VaeGan(AutoEncodingGan):
    """Encoder, generator and discriminator move at once, from the same parameters.

    The images that a loss shows to the discriminator are one batch to its batch norms, as in the
    authors' code. That code also skips updates of the player that is far ahead (4.1), which is left
    out here. The encoder's features come from a batch without samples.
    """

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        self.adversarial_loss = adversarial.create(model.adversarial_loss)
        if self.adversarial_loss.term != "cross_entropy":
            raise ValueError(
                f"model.adversarial_loss is '{model.adversarial_loss}', but the discriminator of "
                "VAE-GAN gives probabilities; choose among minimax, non_saturating, log_ratio"
            )
        self.squared_distance = half_squared("sum")
        self.encoder = dcgan.Encoder(
            2 * self.num_latents,
            slope=0.0,
            first_batch_norm=True,
            dtype=self.dtype,
            **model.encoder,
        )
        self.discriminator = dcgan.Discriminator(dtype=self.dtype, **model.discriminator)
        self.players = (
            (
                self.player("encoder", self.encoder_loss),
                self.player("generator", self.generator_loss),
                self.player("discriminator", self.discriminator_loss),
            ),
        )

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises every network; ValueError if the discriminator has no such feature layer."""
        key, own = jax.random.split(key)
        variables = super().init_networks(key, batch, noise)
        discriminator = self.discriminator.init(own, self.scale(batch["image"]))
        layers, layer = discriminator["params"], self.model.feature_layer
        if layer not in layers:
            raise ValueError(
                f"model.feature_layer is '{layer}'; choose among {', '.join(sorted(layers))}"
            )
        return {**variables, "discriminator": discriminator}

    def encoder_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """KL(q(z | x) ‖ N(0, I)) + ½‖Dis_l(x) − Dis_l(x̃)‖², in nats."""
        x, outputs, codes, statistics = self.encoded(variables, batch, noise)
        again, _ = self.generate_in_training(variables, codes)
        _, features = self.judged(variables, x, again)
        mean, log_std = jnp.split(outputs, 2, -1)
        terms = {
            "kl": jnp.sum(gaussian_kl(mean, log_std, 0.0, 0.0), -1),
            "features": self.squared_distance(*features),
        }
        return Loss(terms, statistics=statistics)

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """γ·½‖Dis_l(x) − Dis_l(x̃)‖² and an adversarial loss of samples and reconstructions."""
        x, again, made, statistics = self.remade_and_made(variables, batch, noise)
        logits, features = self.judged(variables, x, again, made)
        terms = {
            "features": self.model.feature_weight * self.squared_distance(*features[:2]),
            "samples": self.adversarial_loss.generator(logits[2]),
        }
        if self.model.reconstructions_as_fakes:
            terms["reconstructions"] = self.adversarial_loss.generator(logits[1])
        return Loss(terms, statistics=statistics)

    def discriminator_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """−½ ln D(x) − ½ ln(1 − D), where the last is of all that is made, on average."""
        x, again, made, _ = self.remade_and_made(variables, batch, noise)
        if self.model.reconstructions_as_fakes:
            logits, _ = self.judged(variables, x, again, made)
            terms = discrimination(logits[0], logits[1], logits[2], 2.0)
            return Loss({name: term / 4 for name, term in terms.items()})
        logits, _ = self.judged(variables, x, made)
        return Loss({"cross_entropy": adversarial.cross_entropy(logits[0], logits[1]) / 2})

    def encoded(
        self, variables: Variables, batch: Batch, noise: Noise
    ) -> tuple[Array, Array, Array, Variables]:
        """Images x [B, …], µ and ln σ of their codes [B, 2Z], a draw [B, Z]; statistics of E."""
        pixels, latents = noise.split()
        x = self.real(batch, pixels)
        outputs, statistics = self.encode_in_training(variables, x)
        return x, outputs, self.codes(outputs, latents), statistics

    def remade_and_made(
        self, variables: Variables, batch: Batch, noise: Noise
    ) -> tuple[Array, Array, Array, Variables]:
        """Images, reconstructions and samples, [B, …] each; new running statistics of G.

        Reconstructions and samples are one batch to G, as one running average serves both.
        """
        encoding, latents = noise.split()
        x, _, codes, _ = self.encoded(variables, batch, encoding)
        z = jnp.concatenate([codes, self.sample_latents(variables, latents)])
        images, statistics = self.generate_in_training(variables, z)
        again, made = jnp.split(images, 2)
        return x, again, made, statistics

    def judged(self, variables: Variables, *images: Array) -> tuple[list[Array], list[Array]]:
        """D's logits [B] and features [B, …] of several batches, as one batch to batch norm."""
        layer = self.model.feature_layer
        logits, seen = self.discriminator.apply(
            variables["discriminator"],
            jnp.concatenate(images),
            capture_intermediates=lambda module, _: module.name == layer,
            mutable=["intermediates"],
        )
        (features,) = seen["intermediates"][layer]["__call__"]
        parts = (jnp.split(part, len(images)) for part in (cast(Array, logits), features))
        return cast(tuple[list[Array], list[Array]], tuple(parts))

    def codes(self, outputs: Array, noise: Noise) -> Array:
        """A draw from q(z | x), [B, Z]."""
        return reparametrised(outputs, noise)
