"""Standard and Wasserstein GANs with each control of the discriminator's slope (thesis, 2.11).

    python experiments/lipschitz/side_by_side.py [--data=ring --data=lines --data=digits]
        [--recipe=LOSS-CONTROL …] [--steps=2000] [--width=64] [--seeds=0,1,2] [--output=DIR]

By default the losses are `non_saturating` (the standard GAN with −ln D) and `wasserstein`, and the
controls `none`, `clipping`, `penalty` and `spectral_norm`; see `recipes.py`. In the output folder
lie then

- `side_by_side.csv`, a row a data set and recipe, means and ranges over the seeds: W₁ between 500
  samples and as many held-out examples (360 of the digits), beside that between training and
  held-out examples; on the ring the modes hit, the share of samples within three deviations
  of one, and KL in nats of the modes' histogram to the uniform one; of digits the Fréchet distance
  of pixels; the largest slope of the discriminator, its bound by the layers' singular values
  (Eq. 2.76), and the largest of these; and the seeds that diverged;
- `DATA.png`, a row a recipe: the first seed's samples on the way, or of digits those at the end.

Each training is kept in a file of its own, and not done again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from etils import epath

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import point_gans, program
from experiments.lipschitz import recipes
from experiments.point_gans import Result
from gm_jax.data.digits import LEVELS
from gm_jax.data.points import MIXTURES
from gm_jax.dequantization import CENTRED, requantize
from gm_jax.evaluation.frechet_distance import feature_statistics, frechet_distance
from gm_jax.evaluation.scatter import limits_of, scatter
from gm_jax.images import grid, save_png, spread

SHOWN = 4  # points in a training, of which a picture shows samples


def scores(data: str, samples: np.ndarray, run: Result) -> dict[str, float]:
    """What the samples and the discriminator at the end of a training are worth."""
    found = {"w1": recipes.distance(data, samples)}
    if data in MIXTURES:
        measures = point_gans.covered(samples, MIXTURES[data])
        found |= dict(zip(("modes", "good_share", "kl"), map(float, measures), strict=True))
    if data == "digits":
        statistics = map(feature_statistics, (samples, recipes.held_out(data)))
        found["frechet"] = frechet_distance(*(part for pair in statistics for part in pair))
    norms = run["norms"][-1].astype(np.float64)
    last = {"slope": float(run["slope"][-1]), "bound": float(norms.prod())}
    return found | last | {"largest_norm": float(norms.max())}


def row_of(data: str, recipe: str, runs: Sequence[Result]) -> dict[str, Any]:
    """The row of a data set and recipe."""
    each = [scores(data, run["samples"][-1], run) for run in runs]
    row: dict[str, Any] = {"data": data, "recipe": recipe, "seeds": len(runs)}
    row["w1_of_data"] = recipes.distance(data, recipes.seen(data))
    for name in each[0]:
        row |= program.mean_and_range(name, [values[name] for values in each])
    return row | {"diverged": sum(int(run["diverged"]) for run in runs)}


def panels(data: str, run: Result) -> list[np.ndarray]:
    """A recipe's row of a picture: samples on the way or, of digits, at the end."""
    if data == "digits":
        images = np.asarray(requantize(run["samples"][-1][:24], LEVELS, CENTRED))
        return list(spread(images.reshape(-1, 8, 8, 1), LEVELS))
    places = np.linspace(0, len(run["marks"]) - 1, SHOWN).round().astype(int)
    real = recipes.held_out(data)
    limits = limits_of(real, margin=0.25)
    return [scatter(real, run["samples"][at], limits=limits, size=160) for at in places]


def compare(options: Any) -> None:
    """Trains what is missing, and writes the table and the pictures; the options are the flags."""
    rows = []
    for data in options.data:
        pictures = []
        for recipe in options.recipe:
            runs = recipes.all_trained(recipe, data, options)
            rows.append(row_of(data, recipe, runs))
            pictures.append(panels(data, runs[0]))
        shown = np.stack([panel for row in pictures for panel in row])
        enlarge = 4 if data == "digits" else 1
        picture = grid(shown, columns=len(pictures[0]), enlarge=enlarge)
        save_png(epath.Path(options.output) / f"{data}.png", picture)
    program.write_csv(f"{options.output}/side_by_side.csv", rows)


if __name__ == "__main__":
    recipes.define_flags()
    program.run(lambda _: compare(flags.FLAGS))
