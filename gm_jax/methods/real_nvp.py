"""Real-NVP: exact maximum likelihood with an invertible network (Dinh et al., 2017)."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from gm_jax.flows.dequantise import Dequantise
from gm_jax.flows.transform import Chain, Context, Transform
from gm_jax.methods.flow import Flow
from gm_jax.methods.method import Batch, Loss, Noise, Variables
from gm_jax.networks.real_nvp import initialize, magnitudes, real_nvp

Array = jax.Array


class RealNvp(Flow):
    """A flow of images with batch norms, whose loss has an l₂ penalty."""

    needs = ("image",)
    network_name: ClassVar[str] = "real_nvp"

    def create_flow(self) -> Transform:
        """The network of the page, behind a dequantiser onto [0, 1]."""
        network = real_nvp(self.image_shape, dtype=self.dtype, **self.model.real_nvp)
        return Chain((Dequantise(self.levels), network))

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the network, with the statistics of `batch` as running statistics."""
        variables = initialize(self.flow, key, batch[self.field], Context(True, noise))
        return {self.network_name: variables}

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln p(x) plus the l₂ penalty, in nats per image."""
        loss = super().loss(variables, batch, noise, step)
        params = variables[self.network_name]["params"]
        squares = sum(jnp.sum(leaf**2) for leaf in magnitudes(params))
        penalty = self.model.l2_penalty * squares
        return loss._replace(terms={**loss.terms, "regularization": penalty})
