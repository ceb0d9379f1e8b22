"""Two parallel lines at distance θ: what each divergence is, and what critics make of it.

    python experiments/lipschitz/two_lines.py [--theta=0.25 …] [--updates=2000] [--seeds=0,1,2]
        [--output=DIR]

p₀ is uniform on {0} × [0, 1] and p_θ on {θ} × [0, 1] (thesis, fig. 2.13). Where θ ≠ 0, KL = ∞ and
JS = ln 2 whatever θ is, but W₁ = |θ|. Two critics, perceptrons of two layers, learn to tell both
apart: a discriminator with cross-entropy, and a Wasserstein critic with gradient penalty λ = 10.
In the output folder lie then

- `two_lines.csv`, a row a θ and number of updates: closed forms and, as means and ranges over the
  seeds, the trained critics' estimates of KL (mean logit on p₀), JS and W₁ (from the losses), and
  d/dθ of the generator's losses ln(1 − D), −ln D, −logit and −critic. With the penalty the best
  critic has slope 1 + |θ|/2λ, and so the estimate of W₁ is |θ| + θ²/2λ;
- `two_lines.png`: at the end, the estimates and gradients by θ, and closed forms.
"""

import functools
import itertools
import math
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from experiments.side_by_side import overlay_curves
from gm_jax.images import save_png
from gm_jax.losses import adversarial
from gm_jax.networks.mlp import Mlp

Array = jax.Array
THETAS = [-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]
PENALTY = 10.0  # λ
# {critic: (pair of losses, weight of the penalty, generators' losses whose gradient is taken)}
CRITICS = {
    "cross_entropy": ("minimax", 0.0, ("minimax", "non_saturating", "log_ratio")),
    "wasserstein": ("wasserstein", PENALTY, ("wasserstein",)),
}
NETWORK = Mlp((64, 64), None)
BATCH, HELD_OUT = 64, 1_000
MARKS = (10, 100, 1_000)  # updates, beside the last, after which the critics are measured


def closed_forms(theta: float) -> dict[str, float]:
    """KL(p₀ ‖ p_θ) and JS in nats, W₁, and the best penalised critic's estimate of W₁."""
    apart = theta != 0
    return {
        "kl": math.inf if apart else 0.0,
        "js": math.log(2) if apart else 0.0,
        "w1": abs(theta),
        "penalised_w1": abs(theta) + theta**2 / (2 * PENALTY),
    }


def closed_gradients(theta: float) -> dict[str, float]:
    """d/dθ of JS and W₁, and of −critic of the best penalised critic (NaN at the kink θ = 0)."""
    sign = float(np.sign(theta)) or math.nan
    return {"js": 0.0, "w1": sign, "penalised_critic": sign + theta / (2 * PENALTY)}


def line(key: Array, theta: Array | float, count: int) -> Array:
    """Draws from p_θ, [count, 2]."""
    along = jax.random.uniform(key, (count,))
    return jnp.stack([jnp.full(count, theta), along], 1)


def measure(critic: str, params: Any, theta: Array, key: Array) -> dict[str, Array]:
    """A critic's estimates of divergences, and d/dθ of the generators' losses."""
    of_real, of_fake = jax.random.split(key)
    pair, _, generators = CRITICS[critic]

    def logits(theta: Array) -> Array:
        return NETWORK.apply(params, line(of_fake, theta, HELD_OUT))

    real = NETWORK.apply(params, line(of_real, 0.0, HELD_OUT))
    loss = adversarial.create(pair).discriminator(real, logits(theta)).mean()
    found = {"kl": real.mean(), "js": math.log(2) - loss / 2}
    if critic == "wasserstein":
        found = {"w1": -loss}
    for name in generators:
        of_samples = adversarial.create(name).generator
        gradient = jax.grad(lambda t, f=of_samples: f(logits(t)).mean())(theta)
        found[f"{name}_gradient"] = gradient
    return found


