"""The divergence of a batch of codes from the standard normal, from the batch's moments alone."""

import jax
import jax.numpy as jnp

from gm_jax.nn.batch_norm import global_moments

Array = jax.Array
MOMENTS = ("deviation", "variance")


def empirical_kl(codes: Array, moment: str = "deviation") -> Array:
    """1/n Σ_i [(s_i² + m_i²)/2 − ln s_i − ½], KL(N(m_i, s_i²) ‖ N(0, 1)), in nats per latent, [].

    This is Eq. 18 of α-GAN (Rosca et al., 2017), which prints other signs, divided by the number of
    latents as there. AGE's code (Ulyanov et al., 2017) puts the variance where the deviation s_i
    belongs, which doubles the force on small variances.

    Args:
      codes: the device's share of the batch, float [B, n]; the moments are the global batch's.
      moment: what s_i is, one of MOMENTS.
    """
    if moment not in MOMENTS:
        raise ValueError(f"model.kl_moment is '{moment}'; choose among {', '.join(MOMENTS)}")
    mean, variance = global_moments(codes)
    variance = jnp.maximum(variance, 1e-12)  # rounding can give 0, whose logarithm is infinite
    square = variance if moment == "deviation" else jnp.square(variance)
    return jnp.mean((square + jnp.square(mean) - jnp.log(square) - 1) / 2)
