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
for another one. It does not go through `main.py`, as its steps cost less than its start.
"""

import ast
import functools
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from etils import epath
from scipy.special import gammaln, xlogy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import command_line, methods
from gm_jax.data.fields import DataSpec, Field
from gm_jax.data.points import MIXTURES, Mixture
from gm_jax.evaluation.mode_coverage import mode_coverage
from gm_jax.evaluation.scatter import limits_of, scatter
from gm_jax.images import grid, save_png
from gm_jax.losses.mixed_batch import batch_prior
from gm_jax.state import evaluation_variables
from gm_jax.training.workdir import to_json, write_npz

MODELS = ["gan", "mixup", "bgan", "m_bgan"]  # fig. 4.3
GAMMAS = [f"bgan:gamma={gamma}" for gamma in (0.1, 0.2, 0.4, 0.5)]  # fig. 4.2; 0.3 is bgan
MARKS = (10, 100, 1_000, 10_000, 20_000)
SAMPLES = 2_500
CHUNK = 100  # steps per call of the compiled program; MARKS[0] where fewer are left
KEYS = ("start", "stream", "noise", "drawing")
POINTS: DataSpec = {"point": Field((2,), "float32")}


def config_of(model: str, data: str, seed: int, width: int) -> Any:
    """The page's config of a model, narrowed, with fields such as "gamma=0.3" after a colon."""
    name, _, settings = model.partition(":")
    config = program.load_page(f"mixed_batch_gan.py:{name},{data}").unlock()
    config.model.generator.widths = config.model.discriminator.widths = (width,) * 3
    for setting in filter(None, settings.split(":")):
        field, _, value = setting.partition("=")
        if field not in config.model:
            program.refuse(f"--model={model}: {name} has no model.{field}")
        try:
            config.model[field] = ast.literal_eval(value)
        except (SyntaxError, TypeError, ValueError):
            program.refuse(f"--model={model}: {field}={value} is no value of it")
    config.seed = seed
    return config.lock()


def train(config: Any, data: str, steps: int) -> dict[str, np.ndarray]:
    """Samples at every mark, [marks, SAMPLES, 2], and both players' losses at every step."""
    with command_line.refusals():
        method, modes = methods.create(config, POINTS), MIXTURES[data]
    keys = dict(zip(KEYS, jax.random.split(jax.random.key(config.seed), len(KEYS)), strict=True))
    centres = jnp.asarray(modes.modes, jnp.float32)

    def draw(key: jax.Array) -> dict[str, jax.Array]:
        which, where = jax.random.split(key)
        size = (config.data.batch_size,)
        chosen = centres[jax.random.randint(which, size, 0, len(centres))]
        return {"point": chosen + modes.std * jax.random.normal(where, (*size, 2))}

    # The keys are arguments, so that all seeds share the compiled programs.
    @functools.partial(jax.jit, static_argnums=2, donate_argnums=0)
    def run(state: Any, keys: dict[str, jax.Array], count: int) -> Any:
        def step(state: Any, _: None) -> Any:
            key = jax.random.fold_in(keys["stream"], state.step)
            batches = tuple(map(draw, jax.random.split(key, method.batches_per_step)))
            state, terms = method.train_step(state, batches, keys["noise"])
            return state, (terms["discriminator/loss"], terms["generator/loss"])

        return jax.lax.scan(step, state, None, count)

    @jax.jit
    def sample(state: Any, keys: dict[str, jax.Array]) -> jax.Array:
        return method.sample(evaluation_variables(state), keys["drawing"], SAMPLES)["point"]

    state, done = jax.jit(method.init)(keys["start"], draw(keys["drawing"])), 0
    marks = [mark for mark in MARKS if mark < steps] + [steps]
    samples, losses = [], []
    for mark in marks:
        while done < mark:
            count = CHUNK if mark - done >= CHUNK else min(MARKS[0], mark - done)
            state, found = run(state, keys, count)
            losses.append(np.stack(found, 1))
            done += count
        samples.append(np.asarray(sample(state, keys)))
    return {
        "marks": np.array(marks),
        "samples": np.stack(samples),
        "losses": np.concatenate(losses),
        # Whether an update that was not finite has been skipped.
        "diverged": np.array(any(int(first[0]) >= 0 for first in state.failures.values())),
    }


def trained(model: str, data: str, seed: int, options: Any) -> dict[str, np.ndarray]:
    """A training's result, from its file if that has the same config."""
    config = config_of(model, data, seed, options.width)
    name = f"{data}-{model}-{options.width}-{options.steps}-seed_{seed}".replace(":", "_")
    path, text = epath.Path(options.output) / f"{name}.npz", to_json(config)
    if path.exists():
        with path.open("rb") as file, np.load(file) as stored:
            if str(stored["config"]) == text:
                return dict(stored)
    result = train(config, data, options.steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, result | {"config": np.array(text)})
    print(f"{path} is written", flush=True)
    return result


def covered(samples: np.ndarray, modes: Mixture) -> tuple[int, float, float]:
    """Modes hit, share of good samples and KL of the histogram; samples may not be finite."""
    finite = samples[np.isfinite(samples).all(1)]
    if not len(finite):
        return 0, 0.0, math.log(modes.num_classes)
    found = mode_coverage(finite, modes.modes, modes.std)
    divergence = min(found.histogram_kl, math.log(modes.num_classes))
    return found.num_modes, found.high_quality_share * len(finite) / len(samples), divergence


def always_half(config: Any) -> float:
    """Eq. 4.4 for D = ½: the mean over #β of KL(B(#β/B) ‖ B(½)), in nats."""
    size = config.data.batch_size
    ones = np.arange(size + 1)
    log_share = gammaln(size + 1) - gammaln(ones + 1) - gammaln(size - ones + 1)
    share = np.exp(log_share + batch_prior(size, "gamma", config.model.gamma))
    ratio = ones / size
    return float(share @ (xlogy(ratio, ratio) + xlogy(1 - ratio, 1 - ratio) + math.log(2)))


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Mean and range over the seeds."""
    return {name: float(np.mean(values)), f"{name}_least": min(values), f"{name}_most": max(values)}


def main(_: list[str]) -> None:
    """Trains what is missing, and writes tables and pictures."""
    options, rows, of_losses = flags.FLAGS, [], []
    if options.paper:
        options.width = 512
    for data in options.data:
        modes, pictures = MIXTURES[data], []
        for model in options.model or MODELS + GAMMAS * (data == "ring"):
            runs = [trained(model, data, int(seed), options) for seed in options.seeds]
            about = {"data": data, "model": model, "width": options.width, "seeds": len(runs)}
            about["diverged"] = sum(int(run["diverged"]) for run in runs)
            for place, mark in enumerate(runs[0]["marks"]):
                row = {**about, "iteration": int(mark)}
                values = zip(*(covered(run["samples"][place], modes) for run in runs), strict=True)
                for name, value in zip(("modes", "good_share", "kl"), values, strict=True):
                    row |= spread(name, value)
                rows.append(row)
            late = np.stack([run["losses"][len(run["losses"]) // 2 :].mean(0) for run in runs])
            row = about | spread("discriminator", late[:, 0]) | spread("generator", late[:, 1])
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
    program.define_seeds(["0", "1", "2", "3", "4"], "A training for each.")
    flags.DEFINE_integer("width", 128, "Units of each layer.", lower_bound=1)
    flags.DEFINE_integer("steps", 20_000, "Generator updates.", lower_bound=1)
    flags.DEFINE_bool("paper", False, "The thesis's size: 512 units.")
    flags.DEFINE_string("output", "runs/mixed_batches-points", "Folder for results.")
    program.run(main)
