"""The GAN with mixup (Zhang et al., 2018, section 3.8)."""

from typing import Any

from gm_jax.losses.adversarial import AdversarialLoss
from gm_jax.losses.mixed_batch import bernoulli_cross_entropy
from gm_jax.methods.method import Batch, Loss, Noise, Variables
from gm_jax.methods.sngan import Sngan


class MixupGan(Sngan):
    """The discriminator predicts the weight λ in averages λx + (1 − λ)x̃ of data and samples.

    The paper does not say how λ is drawn. In the authors' code one of the two keeps the weight
    1 − U(0, `mixup`), as here for each in turn; half of its pairs are two images or two samples,
    which the paper's formula does not have, nor does this. The generator's loss is on samples
    alone.
    """

    def create_loss(self) -> AdversarialLoss:
        """A pair whose discriminator minimises the cross-entropy, which takes soft labels."""
        loss = super().create_loss()
        if loss.term != "cross_entropy":
            raise ValueError(
                f"model.adversarial_loss is '{self.model.adversarial_loss}', which has no soft "
                "labels; choose minimax, non_saturating or log_ratio"
            )
        return loss

    def penalty_obstacle(self) -> str:
        """Its discriminator sees averages, so that there is no pair to penalise between."""
        return "mixup controls the slope between data and samples itself"

    def discriminator_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Any
    ) -> Loss:
        """−λ ln D − (1 − λ) ln(1 − D) on averages that are mostly data, and mostly samples."""
        weights, rest = noise.split()
        variables, statistics = self.iterate(variables, batch)
        critic, real, fake, _ = self.judged(variables, batch, rest)
        share = self.model.mixup * weights.uniform(2)
        terms = {}
        for name, of_data in (("data", 1 - share[:, 0]), ("samples", share[:, 1])):
            weight = of_data.reshape(-1, *(1 for _ in real.shape[1:]))
            logits = critic(weight * real + (1 - weight) * fake)
            terms[name] = bernoulli_cross_entropy(of_data, logits)
        return Loss(terms, statistics=statistics)
