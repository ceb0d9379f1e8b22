"""ALI and BiGAN on 25 Gaussians, against a GAN of equal networks (ALI, section 4; tutorial).

    python experiments/hybrids/modes.py [--model=MODEL …] [--seeds=0,1,2,3,4] [--width=128]
        [--steps=20000] [--paper] [--output=DIR]

It trains the models of `configs/bigan.py` on `grid_ali`, with two layers of `--width` units, and
draws 2,500 samples. `gan` is BiGAN, and `gan_of_ali` is ALI, whose critic sees no code: a GAN with
the same generator, critic, rate and noise. `--paper` has 400 units (not run here).
In the output folder lie then

- `modes.csv`, a row a model and iteration, as that of `experiments/mixed_batches/points.py`;
- `modes.png`: a row of the first seed's samples for each model;
- `modes.md`: the last iterations, and whether one covers more modes than the other. A mode counts
  with its first sample within three deviations, which a cloud over all modes has by chance in most:
  `cloud` is one Gaussian with the data's covariance.

Batch norms have the moments of 64 batches in the samples. A training is kept as there.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import point_gans, program
from experiments.alpha_gan import claims
from experiments.mixed_batches import points
from gm_jax import methods
from gm_jax.data.points import MIXTURES
from gm_jax.evaluation.scatter import limits_of, scatter
from gm_jax.images import grid, save_png
from gm_jax.methods.bigan import Bigan
from gm_jax.methods.method import Noise, Variables

DATA = "grid_ali"
PAGES = {"gan": "bigan", "bigan": "bigan", "gan_of_ali": "ali", "ali": "ali"}
PAIRS = (("bigan", "gan"), ("ali", "gan_of_ali"))  # one with codes, one without
SCORES = ("modes", "good_share", "kl")


class WithoutCodes(Bigan):
    """Its critic is shown zeros for codes: the generator plays against a critic of points alone."""

    def judged(self, variables: Variables, x: jax.Array, z: jax.Array, noise: Noise) -> jax.Array:
        """D's logits of points, [B]."""
        return super().judged(variables, x, jnp.zeros_like(z), noise)


def config_of(model: str, seed: int, width: int) -> Any:
    """The page's config, narrowed."""
    config = program.load_page(f"bigan.py:{PAGES[model]},{DATA}").unlock()
    for network in ("encoder", "generator"):
        config.model[network].widths = (width, width)
    config.model.discriminator.joint_widths = (width, width)
    config.seed = seed
    return config.lock()


def trained(model: str, seed: int, options: Any) -> dict[str, np.ndarray]:
    """A training's result, from its file if it is there."""
    create = WithoutCodes if model.startswith("gan") else methods.create
    return points.kept(model, config_of(model, seed, options.width), DATA, options, create)


def cloud(seed: int) -> np.ndarray:
    """Samples of the Gaussian that has the mean and covariance of the data, [SAMPLES, 2]."""
    modes = MIXTURES[DATA]
    covariance = np.cov(modes.modes.T, bias=True) + modes.std**2 * np.eye(2)
    drawn = np.random.default_rng(seed).multivariate_normal
    return drawn(modes.modes.mean(0), covariance, points.SAMPLES)


def counts(samples: Sequence[np.ndarray]) -> list[int]:
    """The modes that each seed's samples hit."""
    return [point_gans.covered(drawn, MIXTURES[DATA])[0] for drawn in samples]


def scores_of(samples: Sequence[np.ndarray]) -> dict[str, float]:
    """Mean and range over the seeds of SCORES."""
    found = zip(*(point_gans.covered(drawn, MIXTURES[DATA]) for drawn in samples), strict=True)
    spreads = [program.mean_and_range(name, each) for name, each in zip(SCORES, found, strict=True)]
    return {name: value for each in spreads for name, value in each.items()}


def verdict(rows: list[dict[str, Any]], more: str, fewer: str) -> str:
    """Whether the last samples of `more` cover more modes than those of `fewer` (rank-sum)."""
    of = {row["model"]: row["counts"] for row in rows}
    (found,) = claims.judged([claims.greater(of[more], of[fewer])])
    return found


def main(_: list[str]) -> None:
    """Trains what is missing, and writes the tables and the picture."""
    options, rows, last, pictures = flags.FLAGS, [], [], []
    if options.paper:
        options.width = 400
    modes = MIXTURES[DATA]
    for model in options.model or PAGES:
        runs = [trained(model, int(seed), options) for seed in options.seeds]
        about = {"model": model, "width": options.width, "seeds": len(runs)}
        about["diverged"] = sum(int(run["diverged"]) for run in runs)
        for place, mark in enumerate(runs[0]["marks"]):
            row = about | {"iteration": int(mark)}
            rows.append(row | scores_of([run["samples"][place] for run in runs]))
        last.append(rows[-1] | {"counts": counts([run["samples"][-1] for run in runs])})
        limits = limits_of(modes.modes, margin=0.25)
        pictures += [
            scatter(modes.modes, drawn, limits=limits, size=160) for drawn in runs[0]["samples"]
        ]
    folder = Path(options.output)
    save_png(folder / "modes.png", grid(np.stack(pictures), columns=len(runs[0]["marks"])))
    program.write_csv(folder / "modes.csv", rows)
    there = {row["model"] for row in last}
    judged = [
        {"claim": f"{more} covers more modes than {fewer}", "verdict": verdict(last, more, fewer)}
        for more, fewer in PAIRS
        if {more, fewer} <= there
    ]
    clouds = [cloud(int(seed)) for seed in options.seeds]
    last.append({"model": "cloud", **scores_of(clouds), "counts": counts(clouds)})
    text = "\n".join(program.markdown(each) for each in (program.with_ranges(last), judged) if each)
    (folder / "modes.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    flags.DEFINE_multi_enum("model", [], list(PAGES), "Repeatable. None: all of them.")
    program.define_seeds("0,1,2,3,4", "A training for each.")
    flags.DEFINE_integer("width", 128, "Units of each layer.", lower_bound=1)
    flags.DEFINE_integer("steps", 20_000, "Updates of all players.", lower_bound=1)
    flags.DEFINE_bool("paper", False, "The page's size: 400 units.")
    flags.DEFINE_string("output", "runs/hybrids-modes", "Folder for results.")
    program.run(main)
