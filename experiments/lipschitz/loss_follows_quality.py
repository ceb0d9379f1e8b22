"""Whether a discriminator's loss follows the quality of samples in training (tutorial, WGAN).

    python experiments/lipschitz/loss_follows_quality.py [--data=ring …] [--recipe=LOSS-CONTROL …]
        [--steps=2000] [--width=64] [--seeds=0,1,2] [--output=DIR]

It takes the trainings of `side_by_side.py`, by their files if they are done, and of each what its
discriminator's loss says at 20 marks, in the mean over the steps since the last one: of W₁, minus
the loss; of JS with cross-entropy, ln 2 − loss/2. In the output folder lie then

- `loss_follows_quality.csv`, a row a data set and recipe: Spearman's correlation of this estimate
  with W₁ between samples and held-out examples, and on the ring with KL of the modes' histogram to
  the uniform one, means and ranges over the seeds, and the largest p-value. 1: the loss is lower
  whenever the samples are better. `late_` is the same over the later half of the marks, where not
  everything merely improves with time. P-values take the marks for independent, which they are not:
  they are too small;
- `DATA-loss.png`: for the first seed the estimates, and W₁, by step.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from etils import epath

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import point_gans, program
from experiments.alpha_gan.claims import rank_correlation
from experiments.lipschitz import recipes
from experiments.point_gans import Result
from experiments.side_by_side import overlay_curves
from gm_jax.data.points import MIXTURES
from gm_jax.images import save_png
from gm_jax.losses import adversarial


def divergence(recipe: str, losses: np.ndarray) -> np.ndarray:
    """What losses of a recipe's discriminator say of W₁, up to a factor, or of JS in nats."""
    term = adversarial.LOSSES[recipe.partition("-")[0]].term
    if term == "wasserstein":
        return -losses
    if term == "cross_entropy":
        return math.log(2) - losses / 2
    program.refuse(f"--recipe={recipe}: the loss {term} stands for neither W1 nor JS; give others")


def estimates(recipe: str, run: Result) -> np.ndarray:
    """The divergence by the discriminator's mean loss from one mark to the next, [marks]."""
    parts = np.split(run["losses"][:, 0], run["marks"][:-1])
    return divergence(recipe, np.array([part.mean(dtype=np.float64) for part in parts]))


def qualities(data: str, run: Result) -> dict[str, np.ndarray]:
    """What the samples at each mark are worth; lower is better."""
    found = {"w1": np.array([recipes.distance(data, samples) for samples in run["samples"]])}
    if data in MIXTURES:
        measures = [point_gans.covered(samples, MIXTURES[data]) for samples in run["samples"]]
        found["kl"] = np.array([divergence for _, _, divergence in measures])
    return found


def row_of(data: str, recipe: str, runs: Sequence[Result]) -> dict[str, Any]:
    """The correlations of a data set and recipe."""
    row: dict[str, Any] = {"data": data, "recipe": recipe, "seeds": len(runs)}
    pairs = [(estimates(recipe, run), qualities(data, run)) for run in runs]
    for name in pairs[0][1]:
        for prefix, first in (("", 0), ("late_", len(pairs[0][0]) // 2)):
            found = [
                rank_correlation(estimate[first:], quality[name][first:])
                for estimate, quality in pairs
            ]
            row |= program.mean_and_range(f"{prefix}{name}", [value for value, _ in found])
            row[f"{prefix}{name}_largest_p"] = max(chance for _, chance in found)
    return row


def picture(data: str, runs: dict[str, Result]) -> np.ndarray:
    """The estimates of each recipe in a panel of its own, above W₁ of all of them."""
    curves = {}
    for recipe, run in runs.items():
        by_step = {
            f"{recipe}: estimate by its loss": estimates(recipe, run),
            "W1 of samples and held-out examples": qualities(data, run)["w1"],
        }
        curves[recipe] = {
            name: [*zip(run["marks"].tolist(), values.tolist(), strict=True)]
            for name, values in by_step.items()
            if np.isfinite(values).all()
        }
    drawn = overlay_curves(curves)
    assert drawn is not None  # W₁ is finite
    return drawn


def correlate(options: Any) -> None:
    """Trains what is missing, and writes the table and the pictures; the options are the flags."""
    for recipe in options.recipe:
        recipes.config_of(recipe, options.data[0], 0, options.width)
        divergence(recipe, np.zeros(0))  # a recipe that has none is refused before it is trained
    rows = []
    for data in options.data:
        first = {}
        for recipe in options.recipe:
            runs = recipes.all_trained(recipe, data, options)
            rows.append(row_of(data, recipe, runs))
            first[recipe] = runs[0]
        save_png(epath.Path(options.output) / f"{data}-loss.png", picture(data, first))
    program.write_csv(f"{options.output}/loss_follows_quality.csv", rows)


if __name__ == "__main__":
    recipes.define_flags()
    program.run(lambda _: correlate(flags.FLAGS))
