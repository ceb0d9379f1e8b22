"""Flow-GAN: a flow that an adversary, its likelihood or both train (Grover et al., 2018).

The generator is the inverse of a flow, so that its samples have a density. It minimises the
generator's adversarial loss − λ·E[ln p(x)] (Eq. 6), with the losses and the control of the critic's
slope that the page names, in the paper those of the Wasserstein GAN with gradient penalty. λ = 0 is
adversarial training; likelihood alone is the method `flow`.
"""

from typing import Any, cast

import jax

from gm_jax.data.fields import DataSpec
from gm_jax.flows.transform import Context, Transform
from gm_jax.methods.flow import Flow
from gm_jax.methods.gan import Gan
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks import discriminators

Array = jax.Array


class FlowGan(Flow, Gan):
    """Updates of the critic, each on a fresh batch, then one of the flow on the first of them.

    Any flow can be the generator whose inverse has a gradient. The critic sees images dequantised
    uniformly. Its penalty is on the gradient over the whole image; the authors' code takes the
    norm along the rows alone.
    """

    needs = ("image",)
    generator_networks = ("flow",)
    players: tuple[Player, ...]

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        # Bits/dim alone would select a checkpoint by one half of what it learns: the latest counts.
        self.validation_score = None

    def create_players(self) -> tuple[Player, ...]:
        """The critic's updates and the flow's."""
        return self.alternate(self.model.critic_steps)

    def create_networks(self, classes: int | None) -> None:
        """Sets `discriminator` and `num_latents`; the flow is its own generator."""
        if classes is not None:
            raise ValueError(
                "model.class_conditional is True, but a Flow-GAN's flow knows no classes; set it "
                "to False"
            )
        height, width, channels = self.image_shape
        self.num_latents = height * width * channels
        self.discriminator = discriminators.create(
            self.model.discriminator, None, self.dtype, self.critic_layers
        )

    def create_flow(self) -> Transform:
        """The network that the page names, behind its dequantiser."""
        flow = super().create_flow()
        if not flow.inverse_has_gradient:
            raise ValueError(
                f"model.network.kind is '{self.model.network.kind}', whose inverse is a search "
                "without a gradient, and samples are moved by theirs; choose another flow"
            )
        return flow

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the flow as `Flow` does, and its critic."""
        keys = jax.random.split(key)
        variables = super().init_networks(keys[0], batch, noise)
        return {**variables, "discriminator": self.discriminator.init(keys[1], self.unit(batch))}

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """The adversarial loss of samples, and λ times −ln p of the batch that the critic saw."""
        of_samples, of_data = noise.split()
        loss = super().generator_loss(variables, batch, of_samples, step)
        weight = self.model.likelihood_weight
        if not weight:
            return loss
        likelihood = self.loss(variables, batch, of_data, step)
        terms = {name: weight * term for name, term in likelihood.terms.items()}
        return Loss({**loss.terms, **terms}, likelihood.curves, likelihood.statistics)

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps standard normal latents [B, H·W·C] to images, in [−1, 1] but for tails."""

        def invert(flow: Any, features: Array) -> Array:
            network: Transform = flow.transforms[1]  # not the dequantiser, which would round
            return network.inverse_and_log_det(features, Context(train=False))[0]

        features = latents.reshape(-1, *self.image_shape)
        x = cast(Array, self.flow.apply(variables["flow"], features, method=invert))
        low, high = self.model.interval
        return 2 * (x - low) / (high - low) - 1
