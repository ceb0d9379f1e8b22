"""Does a trained discriminator of mixed batches find the optimal one? (thesis, 4.3.2 and 4.4.2)

    python experiments/mixed_batches/optimal_discriminator.py [--updates=5000] [--batch_size=16]
        [--batches=16] [--seeds=0,1,2] [--output=DIR]

Proposition 1 gives the optimal discriminator D*, Theorem 1 says that symmetric networks come close
to it; the thesis trains none on known densities. Here both are: three Gaussians of which the data
has equal shares, and the "samples" .6, .3 and .1. No generator moves. Each update minimises Eq. 4.4
on fresh mixed batches with p* ~ U([0, 1]), at a learning rate that falls from .001 to 0, by

- `bgan` and `m_bgan`, a symmetric network with both reductions (Eqs. 4.13, 4.14);
- `pointwise`, a network that sees each example alone, whose logits are averaged as in bgan;
- `bgan_half`, as bgan but with p* = ½: the batches that starve a discriminator (4.3.1).

It writes `regret.csv`, the loss less that of D* on the same 4,096 held-out batches (nats, the mean
and range over the seeds), for `m_bgan` also that of its mean logit; and `regret.png`. The rows
`always_half` answer ½ whatever they see.
"""

import functools
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from scipy.special import xlogy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from experiments.side_by_side import overlay_curves
from gm_jax.data.points import MIXTURES
from gm_jax.images import save_png
from gm_jax.losses import mixed_batch
from gm_jax.losses.mixed_batch import REDUCTIONS, batch_prior, optimal_discriminator
from gm_jax.networks.mlp import Mlp
from gm_jax.nn.equivariant import equivariant
from gm_jax.nn.layers import PLAIN
from gm_jax.nn.noise import Noise
from gm_jax.training.progress import working

Array = jax.Array
BLOBS = MIXTURES["blobs"]
SHARES = {"data": np.full(3, 1 / 3), "samples": np.array([0.6, 0.3, 0.1])}
HELD_OUT = 4096
# {row: (symmetric network, reduction, whether p* = ½)}
DISCRIMINATORS = {
    "bgan": (True, "bgan", False),
    "m_bgan": (True, "m_bgan", False),
    "pointwise": (False, "bgan", False),
    "bgan_half": (True, "bgan", True),
}


def network(symmetric: bool) -> Mlp:
    """Three hidden layers of 128 units."""
    return Mlp((128, 128, 128), None, layers=equivariant(PLAIN) if symmetric else PLAIN)


def draw_batches(key: Array, count: int, size: int, half: bool) -> tuple[Array, Array]:
    """Mixed batches y, float [count, size, 2], and their β, bool [count, size]."""

    def one(key: Array) -> tuple[Array, Array]:
        mixing, blob, place = jax.random.split(key, 3)
        noise = Noise(mixing, jnp.arange(size))
        beta = noise.uniform() < 0.5 if half else mixed_batch.draw_mixing(noise, 0.5)
        logits = jnp.log(jnp.where(beta[:, None], SHARES["data"], SHARES["samples"]))
        centre = jnp.asarray(BLOBS.modes, jnp.float32)[jax.random.categorical(blob, logits)]
        return centre + BLOBS.std * jax.random.normal(place, (size, 2)), beta

    return jax.vmap(one)(jax.random.split(key, count))


def log_ratios(y: np.ndarray) -> np.ndarray:
    """ln p₁(y) − ln p₂(y) of points [..., 2]; the common factors of the Gaussians cancel."""
    squares = ((np.asarray(y, np.float64)[..., None, :] - BLOBS.modes) ** 2).sum(-1)
    densities = {
        name: np.logaddexp.reduce(np.log(share) - squares / (2 * BLOBS.std**2), -1)
        for name, share in SHARES.items()
    }
    return densities["data"] - densities["samples"]


def mean_kl(ratios: np.ndarray, logits: np.ndarray) -> float:
    """Eq. 4.3 in float64, as regrets come close to float32's rounding; arrays of one shape."""
    share, odds = np.asarray(ratios, np.float64), np.asarray(logits, np.float64)
    cross_entropy = share * np.logaddexp(0, -odds) + (1 - share) * np.logaddexp(0, odds)
    return float(np.mean(xlogy(share, share) + xlogy(1 - share, 1 - share) + cross_entropy))


