"""A pool of past samples, some of which a critic sees in place of new ones.

What a generator made before reminds its critic (Shrivastava et al., 2017, section 2.3). This is the
pool of CycleGAN's code (Zhu et al., 2017, section 4). It is part of the critic's statistics, so a
run goes on with the pool that it had.
"""

import jax
import jax.numpy as jnp

from gm_jax import devices

Array = jax.Array
Pool = dict[str, Array]
COLLECTION = "pool"


def empty(size: int, shape: tuple[int, ...]) -> Pool:
    """A pool for `size` samples of a shape: `samples` float32 [size, *shape], `count` int32."""
    return {"samples": jnp.zeros((size, *shape)), "count": jnp.zeros((), jnp.int32)}


def exchange(pool: Pool, samples: Array, key: Array) -> tuple[Pool, Array]:
    """Enters samples into the pool one by one; returns what the critic sees in place of each.

    As long as the pool is not full, a sample is stored, and seen as well. After that, with
    probability ½, it takes the place of a random stored one, which is seen; else it is seen itself,
    and not stored. The samples of all devices enter in the order of their numbers, so all devices
    have the same pool. No gradient passes.

    Args:
      pool: from `empty` or from here.
      samples: this device's share of the global batch, float32 [B, ...].
      key: the same on all devices (`Noise.shared`).

    Returns:
      The new pool, and what is seen, float32 [B, ...].
    """
    entering, size = devices.gather(jax.lax.stop_gradient(samples)), len(pool["samples"])
    coins, places = jax.random.split(key)
    swaps = jax.random.bernoulli(coins, 0.5, (len(entering),))
    drawn = jax.random.randint(places, (len(entering),), 0, size)

    def enter(pool: Pool, each: tuple[Array, Array, Array]) -> tuple[Pool, Array]:
        sample, swap, place = each
        stored, count = pool["samples"], pool["count"]
        full = count == size
        place = jnp.where(full, place, count)
        old = stored[place]
        seen = jnp.where(full & swap, old, sample)
        kept = jnp.where(full & ~swap, old, sample)
        after = {"samples": stored.at[place].set(kept), "count": jnp.minimum(count + 1, size)}
        return after, seen

    pool, seen = jax.lax.scan(enter, pool, (entering, swaps, drawn))
    return pool, seen[devices.index(len(samples))]
