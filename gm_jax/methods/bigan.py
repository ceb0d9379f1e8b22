"""Bidirectional GAN (Donahue et al., 2017) and adversarially learned inference (Dumoulin et al.,
2017), called BiGAN and ALI, which were published at the same time.

An encoder gives data x a code ẑ, a generator gives a latent z of the prior an x̃, and the
discriminator tells the pairs (x, ẑ) from the pairs (x̃, z). Where it is optimal, the game's value
V = E[ln D(x, ẑ)] + E[ln(1 − D(x̃, z))] is 2·JSD(p_E ‖ p_G) − ln 4 (BiGAN, 3.1), least where the
joint distributions agree. BiGAN's encoder and generator are functions, which are then each other's
inverse; ALI's are Gaussians around functions.
"""

from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import code_priors
from gm_jax.data.fields import DataSpec, main_field
from gm_jax.losses.adversarial import cross_entropy, non_saturating
from gm_jax.methods.auto_encoding_gan import AutoEncodingGan, reparametrised
from gm_jax.methods.method import Batch, Loss, Method, Noise, Variables
from gm_jax.networks import bigan

Array = jax.Array


class Bigan(AutoEncodingGan):
    """All three move at once, from the same parameters, as in the code of both papers.

    Encoder and generator want the label that is not theirs, in place of what V asks of them, whose
    gradient vanishes where the discriminator is sure (BiGAN, 3.4). The term of the one has no
    gradient in the other. Each player draws its own latents; the papers' share theirs.
    """

    needs = ()  # images or points

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        self.init_log_std = model.generator_init_log_std
        self.prior = code_priors.create(model.prior, self.num_latents)
        outputs = (1 + model.encoder_noise) * self.num_latents
        self.encoder = bigan.create_encoder(model.encoder, outputs, self.dtype)
        self.discriminator = bigan.create_critic(model.discriminator, self.dtype)
        self.players = (
            (
                self.player("discriminator", self.discriminator_loss),
                self.player("encoder", self.encoder_loss),
                self.player("generator", self.generator_loss),
            ),
        )

    def create_generator(self) -> nn.Module:
        """G, without its tanh, and with twice the channels where it draws: µ and ln σ."""
        model, modelled = self.model, main_field(self.data)
        if "image" not in self.data:
            for name in ("encoder", "generator", "discriminator"):
                if model[name].kind == "convolutional":
                    raise ValueError(
                        f"data.source '{self.config.data.source}' has {modelled}s, but "
                        f"model.{name}.kind is 'convolutional', which is for images: choose "
                        "another data.source or variant"
                    )
        *sides, channels = self.data[modelled].shape
        shape = (*sides, (1 + model.generator_noise) * channels)
        return bigan.create_generator(model.generator, shape, self.dtype, lambda x: x)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises every network."""
        key, own = jax.random.split(key)
        variables = super().init_networks(key, batch, noise)
        z = jnp.zeros((len(batch["index"]), self.num_latents))
        x = self.real(batch, noise)
        return {**variables, "discriminator": self.discriminator.init(own, x, z)}

    def discriminator_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """−ln D(x, ẑ) − ln(1 − D(x̃, z)): minus V."""
        encoding, making, of_encoded, of_made = noise.split(4)
        x, codes, _ = self.encoded(variables, batch, encoding)
        samples, z, _ = self.made(variables, making)
        real = self.judged(variables, x, codes, of_encoded)
        fake = self.judged(variables, samples, z, of_made)
        return self.regularised("discriminator", variables, cross_entropy(real, fake))

    def encoder_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln(1 − D(x, ẑ)): the encoder wants its pairs taken for the generator's."""
        encoding, dropout = noise.split()
        x, codes, statistics = self.encoded(variables, batch, encoding)
        logits = self.judged(variables, x, codes, dropout)
        return self.regularised("encoder", variables, non_saturating(-logits), statistics)

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln D(x̃, z): the generator wants its pairs taken for the encoder's."""
        making, dropout = noise.split()
        x, z, statistics = self.made(variables, making)
        logits = self.judged(variables, x, z, dropout)
        return self.regularised("generator", variables, non_saturating(logits), statistics)

    def regularised(
        self, network: str, variables: Variables, term: Array, statistics: Variables | None = None
    ) -> Loss:
        """An adversarial term [B], and ½w‖θ‖² of the network's parameters (BiGAN's code)."""
        terms, weight = {"adversarial": term}, self.model.weight_decay
        if weight:
            leaves = jax.tree.leaves(variables[network]["params"])
            squares = jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in leaves])
            terms["weight_decay"] = weight / 2 * jnp.sum(squares)
        return Loss(terms, statistics=statistics)

    def encoded(
        self, variables: Variables, batch: Batch, noise: Noise
    ) -> tuple[Array, Array, Variables]:
        """Pairs of data x [B, ...] and codes ẑ [B, Z], and E's new running statistics."""
        pixels, latents = noise.split()
        x = self.real(batch, pixels)
        outputs, statistics = self.encode_in_training(variables, x)
        return x, self.codes(outputs, latents), statistics

    def made(self, variables: Variables, noise: Noise) -> tuple[Array, Array, Variables]:
        """Pairs of samples x̃ [B, ...] and latents z [B, Z], and G's new running statistics."""
        latents, pixels = noise.split()
        z = self.sample_latents(variables, latents)
        outputs, statistics = self.generate_in_training(variables, z)
        return self.around(outputs, pixels, 1.0), z, statistics

    def judged(self, variables: Variables, x: Array, z: Array, noise: Noise) -> Array:
        """D's logits of pairs, [B]."""
        rngs = {"dropout": noise.key}
        logits = self.discriminator.apply(variables["discriminator"], x, z, noise.index, rngs=rngs)
        return cast(Array, logits)

    def codes(self, outputs: Array, noise: Noise) -> Array:
        """ẑ [B, Z] of E's outputs: drawn, or the outputs themselves."""
        return reparametrised(outputs, noise) if self.model.encoder_noise else outputs

    def around(self, outputs: Array, noise: Noise | None, temperature: float) -> Array:
        """x̃ [B, ...] of G's outputs: drawn, if G draws and there is noise, or the mean."""
        mean, log_std = outputs, None
        if self.model.generator_noise:
            mean, log_std = jnp.split(outputs, 2, -1)
        mean = jnp.tanh(mean) if "image" in self.data else mean
        if log_std is None or noise is None:
            return mean
        std = jnp.exp(log_std + self.init_log_std)
        return mean + temperature * std * noise.normal(*mean.shape[1:])

    def sample_latents(self, variables: Variables, noise: Noise, temperature: float = 1.0) -> Array:
        """Draws latents from the prior, times the temperature, float32 [B, Z]."""
        return temperature * self.prior(noise)

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps latents [B, Z] to images in [−1, 1] or points; where G draws, to their means."""
        return self.generated(variables, latents, labels, None)

    def generated(
        self,
        variables: Variables,
        latents: Array,
        labels: Array | None,
        noise: Noise | None,
        temperature: float = 1.0,
    ) -> Array:
        """Images or points of latents [B, Z], with running averages; drawn if there is noise."""
        self.check_labels(labels)
        outputs = cast(Array, self.generator.apply(variables["generator"], latents))
        return self.around(outputs, noise, temperature)

    def decode(
        self, variables: Variables, latents: Any, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """The `image` or `point` of each latent, drawn where G draws."""
        return self.examples(self.generated(variables, latents, labels, noise))

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws latents from the prior, then `image` or `point`."""
        latents, pixels = noise.split()
        z = self.sample_latents(variables, latents, temperature)
        return self.examples(self.generated(variables, z, labels, pixels, temperature))
