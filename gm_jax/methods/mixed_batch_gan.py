"""Mixed batches and symmetric discriminators (Lucas, Tallec, Verbeek & Ollivier, 2018).

Chapter 4 of the thesis. The discriminator sees batches of data and samples, and predicts the share
of data; its layers are equivariant to permutations, and its loss is reduced over the batch, so that
it judges distributions and not examples: BGAN (Eq. 4.13) and M-BGAN (Eq. 4.14).
"""

from functools import partial
from typing import Any

import jax

from gm_jax.data.fields import DataSpec
from gm_jax.losses import mixed_batch
from gm_jax.losses.adversarial import AdversarialLoss
from gm_jax.methods.method import Batch, Loss, Method, Noise, Variables
from gm_jax.methods.sngan import Sngan
from gm_jax.nn.equivariant import equivariant
from gm_jax.nn.layers import Layers

Array = jax.Array
_MIXING = 0x6D6978  # keeps the mixing's stream apart from others of the seed


class MixedBatchGan(Sngan):
    """SNGAN's networks, a symmetric discriminator, and the losses of Eqs. 4.4 and 4.5.

    With γ = 0 an update of the discriminator sees a batch of data or one of samples, where Eq. 4.1
    has both, and half of the generator's updates see data alone, which gives no gradient.
    `model.symmetric` False keeps SNGAN's pointwise layers, so that only the loss sees the batch.
    Spectral norm, if asked for, divides Λ and Γ each; the thesis does not say whether its
    discriminators have it.
    """

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        if config.data.batch_size < 2:
            raise ValueError(
                f"data.batch_size is {config.data.batch_size}: a mixed batch has 2 examples or more"
            )
        *critics, generator = self.players
        # A player does not know which of the step's updates it is; its loss is told.
        numbered = [
            critic.with_loss(partial(self.discriminator_loss, number=number))
            for number, critic in enumerate(critics)
        ]
        self.players = (*numbered, generator)

    def create_loss(self) -> AdversarialLoss:
        """The losses of Eqs. 4.4 and 4.5, with the reduction that the page names."""
        reduce = mixed_batch.REDUCTIONS[self.model.reduction]
        return AdversarialLoss("mixed_batch", reduce, partial(reduce, ratio=1.0))

    @property
    def critic_layers(self) -> Layers:
        """The kind of layers that the discriminator uses."""
        layers = super().critic_layers
        return equivariant(layers) if self.model.symmetric else layers

    def penalty_obstacle(self) -> str:
        """A mixed batch has no pairs of data and samples to interpolate between."""
        return "a discriminator of mixed batches judges no pairs of data and samples"

    def discriminator_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array, number: int = 0
    ) -> Loss:
        """KL(B(#β/B) ‖ B(D(m_β))) (Eq. 4.4) in update `number` of the step, on fresh samples."""
        beta = self.mixing(step * self.model.critic_steps + number, noise.index)
        variables, statistics = self.iterate(variables, batch)
        logits, _ = self.judge_mixed(variables, batch, noise, beta)
        ratio = mixed_batch.realised_ratio(beta)
        terms = {"mixed_batch": self.adversarial_loss.discriminator(logits, ratio)}
        return Loss(terms, curves={"ratio": ratio}, statistics=statistics)

    def mixing(self, update: Array, index: Array) -> Array:
        """β, bool [B], of the examples `index` in the discriminator's update u of the run.

        It is draw ⌊u/2⌋, and its complement if u is odd: a function of the run's seed and u, so
        that nothing is stored. Below Eq. 4.2 the complement serves to use the discarded examples;
        here it sees fresh ones, and balances the targets of each pair of updates.
        """
        draws = Noise(jax.random.key(self.config.seed), index).layer(_MIXING)
        beta = mixed_batch.draw_mixing(draws.layer(update // 2), self.model.gamma)
        return beta ^ (update % 2 == 1)

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln D(m_β) (Eq. 4.5), with its own β."""
        mixing, rest = noise.split()
        beta = mixed_batch.draw_mixing(mixing, self.model.gamma)
        logits, statistics = self.judge_mixed(variables, batch, rest, beta)
        terms = {"adversarial": self.adversarial_loss.generator(logits)}
        return Loss(terms, statistics=statistics)

    def judge_mixed(
        self, variables: Variables, batch: Batch, noise: Noise, beta: Array
    ) -> tuple[Array, Variables]:
        """The logits [B] of m_β, data where β and samples elsewhere; new running statistics."""
        pixels, latents = noise.split()
        label = self.label(batch)
        fake, statistics = self.generate_in_training(
            variables, latents.normal(self.num_latents), label
        )
        mixed = mixed_batch.mix(beta, self.real(batch, pixels), fake)
        return self.judge(variables, mixed, label, noise), statistics
