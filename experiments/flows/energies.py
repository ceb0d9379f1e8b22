"""Four densities of the plane, fitted by flows (Rezende & Mohamed, 2015, Table 1 and fig. 3).

    python experiments/flows/energies.py [--energy=U1 …] [--flow=planar …] [--length=8 …]
        [--seeds=0,1,2] [--steps=20000] [--noannealing] [--output=DIR]

A flow of K layers maps z₀ ~ N(0, I) to z ~ q and minimises E[ln q(z) + β·U(z)], where β rises from
.01 to 1 over the first half of the training (their Eq. 20).
By default all four energies are fitted by all four flows with 2, 8 and 32 layers. In the output
folder lie then

- `kl.csv`, a row an energy, flow and length: KL(q ‖ p) in nats, p ∝ e^−U, the mean and range over
  the seeds. It is exact but for the 100,000 draws; ln Z is a sum over a grid;
- `FLOW.png`, a row an energy: p, then q for each length (fig. 3), of the first seed;
- `flows.png`, a row an energy: p, then q of each flow with the most layers.

U2, U3 and U4 are improper: they repeat along z₁. Here |z₁| beyond 4, the paper's frame, costs
½((|z₁| − 4)/.2)². Each fit is kept in a file of its own, and not done again. A fit's seconds are
those of all seeds together, and include compiling.
"""

import functools
import itertools
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from etils import epath

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax.flows.transform import Context, Inverse, Transform
from gm_jax.images import grid, save_png
from gm_jax.networks.vector_flow import vector_flow
from gm_jax.training.progress import working
from gm_jax.training.workdir import write_npz

Array = jax.Array
FLOWS = ["planar", "radial", "iaf", "real_nvp"]
LENGTHS = [2, 8, 32]
FRAME = 4.0  # of the pictures: both coordinates lie in ±4
BATCH, DRAWS = 256, 100_000
EVALUATE = Context(False)


def _wave(z1: Array) -> Array:
    return jnp.sin(jnp.pi * z1 / 2)


def _wall(z1: Array) -> Array:
    return jnp.maximum(abs(z1) - FRAME, 0) ** 2 / (2 * 0.2**2)


def ring_with_two_modes(z1: Array, z2: Array) -> Array:
    """U₁."""
    modes = [-(((z1 - mode) / 0.6) ** 2) / 2 for mode in (2, -2)]
    return ((jnp.hypot(z1, z2) - 2) / 0.4) ** 2 / 2 - jnp.logaddexp(*modes)


def wave(z1: Array, z2: Array) -> Array:
    """U₂."""
    return ((z2 - _wave(z1)) / 0.4) ** 2 / 2 + _wall(z1)


def _two_waves(z1: Array, z2: Array, apart: Array, width: float) -> Array:
    first = -(((z2 - _wave(z1)) / width) ** 2) / 2
    second = -(((z2 - _wave(z1) + apart) / 0.35) ** 2) / 2
    return -jnp.logaddexp(first, second) + _wall(z1)


def bump(z1: Array, z2: Array) -> Array:
    """U₃."""
    return _two_waves(z1, z2, 3 * jnp.exp(-(((z1 - 1) / 0.6) ** 2) / 2), 0.35)


def fork(z1: Array, z2: Array) -> Array:
    """U₄."""
    return _two_waves(z1, z2, 3 * jax.nn.sigmoid((z1 - 1) / 0.3), 0.4)


Energy = Callable[[Array, Array], Array]
ENERGIES: dict[str, Energy] = {
    "U1": ring_with_two_modes,
    "U2": wave,
    "U3": bump,
    "U4": fork,
}


def log_normaliser(energy: Energy, frame: float = 8.0, width: float = 0.02) -> float:
    """ln ∫ e^−U in the square ±frame, in nats, by the midpoints of squares of this width."""
    axis = np.arange(-frame + width / 2, frame, width, dtype=np.float32)
    values = np.asarray(jax.jit(energy)(*np.meshgrid(axis, axis)), np.float64)
    return float(np.log(np.exp(-values).sum()) + 2 * np.log(width))


def draw(flow: Transform, params: Any, key: Array, count: int) -> tuple[Array, Array]:
    """Draws z ~ q, [count, 2], and ln q(z) in nats [count]."""
    start = jax.random.normal(key, (count, 2))
    z, log_det = flow.apply(params, start, EVALUATE, method="forward_and_log_det")
    return z, jax.scipy.stats.norm.logpdf(start).sum(1) - log_det


def inverse_temperature(step: Array, steps: int) -> Array:
    """β: from .01 at step 0 to 1 at half of the training (published: at step 10,000)."""
    return jnp.minimum(1.0, 0.01 + step / (steps / 2))


