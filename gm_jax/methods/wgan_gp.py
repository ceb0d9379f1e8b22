"""The Wasserstein GAN with gradient penalty (Gulrajani et al., 2017).

The critic is the discriminator without a sigmoid. It minimises E[D(G(z))] − E[D(x)] +
λ·E[(‖∇D(x̂)‖₂ − 1)²] (Eq. 3), and the generator minimises −E[D(G(z))]: the config sets the loss
`wasserstein` and the control `penalty`. With `clipping` it is the Wasserstein GAN of Arjovsky et
al. (2017).
"""

from typing import Any

from gm_jax.data.fields import DataSpec
from gm_jax.methods.dcgan import Dcgan
from gm_jax.methods.gan import Gan
from gm_jax.methods.method import Method


class WganGp(Gan):
    """Algorithm 1: several critic updates, each on a fresh batch, then a generator update."""

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        self.players = self.alternate(config.model.critic_steps)


class DcganWganGp(Dcgan):
    """The same algorithm on the DCGAN's networks, the baseline of α-GAN (Rosca et al., 2017, H.1).

    That paper has batch norm "for all our experiments". In the critic it makes an example's output
    depend on the others', whose gradients then enter the penalty; the page omits it there
    (`model.discriminator.batch_norm`).
    """

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        self.players = self.alternate(config.model.critic_steps)
