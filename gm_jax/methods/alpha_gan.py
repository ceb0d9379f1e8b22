"""α-GAN, a variational auto-encoder of which discriminators judge both halves (Rosca et al., 2017).

The bound on ln p(x) (Eq. 4) has a likelihood and a divergence of the codes from the prior. The
discriminator D stands for the one, beside an L1 distance: R_D = −ln D + ln(1 − D) is ln q/p* of
images where D is optimal (Eq. 7). The code discriminator C stands for the other: R_C = −ln C +
ln(1 − C), and E_q[R_C] is KL(q(z) ‖ p(z)) where C is optimal (Eq. 6). The ablation (appendix D)
takes the empirical KL of a batch in place of C.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax.data.fields import DataSpec
from gm_jax.losses.adversarial import log_ratio
from gm_jax.losses.empirical_kl import empirical_kl
from gm_jax.losses.reconstruction import l1
from gm_jax.methods.auto_encoding_gan import AutoEncodingGan
from gm_jax.methods.method import Batch, Loss, Method, Noise, Variables
from gm_jax.networks import dcgan
from gm_jax.networks.mlp import Mlp

Array = jax.Array
CODE_MATCHES = ("discriminator", "empirical_kl")


def leaky_relu(x: Array) -> Array:
    """The nonlinearity of the discriminators (H.4)."""
    return jax.nn.leaky_relu(x, 0.2)


def discrimination(real: Array, remade: Array, made: Array, weight: float) -> dict[str, Array]:
    """−w·ln D(x) − ln(1 − D(x̂)) − ln(1 − D(G(z))), as terms [B], in nats.

    With w = 2 this is Eq. 14, whose optimum 2p*/(2p* + p_x̂ + p_G) is ½ where all three agree: then
    R_D = 0. Eq. 15 says that it approximates Eq. 14, but has w = 1, with ⅓ and R_D = ln 2 there.

    Args:
      real, remade, made: logits of images, of their reconstructions and of samples, [B].
      weight: w.
    """
    return {
        "real": weight * jax.nn.softplus(-real),
        "reconstructions": jax.nn.softplus(remade),
        "samples": jax.nn.softplus(made),
    }


class AlphaGan(AutoEncodingGan):
    """Algorithm 1: the encoder and the generator, twice each, then D, then C."""

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        if model.code_match not in CODE_MATCHES:
            raise ValueError(
                f"model.code_match is '{model.code_match}'; choose among {', '.join(CODE_MATCHES)}"
            )
        # The paper does not say which reduction it takes.
        self.l1 = l1(model.reconstruction.reduction)
        # "formed by transposing the generator", hence with its ReLUs and batch norm everywhere
        self.encoder = dcgan.Encoder(
            self.num_latents,
            slope=0.0,
            first_batch_norm=True,
            dtype=self.dtype,
            **model.generator,
        )
        self.discriminator = dcgan.Discriminator(dtype=self.dtype, **model.discriminator)
        encoder = self.player("encoder", self.encoder_loss, 2)
        generator = self.player("generator", self.generator_loss, 2)
        discriminator = self.player("discriminator", self.discriminator_loss)
        self.players = (encoder, generator, encoder, generator, discriminator)
        if model.code_match == "discriminator":
            # Without batch norm, which the paper has "for all our experiments": C judges a code by
            # itself, as Eq. 6 needs.
            widths = tuple(model.code_discriminator.widths)
            self.code_discriminator = Mlp(widths, None, leaky_relu, dtype=self.dtype)
            judge = self.player("code_discriminator", self.code_discriminator_loss)
            self.players = (*self.players, judge)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises every network."""
        key, *keys = jax.random.split(key, 3)
        variables = super().init_networks(key, batch, noise)
        x = self.scale(batch["image"])
        variables["discriminator"] = self.discriminator.init(keys[0], x)
        if self.model.code_match == "discriminator":
            z = jnp.zeros((1, self.num_latents))
            variables["code_discriminator"] = self.code_discriminator.init(keys[1], z)
        return variables

    def encoder_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """λ‖x − G(ẑ)‖₁ + R_C(ẑ), ẑ = E(x) (line 6)."""
        x = self.real(batch, noise)
        codes, statistics = self.encode_in_training(variables, x)
        again, _ = self.generate_in_training(variables, codes)
        if self.model.code_match == "discriminator":
            match = log_ratio(self.judged_code(variables, codes))
        else:
            match = empirical_kl(codes)
        weight = self.model.reconstruction.encoder_weight
        terms = {"reconstruction": weight * self.l1(x, again), self.model.code_match: match}
        return Loss(terms, statistics=statistics)

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """λ‖x − x̂‖₁ + R_D(x̂) + R_D(G(z)), x̂ = G(E(x)) (line 7, whose R_kl is R_D in Eq. 13)."""
        x, made, statistics = self.remake_and_make(variables, batch, noise)
        of_remade, of_made = jnp.split(log_ratio(self.judged(variables, made)), 2)
        weight = self.model.reconstruction.generator_weight
        terms = {
            "reconstruction": weight * self.l1(x, made[: len(x)]),
            "reconstructions": of_remade,
            "samples": of_made,
        }
        return Loss(terms, statistics=statistics)

    def discriminator_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """Images are real, reconstructions and samples made (line 8)."""
        x, made, _ = self.remake_and_make(variables, batch, noise)
        of_remade, of_made = jnp.split(self.judged(variables, made), 2)
        real = self.judged(variables, x)
        return Loss(discrimination(real, of_remade, of_made, self.model.real_weight))

    def remake_and_make(
        self, variables: Variables, batch: Batch, noise: Noise
    ) -> tuple[Array, Array, Variables]:
        """Images x [B, …]; their reconstructions, then as many samples, [2B, …]; statistics of G.

        Both are one batch to batch norm, in G and in D: they are one class to D, and one running
        average serves samples and reconstructions.
        """
        pixels, latents = noise.split()
        x = self.real(batch, pixels)
        codes, _ = self.encode_in_training(variables, x)
        z = jnp.concatenate([codes, self.sample_latents(variables, latents)])
        return x, *self.generate_in_training(variables, z)

    def judged(self, variables: Variables, x: Array) -> Array:
        """D's logits of images, [B]."""
        return cast(Array, self.discriminator.apply(variables["discriminator"], x))