def fit(flow: Transform, energy: Energy, keys: Array, steps: int, annealing: bool) -> Any:
    """The parameters that minimise E[ln q + β·U], a row for each key: a tree of [keys, ...]."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(5.0), optax.adam(optax.cosine_decay_schedule(2e-3, steps))
    )

    def one(key: Array) -> Any:
        start, stream = jax.random.split(key)

        def loss(params: Any, step: Array) -> Array:
            z, log_q = draw(flow, params, jax.random.fold_in(stream, step), BATCH)
            beta = inverse_temperature(step, steps) if annealing else 1.0
            return jnp.mean(log_q + beta * energy(*z.T))

        def update(carry: Any, step: Array) -> tuple[Any, None]:
            params, state = carry
            moves, state = optimizer.update(jax.grad(loss)(params, step), state)
            return (optax.apply_updates(params, moves), state), None

        params = flow.init(start, jnp.zeros((1, 2)), EVALUATE, method="forward_and_log_det")
        return jax.lax.scan(update, (params, optimizer.init(params)), jnp.arange(steps))[0][0]

    return jax.jit(jax.vmap(one))(keys)


def kl_divergence(flow: Transform, params: Any, energy: Energy, key: Array) -> float:
    """KL(q ‖ p) in nats, up to the error of DRAWS draws."""
    z, log_q = map(np.asarray, jax.jit(lambda params: draw(flow, params, key, DRAWS))(params))
    cost = np.asarray(jax.jit(energy)(*z.T))
    return float(np.mean(np.float64(log_q) + cost) + log_normaliser(energy))


def points_of_picture(side: int = 128) -> np.ndarray:
    """The centres of a picture's pixels, row by row from above, float32 [side², 2]."""
    axis = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1) * FRAME
    return np.stack(np.meshgrid(axis, axis[::-1]), -1).reshape(-1, 2)


def picture(log_density: Array) -> np.ndarray:
    """A density at the points, [side²], as uint8 [side, side, 1]: black is its largest value."""
    density, side = np.exp(np.asarray(log_density)), math.isqrt(len(log_density))
    return np.uint8(255 * (1 - density / density.max())).reshape(side, side, 1)


def judge(flow: Transform, energy: Energy, options: Any) -> dict[str, np.ndarray]:
    """Fits a flow from every seed: `kl` [seeds], the first one's `picture`, and `seconds`."""
    before = time.time()
    keys = jnp.stack([jax.random.key(seed) for seed in options.seeds])
    fitted = jax.device_get(fit(flow, energy, keys, options.steps, options.annealing))
    seconds = time.time() - before
    each = [jax.tree.map(lambda leaf, row=row: leaf[row], fitted) for row in range(len(keys))]
    inverse = {"params": {"transform": each[0]["params"]}}
    log_prob = jax.jit(functools.partial(Inverse(flow).apply, method="log_prob"))
    key = jax.random.key(len(keys))
    return {
        "kl": np.array([kl_divergence(flow, params, energy, key) for params in each]),
        "picture": picture(log_prob(inverse, points_of_picture(), EVALUATE)[0]),
        "seconds": np.float64(seconds),
    }


def compare(options: Any) -> None:
    """Fits what is missing, and writes the table and the pictures; the options are the flags."""
    folder, rows = epath.Path(options.output), []
    folder.mkdir(parents=True, exist_ok=True)
    lengths = sorted(options.length)
    pictures: dict[tuple[str, str, int], np.ndarray] = {}
    setting = f"{options.width}-{options.steps}{'' if options.annealing else '-not_annealed'}"
    for name, kind, length in itertools.product(options.energy, options.flow, lengths):
        seeds = "_".join(map(str, options.seeds))
        path = folder / f"{name}-{kind}-{length}-{setting}-{seeds}.npz"
        if not path.exists():
            flow = vector_flow(kind, length, (options.width,))
            with working(f"fitting {path.stem}"):
                write_npz(path, judge(flow, ENERGIES[name], options))
        with path.open("rb") as file, np.load(file) as stored:
            kl, seconds = stored["kl"], float(stored["seconds"])
            pictures[name, kind, length] = stored["picture"]
        print(f"{path.name}: KL {kl}", flush=True)
        rows.append(
            {"energy": name, "flow": kind, "length": length, "seeds": len(kl), "kl": kl.mean()}
            | {"lowest": kl.min(), "highest": kl.max(), "seconds": seconds}
        )
    program.write_csv(folder / "kl.csv", rows)
    for name in options.energy:
        pictures[name, "", 0] = picture(-ENERGIES[name](*points_of_picture().T))

    def save(file: str, columns: list[tuple[str, int]]) -> None:
        columns = [("", 0), *columns]
        panels = [pictures[name, *column] for name in options.energy for column in columns]
        save_png(folder / file, grid(np.stack(panels), columns=len(columns)))
        print(f"{folder / file}, from left to right: p, {columns[1:]}")

    for kind in options.flow:
        save(f"{kind}.png", [(kind, length) for length in lengths])
    save("flows.png", [(kind, lengths[-1]) for kind in options.flow])


if __name__ == "__main__":
    flags.DEFINE_multi_enum("energy", [*ENERGIES], [*ENERGIES], "Energies; repeatable.")
    flags.DEFINE_multi_enum("flow", FLOWS, FLOWS, "Kinds of layers; repeatable.")
    flags.DEFINE_multi_integer("length", LENGTHS, "Numbers of layers, K; repeatable.", 1)
    program.define_seeds("0,1,2", "A fit for each.")
    flags.DEFINE_integer("steps", 20_000, "Updates of each fit.", lower_bound=1)
    flags.DEFINE_boolean("annealing", True, "Whether β rises to 1, or is 1 from the start.")
    flags.DEFINE_integer("width", 32, "Hidden units of a layer's network, if any.", lower_bound=1)
    flags.DEFINE_string("output", "runs/flows-energies", "Folder for results.")
    program.run(lambda _: compare(flags.FLAGS))