def train(critic: str, options: Any) -> tuple[list[int], dict[str, np.ndarray]]:
    """The marks, and what is measured of a critic at each, {name: [thetas, seeds, marks]}."""
    name, weight, _ = CRITICS[critic]
    pair, optimizer = adversarial.create(name), optax.adam(1e-3, 0.5, 0.9)

    def loss(params: Any, theta: Array, key: Array) -> Array:
        of_real, of_fake, of_fraction = jax.random.split(key, 3)
        terms = adversarial.discriminator_terms(
            pair,
            lambda x: NETWORK.apply(params, x),
            line(of_real, 0.0, BATCH),
            line(of_fake, theta, BATCH),
            jax.random.uniform(of_fraction, (BATCH,)),
            weight,
        )
        return sum(term.mean() for term in terms.values())

    def start(key: Array) -> Any:
        params = NETWORK.init(key, jnp.zeros((1, 2)))
        return params, optimizer.init(params)

    def advance(carry: Any, theta: Array, key: Array, first: int, last: int) -> Any:
        def update(step: Array, carry: Any) -> Any:
            params, state = carry
            gradient = jax.grad(loss)(params, theta, jax.random.fold_in(key, step))
            moves, state = optimizer.update(gradient, state)
            return optax.apply_updates(params, moves), state

        return jax.lax.fori_loop(first, last, update, carry)

    # Critics of all θ and seeds learn in one program, along one axis.
    shape = len(options.theta), len(options.seeds)
    thetas = jnp.repeat(jnp.array(options.theta, jnp.float32), shape[1])
    keys = jnp.stack([jax.random.key(int(seed)) for seed in options.seeds] * shape[0])
    starts, streams, held_out = jax.vmap(lambda key: jax.random.split(key, 3))(keys).T
    all_advance = jax.jit(jax.vmap(advance, (0, 0, 0, None, None)))
    all_measure = jax.jit(jax.vmap(functools.partial(measure, critic)))
    marks = [mark for mark in MARKS if mark < options.updates] + [options.updates]
    carry, found = jax.jit(jax.vmap(start))(starts), []
    for first, last in itertools.pairwise([0, *marks]):
        carry = all_advance(carry, thetas, streams, first, last)
        found.append(jax.device_get(all_measure(carry[0], thetas, held_out)))
    names = found[0]
    return marks, {
        name: np.stack([each[name].reshape(shape) for each in found], -1) for name in names
    }


def table(options: Any) -> list[dict[str, Any]]:
    """A row a θ and number of updates: closed forms, and what the critics make of them."""
    found: dict[str, np.ndarray] = {}
    for critic in CRITICS:
        marks, of_critic = train(critic, options)
        found |= of_critic
    rows = []
    for place, theta in enumerate(options.theta):
        closed = closed_forms(theta) | {
            f"{name}_gradient": value for name, value in closed_gradients(theta).items()
        }
        for column, mark in enumerate(marks):
            row = {"theta": theta, "updates": mark, "seeds": len(options.seeds), **closed}
            for name, values in found.items():
                row |= program.mean_and_range(f"trained_{name}", values[place, :, column].tolist())
            rows.append(row)
    return rows


def picture(rows: list[dict[str, Any]]) -> np.ndarray:
    """The estimates and the gradients by θ, of the rows, and the closed forms."""

    def curve(name: str) -> list[tuple[float, float]]:
        return [(row["theta"], row[name]) for row in rows if math.isfinite(row[name])]

    names = (
        "js",
        "w1",
        *(f"{loss}_gradient" for _, _, losses in CRITICS.values() for loss in losses),
    )
    trained = {f"{name} by theta": curve(f"trained_{name}") for name in names}
    closed = {f"{name} by theta": curve(name) for name in ("js", "w1")}
    closed["wasserstein_gradient by theta"] = curve("penalised_critic_gradient")
    drawn = overlay_curves({"trained critic": trained, "closed form": closed})
    assert drawn is not None  # there are curves
    return drawn


def compare(options: Any) -> None:
    """Trains the critics, and writes the table and the picture; the options are the flags."""
    rows = table(options)
    program.write_csv(f"{options.output}/two_lines.csv", rows)
    last = [row for row in rows if row["updates"] == options.updates]
    save_png(f"{options.output}/two_lines.png", picture(last))


if __name__ == "__main__":
    flags.DEFINE_multi_float("theta", THETAS, "Distances of the lines, in order; repeatable.")
    flags.DEFINE_integer("updates", 2_000, "Updates of each critic.", lower_bound=1)
    program.define_seeds("0,1,2", "A pair of critics for each.")
    flags.DEFINE_string("output", "runs/lipschitz", "Folder for results.")
    program.run(lambda _: compare(flags.FLAGS))
