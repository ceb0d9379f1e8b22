"""GANs on the plane: which modes they keep, and what γ does to the losses (thesis, figs 4.2, 4.3).

    python experiments/mixed_batches/points.py [--data=ring --data=grid] [--model=MODEL …]
        [--seeds=0,1,2,3,4] [--width=128] [--steps=20000] [--paper] [--output=DIR]

It trains models of `configs/mixed_batch_gan.py`, three layers of `--width` units, on batches of
128, and draws 2,500 samples after 10, 100, 1,000, 10,000 and 20,000 iterations. A MODEL may set
fields: `bgan:gamma=0.5`; without `--model` there are those of fig. 4.3, and on the ring those of
fig. 4.2. `--paper` has the thesis's 512 units (not run here). In the output folder lie then

- `modes.csv`, a row a data set, model and iteration: modes hit, share of samples within three
  standard deviations of a mode, KL in nats of the modes' histogram to the uniform one (log K where
  no sample is near a mode), each as mean and range over the seeds, and the seeds that diverged;
- `DATA.png`: for each model a row of the first seed's samples (fig. 4.3);
- `losses.csv`: the players' mean losses over the second half of the training, and for mixed batches
  the loss of a discriminator that always says ½, which falls with γ. Fig. 4.2 shows the samples'
  part of the discriminator's loss in place of the generator's −ln D.

Each training is kept in `DATA-MODEL-WIDTH-STEPS-seed_SEED.npz` with its config, and done again only
for another one.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from etils import epath
from scipy.special import gammaln, xlogy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import point_gans, program
from experiments.point_gans import PointGan
from gm_jax import methods
from gm_jax.data.fields import DataSpec
from gm_jax.data.points import MIXTURES
from gm_jax.evaluation.scatter import limits_of, scatter
from gm_jax.images import grid, save_png
from gm_jax.losses.mixed_batch import batch_prior
from gm_jax.methods.method import Method, Variables
from gm_jax.nn.batch_norm import COLLECTION

MODELS = ["gan", "mixup", "bgan", "m_bgan"]  # fig. 4.3
GAMMAS = [f"bgan:gamma={gamma}" for gamma in (0.1, 0.2, 0.4, 0.5)]  # fig. 4.2; 0.3 is bgan
MARKS = (10, 100, 1_000, 10_000, 20_000)
SAMPLES = 2_500
BATCHES = 64


def config_of(model: str, data: str, seed: int, width: int) -> Any:
    """The page's config of a model, narrowed, with fields such as "gamma=0.3" after a colon."""
    name, _, settings = model.partition(":")
    config = program.load_page(f"mixed_batch_gan.py:{name},{data}").unlock()
    config.model.generator.widths = config.model.discriminator.widths = (width,) * 3
    point_gans.set_fields(config, settings, f"--model={model}: {name}")
    config.seed = seed
    return config.lock()


def gan(
    config: Any, data: str, create: Callable[[Any, DataSpec], Method] = methods.create
) -> PointGan:
    """The GAN of a config on fresh points of a set; the data of its programs are the modes.

    Batch norms have the moments of BATCHES batches in the samples.
    """
    modes, size = MIXTURES[data], (config.data.batch_size,)

    def draw(key: jax.Array, centres: jax.Array) -> jax.Array:
        which, where = jax.random.split(key)
        chosen = centres[jax.random.randint(which, size, 0, len(centres))]
        return chosen + modes.std * jax.random.normal(where, (*size, 2))

    def judge(
        method: Method, variables: Variables, key: jax.Array, centres: jax.Array
    ) -> dict[str, jax.Array]:
        if normalised := [name for name in variables if COLLECTION in variables[name]]:
            # Running averages lag behind; these are moments as in `training/recalibration.py`.
            def moments(key: jax.Array) -> Any:
                return method.moments(variables, {"point": draw(key, centres)}, key, jnp.array(0))

            found = jax.lax.map(moments, jax.random.split(key, BATCHES))
            means = jax.tree.map(lambda each: each.mean(0), found)
            for name in normalised:
                variables = variables | {name: {**variables[name], COLLECTION: means[name]}}
        return {"samples": method.sample(variables, key, SAMPLES)["point"]}

    return PointGan(config, draw, judge, create=create)


