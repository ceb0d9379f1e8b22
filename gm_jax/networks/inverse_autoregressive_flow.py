"""Inverse autoregressive flow on an image of latents (Kingma et al., 2016)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.nn.weight_norm import WeightNormConv

Array = jax.Array


def raster_mask(kernel_size: int, inputs: int, outputs: int, zero_diagonal: bool) -> np.ndarray:
    """Mask [k, k, inputs, outputs] of a convolution, autoregressive in reverse raster order.

    A latent sees those to its right and below. Within a position the channels are ordered: output
    group j sees input groups 0..j, or 0..j−1 if `zero_diagonal` (as in IAF's code).
    """
    centre = kernel_size // 2
    mask = np.zeros((kernel_size, kernel_size, inputs, outputs), np.float32)
    mask[centre + 1 :] = 1
    mask[centre, centre + 1 :] = 1
    groups = min(inputs, outputs)
    if inputs % groups or outputs % groups:
        raise ValueError(
            f"autoregressive layers of {inputs} to {outputs} channels: one must be a multiple of "
            "the other; choose vae.features as a multiple of vae.num_latents"
        )
    group_in = np.arange(inputs) * groups // inputs
    group_out = np.arange(outputs) * groups // outputs
    earlier = group_in[:, None] < group_out if zero_diagonal else group_in[:, None] <= group_out
    mask[centre, centre] = earlier
    return mask


class InverseAutoregressiveFlow(nn.Module):
    """One step z' = (z − m)/e^s, where (m, s) is an autoregressive function of z (Eq. 10 of IAF).

    ∂z'/∂z is triangular, so log|det| = −Σ s.

    Attributes:
      features, kernel_size: channels and kernel size of the masked convolutions.
      num_layers: number of them before those to m and s; the first one sees the context.
      scale: multiplies m and s, so that the flow starts near the identity.
      init_scale: `init_scale` of the masked convolutions.
      conv: makes a convolution.
    """

    features: int
    kernel_size: int
    num_layers: int
    scale: float
    init_scale: float
    conv: Any

    @nn.compact
    def __call__(self, z: Array, context: Array) -> tuple[Array, Array]:
        """Maps z [B, h, w, Z] to (z', s), both [B, h, w, Z]; context is [B, h, w, features]."""
        latents = z.shape[-1]

        def masked(inputs: int, outputs: int, zero_diagonal: bool) -> WeightNormConv:
            size = (self.kernel_size, self.kernel_size)
            mask = raster_mask(self.kernel_size, inputs, outputs, zero_diagonal)
            return self.conv(outputs, size, mask=mask, init_scale=self.init_scale)

        hidden = nn.elu(masked(latents, self.features, False)(z) + context)
        for _ in range(self.num_layers - 1):
            hidden = nn.elu(masked(self.features, self.features, False)(hidden))
        shift = self.scale * masked(self.features, latents, True)(hidden)
        log_scale = self.scale * masked(self.features, latents, True)(hidden)
        return (z - shift) * jnp.exp(-log_scale), log_scale