def train(name: str, seed: int, options: Any) -> dict[str, list[tuple[int, float]]]:
    """The regret by update, {curve: [(update, nats)]}."""
    symmetric, reduction, half = DISCRIMINATORS[name]
    discriminator, size = network(symmetric), options.batch_size
    start, stream, held_out = jax.random.split(jax.random.key(seed), 3)
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, options.updates))
    y, beta = jax.jit(draw_batches, static_argnums=(1, 2, 3))(held_out, HELD_OUT, size, half)
    ratios = np.asarray(beta).mean(1)
    log_prior = np.full(size + 1, -size * np.log(2)) if half else batch_prior(size, "uniform")
    best = optimal_discriminator(log_ratios(y), log_prior)
    least = mean_kl(ratios, np.log(best) - np.log1p(-best))

    def of_logits(params: Any, y: Array) -> Array:
        return jax.vmap(lambda batch: discriminator.apply(params, batch))(y)

    @functools.partial(jax.jit, static_argnums=2)
    def updates(carry: Any, key: Array, count: int) -> Any:
        def update(carry: Any, key: Array) -> tuple[Any, None]:
            params, state = carry
            y, beta = draw_batches(key, options.batches, size, half)
            ratios = jnp.mean(beta.astype(jnp.float32), 1)

            def loss(params: Any) -> Array:
                return jnp.mean(jax.vmap(REDUCTIONS[reduction])(of_logits(params, y), ratios))

            moves, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, moves), state), None

        return jax.lax.scan(update, carry, jax.random.split(key, count))[0]

    judge = jax.jit(lambda params: of_logits(params, y))
    params = discriminator.init(start, y[0])
    carry, done = (params, optimizer.init(params)), 0
    curves: dict[str, list[tuple[int, float]]] = {}
    marks = {0, 10, 30, 100, 300, *range(500, options.updates, 500), options.updates}
    for mark in sorted(mark for mark in marks if mark <= options.updates):
        if mark > done:
            carry, done = updates(carry, jax.random.fold_in(stream, mark), mark - done), mark
        logits = np.asarray(judge(carry[0]), np.float64)
        of_mean = mean_kl(ratios, logits.mean(1)) - least
        if reduction == "m_bgan":
            of_each = mean_kl(np.repeat(ratios[:, None], size, 1), logits) - least
            curves.setdefault(name, []).append((mark, of_each))
            name_of_mean = "m_bgan_mean_logit"
        else:
            name_of_mean = name
        curves.setdefault(name_of_mean, []).append((mark, of_mean))
    always = mean_kl(ratios, np.zeros(HELD_OUT)) - least
    curves["always_half" + ("_half" if half else "")] = [(0, always), (options.updates, always)]
    return curves


def main(_: list[str]) -> None:
    """Trains every discriminator with every seed, and writes the table and the picture."""
    options = flags.FLAGS
    found: dict[str, list[list[tuple[int, float]]]] = {}
    for name in DISCRIMINATORS:
        for seed in options.seeds:
            with working(f"training {name}, seed {seed}"):
                trained = train(name, seed, options)
            for curve, values in trained.items():
                found.setdefault(curve, []).append(values)
            print(f"{name}, seed {seed}: regret {found[name][-1][-1][1]:.5f}", flush=True)
    rows = []
    for curve, runs in found.items():
        for point in zip(*runs, strict=True):
            values = [value for _, value in point]
            of_range = {"lowest": min(values), "highest": max(values), "seeds": len(options.seeds)}
            rows.append(
                {"discriminator": curve, "update": point[0][0]}
                | {"regret": float(np.mean(values)), **of_range}
            )
    program.write_csv(f"{options.output}/regret.csv", rows)
    curves = {
        name: {
            "log10 of the regret in nats, by log10 of the update": [
                (np.log10(max(row["update"], 1)), np.log10(max(row["regret"], 1e-6)))
                for row in rows
                if row["discriminator"] == name
            ]
        }
        for name in found
    }
    save_png(f"{options.output}/regret.png", overlay_curves(curves))


if __name__ == "__main__":
    flags.DEFINE_integer("updates", 5000, "Updates of each discriminator.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 16, "B, examples in a mixed batch.", lower_bound=2)
    flags.DEFINE_integer("batches", 16, "Mixed batches per update.", lower_bound=1)
    program.define_seeds("0,1,2", "A training for each.")
    flags.DEFINE_string("output", "runs/mixed_batches-optimal_discriminator", "Folder for results.")
    program.run(main)