def trained(model: str, data: str, seed: int, options: Any) -> dict[str, np.ndarray]:
    """The result of a model's training."""
    return kept(model, config_of(model, data, seed, options.width), data, options)


def kept(
    model: str,
    config: Any,
    data: str,
    options: Any,
    create: Callable[[Any, DataSpec], Method] = methods.create,
) -> dict[str, np.ndarray]:
    """A training's result, from its file if that has the same config."""
    name = f"{data}-{model}-{options.width}-{options.steps}-seed_{config.seed}".replace(":", "_")
    marks = [mark for mark in MARKS if mark < options.steps] + [options.steps]
    modes = np.float32(MIXTURES[data].modes)
    return point_gans.kept(
        epath.Path(options.output) / f"{name}.npz",
        config,
        lambda: gan(config, data, create).train(config.seed, modes, marks),
    )


def always_half(config: Any) -> float:
    """Eq. 4.4 for D = ½: the mean over #β of KL(B(#β/B) ‖ B(½)), in nats."""
    size = config.data.batch_size
    ones = np.arange(size + 1)
    log_share = gammaln(size + 1) - gammaln(ones + 1) - gammaln(size - ones + 1)
    share = np.exp(log_share + batch_prior(size, "gamma", config.model.gamma))
    ratio = ones / size
    return float(share @ (xlogy(ratio, ratio) + xlogy(1 - ratio, 1 - ratio) + math.log(2)))


def main(_: list[str]) -> None:
    """Trains what is missing, and writes tables and pictures."""
    options, rows, of_losses = flags.FLAGS, [], []
    if options.paper:
        options.width = 512
    for data in options.data:
        modes, pictures = MIXTURES[data], []
        for model in options.model or MODELS + GAMMAS * (data == "ring"):
            runs = [trained(model, data, seed, options) for seed in options.seeds]
            about = {"data": data, "model": model, "width": options.width, "seeds": len(runs)}
            about["diverged"] = sum(int(run["diverged"]) for run in runs)
            for place, mark in enumerate(runs[0]["marks"]):
                row = {**about, "iteration": int(mark)}
                found = [point_gans.covered(run["samples"][place], modes) for run in runs]
                for column, name in enumerate(("modes", "good_share", "kl")):
                    row |= program.mean_and_range(name, [values[column] for values in found])
                rows.append(row)
            late = np.stack([run["losses"][len(run["losses"]) // 2 :].mean(0) for run in runs])
            row = about | program.mean_and_range("discriminator", late[:, 0])
            row |= program.mean_and_range("generator", late[:, 1])
            if "gamma" in (config := config_of(model, data, 0, options.width)).model:
                row["always_half"] = always_half(config)
            of_losses.append(row)
            limits = limits_of(modes.modes, margin=0.25)
            pictures += [
                scatter(modes.modes, points, limits=limits, size=160)
                for points in runs[0]["samples"]
            ]
        picture = grid(np.stack(pictures), columns=len(runs[0]["marks"]))
        save_png(epath.Path(options.output) / f"{data}.png", picture)
    program.write_csv(f"{options.output}/modes.csv", rows)
    program.write_csv(f"{options.output}/losses.csv", of_losses)


if __name__ == "__main__":
    flags.DEFINE_multi_enum("data", ["ring", "grid"], ["ring", "grid"], "Point sets; repeatable.")
    flags.DEFINE_multi_string("model", [], "Models of the page; repeatable. None: those of figs.")
    program.define_seeds("0,1,2,3,4", "A training for each.")
    flags.DEFINE_integer("width", 128, "Units of each layer.", lower_bound=1)
    flags.DEFINE_integer("steps", 20_000, "Generator updates.", lower_bound=1)
    flags.DEFINE_bool("paper", False, "The thesis's size: 512 units.")
    flags.DEFINE_string("output", "runs/mixed_batches-points", "Folder for results.")
    program.run(main)
