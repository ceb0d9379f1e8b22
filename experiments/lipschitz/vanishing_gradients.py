"""What a generator learns from a discriminator that becomes good: gradients of three losses.

    python experiments/lipschitz/vanishing_gradients.py [--data=ring] [--recipe=LOSS-CONTROL …]
        [--before=0 --before=1000] [--updates=2000] [--width=64] [--seeds=0,1,2] [--output=DIR]

A generator is trained for `--before` iterations (−ln D, gradient penalty) and then stays fixed. A
fresh discriminator of each recipe learns to tell its samples from the data (thesis, 2.11; Arjovsky
& Bottou, 2017, fig. 2). In the output folder lie then

- `vanishing_gradients.csv`, a row a recipe, generator and number of the discriminator's updates,
  means and ranges over the seeds: ‖∇_θ L‖ of the generator's losses ln(1 − D), −ln D and −logit,
  the mean of σ(logit), which is D(G(z)) with cross-entropy, and the largest slope of the logit;
- `vanishing_gradients.png`: the norms, log₁₀, by the updates, log₁₀.

A critic without cross-entropy has −logit alone.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.flatten_util import ravel_pytree

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from experiments.lipschitz import recipes
from experiments.point_gans import PointGan
from experiments.side_by_side import overlay_curves
from gm_jax.images import save_png
from gm_jax.losses import adversarial
from gm_jax.methods.method import Method, Variables

Array = jax.Array
RECIPES = [
    *(f"non_saturating-{control}" for control in ("none", "penalty", "spectral_norm")),
    "wasserstein-penalty",
]
TEACHER = "non_saturating-penalty"  # the recipe by which the generator is trained before
GENERATORS = ("minimax", "non_saturating", "log_ratio")
MARKS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)


def gradients(
    method: Method, variables: Variables, key: Array, data: dict[str, Array]
) -> dict[str, Array]:
    """The norm of each generator's gradient, the mean D(G(z)) and the slope."""
    latents = jax.random.normal(key, (recipes.JUDGED, method.num_latents))
    discriminator = method.modules["discriminator"]

    def logits(params: Any) -> Array:
        samples = method.generate({**variables, "generator": {"params": params}}, latents)
        return discriminator.apply(variables["discriminator"], samples)

    def norm(params: Any, name: str) -> Array:
        of_samples = adversarial.create(name).generator
        return jnp.linalg.norm(
            ravel_pytree(jax.grad(lambda p: of_samples(logits(p)).mean())(params))[0]
        )

    params = variables["generator"]["params"]
    found = {name: norm(params, name) for name in GENERATORS}
    slope = recipes.judge(method, variables, key, data)["slope"]
    return {**found, "d_of_samples": jax.nn.sigmoid(logits(params)).mean(), "slope": slope}


def learner(recipe: str, options: Any) -> PointGan:
    """A recipe whose steps are a single update of the discriminator."""
    alone = recipes.gan(recipe, options.data, options.width, gradients, ("loss",))
    critics = [player for player in alone.method.players if player.name == "discriminator"]
    alone.method.players = tuple(critics[:1])
    return alone


def generators(options: Any) -> dict[tuple[int, int], Any]:
    """{(iterations before, seed): the generator's parameters}."""
    teacher = recipes.gan(TEACHER, options.data, options.width)
    data, found = recipes.training_cells(options.data), {}
    for seed in map(int, options.seeds):
        state, done = teacher.start(seed, data), 0
        for before in sorted(options.before):
            state, _ = teacher.run(state, seed, data, before - done)
            found[before, seed], done = jax.device_get(state.params["generator"]), before
    return found


def table(options: Any) -> list[dict[str, Any]]:
    """A row a recipe, generator and number of updates."""
    rows, fixed, data = [], generators(options), recipes.training_cells(options.data)
    marks = [mark for mark in MARKS if mark < options.updates] + [options.updates]
    for recipe in options.recipe:
        gan = learner(recipe, options)
        loss = gan.method.model.adversarial_loss
        names = GENERATORS if loss in GENERATORS else GENERATORS[-1:]
        for before in sorted(options.before):
            runs = []
            for seed in map(int, options.seeds):
                state = gan.start(seed, data)
                generator = jax.tree.map(jnp.array, fixed[before, seed])
                state = state.replace(params={**state.params, "generator": generator})
                runs.append(gan.train(seed, data, marks, state))
            for place, mark in enumerate(marks):
                row = {"recipe": recipe, "before": before, "updates": mark, "seeds": len(runs)}
                for name in (*names, "d_of_samples", "slope"):
                    row |= program.mean_and_range(name, [float(run[name][place]) for run in runs])
                rows.append(row)
    return rows


def picture(rows: list[dict[str, Any]]) -> np.ndarray:
    """A panel a recipe and generator: the norm of each loss by the updates, both log₁₀."""
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in GENERATORS}
    for row in rows:
        panel = f"{row['recipe']} after {row['before']}: log10 of the norm, by log10 of the update"
        for name in GENERATORS:
            if name in row:
                place = (np.log10(row["updates"]), np.log10(max(row[name], 1e-12)))
                curves[name].setdefault(panel, []).append(place)
    drawn = overlay_curves(curves)
    assert drawn is not None  # there are curves
    return drawn


def compare(options: Any) -> None:
    """Trains, and writes the table and the picture; the options are the flags."""
    rows = table(options)
    program.write_csv(f"{options.output}/vanishing_gradients.csv", rows)
    save_png(f"{options.output}/vanishing_gradients.png", picture(rows))


if __name__ == "__main__":
    flags.DEFINE_enum("data", "ring", [*recipes.DATA], "Data set.")
    flags.DEFINE_multi_string("recipe", RECIPES, "LOSS-CONTROL of the discriminator; repeatable.")
    flags.DEFINE_multi_integer("before", [0, 1_000], "Iterations of the generator; repeatable.", 0)
    flags.DEFINE_integer("updates", 2_000, "Updates of each discriminator.", lower_bound=1)
    flags.DEFINE_integer("width", 64, "Units of each layer.", lower_bound=1)
    program.define_seeds("0,1,2", "A generator, and its discriminators, for each.")
    flags.DEFINE_string("output", "runs/lipschitz", "Folder for results.")
    program.run(lambda _: compare(flags.FLAGS))
