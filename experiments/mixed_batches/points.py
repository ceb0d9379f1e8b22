"""GANs on the plane: which modes they keep, and what γ does to the losses (thesis, figs 4.2, 4.3).

    python experiments/mixed_batches/points.py [--data=ring --data=grid] [--model=MODEL …]
        [--seeds=0,1,2,3,4] [--width=128] [--steps=20000] [--output=DIR]

It trains models of `configs/mixed_batch_gan.py`, three layers of `--width` units (the thesis: 512)
on batches of 128, and draws 2,500 samples after 10, 100, 1,000, 10,000 and 20,000 iterations. A
MODEL may set fields: `bgan:gamma=0.5`. In the output folder lie then

- `modes.csv`, a row a data set, model and iteration: modes hit, share of samples within three
  standard deviations of a mode, KL of the modes' histogram to the uniform one in nats, each as mean
  and range over the seeds;
- `DATA.png`: for each model a row of the first seed's samples (fig. 4.3);
- `losses.csv`, the mean losses of both players over the second half of the training (fig. 4.2).

Each training is kept in `DATA-MODEL-WIDTH-seed_SEED.npz`, and not done again.
"""

import ast
import functools
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from etils import epath

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from configs import mixed_batch_gan
from experiments import program
from gm_jax import methods
from gm_jax.data.fields import DataSpec, Field
from gm_jax.data.points import MIXTURES
from gm_jax.evaluation.mode_coverage import mode_coverage
from gm_jax.evaluation.scatter import limits_of, scatter
from gm_jax.images import grid, save_png
from gm_jax.state import evaluation_variables
from gm_jax.training.workdir import write_npz

MODELS = ["gan", "mixup", "bgan", "m_bgan"]
MARKS = (10, 100, 1_000, 10_000, 20_000)
SAMPLES = 2_500
CHUNK = 500  # steps per call of the compiled program
POINTS: DataSpec = {"point": Field((2,), "float32")}


def config_of(model: str, data: str, seed: int, width: int) -> Any:
    """The page's config of a model, narrowed, with fields such as "gamma=0.3" after a colon."""
    name, _, settings = model.partition(":")
    config = mixed_batch_gan.get_config(f"{name},{data}").unlock()
    config.model.generator.widths = config.model.discriminator.widths = (width,) * 3
    for setting in filter(None, settings.split(":")):
        field, _, value = setting.partition("=")
        if field not in config.model:
            program.refuse(f"--model={model}: {name} has no model.{field}")
        config.model[field] = ast.literal_eval(value)
    config.seed = seed
    return config.lock()


def train(config: Any, data: str, steps: int) -> dict[str, np.ndarray]:
    """Samples at every mark, [marks, SAMPLES, 2], and both players' losses at every step."""
    method, modes = methods.create(config, POINTS), MIXTURES[data]
    start, stream, drawing = jax.random.split(jax.random.key(config.seed), 3)
    centres = jnp.asarray(modes.modes, jnp.float32)

    def draw(key: jax.Array) -> dict[str, jax.Array]:
        which, where = jax.random.split(key)
        size = (config.data.batch_size,)
        chosen = centres[jax.random.randint(which, size, 0, len(centres))]
        return {"point": chosen + modes.std * jax.random.normal(where, (*size, 2))}

    @functools.partial(jax.jit, static_argnums=1, donate_argnums=0)
    def run(state: Any, count: int) -> Any:
        def step(state: Any, _: None) -> Any:
            key = jax.random.fold_in(stream, state.step)
            batches = tuple(map(draw, jax.random.split(key, method.batches_per_step)))
            state, terms = method.train_step(state, batches, start)
            return state, (terms["discriminator/loss"], terms["generator/loss"])

        return jax.lax.scan(step, state, None, count)

    sample = jax.jit(lambda state: method.sample(evaluation_variables(state), drawing, SAMPLES))
    state, done = jax.jit(method.init)(start, draw(drawing)), 0
    marks = [mark for mark in MARKS if mark < steps] + [steps]
    samples, losses = [], []
    for mark in marks:
        while done < mark:
            count = min(CHUNK, mark - done)
            state, found = run(state, count)
            losses.append(np.stack(found, 1))
            done += count
        samples.append(np.asarray(sample(state)["point"]))
    return {
        "marks": np.array(marks),
        "samples": np.stack(samples),
        "losses": np.concatenate(losses),
    }


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Mean and range over the seeds."""
    finite = np.array(values, np.float64)
    return {name: finite.mean(), f"{name}_least": finite.min(), f"{name}_most": finite.max()}


def main(_: list[str]) -> None:
    """Trains what is missing, and writes tables and pictures."""
    options = flags.FLAGS
    folder, rows, of_losses = epath.Path(options.output), [], []
    for data in options.data:
        modes, pictures = MIXTURES[data], []
        for model in options.model:
            runs = []
            for seed in map(int, options.seeds):
                name = f"{data}-{model}-{options.width}-seed_{seed}".replace(":", "_")
                path = folder / f"{name}.npz"
                if not path.exists():
                    config = config_of(model, data, seed, options.width)
                    folder.mkdir(parents=True, exist_ok=True)
                    write_npz(path, train(config, data, options.steps))
                    print(f"{path} is written", flush=True)
                with path.open("rb") as file, np.load(file) as stored:
                    runs.append(dict(stored))
            about = {"data": data, "model": model, "width": options.width, "seeds": len(runs)}
            for place, mark in enumerate(runs[0]["marks"]):
                found = [
                    mode_coverage(run["samples"][place], modes.modes, modes.std) for run in runs
                ]
                row = {**about, "iteration": int(mark)}
                row |= spread("modes", [coverage.num_modes for coverage in found])
                row |= spread("good_share", [coverage.high_quality_share for coverage in found])
                row |= spread("histogram_kl", [coverage.histogram_kl for coverage in found])
                rows.append(row)
            late = [run["losses"][len(run["losses"]) // 2 :].mean(0) for run in runs]
            row = spread("discriminator", [loss[0] for loss in late])
            of_losses.append({**about, **row, **spread("generator", [loss[1] for loss in late])})
            data_limits = limits_of(modes.modes, margin=0.25)
            pictures += [
                scatter(modes.modes, points, limits=data_limits, size=160)
                for points in runs[0]["samples"]
            ]
        save_png(folder / f"{data}.png", grid(np.stack(pictures), columns=len(runs[0]["marks"])))
    program.write_csv(folder / "modes.csv", rows)
    program.write_csv(folder / "losses.csv", of_losses)


if __name__ == "__main__":
    flags.DEFINE_multi_enum("data", ["ring", "grid"], ["ring", "grid"], "Point sets; repeatable.")
    flags.DEFINE_multi_string("model", MODELS, "Models of the page; repeatable.")
    flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "A training for each.")
    flags.DEFINE_integer("width", 128, "Units of each layer; the thesis has 512.", lower_bound=1)
    flags.DEFINE_integer("steps", 20_000, "Generator updates.", lower_bound=1)
    flags.DEFINE_string("output", "runs/mixed_batches-points", "Folder for results.")
    program.run(main)
