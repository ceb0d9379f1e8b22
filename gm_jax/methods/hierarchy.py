"""What AGAVE and the IAF-VAE share: how a hierarchical VAE draws, encodes and codes latents."""

from typing import Any, cast

import jax

from gm_jax.methods.latent_layers import LatentLayers
from gm_jax.methods.method import Choose, Noise, Variables
from gm_jax.networks.hierarchical_vae import HierarchicalVAE, Reconstruction

Array = jax.Array


class Hierarchy(LatentLayers):
    """Network `vae` gives f(z), the posterior of z and its prior."""

    vae: HierarchicalVAE

    def encoded(self, variables: Variables, x: Array, noise: Noise) -> Reconstruction:
        """The VAE's output given a draw from the posterior."""
        return cast(Reconstruction, self.vae.apply(variables["vae"], x, noise))

    def sketch(
        self, variables: Variables, noise: Noise, latents: Any, temperature: float = 1.0
    ) -> Reconstruction:
        """The VAE's output given latents; those that are None, or all, come from the prior."""
        arguments = (None, self.image_shape[:2], noise, latents, temperature)
        sketch = self.vae.apply(variables["vae"], *arguments, method="decode")
        return cast(Reconstruction, sketch)

    def code_latents(
        self, variables: Variables, image: Array, latents: Any, choose: Choose
    ) -> list[Array]:
        """The bins of `HierarchicalVAE.choose`, by the posteriors."""
        evidences = self.vae.apply(variables["vae"], self.scale(image), method="encode")
        return self._chosen(variables, evidences, latents, choose)[0]

    def code_sketch(
        self, variables: Variables, latents: Any, choose: Choose
    ) -> tuple[list[Array], Reconstruction]:
        """The bins that `choose` chooses by the priors, block by block, and the VAE's output."""
        return self._chosen(variables, None, latents, choose)

    def why_not_coded(self) -> str:
        """A flow's posterior has no masses in closed form."""
        if self.model.vae.flow:
            return "its posterior has a flow, without masses on a grid; set model.vae.flow=False"
        return super().why_not_coded()

    def _chosen(
        self, variables: Variables, evidences: Any, latents: Any, choose: Choose
    ) -> tuple[list[Array], Reconstruction]:
        arguments = (evidences, self.image_shape[:2], latents, choose)
        chosen = self.vae.apply(variables["vae"], *arguments, method="choose")
        return cast(tuple[list[Array], Reconstruction], chosen)
