"""The Wasserstein GAN with gradient penalty (Gulrajani et al., 2017)."""

from typing import Any

from gm_jax.data.fields import DataSpec
from gm_jax.losses.gradient_penalty import gradient_penalty
from gm_jax.methods.gan import Gan
from gm_jax.methods.method import Array, Batch, Loss, Method, Noise, Variables


class WganGp(Gan):
    """Algorithm 1: several updates of the critic, each on a fresh batch, then one of the generator.

    The critic is the discriminator without a sigmoid. The generator's loss, −D(G(z)), is that of
    `Gan`, whose logit is a log-ratio.
    """

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        count, (critic, generator) = config.model.critic_steps, self.players
        if count < 1:
            raise ValueError(f"model.critic_steps is {count}; give 1 or more (published: 5)")
        self.players = (*(critic.on_batch(number) for number in range(count)), generator)

    def discriminator_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """E[D(G(z))] − E[D(x)] + λ·E[(‖∇D(x̂)‖₂ − 1)²] (Eq. 3)."""
        critic, real, fake, fraction = self.judged(variables, batch, noise)
        penalty = gradient_penalty(critic, real, fake, fraction)
        return Loss(
            {
                "wasserstein": critic(fake) - critic(real),
                "gradient_penalty": self.model.gradient_penalty * penalty,
            }
        )
